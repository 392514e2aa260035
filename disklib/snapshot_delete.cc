#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "disklib/children.h"
#include "disklib/commit.h"
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

// With reclaim a commit runs ahead of what it gives back by this much.
constexpr uint64_t kReclaimAheadBytes = uint64_t{128} << 20;

// What deleting a snapshot comes to, disk by disk.
struct DeletePlan {
  std::vector<std::string> children;  // paths of links to be committed into what it froze
  std::vector<std::string> tips;      // links of branches that nothing stands on
};

bool IsLeafOfDisk(const VmState& vm, std::string_view path) {
  return std::any_of(vm.disks.begin(), vm.disks.end(),
                     [path](const VmDisk& disk) { return disk.leaf_path == path; });
}

// Plans one disk of a snapshot. A link another snapshot froze, too, stays as it is.
Status PlanDisk(const VmState& vm, const Snapshot& snapshot, const SnapshotDisk& disk,
                DeletePlan& plan) {
  TRY(const std::string frozen_path, vm.PathOf(disk.file_name));
  const TreeLink* const frozen = vm.tree.Find(frozen_path);
  if (frozen == nullptr || vm.SnapshotsOf(frozen_path).size() > 1) return base::Ok();
  const std::vector<const TreeLink*> children = vm.tree.BranchesOf(frozen_path);
  if (children.size() == 1) {
    plan.children.push_back(children.front()->path);
  } else if (children.empty()) {
    if (!frozen->is_base() && !IsLeafOfDisk(vm, frozen_path)) plan.tips.push_back(frozen_path);
  } else {
    std::vector<std::string> names;
    for (const TreeLink* const child : children) {
      const std::vector<const Snapshot*> owners = vm.SnapshotsOf(child->path);
      names.push_back(owners.empty() ? child->path
                                     : fmt::format("{} (snapshot {})", child->path,
                                                   owners.front()->display_name));
    }
    return Error(Code::kUnsupported,
                 fmt::format("delete snapshot {}: several links stand on {}: {}: delete their "
                             "snapshots first",
                             snapshot.display_name, frozen_path, fmt::join(names, ", ")));
  }
  return base::Ok();
}

Result<DeletePlan> PlanDelete(const VmState& vm, uint32_t uid) {
  DeletePlan plan;
  const Snapshot& snapshot = *vm.list.Find(uid);
  for (const SnapshotDisk& disk : snapshot.disks) TRY_STATUS(PlanDisk(vm, snapshot, disk, plan));
  return plan;
}

// Refuses what cannot be done, and says what it takes.
Task<Status> CheckAndMeasure(Lib& lib, VmState& vm, std::vector<std::string>& children,
                             CommitOptions options, CommitSummary& summary) {
  CO_TRY(const ObjectSpace space, co_await lib.backend().GetSpace());
  summary.free_bytes = space.free_bytes;
  for (const std::string& child : children) {
    CO_TRY_STATUS(co_await CheckCommit(lib, vm, child));
    CO_TRY(const GrainTotals totals,
           co_await MeasureCommit(lib, vm, child, options, space.block_bytes));
    summary.data_bytes += totals.data_bytes;
    summary.zero_bytes += totals.zero_bytes;
    summary.needed_bytes +=
        options.reclaim ? std::min(totals.new_bytes, kReclaimAheadBytes) : totals.new_bytes;
  }
  if (summary.needed_bytes <= summary.free_bytes) co_return base::Ok();
  co_return Error(Code::kNoSpace,
                  fmt::format("{}: up to {} bytes are needed, {} are free{}", vm.vmsd_path,
                              summary.needed_bytes, summary.free_bytes,
                              options.reclaim ? "" : "; --reclaim needs less"));
}

Task<Status> StoreList(Lib& lib, VmState& vm) {
  std::string text = WriteSnapshotList(vm.list);
  CO_TRY_STATUS(co_await lib.backend().ReplaceContents(vm.vmsd_path, text));
  vm.vmsd_text = std::move(text);
  co_return base::Ok();
}

// From here on the snapshot may no longer be what it was: the list says so.
Task<Status> MarkDelete(Lib& lib, VmState& vm, uint32_t uid, std::vector<std::string>& children) {
  UnfinishedDelete unfinished{.uid = uid, .children = {}};
  for (const std::string& child : children) unfinished.children.push_back(vm.NameOfPath(child));
  vm.list.unfinished_delete = std::move(unfinished);
  return StoreList(lib, vm);
}

// Takes the snapshot out of the list; branches that only it needed go.
Task<Status> DropSnapshot(Lib& lib, VmState& vm, SnapshotRecord& record, uint32_t uid,
                          CommitSummary& summary) {
  DeletePlan plan;
  const Snapshot& snapshot = *vm.list.Find(uid);
  for (const SnapshotDisk& disk : snapshot.disks) {
    const Status planned = PlanDisk(vm, snapshot, disk, plan);
    static_cast<void>(planned);  // links stand on what was committed into
  }
  std::vector<IntentRemoval> removals;
  for (const std::string& tip : plan.tips) {
    CO_TRY_STATUS(co_await CheckNoLivingChildren(lib.backend(), tip, "delete"));
    CO_TRY(IntentRemoval removal, co_await PlanRemoval(lib, tip));
    removals.push_back(std::move(removal));
  }
  vm.list.Remove(uid);
  vm.list.unfinished_delete.reset();
  std::vector<IntentRemoval> nothing_goes;
  record.SetGuards({});
  CO_TRY_STATUS(co_await record.Begin(nothing_goes));
  std::vector<FileChange> changes = ChangesOf(vm);
  const Status committed = co_await record.Commit(changes, removals);
  const Status finished = co_await record.Finish();
  if (!committed) co_return committed;
  if (!finished) co_return finished;
  vm.vmsd_text = WriteSnapshotList(vm.list);
  for (std::string& tip : plan.tips) summary.removed_links.push_back(std::move(tip));
  co_return base::Ok();
}

// The paths of the links an unfinished delete still has to commit.
Result<std::vector<std::string>> RemainingChildren(const VmState& vm) {
  std::vector<std::string> paths;
  for (const std::string& name : vm.list.unfinished_delete->children) {
    TRY(std::string path, vm.PathOf(name));
    paths.push_back(std::move(path));
  }
  return paths;
}

Task<Status> RunDelete(Lib& lib, VmState& vm, SnapshotRecord& record, uint32_t uid,
                       CommitOptions options, CommitSummary& summary, Progress* progress) {
  const bool is_resumed = vm.list.unfinished_delete.has_value();
  std::vector<std::string> children;
  if (is_resumed) {
    if (vm.list.unfinished_delete->uid != uid) CO_TRY_STATUS(CheckNoUnfinishedDelete(vm));
    CO_TRY(children, RemainingChildren(vm));
  } else {
    CO_TRY(DeletePlan plan, PlanDelete(vm, uid));
    children = std::move(plan.children);
    for (const std::string& tip : plan.tips) {
      CO_TRY_STATUS(co_await CheckNoLivingChildren(lib.backend(), tip, "delete"));
    }
  }
  CO_TRY_STATUS(co_await CheckAndMeasure(lib, vm, children, options, summary));
  if (!is_resumed && !children.empty()) {
    CO_TRY_STATUS(co_await MarkDelete(lib, vm, uid, children));
  }
  for (const std::string& child : children) {
    CO_TRY_STATUS(co_await CommitChild(lib, vm, record, child, options, summary, progress));
  }
  CO_TRY_STATUS(co_await DropSnapshot(lib, vm, record, uid, summary));
  co_return base::Ok();
}

// Which snapshot to delete next when all go: what was begun; tips of branches; then from the base
// upwards, so that each grain is copied once. Errors: why none can be deleted.
Result<uint32_t> NextToDelete(const VmState& vm) {
  if (vm.list.unfinished_delete) return vm.list.unfinished_delete->uid;
  Status refusal = base::Ok();
  uint32_t first_uid = 0;
  for (const Snapshot& snapshot : vm.list.snapshots) {
    const Result<DeletePlan> plan = PlanDelete(vm, snapshot.uid);
    if (!plan && refusal) refusal = plan.error();
    if (!plan) continue;
    if (plan->children.empty()) return snapshot.uid;
    if (first_uid == 0) first_uid = snapshot.uid;
  }
  if (first_uid == 0) return refusal.error();
  return first_uid;
}

// Whether only the link at `child_path` stands on its parent, and nothing elsewhere on either.
Task<Result<bool>> IsOnlyChild(Lib& lib, VmState& vm, std::string_view child_path,
                               std::string_view parent_path) {
  if (vm.tree.ChildrenOf(parent_path).size() != 1) co_return false;
  CO_TRY(const std::vector<std::string> on_parent,
         co_await LivingChildren(lib.backend(), parent_path));
  CO_TRY(const std::vector<std::string> on_child,
         co_await LivingChildren(lib.backend(), child_path));
  co_return on_parent.empty() && on_child.empty();
}

// The lowest link of a disk that may go into its parent when there is no snapshot: an extension
// has added it, or a record was lost. Empty: every disk is as short as it can be.
Task<Result<std::string>> NextToMerge(Lib& lib, VmState& vm) {
  for (const VmDisk& disk : vm.disks) {
    if (disk.is_independent) continue;
    CO_TRY(const std::vector<const TreeLink*> chain, vm.tree.ChainOf(disk.leaf_path));
    for (size_t i = chain.size() - 1; i > 0; --i) {
      const std::string& parent_path = chain[i]->path;
      const std::string& child_path = chain[i - 1]->path;
      const Result<std::string> base = vm.tree.DiskBaseOf(parent_path);
      if (!base || *base != disk.base_path) continue;
      CO_TRY(const bool may_merge, co_await IsOnlyChild(lib, vm, child_path, parent_path));
      if (may_merge) co_return child_path;
    }
  }
  co_return std::string();
}

void AddTo(CommitSummary& total, CommitSummary& one) {
  total.data_bytes += one.data_bytes;
  total.zero_bytes += one.zero_bytes;
  total.needed_bytes = std::max(total.needed_bytes, one.needed_bytes);
  total.free_bytes = std::max(total.free_bytes, one.free_bytes);
  for (std::string& link : one.removed_links) total.removed_links.push_back(std::move(link));
}

Task<Status> MergeRest(Lib& lib, VmState& vm, SnapshotRecord& record, CommitOptions options,
                       CommitSummary& summary, Progress* progress) {
  while (true) {
    CO_TRY(const std::string child_path, co_await NextToMerge(lib, vm));
    if (child_path.empty()) co_return base::Ok();
    CommitSummary one;
    std::vector<std::string> children = {child_path};
    CO_TRY_STATUS(co_await CheckAndMeasure(lib, vm, children, options, one));
    CO_TRY_STATUS(co_await CommitChild(lib, vm, record, child_path, options, one, progress));
    AddTo(summary, one);
  }
}

}  // namespace

Task<Result<CommitSummary>> DeleteSnapshot(Lib& lib, std::string_view path,
                                           std::string_view snapshot, CommitOptions options,
                                           Progress* progress) {
  CO_TRY(VmState vm, co_await LoadVmReady(lib, path));
  CO_TRY(SnapshotRecord record, SnapshotRecord::Hold(lib, vm.vmsd_path));
  CO_TRY(vm, co_await LoadVmReady(lib, path));  // nobody else changes it from here on
  CO_TRY(const uint32_t uid, FindSnapshot(vm.list, snapshot));
  CommitSummary summary;
  CO_TRY_STATUS(co_await RunDelete(lib, vm, record, uid, options, summary, progress));
  base::LogInfo("disklib", "deleted snapshot uid={} record={}", uid, vm.vmsd_path);
  co_return summary;
}

Task<Result<CommitSummary>> DeleteAllSnapshots(Lib& lib, std::string_view path,
                                               CommitOptions options, Progress* progress) {
  CO_TRY(VmState vm, co_await LoadVmReady(lib, path));
  CO_TRY(SnapshotRecord record, SnapshotRecord::Hold(lib, vm.vmsd_path));
  CO_TRY(vm, co_await LoadVmReady(lib, path));  // nobody else changes it from here on
  CommitSummary summary;
  while (!vm.list.snapshots.empty()) {
    CO_TRY(const uint32_t uid, NextToDelete(vm));
    CommitSummary one;
    CO_TRY_STATUS(co_await RunDelete(lib, vm, record, uid, options, one, progress));
    AddTo(summary, one);
    CO_TRY(vm, co_await LoadVm(lib, path));
  }
  CO_TRY_STATUS(co_await MergeRest(lib, vm, record, options, summary, progress));
  base::LogInfo("disklib", "deleted all snapshots record={}", vm.vmsd_path);
  co_return summary;
}

Task<Result<CommitSummary>> ConsolidateLink(Lib& lib, std::string_view link_path,
                                            CommitOptions options, Progress* progress) {
  CO_TRY(VmState vm, co_await LoadVmReady(lib, link_path));
  CO_TRY(SnapshotRecord record, SnapshotRecord::Hold(lib, vm.vmsd_path));
  CO_TRY(vm, co_await LoadVmReady(lib, link_path));  // nobody else changes it from here on
  CO_TRY_STATUS(CheckNoUnfinishedDelete(vm));
  CO_TRY(const std::string path, ResolveName("", link_path));
  std::vector<std::string> children = {path};
  CO_TRY_STATUS(co_await CheckCommit(lib, vm, path));
  const std::vector<const Snapshot*> owners = vm.SnapshotsOf(vm.tree.Find(path)->parent_path);
  if (!owners.empty()) {
    co_return Error(Code::kUnsupported,
                    fmt::format("consolidate {}: its parent is snapshot {}: delete that", path,
                                owners.front()->display_name));
  }
  CommitSummary summary;
  CO_TRY_STATUS(co_await CheckAndMeasure(lib, vm, children, options, summary));
  CO_TRY_STATUS(co_await CommitChild(lib, vm, record, path, options, summary, progress));
  co_return summary;
}

Task<Result<CommitSummary>> MeasureDelete(Lib& lib, std::string_view path,
                                          std::string_view snapshot) {
  CO_TRY(VmState vm, co_await LoadVmReady(lib, path));
  CO_TRY(const uint32_t uid, FindSnapshot(vm.list, snapshot));
  CO_TRY(DeletePlan plan, PlanDelete(vm, uid));
  CommitSummary summary;
  const Status measured = co_await CheckAndMeasure(lib, vm, plan.children, {}, summary);
  if (!measured && measured.error().code() != Code::kNoSpace) co_return measured.error();
  for (std::string& child : plan.children) summary.removed_links.push_back(std::move(child));
  for (std::string& tip : plan.tips) summary.removed_links.push_back(std::move(tip));
  co_return summary;
}

}  // namespace disklib
