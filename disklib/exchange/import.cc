#include "disklib/exchange/import.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "disklib/compare.h"
#include "disklib/exchange/machine.h"
#include "disklib/exchange/proof_device.h"
#include "disklib/exchange/stream_file.h"
#include "disklib/names.h"
#include "disklib/operations.h"
#include "disklib/traits.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

constexpr size_t kFileNameBytesMax = 80;
constexpr std::string_view kMachineSuffix = ".vmx";
constexpr std::string_view kSnapshotsSuffix = ".vmsd";

// A disk that was never written, or has an id that means nothing, gets one for what it holds.
uint32_t ContentIdOf(const Descriptor& descriptor, base::Random& random) {
  const uint32_t id = descriptor.content_id;
  return id == kFreshContentId || id == kNoParentContentId ? DrawContentId(random) : id;
}

// Copies an open chain; the proof of what was read comes with it.
Task<Result<ImportedDisk>> CopyChain(Lib& target, std::string_view to, Chain& chain,
                                     CloneOptions options, Progress* progress) {
  ProofDevice proof(target.executor(), chain);
  const Descriptor& descriptor = chain.top().descriptor();
  DiskContent content{
      .device = &proof,
      .direct = nullptr,
      .content_id = ContentIdOf(descriptor, target.executor().random()),
      .disk_database = TraitsOf(chain),
      .origin = fmt::format("of {} {}", FormatContentId(descriptor.content_id), chain.name())};
  CO_TRY(const CloneResult made, co_await MakeDiskFrom(target, to, content, options, progress));
  CO_TRY(std::string sha256, proof.Finish());
  co_return ImportedDisk{.path = std::string(to),
                         .size_bytes = made.size_bytes,
                         .data_bytes = made.data_bytes,
                         .source_sha256 = std::move(sha256),
                         .target_sha256 = {}};
}

// Reads the target back. Errors: kChecksumMismatch, those of reading.
Task<Status> Prove(Lib& target, ImportedDisk& disk, Progress* progress) {
  CO_TRY(const HashResult found, co_await HashDisk(target, disk.path, progress));
  disk.target_sha256 = found.sha256;
  if (disk.target_sha256 == disk.source_sha256) co_return base::Ok();
  co_return Error(Code::kChecksumMismatch,
                  fmt::format("{}: reads as {}, the source was {}", disk.path, disk.target_sha256,
                              disk.source_sha256));
}

// Whatever failed, nothing unproven stays under its name. What another import made meanwhile is
// his. Error: the one given, with what stays.
Task<Status> RemoveUnproven(Lib& target, std::string_view path, const Status* failed) {
  if (failed->error().code() == Code::kExists) co_return base::Ok();
  const Result<bool> is_there = co_await Exists(target.backend(), path);
  Status removed;
  if (!is_there) removed = is_there.error();
  if (is_there && *is_there) removed = co_await DeleteDisk(target, path);
  if (removed) co_return base::Ok();
  co_return Error(failed->error().code(), fmt::format("{}; {} stays: {}", failed->error().message(),
                                                      path, removed.error().message()));
}

class NameCollector final : public ObjectSink {
 public:
  void Add(const ObjectEntry& entry) override { names.emplace_back(entry.name); }

  std::vector<std::string> names;
};

// The disk's files in the manifest are as it says.
Task<Status> VerifyFile(ObjectBackend& source, const PackageContents* package,
                        std::string_view name, Phases& phases) {
  const ManifestEntry* const entry = FindEntry(package->manifest, name);
  if (entry == nullptr) co_return base::Ok();
  const std::string path = JoinPath(package->folder, name);
  Progress* const progress = phases.Begin(fmt::format("verify {}", name));
  CO_TRY(const ObjectInfo info, co_await source.GetInfo(path));
  const FileRange range{path, 0, info.size_bytes};
  CO_TRY(const std::string digest, co_await DigestOfRange(source, range, entry->kind, progress));
  co_return CheckDigest(*entry, digest);
}

// The controller a disk is on decides what its descriptor says.
std::string_view AdapterFor(const Machine& machine, size_t disk) {
  for (const MachineDrive& drive : machine.drives) {
    if (drive.disk == disk) return DescriptorAdapterOf(machine.controllers[drive.controller]);
  }
  return {};
}

Task<Result<ImportedDisk>> MakeBlank(Lib& target, const std::string* to, const OvfDisk* disk,
                                     CloneOptions options, Progress* progress) {
  NewLink blank{.size_bytes = disk->capacity_bytes,
                .layout = options.layout,
                .provisioning = options.provisioning,
                .grain_bytes = options.grain_bytes,
                .all_tables = options.all_tables};
  if (!options.adapter_type.empty()) blank.adapter_type = options.adapter_type;
  CO_TRY_STATUS(co_await CreateLink(target, *to, blank, progress));
  CO_TRY(const HashResult found, co_await HashDisk(target, *to, progress));
  co_return ImportedDisk{.path = *to,
                         .size_bytes = found.size_bytes,
                         .data_bytes = 0,
                         .source_sha256 = found.sha256,
                         .target_sha256 = found.sha256};
}

Task<Result<ImportedDisk>> ImportPackageDisk(Lib& source, const PackageContents* package,
                                             size_t index, Lib& target, const std::string* to,
                                             ImportOptions options, Phases& phases) {
  const OvfDisk& disk = package->ovf.disks[index];
  options.disk.adapter_type = AdapterFor(package->ovf.machine, index);
  if (disk.file_name.empty()) {
    Progress* const progress = phases.Begin(fmt::format("make {}", NameOf(*to)));
    CO_TRY(ImportedDisk made, co_await MakeBlank(target, to, &disk, options.disk, progress));
    co_return made;
  }
  const std::string from = JoinPath(package->folder, disk.file_name);
  CO_TRY(ImportedDisk made, co_await ImportDisk(source, from, target, *to, options, phases));
  co_return made;
}

}  // namespace

Task<Result<ImportedDisk>> ImportDisk(Lib& source, std::string_view from, Lib& target,
                                      std::string_view to, ImportOptions options, Phases& phases) {
  CO_TRY(const bool is_there, co_await Exists(target.backend(), to));
  if (is_there) co_return Error(Code::kExists, fmt::format("{}: is in the way", to));
  const OpenOptions open_options{.writable = false, .user = "strata import"};
  CO_TRY(const std::unique_ptr<Chain> chain, co_await source.Open(from, open_options));
  Progress* const copying = phases.Begin(fmt::format("copy {}", NameOf(from)));
  Result<ImportedDisk> made = co_await CopyChain(target, to, *chain, options.disk, copying);
  const Status closed = co_await chain->Close();
  Status status = closed;
  if (!made) status = made.error();
  if (status && options.verify) {
    Progress* const proving = phases.Begin(fmt::format("prove {}", NameOf(to)));
    status = co_await Prove(target, *made, proving);
  }
  if (status) co_return made;
  CO_TRY_STATUS(co_await RemoveUnproven(target, to, &status));
  co_return status.error();
}

Task<Result<std::string>> FindEnvelope(ObjectBackend& source) {
  NameCollector collector;
  CO_TRY_STATUS(co_await source.List("", collector));
  std::string found;
  for (const std::string& name : collector.names) {
    if (!name.ends_with(".ovf")) continue;
    if (!found.empty()) {
      co_return Error(Code::kUnsupported,
                      fmt::format("package: two envelopes, {} and {}", found, name));
    }
    found = name;
  }
  if (found.empty()) co_return Error(Code::kNotFound, "package: no .ovf in it");
  co_return found;
}

Task<Result<PackageContents>> ReadPackage(ObjectBackend& source, std::string_view ovf_path) {
  PackageContents package;
  package.folder = FolderOf(ovf_path);
  CO_TRY(const std::string text, co_await ReadObject(source, ovf_path, kOvfBytesMax));
  const std::string manifest_path = std::string(ovf_path.substr(0, ovf_path.rfind('.'))) + ".mf";
  const Result<std::string> manifest =
      co_await ReadObject(source, manifest_path, kManifestBytesMax);
  if (!manifest && manifest.error().code() != Code::kNotFound) co_return manifest.error();
  if (manifest) {
    CO_TRY(package.manifest, ParseManifest(*manifest));
  }
  if (const ManifestEntry* const entry = FindEntry(package.manifest, NameOf(ovf_path))) {
    CO_TRY_STATUS(CheckDigest(*entry, base::DigestOf(entry->kind, text)));
  }
  CO_TRY(package.ovf, ParseOvf(text));
  for (const ManifestEntry& entry : package.manifest) {
    const auto is_it = [&entry](const OvfDisk& disk) { return disk.file_name == entry.file_name; };
    const auto& disks = package.ovf.disks;
    const bool is_disk = std::any_of(disks.begin(), disks.end(), is_it);
    if (!is_disk && entry.file_name != NameOf(ovf_path)) package.unused.push_back(entry.file_name);
  }
  co_return package;
}

Task<Result<ImportedMachine>> ImportPackage(Lib& source, PackageContents& package, Lib& target,
                                            std::string_view folder, ImportOptions options,
                                            Phases& phases) {
  const std::string stem = FileNameOf(package.ovf.machine.name);
  ImportedMachine imported;
  std::vector<std::string> disk_names;
  for (const OvfDisk& disk : package.ovf.disks) {
    if (disk.file_name.empty()) continue;
    CO_TRY_STATUS(co_await VerifyFile(source.backend(), &package, disk.file_name, phases));
  }
  for (size_t i = 0; i < package.ovf.disks.size(); ++i) {
    // As ESX numbers the disks of one machine.
    disk_names.push_back(i == 0 ? stem + ".vmdk" : fmt::format("{}_{}.vmdk", stem, i));
    const std::string to = JoinPath(folder, disk_names.back());
    CO_TRY(ImportedDisk disk,
           co_await ImportPackageDisk(source, &package, i, target, &to, options, phases));
    imported.disks.push_back(std::move(disk));
  }
  CO_TRY(const std::string text, WriteMachineFile(package.ovf.machine, disk_names));
  const std::string snapshots_path = JoinPath(folder, stem + std::string(kSnapshotsSuffix));
  imported.machine_path = JoinPath(folder, stem + std::string(kMachineSuffix));
  ObjectBackend& files = target.backend();
  CO_TRY_STATUS(co_await files.ReplaceContents(snapshots_path, ""));
  CO_TRY_STATUS(co_await files.ReplaceContents(imported.machine_path, text));
  co_return imported;
}

std::string FileNameOf(std::string_view machine_name) {
  std::string name(machine_name.substr(0, kFileNameBytesMax));
  // Not in the middle of a character.
  while (name.size() < machine_name.size() && !name.empty() &&
         (static_cast<unsigned char>(machine_name[name.size()]) & 0xc0) == 0x80) {
    name.pop_back();
  }
  for (char& letter : name) {
    const auto byte = static_cast<unsigned char>(letter);
    const bool is_special = byte < ' ' || byte == 0x7f ||
                            std::string_view("/\\:\"|*?<>%").find(letter) != std::string_view::npos;
    if (is_special) letter = '_';
  }
  while (name.ends_with(' ') || name.ends_with('.')) name.pop_back();
  if (name.starts_with('.')) name.front() = '_';
  return name.empty() ? "machine" : name;
}

}  // namespace disklib
