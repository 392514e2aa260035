#include "disklib/check/rebuild.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor_lines.h"
#include "disklib/names.h"
#include "fs/base/on_disk.h"

namespace disklib::check {
namespace {

using base::Result;
using base::Status;
using base::Task;

// Where the headers say how large the extent is.
constexpr size_t kHostedCapacityAt = 12;
constexpr size_t kVmfsSparseCapacityAt = 12;
constexpr size_t kSeSparseCapacityAt = 16;

constexpr uint32_t kSplitExtentsMax = 999;

const FolderFile* FindFree(Folder& folder, const std::string& path) {
  const FolderFile* const file = folder.Find(path);
  if (file == nullptr || file->has_descriptor() || !folder.UsersOf(path).empty()) return nullptr;
  return file;
}

// The extents whose names follow the descriptor's, in order; of one kind.
std::vector<const FolderFile*> ExtentsNamedAfter(Folder& folder, std::string_view path) {
  const std::string_view name = NameOf(path);
  std::vector<const FolderFile*> extents;
  for (const std::string& extent :
       {FlatExtentName(name), DeltaExtentName(name), SeSparseExtentName(name)}) {
    const FolderFile* const file = FindFree(folder, JoinPath(folder.path, extent));
    if (file != nullptr) extents.push_back(file);
    if (!extents.empty()) return extents;
  }
  for (const auto split_name : {&SplitFlatExtentName, &SplitSparseExtentName}) {
    for (uint32_t number = 1; number <= kSplitExtentsMax; ++number) {
      const FolderFile* const file =
          FindFree(folder, JoinPath(folder.path, split_name(name, number)));
      if (file == nullptr) break;
      extents.push_back(file);
    }
    if (!extents.empty()) return extents;
  }
  const std::string_view stem = path.substr(0, path.size() - kDescriptorSuffix.size());
  if (!stem.ends_with("-recovered")) return extents;
  const std::string only(stem.substr(0, stem.size() - std::string_view("-recovered").size()));
  const FolderFile* const file = FindFree(folder, only + std::string(kDescriptorSuffix));
  if (file != nullptr) extents.push_back(file);
  return extents;
}

ExtentType TypeOf(FileKind kind, bool is_split) {
  switch (kind) {
    case FileKind::kHosted: return ExtentType::kSparse;
    case FileKind::kVmfsSparse: return ExtentType::kVmfsSparse;
    case FileKind::kSeSparse: return ExtentType::kSeSparse;
    default: return is_split ? ExtentType::kFlat : ExtentType::kVmfs;
  }
}

// The link that the record of snapshots puts below `path`; empty: it does not say.
std::string ParentBySnapshots(Folder& folder, std::string_view path) {
  const auto path_of = [&folder](const SnapshotDisk& disk) {
    const Result<std::string> resolved = ResolveName(folder.path, disk.file_name);
    return resolved ? *resolved : std::string();
  };
  for (const auto& [file_path, file] : folder.files) {
    const SnapshotList& list = file.snapshots;
    uint32_t below_uid = list.current_uid;
    size_t place = 0;
    for (const Snapshot& snapshot : list.snapshots) {
      for (size_t i = 0; i < snapshot.disks.size(); ++i) {
        if (path_of(snapshot.disks[i]) != path) continue;
        below_uid = snapshot.parent_uid;
        place = i;
      }
    }
    const Snapshot* const below = list.Find(below_uid);
    if (below == nullptr || place >= below->disks.size()) continue;
    if (below_uid == list.current_uid && below->disks.size() != 1) continue;
    const std::string parent = path_of(below->disks[place]);
    if (parent != path) return parent;
  }
  return {};
}

// The one link that could be the parent: of the same size, and no child of its own is known.
std::string ParentByExclusion(Folder& folder, std::string_view path, uint64_t sectors) {
  std::string only;
  for (const auto& [other_path, other] : folder.files) {
    if (!other.descriptor.is_usable || other_path == path) continue;
    if (other.descriptor.descriptor.capacity_sectors() != sectors) continue;
    if (other.parent_path == path || !folder.ChildrenOf(other_path).empty()) continue;
    if (!only.empty()) return {};
    only = other_path;
  }
  return only;
}

void SetParent(Folder& folder, std::string_view path, RebuiltDescriptor& rebuilt) {
  std::string parent = ParentBySnapshots(folder, path);
  if (parent.empty()) {
    parent = ParentByExclusion(folder, path, rebuilt.descriptor.capacity_sectors());
  }
  const FolderFile* const file = folder.Find(parent);
  if (file == nullptr || !file->descriptor.is_usable) {
    rebuilt.uncertain = "which link is its parent cannot be told";
    return;
  }
  rebuilt.descriptor.parent_file_name_hint = NameOf(file->path);
  rebuilt.descriptor.parent_content_id = file->descriptor.descriptor.content_id;
}

void FillDatabase(Descriptor& descriptor, base::Random& random) {
  if (!descriptor.has_parent()) {
    const Geometry geometry = GeometryFor(descriptor.capacity_sectors(), "lsilogic");
    descriptor.disk_database = {
        {"ddb.adapterType", "lsilogic"},
        {"ddb.geometry.cylinders", fmt::format("{}", geometry.cylinders)},
        {"ddb.geometry.heads", fmt::format("{}", geometry.heads)},
        {"ddb.geometry.sectors", fmt::format("{}", geometry.sectors)},
        {"ddb.uuid", DrawDiskUuid(random)},
        {"ddb.virtualHWVersion", "14"}};
  }
  descriptor.disk_database.push_back(
      {"ddb.longContentID", DrawLongContentId(random, descriptor.content_id)});
}

// How many sectors an extent has, by its length or its header.
Task<Result<uint64_t>> SectorsOf(CheckRun& run, const FolderFile* file) {
  if (file->kind == FileKind::kOther) co_return file->info.size_bytes / kSectorBytes;
  CO_TRY(const std::unique_ptr<Object> object,
         co_await run.lib().backend().Open(file->path, fss::OpenMode::kRead));
  std::array<std::byte, kSectorBytes> head{};
  const bool was_read = co_await run.Read(*object, 0, head);
  const Status closed = co_await object->Close();
  CO_TRY_STATUS(closed);
  if (!was_read) co_return uint64_t{0};
  switch (file->kind) {
    case FileKind::kHosted: co_return base::LoadAs<base::Le64>(head, kHostedCapacityAt);
    case FileKind::kVmfsSparse: co_return base::LoadAs<base::Le32>(head, kVmfsSparseCapacityAt);
    default: co_return base::LoadAs<base::Le64>(head, kSeSparseCapacityAt);
  }
}

// Whether the file has a hole: the disk was thin.
Task<bool> HasHole(CheckRun& run, const FolderFile* file) {
  const Result<std::unique_ptr<Object>> object =
      co_await run.lib().backend().Open(file->path, fss::OpenMode::kRead);
  if (!object) co_return false;
  const Result<uint64_t> hole = co_await (*object)->Seek(fss::SeekKind::kHole, 0);
  const Status closed = co_await (*object)->Close();
  static_cast<void>(closed);  // nothing was written
  co_return hole && *hole < file->info.size_bytes;
}

// Makes the descriptor where none is.
Task<Status> Store(CheckRun& run, std::string_view path, Descriptor& descriptor) {
  CO_TRY(const bool is_there, co_await Exists(run.lib().backend(), path));
  if (is_there) {
    co_return base::Error(base::Code::kExists, fmt::format("rebuild {}: it exists", path));
  }
  CO_TRY(const std::string text, WriteDescriptor(descriptor));
  CO_TRY_STATUS(co_await run.lib().backend().ReplaceContents(path, text));
  co_return base::Ok();
}

}  // namespace

std::string OwnerOf(std::string_view extent_path) {
  std::string_view stem = extent_path;
  if (stem.ends_with(kDescriptorSuffix)) stem.remove_suffix(kDescriptorSuffix.size());
  for (const std::string_view ending : {"-flat", "-delta", "-sesparse"}) {
    if (stem.ends_with(ending)) {
      return std::string(stem.substr(0, stem.size() - ending.size())) +
             std::string(kDescriptorSuffix);
    }
  }
  const size_t dash = stem.rfind('-');
  const bool is_split = dash != std::string_view::npos && dash + 5 == stem.size() &&
                        (stem[dash + 1] == 's' || stem[dash + 1] == 'f') &&
                        ParseNumber(stem.substr(dash + 2), 10).has_value();
  if (is_split) return std::string(stem.substr(0, dash)) + std::string(kDescriptorSuffix);
  return std::string(stem) + "-recovered" + std::string(kDescriptorSuffix);
}

RebuiltDescriptor Rebuild(Folder& folder, std::string_view path,
                          const std::vector<const FolderFile*>& extents,
                          const std::vector<uint64_t>& sectors, base::Random& random) {
  RebuiltDescriptor rebuilt;
  Descriptor& descriptor = rebuilt.descriptor;
  for (size_t i = 0; i < extents.size(); ++i) {
    if (sectors[i] == 0 || sectors[i] > kCapacitySectorsMax) {
      rebuilt.uncertain = fmt::format("{} says it has {} sectors", extents[i]->path, sectors[i]);
      return rebuilt;
    }
    descriptor.extents.push_back({.sector_count = sectors[i],
                                  .type = TypeOf(extents[i]->kind, extents.size() > 1),
                                  .file_name = std::string(NameOf(extents[i]->path))});
  }
  descriptor.create_type = CreateTypeFor(descriptor);
  const auto children = folder.ChildrenOf(path);
  descriptor.content_id = children.empty()
                              ? DrawContentId(random)
                              : children.front()->descriptor.descriptor.parent_content_id;
  const ExtentType type = descriptor.extents.front().type;
  if (type == ExtentType::kVmfsSparse || type == ExtentType::kSeSparse) {
    SetParent(folder, path, rebuilt);
  }
  FillDatabase(descriptor, random);
  return rebuilt;
}

Task<Result<bool>> CheckLostDescriptor(CheckRun& run, Folder& folder, std::string_view path) {
  const std::vector<const FolderFile*> extents = ExtentsNamedAfter(folder, path);
  if (extents.empty()) co_return false;
  std::vector<uint64_t> sectors;
  for (const FolderFile* const extent : extents) {
    CO_TRY(const uint64_t count, co_await SectorsOf(run, extent));
    sectors.push_back(count);
  }
  RebuiltDescriptor rebuilt =
      Rebuild(folder, path, extents, sectors, run.lib().executor().random());
  Found found{.id = Invariant::kD10,
              .text = fmt::format("the descriptor is lost, {} is there",
                                  NameOf(extents.front()->path))};
  if (rebuilt.uncertain.empty()) {
    found.repair = RepairClass::kOnRequest;
    found.repair_text = fmt::format("{} is written: {}, {} sectors{}", path,
                                    rebuilt.descriptor.create_type,
                                    rebuilt.descriptor.capacity_sectors(),
                                    rebuilt.descriptor.has_parent()
                                        ? ", child of " + rebuilt.descriptor.parent_file_name_hint
                                        : std::string());
  } else {
    found.text += "; " + rebuilt.uncertain;
  }
  run.findings().BeginFile(std::string(path));
  if (!run.findings().Add(std::move(found))) co_return true;
  if (rebuilt.descriptor.create_type == "vmfs") {
    const bool is_thin = co_await HasHole(run, extents.front());
    if (is_thin) rebuilt.descriptor.disk_database.push_back({"ddb.thinProvisioned", "1"});
  }
  CO_TRY_STATUS(co_await Store(run, path, rebuilt.descriptor));
  co_return true;
}

}  // namespace disklib::check
