#include "disklib/extend_leaf.h"

#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "disklib/names.h"
#include "disklib/snapshot_plan.h"
#include "fs/base/log.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

// A new leaf, open and claimed, before any record leads to it.
struct NewLeaf {
  PlannedLink plan;
  std::unique_ptr<Link> link;
  OpenDisks::Claim claim;
};

// The disk that stands on `path` now; null if none does.
const VmDisk* DiskAt(const VmState& vm, std::string_view path) {
  for (const VmDisk& disk : vm.disks) {
    if (disk.leaf_path == path) return &disk;
  }
  return nullptr;
}

Task<Result<PlannedLink>> PlanLeaf(Lib& lib, VmState& vm, Chain& chain, uint64_t size_bytes) {
  const VmDisk* const disk = DiskAt(vm, chain.name());
  const TreeLink* const top = vm.tree.Find(chain.name());
  const std::vector<const Snapshot*> owners = vm.SnapshotsOf(chain.name());
  if (disk == nullptr || top == nullptr || !owners.empty()) {
    co_return Error(Code::kUnsupported,
                    fmt::format("extend {}: it is not where a disk goes on{}{}", chain.name(),
                                owners.empty() ? "" : ": it belongs to snapshot ",
                                owners.empty() ? "" : owners.front()->display_name));
  }
  CO_TRY(PlannedLink plan, co_await PlanLink(lib, vm, disk, top, DiskLayout::kSeSparse));
  plan.size_bytes = size_bytes;
  // The content id may have changed since the tree was read; it cannot any more.
  plan.parent_content_id = chain.top().descriptor().content_id;
  // A longer disk is other content.
  plan.content_id = DrawContentId(lib.executor().random());
  co_return plan;
}

Task<Status> CloseLeaf(NewLeaf& leaf) {
  Status closed = base::Ok();
  if (leaf.link != nullptr) closed = co_await leaf.link->Close();
  leaf.link.reset();
  leaf.claim.Release();
  co_return closed;
}

Task<Status> OpenLeaf(Lib& lib, NewLeaf& leaf, std::string_view user) {
  CO_TRY(LoadedDescriptor loaded, co_await lib.Load(leaf.plan.path, /*need_extents=*/true));
  const OpenOptions options{.writable = true, .user = user};
  CO_TRY(leaf.claim, lib.ClaimDisk(loaded, options));
  CO_TRY(std::unique_ptr<Extent> extent, co_await lib.OpenExtent(loaded, 0, /*writable=*/true));
  std::vector<std::unique_ptr<Extent>> extents;
  extents.push_back(std::move(extent));
  leaf.link = std::make_unique<Link>(loaded.path, loaded.info.id, std::move(loaded.descriptor),
                                     std::move(extents));
  co_return base::Ok();
}

// Everything up to the step that decides. The leaf is open by then: nothing can fail behind it.
Task<Status> MakeAndDecide(Lib& lib, VmState& vm, SnapshotRecord& record, NewLeaf& leaf,
                           std::string_view user, Progress* progress) {
  CO_TRY(std::string guard, co_await GuardOf(lib, leaf.plan.parent_path));
  record.SetGuards({std::move(guard)});
  std::vector<PlannedLink> links = {leaf.plan};
  std::vector<IntentRemoval> made = RemovalsOf(links);
  CO_TRY_STATUS(co_await record.Begin(made));
  CO_TRY_STATUS(co_await MakeLinks(lib, links, progress));
  CO_TRY_STATUS(co_await OpenLeaf(lib, leaf, user));
  CO_TRY_STATUS(SetLeaf(vm, leaf.plan.node, leaf.plan.path));
  std::vector<FileChange> changes = ChangesOf(vm);
  std::vector<IntentRemoval> nothing_goes;
  CO_TRY_STATUS(co_await record.Commit(changes, nothing_goes));
  co_return base::Ok();
}

// After a failure: what was made goes, unless it was decided already. Then, or when that cannot be
// told, the link the chain writes to is another one's parent.
Task<Status> TakeBack(Lib& lib, SnapshotRecord& record, NewLeaf& leaf, Chain& chain) {
  const Status closed = co_await CloseLeaf(leaf);
  static_cast<void>(closed);  // nothing was written to it
  const Status finished = co_await record.Finish();
  const Result<bool> is_there = co_await Exists(lib.backend(), leaf.plan.path);
  if (finished && is_there && !*is_there) co_return base::Ok();
  chain.ForbidWrites();
  co_return Error(Code::kIo, fmt::format("{} may be its leaf now: it takes no more writes until it "
                                         "is opened again",
                                         leaf.plan.path));
}

Task<Status> PutOnTop(Lib& lib, VmState& vm, SnapshotRecord& record, Chain& chain, NewLeaf& leaf,
                      Progress* progress) {
  const std::string user = chain.claim().holder().user;
  CO_TRY_STATUS(co_await chain.top().Sync());
  const Status decided = co_await MakeAndDecide(lib, vm, record, leaf, user, progress);
  if (!decided) {
    const Status taken_back = co_await TakeBack(lib, record, leaf, chain);
    if (taken_back) co_return decided;
    co_return decided.error().Within(std::string(taken_back.error().message()));
  }
  chain.AddLink(std::move(leaf.link), std::move(leaf.claim));
  co_return co_await record.Finish();
}

}  // namespace

Task<Result<std::string>> CurrentLeafOf(Lib& lib, const LoadedDescriptor* loaded) {
  const Result<VmState> vm = co_await LoadVmReady(lib, loaded->path);
  if (!vm && loaded->descriptor.has_parent()) co_return vm.error();
  if (!vm) co_return loaded->path;
  for (const VmDisk& disk : vm->disks) {
    CO_TRY(const std::vector<const TreeLink*> chain, vm->tree.ChainOf(disk.leaf_path));
    for (const TreeLink* const link : chain) {
      if (link->path == loaded->path) co_return disk.leaf_path;
    }
  }
  co_return loaded->path;
}

Task<Status> ExtendByLeaf(Lib& lib, Chain& chain, uint64_t size_bytes, Progress* progress) {
  if (size_bytes < chain.size_bytes()) {
    co_return Error(Code::kInvalidArgument,
                    fmt::format("extend {}: {} bytes are fewer than the disk's {}", chain.name(),
                                size_bytes, chain.size_bytes()));
  }
  if (size_bytes == chain.size_bytes()) co_return base::Ok();
  co_await chain.drain().AcquireExclusive();
  const base::ExclusiveGuard alone(chain.drain());
  CO_TRY(VmState vm, co_await LoadVmReady(lib, chain.name()));
  CO_TRY_STATUS(CheckNoUnfinishedDelete(vm));
  CO_TRY(SnapshotRecord record, SnapshotRecord::Hold(lib, vm.vmsd_path));
  CO_TRY(vm, co_await LoadVmReady(lib, chain.name()));  // nobody else changes it from here on
  NewLeaf leaf;
  CO_TRY(leaf.plan, co_await PlanLeaf(lib, vm, chain, size_bytes));
  const std::string path = leaf.plan.path;
  const Status extended = co_await PutOnTop(lib, vm, record, chain, leaf, progress);
  if (!extended) co_return extended.error().Within(fmt::format("extend {}", chain.name()));
  base::LogInfo("disklib", "extended by a link disk={} bytes={}", path, size_bytes);
  co_return base::Ok();
}

}  // namespace disklib
