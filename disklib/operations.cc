#include "disklib/operations.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "disklib/children.h"
#include "disklib/disk_size.h"
#include "disklib/extend_leaf.h"
#include "disklib/extend_sparse.h"
#include "disklib/extent_places.h"
#include "disklib/names.h"
#include "disklib/vm_folder/records.h"
#include "fs/base/log.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

// What DeleteDisk works on: a disk, or what a cut delete left of one.
struct Deletion {
  LoadedDescriptor loaded;
  bool is_marked = false;  // the descriptor has its deleted name already
};

Task<Result<Deletion>> LoadForDelete(Lib& lib, std::string_view path) {
  Deletion deletion;
  const std::string marked_path = DeletedPath(path);
  CO_TRY(const bool exists, co_await Exists(lib.backend(), path));
  CO_TRY(deletion.is_marked, co_await Exists(lib.backend(), marked_path));
  if (exists) {
    // The mark of an older disk of this name: its files are this one's now, or gone.
    if (deletion.is_marked) CO_TRY_STATUS(co_await lib.backend().Remove(marked_path));
    deletion.is_marked = false;
    CO_TRY(deletion.loaded, co_await lib.Load(path, /*need_extents=*/false));
    co_return deletion;
  }
  if (!deletion.is_marked) {
    co_return Error(Code::kNotFound, fmt::format("delete {}: no such disk", path));
  }
  CO_TRY(deletion.loaded, co_await lib.Load(marked_path, /*need_extents=*/false));
  co_return deletion;
}

Task<Status> RemoveParts(Lib& lib, LoadedDescriptor& loaded, std::string_view path) {
  for (const std::string& extent_path : loaded.found_paths) {
    if (extent_path.empty()) continue;
    CO_TRY_STATUS(co_await RemoveIfThere(lib.backend(), extent_path));
  }
  const std::string& tracking_name = loaded.descriptor.change_track_path;
  if (!tracking_name.empty()) {
    CO_TRY(const std::string tracking_path, ResolveName(FolderOf(path), tracking_name));
    CO_TRY_STATUS(co_await RemoveIfThere(lib.backend(), tracking_path));
  }
  CO_TRY_STATUS(co_await FinishExtents(lib.backend(), path));
  CO_TRY_STATUS(co_await lib.backend().SyncNames());
  co_return base::Ok();
}

// The last step: as long as anything of a linked clone is there, its registration tells it from a
// link of its parent's disk.
Task<Status> LeaveParent(Lib& lib, LoadedDescriptor& loaded, std::string_view path) {
  if (!loaded.descriptor.has_parent()) co_return base::Ok();
  const Result<std::string> parent = ParentPathOf(lib.backend(), loaded.descriptor, path);
  // It stood on nothing of this datastore.
  if (!parent || !VolumeOf(*parent).empty()) co_return base::Ok();
  CO_TRY_STATUS(co_await UnregisterChild(lib.backend(), *parent, path));
  co_return base::Ok();
}

}  // namespace

Task<Status> DeleteDisk(Lib& lib, std::string_view path) {
  CO_TRY(const std::string plain_path, ResolveName("", path));
  CO_TRY(const Lib::PathHold hold, lib.HoldPath(plain_path));
  CO_TRY(Deletion deletion, co_await LoadForDelete(lib, plain_path));
  LoadedDescriptor& loaded = deletion.loaded;
  CO_TRY_STATUS(Lib::CheckKind(loaded.descriptor, plain_path));
  if (const std::optional<RenameMark> mark = FindRenameMark(loaded.descriptor, plain_path)) {
    co_return Error(Code::kBusy, fmt::format("delete {}: a rename to {} has begun: finish it first",
                                             plain_path, mark->to));
  }
  CO_TRY_STATUS(co_await lib.CheckAlone(loaded, "delete"));
  const OpenOptions options{.writable = true, .user = "strata disk delete"};
  CO_TRY(const OpenDisks::Claim claim, lib.ClaimDisk(loaded, options));
  const std::string marked_path = DeletedPath(plain_path);
  if (!deletion.is_marked) {
    CO_TRY_STATUS(co_await ForgetInRecords(lib, plain_path));
    CO_TRY_STATUS(co_await lib.backend().Rename(plain_path, marked_path));
  }
  CO_TRY_STATUS(co_await lib.backend().SyncNames());
  CO_TRY_STATUS(co_await RemoveParts(lib, loaded, plain_path));
  const std::string stale_registry = ChildrenPath(plain_path);
  CO_TRY_STATUS(co_await RemoveIfThere(lib.backend(), stale_registry));
  CO_TRY_STATUS(co_await RemoveIfThere(lib.backend(), marked_path));
  CO_TRY_STATUS(co_await lib.backend().SyncNames());
  CO_TRY_STATUS(co_await LeaveParent(lib, loaded, plain_path));
  base::LogInfo("disklib", "deleted disk={}", plain_path);
  co_return base::Ok();
}

namespace {

// Only raw bytes can be taken beforehand.
Status CheckProvisioning(std::string_view path, ExtendOptions options, bool adds_grains) {
  if (!options.provisioning || !adds_grains) return base::Ok();
  return Error(Code::kInvalidArgument,
               fmt::format("extend {}: what is added are grains, which take space as they are "
                           "written",
                           path));
}

}  // namespace

Task<Status> ExtendDisk(Lib& lib, std::string_view path, ExtendOptions options,
                        Progress* progress) {
  CO_TRY(const uint64_t size_bytes, CheckDiskSize(options.size_bytes));
  CO_TRY(LoadedDescriptor loaded, co_await lib.Load(path, /*need_extents=*/true));
  CO_TRY(const std::string leaf_path, co_await CurrentLeafOf(lib, &loaded));
  const bool has_parent = leaf_path != loaded.path || loaded.descriptor.has_parent();
  const bool ends_sparse = EndsSparse(loaded.descriptor);
  CO_TRY_STATUS(CheckProvisioning(path, options, has_parent || ends_sparse));
  if (!has_parent && ends_sparse) {
    co_return co_await ExtendSparse(lib, loaded, size_bytes, progress);
  }
  const OpenOptions open_options{.writable = true, .user = options.user};
  CO_TRY(const std::unique_ptr<Chain> chain, co_await lib.Open(leaf_path, open_options));
  const Status extended = co_await ExtendChain(lib, *chain, options, progress);
  const Status closed = co_await chain->Close();
  co_return extended ? closed : extended;
}

}  // namespace disklib
