#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "disklib/check/chain_state.h"
#include "disklib/check/rebuild.h"
#include "disklib/children.h"
#include "disklib/names.h"
#include "disklib/new_extents.h"

namespace disklib::check {
namespace {

using base::Result;
using base::Status;
using base::Task;

// What a .vmx or .vmsd calls a disk, as a path; empty if the name leads nowhere.
std::string PathOf(const Folder& folder, std::string_view name) {
  const Result<std::string> path = ResolveName(folder.path, name);
  return path ? *path : std::string();
}

// Every descriptor the VM's own files name.
std::set<std::string> NamedDisks(const Folder& folder) {
  std::set<std::string> named;
  for (const auto& [path, file] : folder.files) {
    for (const VmxDisk& disk : file.vm_disks) named.insert(PathOf(folder, disk.file_name));
    for (const std::string& name : file.snapshots.current_disks) {
      named.insert(PathOf(folder, name));
    }
    for (const Snapshot& snapshot : file.snapshots.snapshots) {
      for (const SnapshotDisk& disk : snapshot.disks) {
        named.insert(PathOf(folder, disk.file_name));
      }
    }
  }
  named.erase("");
  return named;
}

// Whether the folder says at all which disks its VMs have.
bool HasVmFiles(const Folder& folder) {
  return std::ranges::any_of(folder.files, [](const auto& entry) {
    const FolderFile& file = entry.second;
    return !file.vm_disks.empty() || !file.snapshots.snapshots.empty() ||
           !file.snapshots.current_disks.empty();
  });
}

// Adds all that is below what is named.
void AddAncestors(Folder& folder, std::set<std::string>& reached) {
  std::vector<std::string> work(reached.begin(), reached.end());
  while (!work.empty()) {
    const FolderFile* const file = folder.Find(work.back());
    work.pop_back();
    if (file == nullptr || file->parent_path.empty()) continue;
    if (reached.insert(file->parent_path).second) work.push_back(file->parent_path);
  }
}

// Where no .vmx says which disks there are, a base and a linked clone are disks of their own.
Task<Result<bool>> IsOwnDisk(CheckRun& run, const Folder* folder, const std::string* path,
                             const FolderFile* file) {
  const bool has_vmx = std::ranges::any_of(
      folder->files, [](const auto& entry) { return !entry.second.vm_disks.empty(); });
  if (has_vmx) co_return false;
  if (!file->descriptor.descriptor.has_parent()) co_return true;
  CO_TRY(const std::vector<std::string> clones,
         co_await RegisteredChildren(run.lib().backend(), file->parent_path));
  co_return std::ranges::find(clones, *path) != clones.end();
}

// C7. A link with registered linked clones is used from elsewhere.
Task<Status> CheckReachable(CheckRun& run, Folder& folder) {
  if (!HasVmFiles(folder)) co_return base::Ok();
  std::set<std::string> reached = NamedDisks(folder);
  AddAncestors(folder, reached);
  for (const auto& [path, file] : folder.files) {
    if (!file.has_descriptor() || reached.contains(path)) continue;
    const std::string registry = path + ".children";
    CO_TRY(const bool has_clones, co_await Exists(run.lib().backend(), registry));
    CO_TRY(const bool is_own_disk, co_await IsOwnDisk(run, &folder, &path, &file));
    if (has_clones || is_own_disk) continue;
    run.findings().BeginFile(path);
    run.findings().Add({.id = Invariant::kC7,
                        .text = "no .vmx and no .vmsd of the folder refers to the link"});
  }
  co_return base::Ok();
}

// C8 for the disks of one snapshot: each is there, and frozen.
void CheckSnapshotDisks(CheckRun& run, Folder& folder, const Snapshot& snapshot) {
  for (const SnapshotDisk& disk : snapshot.disks) {
    const std::string path = PathOf(folder, disk.file_name);
    if (!path.empty() && FolderOf(path) != folder.path) continue;  // an independent place
    const FolderFile* const frozen = folder.Find(path);
    if (frozen == nullptr || !frozen->has_descriptor()) {
      run.findings().Add({.id = Invariant::kC8,
                          .text = fmt::format("snapshot {} names {}, which is no disk",
                                              snapshot.uid, disk.file_name)});
    } else if (folder.ChildrenOf(path).empty()) {
      run.findings().Add({.id = Invariant::kC8,
                          .text = fmt::format("{} of snapshot {} has no child: it is not frozen",
                                              disk.file_name, snapshot.uid)});
    }
  }
}

Task<Status> CheckSnapshotFile(CheckRun& run, Folder& folder, FolderFile& file) {
  Findings& findings = run.findings();
  findings.BeginFile(file.path);
  if (!file.settings_error.empty()) {
    findings.Add({.id = Invariant::kC8, .text = file.settings_error});
    co_return base::Ok();
  }
  SnapshotList list = file.snapshots;
  const size_t count = list.snapshots.size();
  if (list.declared_count && *list.declared_count != count) {
    const bool repairs = findings.Add(
        {.id = Invariant::kC8,
         .text = fmt::format("numSnapshots is {}, there are {}", *list.declared_count, count),
         .repair = RepairClass::kOnRequest,
         .repair_text = fmt::format("numSnapshots becomes {}", count)});
    list.declared_count = static_cast<uint32_t>(count);
    if (repairs) {
      const std::string text = WriteSnapshotList(list);
      CO_TRY_STATUS(co_await run.lib().backend().ReplaceContents(file.path, text));
    }
  }
  const Status tree = CheckSnapshotList(list);
  if (!tree) findings.Add({.id = Invariant::kC8, .text = tree.error().message()});
  for (const Snapshot& snapshot : list.snapshots) CheckSnapshotDisks(run, folder, snapshot);
  co_return base::Ok();
}

// D7: one uuid, one disk. Links of a chain may repeat their base's.
void CheckUuids(CheckRun& run, const Folder& folder) {
  std::map<std::string, std::string> owners;
  for (const auto& [path, file] : folder.files) {
    if (!file.descriptor.is_usable || file.descriptor.descriptor.has_parent()) continue;
    const std::string* const uuid = file.descriptor.descriptor.FindDatabase("ddb.uuid");
    if (uuid == nullptr || uuid->empty()) continue;
    const auto [owner, is_new] = owners.emplace(*uuid, path);
    if (is_new) continue;
    run.findings().BeginFile(path);
    run.findings().Add({.id = Invariant::kD7,
                        .text = fmt::format("ddb.uuid is that of {}, too", owner->second)});
  }
}

// Whether a file holds a disk's data, as far as its bytes say.
bool IsExtent(const FolderFile& file) {
  switch (file.kind) {
    case FileKind::kHosted: return !file.has_descriptor();
    case FileKind::kVmfsSparse:
    case FileKind::kSeSparse: return true;
    case FileKind::kOther:
      return file.path.ends_with(kDescriptorSuffix) && file.info.size_bytes != 0 &&
             file.info.size_bytes % kSectorBytes == 0 && file.open_error.empty();
    default: return false;
  }
}

// Files a descriptor names for change tracking.
std::set<std::string> TrackingFiles(const Folder& folder) {
  std::set<std::string> paths;
  for (const auto& [path, file] : folder.files) {
    const std::string& name = file.descriptor.descriptor.change_track_path;
    if (!name.empty()) paths.insert(PathOf(folder, name));
  }
  return paths;
}

// D10: data that no descriptor names.
Task<Status> CheckLostExtents(CheckRun& run, Folder& folder) {
  const std::set<std::string> tracking = TrackingFiles(folder);
  std::set<std::string> lost;  // descriptors
  for (const auto& [path, file] : folder.files) {
    if (!IsExtent(file) || tracking.contains(path) || !folder.UsersOf(path).empty()) continue;
    const std::string owner = OwnerOf(path);
    if (folder.Find(owner) == nullptr) {
      lost.insert(owner);
      continue;
    }
    run.findings().BeginFile(path);
    run.findings().Add({.id = Invariant::kD10,
                        .text = fmt::format("no descriptor names this extent, not even {}",
                                            NameOf(owner))});
  }
  for (const std::string& path : lost) {
    CO_TRY(const bool is_lost, co_await CheckLostDescriptor(run, folder, path));
    static_cast<void>(is_lost);
  }
  co_return base::Ok();
}

}  // namespace

Task<Status> CheckBelongings(CheckRun& run, Folder& folder) {
  CO_TRY_STATUS(co_await CheckLostExtents(run, folder));
  CO_TRY_STATUS(co_await CheckReachable(run, folder));
  for (auto& [path, file] : folder.files) {
    if (file.kind != FileKind::kVmSnapshots) continue;
    CO_TRY_STATUS(co_await CheckSnapshotFile(run, folder, file));
  }
  CheckUuids(run, folder);
  co_return base::Ok();
}

}  // namespace disklib::check
