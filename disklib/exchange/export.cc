#include "disklib/exchange/export.h"

#include <memory>
#include <utility>

#include <fmt/format.h>

#include "disklib/compare.h"
#include "disklib/copy.h"
#include "disklib/exchange/archive.h"
#include "disklib/exchange/manifest.h"
#include "disklib/exchange/ovf.h"
#include "disklib/exchange/package_backend.h"
#include "disklib/exchange/proof_device.h"
#include "disklib/exchange/stream_file.h"
#include "disklib/names.h"
#include "disklib/new_extents.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

constexpr uint64_t kZeroUnitBytes = 64 * 1024;

// Longer than any size: what is written first is never shorter than what replaces it.
constexpr uint64_t kLongestNumber = UINT64_MAX;

// Writes data into a raw file; what is not written stays a hole.
class RawTarget final : public CopyTarget {
 public:
  explicit RawTarget(Object& object) : object_(object) {}

  uint64_t zero_unit_bytes() const override { return kZeroUnitBytes; }

  Task<Status> Store(base::IoRequest request) override {
    const uint64_t wanted_bytes = request.size_bytes();
    CO_TRY(const uint64_t written_bytes, co_await object_.Write(request));
    if (written_bytes < wanted_bytes) co_return Code::kNoSpace;
    co_return base::Ok();
  }

 private:
  Object& object_;
};

// Something that is made under an unfinished name and gets its own when all went well.
class NewFile {
 public:
  NewFile(ObjectBackend& backend, std::string_view path)
      : backend_(backend), path_(path), unfinished_(UnfinishedPath(path)) {}

  const std::string& unfinished() const { return unfinished_; }

  Object& object() { return *object_; }

  // Errors: kExists, those of Create.
  Task<Status> Start() {
    CO_TRY(const bool is_there, co_await Exists(backend_, path_));
    if (is_there) co_return Error(Code::kExists, fmt::format("{}: is in the way", path_));
    CO_TRY_STATUS(co_await RemoveIfThere(backend_, unfinished_));
    CO_TRY_STATUS(co_await backend_.Create(unfinished_));
    CO_TRY(object_, co_await backend_.Open(unfinished_, fss::OpenMode::kWrite));
    co_return base::Ok();
  }

  // What was written is durable, and the file closed.
  Task<Status> EndWriting() {
    CO_TRY_STATUS(co_await object_->Sync(/*data_only=*/false));
    const Status closed = co_await object_->Close();
    object_.reset();
    co_return closed;
  }

  // Gives the file its name, or takes it away when `status` is an error. Answers the first error.
  Task<Status> Finish(const Status* status) {
    Status outcome = *status;
    if (object_ != nullptr) {
      const Status closed = co_await object_->Close();
      if (outcome) outcome = closed;
    }
    if (outcome) outcome = co_await backend_.Rename(unfinished_, path_);
    if (outcome) outcome = co_await backend_.SyncNames();
    if (!outcome) {
      const Status removed = co_await RemoveIfThere(backend_, unfinished_);
      static_cast<void>(removed);  // the first error is the one to tell
    }
    co_return outcome;
  }

 private:
  ObjectBackend& backend_;
  const std::string path_;
  const std::string unfinished_;
  std::unique_ptr<Object> object_;
};

Task<Status> CopyRaw(base::Executor& executor, Chain& chain, Object& object, ExportedDisk& disk,
                     Progress* progress) {
  ProofDevice proof(executor, chain);
  RawTarget target(object);
  const CopyOptions options{.direct = nullptr, .progress = progress};
  CO_TRY_STATUS(co_await CopyContent(executor, proof, target, options));
  CO_TRY(disk.source_sha256, proof.Finish());
  co_return base::Ok();
}

Task<Status> WriteRaw(Lib& source, std::string_view from, ObjectBackend& target, NewFile& file,
                      ExportedDisk& disk, Progress* progress) {
  CO_TRY(const std::unique_ptr<Chain> chain,
         co_await source.Open(from, {.writable = false, .user = "strata export"}));
  disk.size_bytes = chain->size_bytes();
  disk.file_bytes = disk.size_bytes;
  Status status = co_await target.Resize(file.unfinished(), disk.size_bytes);
  if (status) {
    status = co_await CopyRaw(source.executor(), *chain, file.object(), disk, progress);
  }
  const Status closed = co_await chain->Close();
  if (status) status = closed;
  if (status) status = co_await file.EndWriting();
  co_return status;
}

Task<Status> ProveRaw(base::Executor& executor, ObjectBackend& backend, std::string_view path,
                      ExportedDisk& disk, Phases& phases) {
  Progress* const progress = phases.Begin(fmt::format("prove {}", disk.file_name));
  CO_TRY(std::vector<PackageFile> files, co_await DescribeRawImage(backend, path, "image.vmdk"));
  PackageBackend package(backend, std::move(files));
  OpenDisks open_disks;
  Lib lib(executor, package, open_disks);
  CO_TRY(const HashResult found, co_await HashDisk(lib, "image.vmdk", progress));
  disk.target_sha256 = found.sha256;
  if (disk.target_sha256 == disk.source_sha256) co_return base::Ok();
  co_return Error(Code::kChecksumMismatch,
                  fmt::format("{}: reads as {}, the source is {}", disk.file_name,
                              disk.target_sha256, disk.source_sha256));
}

// An OVA while it is written: envelope and manifest get their bytes last, in the room left for
// them in front.
class ArchiveWriter {
 public:
  ArchiveWriter(NewFile& file, const MachineFile& machine, std::string_view path,
                uint64_t now_seconds)
      : file_(file), stem_(NameOf(path)), now_seconds_(now_seconds) {
    stem_ = stem_.substr(0, stem_.rfind('.'));
    package_.machine = machine.machine;
    if (package_.machine.name.empty()) package_.machine.name = stem_;
    for (size_t i = 0; i < machine.disk_names.size(); ++i) {
      package_.disks.push_back({.id = {},
                                .file_name = fmt::format("{}-disk{}.vmdk", stem_, i + 1),
                                .format_uri = std::string(kStreamOptimizedUri),
                                .capacity_bytes = kLongestNumber,
                                .file_bytes = kLongestNumber});
    }
  }

  const OvfDisk& disk(size_t index) const { return package_.disks[index]; }

  // How much room the texts need, and where the first disk's header goes.
  Status Reserve() {
    TRY(const std::string envelope, WriteOvf(package_));
    envelope_bytes_ = envelope.size();
    manifest_bytes_ = WriteManifest(ManifestWith({}, {})).size();
    next_bytes_ = 2 * kArchiveBlockBytes + ArchivePaddedBytes(envelope_bytes_) +
                  ArchivePaddedBytes(manifest_bytes_);
    return base::Ok();
  }

  // Where the next disk's content goes.
  uint64_t content_bytes() const { return next_bytes_ + kArchiveBlockBytes; }

  // The disk is there: its header, and what the envelope says of it.
  Task<Status> EndDisk(size_t index, const ExportedDisk* made) {
    OvfDisk& disk = package_.disks[index];
    disk.capacity_bytes = made->size_bytes;
    disk.file_bytes = made->file_bytes;
    CO_TRY(const std::string header,
           EncodeArchiveHeader(disk.file_name, made->file_bytes, now_seconds_));
    CO_TRY_STATUS(co_await WriteWhole(file_.object(), next_bytes_, header));
    next_bytes_ = content_bytes() + ArchivePaddedBytes(made->file_bytes);
    co_return base::Ok();
  }

  // Envelope and manifest, and the archive's end. Answers the archive's length.
  Task<Result<uint64_t>> End(const std::vector<ExportedDisk>* disks) {
    CO_TRY(std::string envelope, WriteOvf(package_));
    envelope.resize(envelope_bytes_, '\n');
    const std::string manifest =
        WriteManifest(ManifestWith(base::DigestOf(base::DigestKind::kSha256, envelope), *disks));
    CO_TRY(std::string front, EncodeArchiveHeader(stem_ + ".ovf", envelope.size(), now_seconds_));
    front += envelope;
    front.resize(ArchivePaddedBytes(front.size()));
    CO_TRY(const std::string header,
           EncodeArchiveHeader(stem_ + ".mf", manifest.size(), now_seconds_));
    front += header + manifest;
    front.resize(ArchivePaddedBytes(front.size()));
    const std::string end(kArchiveEndBytes, '\0');
    CO_TRY_STATUS(co_await WriteWhole(file_.object(), 0, front));
    CO_TRY_STATUS(co_await WriteWhole(file_.object(), next_bytes_, end));
    co_return next_bytes_ + kArchiveEndBytes;
  }

 private:
  // Digests of one length, whether they are known yet or not.
  std::vector<ManifestEntry> ManifestWith(const std::string& envelope_digest,
                                          const std::vector<ExportedDisk>& disks) const {
    const std::string unknown(base::HexDigitsOf(base::DigestKind::kSha256), '0');
    std::vector<ManifestEntry> entries;
    entries.push_back({base::DigestKind::kSha256, stem_ + ".ovf",
                       envelope_digest.empty() ? unknown : envelope_digest});
    for (size_t i = 0; i < package_.disks.size(); ++i) {
      entries.push_back({base::DigestKind::kSha256, package_.disks[i].file_name,
                         i < disks.size() ? disks[i].file_sha256 : unknown});
    }
    return entries;
  }

  NewFile& file_;
  std::string stem_;
  const uint64_t now_seconds_;
  OvfPackage package_;
  uint64_t envelope_bytes_ = 0;
  uint64_t manifest_bytes_ = 0;
  uint64_t next_bytes_ = 0;  // of the next header
};

Task<Status> WriteArchive(Lib& source, const MachineFile* machine, ObjectBackend& target,
                          NewFile& file, ArchiveWriter& writer, ExportedPackage& package,
                          ExportOptions options, Phases& phases) {
  CO_TRY_STATUS(writer.Reserve());
  for (size_t i = 0; i < machine->disk_names.size(); ++i) {
    const std::string& from = machine->disk_names[i];
    const StreamPlace place{&file.object(), writer.content_bytes(), writer.disk(i).file_name};
    Progress* const progress = phases.Begin(fmt::format("write {}", place.file_name));
    CO_TRY(ExportedDisk disk, co_await WriteStreamFile(source, from, place, progress));
    CO_TRY_STATUS(co_await ProveStreamFile(source.executor(), target, file.unfinished(),
                                           place.offset_bytes, disk, options.verify, phases));
    CO_TRY_STATUS(co_await writer.EndDisk(i, &disk));
    package.disks.push_back(std::move(disk));
  }
  CO_TRY(package.file_bytes, co_await writer.End(&package.disks));
  CO_TRY_STATUS(co_await file.EndWriting());
  co_return base::Ok();
}

}  // namespace

Task<Result<ExportedDisk>> ExportStream(Lib& source, std::string_view from, ObjectBackend& target,
                                        std::string_view to, ExportOptions options,
                                        Phases& phases) {
  NewFile file(target, to);
  CO_TRY_STATUS(co_await file.Start());
  const StreamPlace place{&file.object(), 0, NameOf(to)};
  Progress* const progress = phases.Begin(fmt::format("write {}", place.file_name));
  Result<ExportedDisk> disk = co_await WriteStreamFile(source, from, place, progress);
  Status status;
  if (!disk) status = disk.error();
  if (status) status = co_await file.EndWriting();
  if (status) {
    status = co_await ProveStreamFile(source.executor(), target, file.unfinished(), 0, *disk,
                                      options.verify, phases);
  }
  CO_TRY_STATUS(co_await file.Finish(&status));
  co_return disk;
}

Task<Result<ExportedDisk>> ExportRaw(Lib& source, std::string_view from, ObjectBackend& target,
                                     std::string_view to, ExportOptions options, Phases& phases) {
  NewFile file(target, to);
  CO_TRY_STATUS(co_await file.Start());
  ExportedDisk disk;
  disk.file_name = NameOf(to);
  Progress* const progress = phases.Begin(fmt::format("write {}", disk.file_name));
  Status status = co_await WriteRaw(source, from, target, file, disk, progress);
  if (status && options.verify) {
    status = co_await ProveRaw(source.executor(), target, file.unfinished(), disk, phases);
  }
  CO_TRY_STATUS(co_await file.Finish(&status));
  co_return disk;
}

Task<Result<ExportedPackage>> ExportArchive(Lib& source, const MachineFile* machine,
                                            ObjectBackend& target, std::string_view to,
                                            ExportOptions options, Phases& phases) {
  NewFile file(target, to);
  CO_TRY_STATUS(co_await file.Start());
  const uint64_t now_seconds = source.executor().WallMicroseconds() / 1'000'000;
  ArchiveWriter writer(file, *machine, to, now_seconds);
  ExportedPackage package;
  const Status written =
      co_await WriteArchive(source, machine, target, file, writer, package, options, phases);
  CO_TRY_STATUS(co_await file.Finish(&written));
  co_return package;
}

}  // namespace disklib
