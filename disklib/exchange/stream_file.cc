#include "disklib/exchange/stream_file.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "disklib/compare.h"
#include "disklib/copy.h"
#include "disklib/exchange/package_backend.h"
#include "disklib/exchange/proof_device.h"
#include "disklib/names.h"
#include "disklib/sparse/stream_writer.h"
#include "disklib/traits.h"
#include "fs/base/aligned_buffer.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::IoVec;
using base::Result;
using base::Status;
using base::Task;

constexpr uint64_t kReadBytes = uint64_t{1} << 20;

std::string_view TextOf(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Writes into a part of an object.
class PartSink final : public StreamSink {
 public:
  PartSink(Object& object, uint64_t start_bytes) : object_(object), start_bytes_(start_bytes) {}

  bool can_rewrite() const override { return true; }

  Task<Status> Append(std::span<const std::byte> bytes) override {
    CO_TRY_STATUS(co_await WriteWhole(object_, start_bytes_ + written_bytes_, TextOf(bytes)));
    written_bytes_ += bytes.size();
    co_return base::Ok();
  }

  Task<Status> Rewrite(uint64_t offset_bytes, std::span<const std::byte> bytes) override {
    return WriteWhole(object_, start_bytes_ + offset_bytes, TextOf(bytes));
  }

 private:
  Object& object_;
  const uint64_t start_bytes_;
  uint64_t written_bytes_ = 0;
};

// Hands grains with data to the stream, in their order.
class StreamTarget final : public CopyTarget {
 public:
  explicit StreamTarget(StreamWriter& writer) : writer_(writer) {}

  uint64_t granule_bytes() const override { return kStreamGrainBytes; }

  uint64_t zero_unit_bytes() const override { return kStreamGrainBytes; }

  bool in_order() const override { return true; }

  Task<Status> Store(base::IoRequest request) override {
    uint64_t at_bytes = request.offset_bytes;
    for (const IoVec& piece : request.buffers) {
      const std::span<const std::byte> bytes(piece.data, piece.size_bytes);
      CO_TRY_STATUS(co_await writer_.Append(at_bytes, bytes));
      at_bytes += bytes.size();
    }
    co_return base::Ok();
  }

 private:
  StreamWriter& writer_;
};

Task<Status> WriteChain(base::Executor& executor, Chain& chain, StreamPlace place,
                        ExportedDisk& disk, Progress* progress) {
  PartSink sink(*place.object, place.offset_bytes);
  // Newer adapter types are a word that importers of streams need not know.
  const NewStream what{.size_bytes = chain.size_bytes(),
                       .file_name = place.file_name,
                       .adapter_type = disk.adapter_type == "ide" ? "ide" : "lsilogic"};
  CO_TRY(const std::unique_ptr<StreamWriter> writer,
         co_await StreamWriter::Start(executor, sink, what));
  ProofDevice proof(executor, chain);
  StreamTarget target(*writer);
  const CopyOptions options{.direct = nullptr, .progress = progress};
  CO_TRY_STATUS(co_await CopyContent(executor, proof, target, options));
  CO_TRY_STATUS(co_await writer->Finish());
  CO_TRY(disk.source_sha256, proof.Finish());
  disk.size_bytes = chain.size_bytes();
  disk.file_bytes = writer->stream_bytes();
  co_return base::Ok();
}

Task<Result<std::string>> DigestOpened(Object& object, FileRange range, base::DigestKind kind,
                                       Progress* progress) {
  base::Digest digest(kind);
  base::AlignedBuffer buffer(kReadBytes);
  for (uint64_t done_bytes = 0; done_bytes < range.length_bytes;) {
    const uint64_t wanted_bytes = std::min(kReadBytes, range.length_bytes - done_bytes);
    const IoVec piece{buffer.data(), wanted_bytes};
    const base::IoRequest request{.offset_bytes = range.offset_bytes + done_bytes,
                                  .buffers = {&piece, 1}};
    CO_TRY(const uint64_t read_bytes, co_await object.Read(request));
    if (read_bytes == 0) {
      co_return Error(Code::kCorrupt, fmt::format("{}: ends early", range.path));
    }
    digest.Add(std::span<const std::byte>(buffer.data(), read_bytes));
    done_bytes += read_bytes;
    if (progress != nullptr && !progress->Advance(done_bytes, range.length_bytes)) {
      co_return Error(Code::kInterrupted, "verify: stopped");
    }
  }
  co_return digest.Finish();
}

// The disk in a file, read as anybody would.
Task<Result<std::string>> HashStreamFile(base::Executor& executor, ObjectBackend& backend,
                                         FileRange range, std::string_view file_name,
                                         Progress* progress) {
  std::vector<PackageFile> files(1);
  files[0] = {.name = std::string(file_name),
              .path = std::string(range.path),
              .offset_bytes = range.offset_bytes,
              .size_bytes = range.length_bytes,
              .text = {}};
  PackageBackend package(backend, std::move(files));
  OpenDisks open_disks;
  Lib lib(executor, package, open_disks);
  CO_TRY(const HashResult found, co_await HashDisk(lib, file_name, progress));
  co_return found.sha256;
}

}  // namespace

Task<Result<ExportedDisk>> WriteStreamFile(Lib& source, std::string_view from, StreamPlace place,
                                           Progress* progress) {
  const OpenOptions open_options{.writable = false, .user = "strata export"};
  CO_TRY(const std::unique_ptr<Chain> chain, co_await source.Open(from, open_options));
  ExportedDisk disk;
  disk.file_name = place.file_name;
  disk.adapter_type = AdapterOf(TraitsOf(*chain));
  const Status written = co_await WriteChain(source.executor(), *chain, place, disk, progress);
  const Status closed = co_await chain->Close();
  if (!written) co_return written.error();
  if (!closed) co_return closed.error();
  co_return disk;
}

Task<Status> ProveStreamFile(base::Executor& executor, ObjectBackend& backend,
                             std::string_view path, uint64_t offset_bytes, ExportedDisk& disk,
                             bool verify, Phases& phases) {
  const FileRange range{path, offset_bytes, disk.file_bytes};
  Progress* const hashing = phases.Begin(fmt::format("hash {}", disk.file_name));
  CO_TRY(disk.file_sha256,
         co_await DigestOfRange(backend, range, base::DigestKind::kSha256, hashing));
  if (!verify) co_return base::Ok();
  Progress* const proving = phases.Begin(fmt::format("prove {}", disk.file_name));
  CO_TRY(disk.target_sha256,
         co_await HashStreamFile(executor, backend, range, disk.file_name, proving));
  if (disk.target_sha256 == disk.source_sha256) co_return base::Ok();
  co_return Error(Code::kChecksumMismatch,
                  fmt::format("{}: reads as {}, the source is {}", disk.file_name,
                              disk.target_sha256, disk.source_sha256));
}

Task<Result<std::string>> DigestOfRange(ObjectBackend& backend, FileRange range,
                                        base::DigestKind kind, Progress* progress) {
  CO_TRY(const std::unique_ptr<Object> object,
         co_await backend.Open(range.path, fss::OpenMode::kRead));
  Result<std::string> digest = co_await DigestOpened(*object, range, kind, progress);
  const Status closed = co_await object->Close();
  if (digest && !closed) co_return closed.error();
  co_return digest;
}

}  // namespace disklib
