#include "disklib/commit.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "disklib/children.h"
#include "disklib/descriptor_edit.h"
#include "disklib/descriptor_store.h"
#include "disklib/extend_sparse.h"
#include "disklib/names.h"
#include "disklib/new_disk.h"
#include "disklib/operations.h"
#include "disklib/snapshot_plan.h"
#include "fs/base/log.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

// The child as one link and its parent as a chain, both held for this commit alone.
struct CommitPair {
  std::string child_path;
  std::string parent_path;
  OpenDisks::Claim child_claim;
  uint64_t child_id = 0;  // of its descriptor
  std::unique_ptr<Link> child;
  std::unique_ptr<Chain> parent;
};

Task<Status> OpenChild(Lib& lib, CommitPair& pair, CommitOptions options) {
  CO_TRY(LoadedDescriptor loaded, co_await lib.Load(pair.child_path, /*need_extents=*/true));
  CO_TRY_STATUS(Lib::CheckKind(loaded.descriptor, pair.child_path));
  const OpenOptions open_options{.writable = true, .user = options.user};
  CO_TRY(pair.child_claim, lib.ClaimDisk(loaded, open_options));
  std::vector<std::unique_ptr<Extent>> extents;
  Status status = base::Ok();
  for (size_t i = 0; status && i < loaded.descriptor.extents.size(); ++i) {
    Result<std::unique_ptr<Extent>> extent = co_await lib.OpenExtent(loaded, i, options.reclaim);
    if (extent) extents.push_back(*std::move(extent));
    if (!extent) status = extent.error();
  }
  if (status) {
    pair.child_id = loaded.info.id;
    pair.child = std::make_unique<Link>(loaded.path, loaded.info.id, std::move(loaded.descriptor),
                                        std::move(extents));
    co_return base::Ok();
  }
  for (const auto& extent : extents) {
    const Status closed = co_await extent->Close();
    static_cast<void>(closed);  // the first error is the one to tell
  }
  co_return status;
}

Task<Status> CloseChild(CommitPair& pair) {
  Status closed = base::Ok();
  if (pair.child != nullptr) closed = co_await pair.child->Close();
  pair.child.reset();
  pair.child_claim.Release();
  co_return closed;
}

Task<Status> ClosePair(CommitPair& pair) {
  Status closed = co_await CloseChild(pair);
  if (pair.parent != nullptr) {
    const Status parent_closed = co_await pair.parent->Close();
    if (closed) closed = parent_closed;
  }
  pair.parent.reset();
  co_return closed;
}

Task<Status> OpenPair(Lib& lib, CommitPair& pair, CommitOptions options, bool for_writing) {
  OpenOptions open_options{.writable = for_writing, .user = options.user};
  open_options.except_child = pair.child_path;
  CO_TRY(pair.parent, co_await lib.Open(pair.parent_path, open_options));
  const Status opened = co_await OpenChild(lib, pair, options);
  if (opened) co_return base::Ok();
  const Status closed = co_await ClosePair(pair);
  static_cast<void>(closed);  // the first error is the one to tell
  co_return opened;
}

Result<CommitPair> PairOf(const VmState& vm, std::string_view child_path) {
  const TreeLink* const child = vm.tree.Find(child_path);
  if (child == nullptr || child->is_base() || vm.tree.Find(child->parent_path) == nullptr) {
    return Error(Code::kUnsupported, fmt::format("commit {}: it has no parent", child_path));
  }
  CommitPair pair;
  pair.child_path = child_path;
  pair.parent_path = child->parent_path;
  return pair;
}

// Gives the parent its new content id and the mark, and tells the child of the id.
Task<Status> AnnounceCommit(Lib& lib, SnapshotRecord& record, CommitPair& pair) {
  base::Random& random = lib.executor().random();
  CO_TRY(const DescriptorText parent, co_await ReadDescriptorAt(lib.backend(), pair.parent_path));
  CO_TRY(const DescriptorText child, co_await ReadDescriptorAt(lib.backend(), pair.child_path));
  const uint32_t content_id = DrawContentId(random);
  DescriptorEdit parent_edit(parent.text);
  parent_edit.SetContentId(content_id, random);
  parent_edit.EndChangeTracking();
  parent_edit.SetDatabase(kCommittingKey,
                          RelativeName(FolderOf(pair.parent_path), pair.child_path));
  DescriptorEdit child_edit(child.text);
  child_edit.SetParent(pair.child->descriptor().parent_file_name_hint, content_id);
  CO_TRY(std::string new_parent_text, parent_edit.Finish());
  CO_TRY(std::string new_child_text, child_edit.Finish());
  std::vector<FileChange> changes = {
      {pair.parent_path, parent.text, std::move(new_parent_text)},
      {pair.child_path, child.text, std::move(new_child_text)},
  };
  std::vector<IntentRemoval> nothing_goes;
  CO_TRY_STATUS(co_await record.Commit(changes, nothing_goes));
  CO_TRY_STATUS(co_await pair.parent->AdoptDescriptor());
  CO_TRY(const ObjectInfo info, co_await lib.backend().GetInfo(pair.child_path));
  CO_TRY_STATUS(pair.child_claim.Replace(pair.child_id, info.id));
  pair.child_id = info.id;
  co_return base::Ok();
}

// Files of sparse extents grow while they are closed. The child is held meanwhile, and is a guard:
// nobody takes the operation for one that was cut.
Task<Status> GrowSparseParent(Lib& lib, CommitPair& pair, CommitOptions options,
                              Progress* progress) {
  const Status closed = co_await pair.parent->Close();
  pair.parent.reset();
  if (!closed) co_return closed;
  CO_TRY(LoadedDescriptor loaded, co_await lib.Load(pair.parent_path, /*need_extents=*/true));
  CO_TRY_STATUS(co_await GrowSparse(lib, loaded, pair.child->size_bytes(), progress));
  OpenOptions open_options{.writable = true, .user = options.user};
  open_options.except_child = pair.child_path;
  CO_TRY(pair.parent, co_await lib.Open(pair.parent_path, open_options));
  co_return co_await pair.parent->AdoptDescriptor();
}

Task<Status> GrowParent(Lib& lib, CommitPair& pair, CommitOptions options, Progress* progress) {
  if (pair.child->size_bytes() <= pair.parent->size_bytes()) co_return base::Ok();
  if (EndsSparse(pair.parent->top().descriptor())) {
    co_return co_await GrowSparseParent(lib, pair, options, progress);
  }
  const ExtendOptions extend{.size_bytes = pair.child->size_bytes(), .user = options.user};
  co_return co_await ExtendChain(lib, *pair.parent, extend, progress);
}

// Before anything changes: whether the parent can become as large as the child.
Task<Status> CheckParentRoom(Lib& lib, const CommitPair* pair) {
  const uint64_t size_bytes = pair->child->size_bytes();
  if (size_bytes <= pair->parent->size_bytes()) co_return base::Ok();
  const Descriptor& parent = pair->parent->top().descriptor();
  const auto planned = PlanExtend(parent, NameOf(pair->parent_path), size_bytes / kSectorBytes);
  if (!planned) co_return planned.error().Within(fmt::format("commit {}", pair->child_path));
  if (!EndsSparse(parent)) co_return base::Ok();
  CO_TRY(const LoadedDescriptor loaded, co_await lib.Load(pair->parent_path, true));
  co_return co_await CheckSparseRoom(lib, &loaded, size_bytes);
}

Task<Status> CopyContent(Lib& lib, CommitPair& pair, CommitOptions options, Progress* progress) {
  CO_TRY_STATUS(co_await GrowParent(lib, pair, options, progress));
  GrainCopier copier(lib.executor(), *pair.child, *pair.parent, {.reclaim = options.reclaim},
                     progress);
  CO_TRY(const GrainTotals totals, co_await copier.Measure());
  CO_TRY_STATUS(co_await copier.Run(totals.data_bytes + totals.zero_bytes));
  co_return base::Ok();
}

// The links above stand on the parent now.
Task<Status> MoveGrandchildren(Lib& lib, VmState& vm, CommitPair& pair, uint32_t content_id,
                               std::vector<FileChange>& changes) {
  for (const TreeLink* const link : vm.tree.ChildrenOf(pair.child_path)) {
    CO_TRY(DescriptorText read, co_await ReadDescriptorAt(lib.backend(), link->path));
    DescriptorEdit edit(read.text);
    edit.SetParent(RelativeName(FolderOf(link->path), pair.parent_path), content_id);
    CO_TRY(std::string new_text, edit.Finish());
    changes.push_back({link->path, std::move(read.text), std::move(new_text)});
  }
  co_return base::Ok();
}

// The record names the parent wherever it named the child.
Status MoveRecord(VmState& vm, const CommitPair& pair) {
  const std::vector<VmDisk> disks = vm.disks;
  for (const VmDisk& disk : disks) {
    if (disk.leaf_path == pair.child_path) {
      TRY_STATUS(SetLeaf(vm, disk.node, pair.parent_path));
    }
  }
  for (Snapshot& snapshot : vm.list.snapshots) {
    for (SnapshotDisk& disk : snapshot.disks) {
      const Result<std::string> path = vm.PathOf(disk.file_name);
      if (path && *path == pair.child_path) disk.file_name = vm.NameOfPath(pair.parent_path);
    }
  }
  if (vm.list.unfinished_delete) {
    std::erase(vm.list.unfinished_delete->children, vm.NameOfPath(pair.child_path));
  }
  return base::Ok();
}

// Everything that named the child names the parent, in one step; the child is to go.
Task<Status> Reparent(Lib& lib, VmState& vm, SnapshotRecord& record, CommitPair& pair) {
  CO_TRY(DescriptorText read, co_await ReadDescriptorAt(lib.backend(), pair.parent_path));
  CO_TRY(const Descriptor parent, ParseDescriptor(read.text));
  DescriptorEdit edit(read.text);
  edit.RemoveDatabase(kCommittingKey);
  CO_TRY(std::string new_parent_text, edit.Finish());
  CO_TRY(IntentRemoval removal, co_await PlanRemoval(lib, pair.child_path));
  CO_TRY_STATUS(MoveRecord(vm, pair));
  std::vector<FileChange> changes = ChangesOf(vm);
  changes.push_back({pair.parent_path, std::move(read.text), std::move(new_parent_text)});
  CO_TRY_STATUS(co_await MoveGrandchildren(lib, vm, pair, parent.content_id, changes));
  std::vector<IntentRemoval> removals = {std::move(removal)};
  CO_TRY_STATUS(co_await record.Commit(changes, removals));
  co_return base::Ok();
}

Task<Status> RunCommit(Lib& lib, VmState& vm, SnapshotRecord& record, CommitPair& pair,
                       CommitOptions options, Progress* progress) {
  CO_TRY_STATUS(co_await CheckParentRoom(lib, &pair));
  CO_TRY(std::string guard, co_await GuardOf(lib, pair.parent_path));
  CO_TRY(std::string child_guard, co_await GuardOf(lib, pair.child_path));
  record.SetGuards({std::move(guard), std::move(child_guard)});
  std::vector<IntentRemoval> nothing_goes;
  CO_TRY_STATUS(co_await record.Begin(nothing_goes));
  CO_TRY_STATUS(co_await AnnounceCommit(lib, record, pair));
  CO_TRY_STATUS(co_await CopyContent(lib, pair, options, progress));
  CO_TRY_STATUS(co_await Reparent(lib, vm, record, pair));
  co_return base::Ok();
}

// What stands on the disk after a commit.
Task<Status> Reload(Lib& lib, VmState& vm) {
  const std::string path = vm.has_vmx() ? vm.vmx_path : vm.disks.front().base_path;
  CO_TRY(vm, co_await LoadVm(lib, path));
  co_return base::Ok();
}

// Nothing is ever written to a parent on another datastore: it was taken into use in place.
Status CheckParentIsHere(const CommitPair& pair) {
  const std::string_view volume = VolumeOf(pair.parent_path);
  if (volume.empty()) return base::Ok();
  return Error(Code::kUnsupported,
               fmt::format("commit {0} into {1}: it lies on another datastore ({2}) and is only "
                           "read; to be rid of it, clone the disk: strata disk clone {0} NEW.vmdk",
                           pair.child_path, pair.parent_path, volume));
}

}  // namespace

Task<Status> CheckCommit(Lib& lib, VmState& vm, std::string_view child_path) {
  CO_TRY(const CommitPair pair, PairOf(vm, child_path));
  CO_TRY_STATUS(CheckParentIsHere(pair));
  for (const TreeLink* const sibling : vm.tree.ChildrenOf(pair.parent_path)) {
    if (sibling->path == child_path) continue;
    const std::vector<const Snapshot*> owners = vm.SnapshotsOf(sibling->path);
    const std::string owner =
        owners.empty() ? "" : fmt::format(" (snapshot {})", owners.front()->display_name);
    co_return Error(Code::kUnsupported,
                    fmt::format("commit {} into {}: {}{} stands on it, too, and would be ruined",
                                child_path, pair.parent_path, sibling->path, owner));
  }
  CO_TRY_STATUS(co_await CheckNoLivingChildren(lib.backend(), pair.parent_path, "commit into"));
  CO_TRY_STATUS(co_await CheckNoLivingChildren(lib.backend(), child_path, "commit"));
  const uint64_t child_sectors = vm.tree.Find(child_path)->descriptor.capacity_sectors();
  const uint64_t parent_sectors = vm.tree.Find(pair.parent_path)->descriptor.capacity_sectors();
  if (child_sectors >= parent_sectors) co_return base::Ok();
  co_return Error(Code::kCorrupt,
                  fmt::format("commit {} into {}: {} sectors are fewer than the parent's {}",
                              child_path, pair.parent_path, child_sectors, parent_sectors));
}

Task<Result<GrainTotals>> MeasureCommit(Lib& lib, VmState& vm, std::string_view child_path,
                                        CommitOptions options, uint64_t block_bytes) {
  CO_TRY(CommitPair pair, PairOf(vm, child_path));
  options.reclaim = false;
  CO_TRY_STATUS(co_await OpenPair(lib, pair, options, /*for_writing=*/true));
  GrainCopier copier(lib.executor(), *pair.child, *pair.parent, {.block_bytes = block_bytes},
                     nullptr);
  const Result<GrainTotals> totals = co_await copier.Measure();
  const Status closed = co_await ClosePair(pair);
  if (!totals) co_return totals.error();
  if (!closed) co_return closed.error();
  co_return totals;
}

Task<Status> CommitChild(Lib& lib, VmState& vm, SnapshotRecord& record, std::string_view child_path,
                         CommitOptions options, CommitSummary& summary, Progress* progress) {
  CO_TRY(CommitPair pair, PairOf(vm, child_path));
  CO_TRY_STATUS(co_await OpenPair(lib, pair, options, /*for_writing=*/true));
  const Status status = co_await RunCommit(lib, vm, record, pair, options, progress);
  // The child's files go in Finish, while the parent is still held.
  Status ended = co_await CloseChild(pair);
  if (ended) ended = co_await record.Finish();
  const Status closed = co_await ClosePair(pair);
  if (!status) co_return status;
  if (!ended) co_return ended;
  if (!closed) co_return closed;
  summary.removed_links.emplace_back(pair.child_path);
  base::LogInfo("disklib", "committed link={} into={}", pair.child_path, pair.parent_path);
  co_return co_await Reload(lib, vm);
}

}  // namespace disklib
