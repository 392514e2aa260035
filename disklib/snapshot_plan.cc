#include "disklib/snapshot_plan.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor_lines.h"
#include "disklib/device_map.h"
#include "disklib/extent_places.h"
#include "disklib/names.h"
#include "disklib/new_link.h"
#include "fs/base/log.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

constexpr uint32_t kLinkNumberMax = 999'999;

Status CheckCanBeFrozen(const TreeLink& base) {
  return CheckNotPhysical(base.descriptor, base.path, "snapshot");
}

// Whether none of the files a link of this name has is there.
Task<Result<bool>> IsNameFree(ObjectBackend& backend, std::string_view path) {
  const std::string names[] = {
      std::string(path),
      JoinPath(FolderOf(path), SeSparseExtentName(NameOf(path))),
      JoinPath(FolderOf(path), DeltaExtentName(NameOf(path))),
      UnfinishedPath(path),
      DeletedPath(path),
  };
  for (const std::string& name : names) {
    CO_TRY(const bool is_taken, co_await Exists(backend, name));
    if (is_taken) co_return false;
  }
  co_return true;
}

// Freed numbers are used again, so they say nothing about the order (disklib/FORMAT.md,
// "Snapshots").
Task<Result<std::string>> NextLinkPath(Lib& lib, std::string_view base_path) {
  for (uint32_t number = 1; number <= kLinkNumberMax; ++number) {
    std::string path = NumberedLinkPath(base_path, number);
    CO_TRY_STATUS(CheckDiskPath(path));
    CO_TRY(const bool is_free, co_await IsNameFree(lib.backend(), path));
    if (is_free) co_return path;
  }
  co_return Error(Code::kNoSpace, fmt::format("snapshot {}: no number is free", base_path));
}

}  // namespace

std::string PlannedLink::extent_path() const {
  const std::string_view name = NameOf(path);
  return JoinPath(FolderOf(path), layout == DiskLayout::kVmfsSparse ? DeltaExtentName(name)
                                                                    : SeSparseExtentName(name));
}

Task<Result<VmState>> LoadVmReady(Lib& lib, std::string_view path) {
  CO_TRY(const std::string plain_path, ResolveName("", path));
  CO_TRY_STATUS(co_await FinishIntents(lib, FolderOf(plain_path)));
  CO_TRY(VmState vm, co_await LoadVm(lib, plain_path));
  const Status checked = CheckSnapshotList(vm.list);
  if (!checked) co_return checked.error().Within(vm.vmsd_path);
  co_return vm;
}

Status CheckNoUnfinishedDelete(const VmState& vm) {
  if (!vm.list.unfinished_delete) return base::Ok();
  const Snapshot* const snapshot = vm.list.Find(vm.list.unfinished_delete->uid);
  return Error(
      Code::kBusy,
      fmt::format("{}: the delete of snapshot {} was cut: delete it again first", vm.vmsd_path,
                  snapshot == nullptr ? std::string("?") : snapshot->display_name));
}

Task<Result<PlannedLink>> PlanLink(Lib& lib, VmState& vm, const VmDisk* disk,
                                   const TreeLink* parent, DiskLayout layout) {
  if (layout != DiskLayout::kSeSparse && layout != DiskLayout::kVmfsSparse) {
    co_return Error(Code::kUnsupported, fmt::format("snapshot {}: {} is no format of snapshots",
                                                    parent->path, NameOf(layout)));
  }
  if (disk->is_independent) {
    co_return Error(Code::kUnsupported,
                    fmt::format("snapshot {}: the disk at {} is independent: it has no snapshots",
                                disk->leaf_path, disk->node));
  }
  CO_TRY(const std::vector<const TreeLink*> chain, vm.tree.ChainOf(parent->path));
  CO_TRY_STATUS(CheckCanBeFrozen(*chain.back()));
  if (chain.size() >= kChainLinksMax) {
    co_return Error(Code::kTooManyLinks,
                    fmt::format("snapshot {}: the chain has {} links, no more are allowed",
                                parent->path, chain.size()));
  }
  if (chain.size() >= kChainLinksAdvised) {
    base::LogWarn("disklib", "long chain, snapshots are no backups disk={} links={}", parent->path,
                  chain.size() + 1);
  }
  PlannedLink link{.node = disk->node, .path = {}, .parent_path = parent->path};
  // Links of a linked clone lie beside the clone, not beside the base of another machine.
  const std::string named_after = JoinPath(FolderOf(disk->leaf_path), NameOf(disk->base_path));
  CO_TRY(link.path, co_await NextLinkPath(lib, named_after));
  link.parent_content_id = parent->descriptor.content_id;
  link.size_bytes = parent->descriptor.capacity_sectors() * kSectorBytes;
  link.layout = link.size_bytes > kSparse32BytesMax ? DiskLayout::kSeSparse : layout;
  co_return link;
}

Task<Status> MakeLinks(Lib& lib, std::vector<PlannedLink>& links, Progress* progress) {
  for (const PlannedLink& link : links) {
    const NewLink what{.size_bytes = link.size_bytes,
                       .layout = link.layout,
                       .parent_path = link.parent_path,
                       .parent_content_id = link.parent_content_id,
                       .content_id = link.content_id};
    CO_TRY_STATUS(co_await CreateLink(lib, link.path, what, progress));
  }
  co_return base::Ok();
}

std::vector<IntentRemoval> RemovalsOf(const std::vector<PlannedLink>& links) {
  std::vector<IntentRemoval> removals;
  for (const PlannedLink& link : links) {
    removals.push_back(RemovalOf(link.path, link.parent_path, {link.extent_path()}));
  }
  return removals;
}

Task<Result<IntentRemoval>> PlanRemoval(Lib& lib, std::string_view path) {
  CO_TRY(const LoadedDescriptor loaded, co_await lib.Load(path, /*need_extents=*/false));
  CO_TRY(const std::string parent_path, ParentPathOf(lib.backend(), loaded.descriptor, path));
  std::vector<std::string> files;
  for (const std::string& extent_path : loaded.found_paths) {
    if (!extent_path.empty()) files.push_back(extent_path);
  }
  if (!loaded.descriptor.change_track_path.empty()) {
    CO_TRY(std::string tracking_path,
           ResolveName(FolderOf(path), loaded.descriptor.change_track_path));
    files.push_back(std::move(tracking_path));
  }
  co_return RemovalOf(path, parent_path, files);
}

Task<Result<std::string>> GuardOf(Lib& lib, std::string_view link_path) {
  CO_TRY(const LoadedDescriptor loaded, co_await lib.Load(link_path, /*need_extents=*/false));
  for (const std::string& extent_path : loaded.found_paths) {
    if (!extent_path.empty()) co_return extent_path;
  }
  co_return loaded.path;
}

Status SetLeaf(VmState& vm, std::string_view node, std::string_view path) {
  for (VmDisk& disk : vm.disks) {
    if (!EqualsIgnoringCase(disk.node, node)) continue;
    const std::string old_path = std::exchange(disk.leaf_path, std::string(path));
    if (vm.has_vmx()) return vm.vmx.SetFileName(node, vm.NameOfPath(path));
    if (!vm.vmsd_text) return base::Ok();  // the only leaf is the current one
    auto& current = vm.list.current_disks;
    const auto old_name = std::find(current.begin(), current.end(), vm.NameOfPath(old_path));
    if (old_name != current.end()) {
      *old_name = vm.NameOfPath(path);
    } else {
      current.push_back(vm.NameOfPath(path));
    }
    return base::Ok();
  }
  return Error(Code::kNotFound, fmt::format("{}: no disk at {}", vm.vmx_path, node));
}

std::vector<FileChange> ChangesOf(const VmState& vm) {
  std::vector<FileChange> changes;
  std::string vmsd_text = WriteSnapshotList(vm.list);
  if (vm.has_vmx() && vm.vmx.Text() != vm.vmx_text) {
    changes.push_back({vm.vmx_path, vm.vmx_text, vm.vmx.Text()});
  }
  if (vmsd_text != vm.vmsd_text && (vm.vmsd_text || !vm.list.snapshots.empty())) {
    changes.push_back({vm.vmsd_path, vm.vmsd_text, std::move(vmsd_text)});
  }
  return changes;
}

Task<Status> EnsureVmsd(Lib& lib, VmState& vm) {
  if (vm.vmsd_text) co_return base::Ok();
  CO_TRY_STATUS(co_await lib.backend().ReplaceContents(vm.vmsd_path, ""));
  vm.vmsd_text = "";
  co_return base::Ok();
}

SnapshotInfo DescribeSnapshot(const VmState& vm, const Snapshot& snapshot) {
  SnapshotInfo info{.uid = snapshot.uid,
                    .parent_uid = snapshot.parent_uid,
                    .name = snapshot.display_name,
                    .description = snapshot.description,
                    .created_us = snapshot.created_us,
                    .is_current = vm.list.current_uid == snapshot.uid,
                    .is_being_deleted =
                        vm.list.unfinished_delete && vm.list.unfinished_delete->uid == snapshot.uid,
                    .disks = {}};
  for (const SnapshotDisk& disk : snapshot.disks) {
    const Result<std::string> path = vm.PathOf(disk.file_name);
    SnapshotDiskInfo disk_info{.node = disk.node, .path = path ? *path : disk.file_name};
    const Result<std::vector<const TreeLink*>> chain = vm.tree.ChainOf(disk_info.path);
    if (chain) disk_info.link_count = chain->size();
    info.disks.push_back(std::move(disk_info));
  }
  return info;
}

Task<Status> CloseChains(OpenChains& chains) {
  Status first = base::Ok();
  for (const auto& chain : chains) {
    const Status closed = co_await chain->Close();
    if (first) first = closed;
  }
  chains.clear();
  co_return first;
}

}  // namespace disklib
