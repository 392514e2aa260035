#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "disklib/children.h"
#include "disklib/descriptor_lines.h"
#include "disklib/names.h"
#include "disklib/snapshot.h"
#include "disklib/snapshot_plan.h"
#include "fs/base/log.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

// The snapshot an earlier run of the same create made before it was cut: the current one, of the
// same name, with nothing written since.
const Snapshot* FindFinished(const VmState& vm, std::string_view name) {
  const Snapshot* const current = vm.list.Find(vm.list.current_uid);
  if (name.empty() || current == nullptr || current->display_name != name) return nullptr;
  if (current->disks.size() != vm.disks.size()) return nullptr;
  for (const SnapshotDisk& disk : current->disks) {
    const VmDisk* const now = vm.FindDisk(disk.node);
    const TreeLink* const leaf = now == nullptr ? nullptr : vm.tree.Find(now->leaf_path);
    const Result<std::string> frozen_path = vm.PathOf(disk.file_name);
    const bool is_untouched = leaf != nullptr && frozen_path && leaf->parent_path == *frozen_path &&
                              leaf->descriptor.content_id == leaf->descriptor.parent_content_id;
    if (!is_untouched) return nullptr;
  }
  return current;
}

// Opens chains for reading: nobody writes them meanwhile.
Task<Status> OpenLeaves(Lib& lib, VmState& vm, std::string_view user, OpenChains& chains) {
  for (const VmDisk& disk : vm.disks) {
    const OpenOptions options{.writable = false, .user = user};
    CO_TRY(std::unique_ptr<Chain> chain, co_await lib.Open(disk.leaf_path, options));
    chains.push_back(std::move(chain));
  }
  co_return base::Ok();
}

// Everything a create or revert decides before it changes anything.
struct LeafPlan {
  std::vector<PlannedLink> links;
  std::vector<std::string> guards;
  std::vector<IntentRemoval> removals;  // leaves that go
};

Task<Status> PlanCreate(Lib& lib, VmState& vm, DiskLayout layout, LeafPlan& plan) {
  for (const VmDisk& disk : vm.disks) {
    const TreeLink* const leaf = vm.tree.Find(disk.leaf_path);
    if (leaf == nullptr) {
      co_return Error(Code::kNotFound, fmt::format("snapshot {}: no such disk", disk.leaf_path));
    }
    CO_TRY(PlannedLink link, co_await PlanLink(lib, vm, &disk, leaf, layout));
    CO_TRY(std::string guard, co_await GuardOf(lib, disk.leaf_path));
    plan.links.push_back(std::move(link));
    plan.guards.push_back(std::move(guard));
  }
  if (plan.links.empty()) {
    co_return Error(Code::kNotFound, fmt::format("snapshot {}: has no disks", vm.vmx_path));
  }
  co_return base::Ok();
}

// Notes the new links, makes them, and moves the disks onto them in one step with the list.
Task<Status> SwitchLeaves(Lib& lib, VmState& vm, SnapshotRecord& record, LeafPlan& plan,
                          Progress* progress) {
  std::vector<IntentRemoval> made = RemovalsOf(plan.links);
  record.SetGuards(plan.guards);
  CO_TRY_STATUS(co_await record.Begin(made));
  CO_TRY_STATUS(co_await MakeLinks(lib, plan.links, progress));
  CO_TRY_STATUS(co_await EnsureVmsd(lib, vm));
  for (const PlannedLink& link : plan.links) CO_TRY_STATUS(SetLeaf(vm, link.node, link.path));
  std::vector<FileChange> changes = ChangesOf(vm);
  CO_TRY_STATUS(co_await record.Commit(changes, plan.removals));
  co_return base::Ok();
}

// Ends an operation while its disks are still held: what is noted is done, after a failure too, for
// then it takes back what was made. The first error is the one to tell.
Task<Status> EndOperation(SnapshotRecord& record, OpenChains& chains, Status& status) {
  const Status finished = co_await record.Finish();
  const Status closed = co_await CloseChains(chains);
  if (!status) co_return status;
  co_return finished ? closed : finished;
}

void AddSnapshot(VmState& vm, const CreateSnapshotOptions& options, uint64_t created_us) {
  const std::vector<VmDisk> disks = vm.disks;
  Snapshot& snapshot = vm.list.Add(options.name, options.description, created_us);
  if (options.name.empty()) snapshot.display_name = fmt::format("Snapshot {}", snapshot.uid);
  for (const VmDisk& disk : disks) {
    snapshot.disks.push_back({.file_name = vm.NameOfPath(disk.leaf_path), .node = disk.node});
  }
}

Task<Status> RunCreate(Lib& lib, VmState& vm, SnapshotRecord& record, CreateSnapshotOptions options,
                       Progress* progress) {
  OpenChains chains;
  LeafPlan plan;
  Status status = co_await OpenLeaves(lib, vm, options.user, chains);
  if (status) status = co_await PlanCreate(lib, vm, options.layout, plan);
  if (!status) {
    const Status closed = co_await CloseChains(chains);
    static_cast<void>(closed);  // the first error is the one to tell
    co_return status;
  }
  AddSnapshot(vm, options, lib.executor().WallMicroseconds());
  status = co_await SwitchLeaves(lib, vm, record, plan, progress);
  const Status ended = co_await EndOperation(record, chains, status);
  co_return ended;
}

// The links a snapshot froze, by node; a disk the snapshot does not know stays as it is.
Task<Status> PlanRevert(Lib& lib, VmState& vm, uint32_t uid, DiskLayout layout, LeafPlan& plan) {
  const Snapshot* const snapshot = vm.list.Find(uid);
  for (const SnapshotDisk& frozen : snapshot->disks) {
    const VmDisk* const disk = vm.FindDisk(frozen.node);
    if (disk == nullptr) {
      co_return Error(Code::kNotFound,
                      fmt::format("revert to {}: nothing is attached at {}, where it has the disk "
                                  "{}",
                                  snapshot->display_name, frozen.node, frozen.file_name));
    }
    CO_TRY(const std::string frozen_path, vm.PathOf(frozen.file_name));
    const TreeLink* const link = vm.tree.Find(frozen_path);
    if (link == nullptr) {
      co_return Error(Code::kNotFound, fmt::format("revert to {}: {} is missing",
                                                   snapshot->display_name, frozen_path));
    }
    CO_TRY(PlannedLink planned, co_await PlanLink(lib, vm, disk, link, layout));
    plan.links.push_back(std::move(planned));
    CO_TRY(std::string guard, co_await GuardOf(lib, frozen_path));
    plan.guards.push_back(std::move(guard));
    CO_TRY(const std::vector<std::string> clones,
           co_await LivingChildren(lib.backend(), disk->leaf_path));
    const bool is_needed = !vm.SnapshotsOf(disk->leaf_path).empty() || !clones.empty() ||
                           !vm.tree.ChildrenOf(disk->leaf_path).empty();
    const TreeLink* const leaf = vm.tree.Find(disk->leaf_path);
    if (is_needed || leaf == nullptr || leaf->is_base()) continue;
    CO_TRY(IntentRemoval removal, co_await PlanRemoval(lib, disk->leaf_path));
    plan.removals.push_back(std::move(removal));
  }
  co_return base::Ok();
}

// Holds the leaves that go, and what the snapshot froze.
Task<Status> OpenForRevert(Lib& lib, LeafPlan& plan, std::string_view user, OpenChains& leaves,
                           OpenChains& frozen) {
  for (const PlannedLink& link : plan.links) {
    const OpenOptions options{.writable = false, .user = user, .single_link = true};
    CO_TRY(std::unique_ptr<Chain> chain, co_await lib.Open(link.parent_path, options));
    frozen.push_back(std::move(chain));
  }
  for (const IntentRemoval& removal : plan.removals) {
    const OpenOptions options{.writable = true, .user = user};
    CO_TRY(std::unique_ptr<Chain> chain, co_await lib.Open(removal.name, options));
    leaves.push_back(std::move(chain));
  }
  co_return base::Ok();
}

Task<Status> RunRevert(Lib& lib, VmState& vm, SnapshotRecord& record, uint32_t uid,
                       RevertOptions options, Progress* progress) {
  OpenChains leaves;
  OpenChains frozen;
  LeafPlan plan;
  Status status = co_await PlanRevert(lib, vm, uid, options.layout, plan);
  if (status) status = co_await OpenForRevert(lib, plan, options.user, leaves, frozen);
  const bool has_begun = status.has_value();
  vm.list.current_uid = uid;
  if (status) status = co_await SwitchLeaves(lib, vm, record, plan, progress);
  // Files that go must be free: the record no longer leads to them.
  const Status closed = co_await CloseChains(leaves);
  if (status) status = closed;
  if (has_begun) {
    const Status ended = co_await EndOperation(record, frozen, status);
    co_return ended;
  }
  const Status closed_frozen = co_await CloseChains(frozen);
  static_cast<void>(closed_frozen);  // the first error is the one to tell
  co_return status;
}

std::vector<std::string> OrphansOf(const VmState& vm) {
  std::vector<std::string> kept;
  const auto keep_chain = [&](std::string_view path) {
    const Result<std::vector<const TreeLink*>> chain = vm.tree.ChainOf(path);
    if (!chain) return;
    for (const TreeLink* const link : *chain) kept.push_back(link->path);
  };
  for (const VmDisk& disk : vm.disks) keep_chain(disk.leaf_path);
  for (const TreeLink* const clone : vm.tree.Clones()) keep_chain(clone->path);
  for (const Snapshot& snapshot : vm.list.snapshots) {
    for (const SnapshotDisk& disk : snapshot.disks) {
      if (const Result<std::string> path = vm.PathOf(disk.file_name)) keep_chain(*path);
    }
  }
  std::vector<std::string> orphans;
  for (const VmDisk& disk : vm.disks) {
    for (const TreeLink* const link : vm.tree.LinksOn(disk.base_path)) {
      if (std::find(kept.begin(), kept.end(), link->path) == kept.end()) {
        orphans.push_back(link->path);
      }
    }
  }
  return orphans;
}

}  // namespace

Task<Result<SnapshotTree>> ListSnapshots(Lib& lib, std::string_view path) {
  CO_TRY(const VmState vm, co_await LoadVmReady(lib, path));
  SnapshotTree tree;
  tree.vmx_path = vm.vmx_path;
  tree.vmsd_path = vm.vmsd_path;
  for (const Snapshot& snapshot : vm.list.snapshots) {
    tree.snapshots.push_back(DescribeSnapshot(vm, snapshot));
  }
  for (const VmDisk& disk : vm.disks) {
    const Result<std::vector<const TreeLink*>> chain = vm.tree.ChainOf(disk.leaf_path);
    tree.disks.push_back(
        {.node = disk.node, .path = disk.leaf_path, .link_count = chain ? chain->size() : 0});
  }
  tree.orphans = OrphansOf(vm);
  co_return tree;
}

Task<Result<SnapshotInfo>> CreateSnapshot(Lib& lib, std::string_view path,
                                          CreateSnapshotOptions options, Progress* progress) {
  CO_TRY(VmState vm, co_await LoadVmReady(lib, path));
  CO_TRY(SnapshotRecord record, SnapshotRecord::Hold(lib, vm.vmsd_path));
  CO_TRY(vm, co_await LoadVmReady(lib, path));  // nobody else changes it from here on
  CO_TRY_STATUS(CheckNoUnfinishedDelete(vm));
  if (const Snapshot* const finished = FindFinished(vm, options.name)) {
    co_return DescribeSnapshot(vm, *finished);
  }
  CO_TRY_STATUS(co_await RunCreate(lib, vm, record, options, progress));
  const SnapshotInfo info = DescribeSnapshot(vm, *vm.list.Find(vm.list.current_uid));
  base::LogInfo("disklib", "made snapshot name={} uid={} record={}", info.name, info.uid,
                vm.vmsd_path);
  co_return info;
}

Task<Result<SnapshotInfo>> RevertToSnapshot(Lib& lib, std::string_view path,
                                            std::string_view snapshot, RevertOptions options,
                                            Progress* progress) {
  CO_TRY(VmState vm, co_await LoadVmReady(lib, path));
  CO_TRY(SnapshotRecord record, SnapshotRecord::Hold(lib, vm.vmsd_path));
  CO_TRY(vm, co_await LoadVmReady(lib, path));  // nobody else changes it from here on
  CO_TRY_STATUS(CheckNoUnfinishedDelete(vm));
  CO_TRY(const uint32_t uid, FindSnapshot(vm.list, snapshot));
  CO_TRY_STATUS(co_await RunRevert(lib, vm, record, uid, options, progress));
  const SnapshotInfo info = DescribeSnapshot(vm, *vm.list.Find(uid));
  base::LogInfo("disklib", "reverted to snapshot name={} uid={} record={}", info.name, info.uid,
                vm.vmsd_path);
  co_return info;
}

}  // namespace disklib
