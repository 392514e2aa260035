#include "disklib/operations.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "disklib/disk_size.h"
#include "disklib/names.h"
#include "fs/base/log.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

// The shape of a fresh disk as files to make.
NewExtentsPlan PlanExtents(std::string_view path, const Descriptor& descriptor,
                           Provisioning provisioning) {
  NewExtentsPlan plan{
      .descriptor_path = std::string(path), .extents = {}, .provisioning = provisioning};
  for (const ExtentLine& line : descriptor.extents) {
    plan.extents.push_back({.path = JoinPath(FolderOf(path), line.file_name),
                            .size_bytes = line.sector_count * kSectorBytes});
  }
  return plan;
}

// Nothing may stand under the name of a new disk, but what a cut run of the same left.
Task<Status> CheckNameFree(ObjectBackend& backend, NewExtentsPlan& plan) {
  const std::string_view path = plan.descriptor_path;
  CO_TRY(const bool exists, co_await Exists(backend, path));
  if (exists) co_return Error(Code::kExists, fmt::format("create {}: exists already", path));
  const std::string deleted_path = DeletedPath(path);
  CO_TRY(const bool is_being_deleted, co_await Exists(backend, deleted_path));
  if (!is_being_deleted) co_return base::Ok();
  co_return Error(Code::kExists,
                  fmt::format("create {}: an unfinished delete of the same name is in the way: "
                              "delete {} again first",
                              path, path));
}

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

}  // namespace

Task<Status> CreateDisk(Lib& lib, std::string_view path, NewDisk disk, Progress* progress) {
  CO_TRY_STATUS(CheckDiskPath(path));
  CO_TRY(disk.size_bytes, CheckDiskSize(disk.size_bytes));
  if (!IsAdapterType(disk.adapter_type)) {
    co_return Error(Code::kInvalidArgument,
                    fmt::format("create {}: unknown adapter type {}", path, disk.adapter_type));
  }
  const Descriptor descriptor = MakeDescriptor(NameOf(path), disk, lib.executor().random());
  CO_TRY(const std::string text, WriteDescriptor(descriptor));
  CO_TRY(const Lib::PathHold hold, lib.HoldPath(path));
  NewExtentsPlan plan = PlanExtents(path, descriptor, disk.provisioning);
  CO_TRY(const bool has_intent, co_await HasIntent(lib.backend(), plan));
  CO_TRY(const bool exists, co_await Exists(lib.backend(), path));
  // With both there, the run before was cut at its last step.
  if (!has_intent || !exists) {
    CO_TRY_STATUS(co_await CheckNameFree(lib.backend(), plan));
    CO_TRY_STATUS(co_await MakeExtents(lib.backend(), plan, progress));
    CO_TRY_STATUS(co_await lib.backend().ReplaceContents(path, text));
  }
  CO_TRY_STATUS(co_await FinishExtents(lib.backend(), path));
  base::LogInfo("disklib", "created disk={} bytes={} provisioning={}", path, disk.size_bytes,
                NameOf(disk.provisioning));
  co_return base::Ok();
}

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
    CO_TRY_STATUS(co_await lib.backend().Rename(plain_path, marked_path));
  }
  CO_TRY_STATUS(co_await lib.backend().SyncNames());
  CO_TRY_STATUS(co_await RemoveParts(lib, loaded, plain_path));
  CO_TRY_STATUS(co_await RemoveIfThere(lib.backend(), marked_path));
  CO_TRY_STATUS(co_await lib.backend().SyncNames());
  base::LogInfo("disklib", "deleted disk={}", plain_path);
  co_return base::Ok();
}

Task<Status> ExtendDisk(Lib& lib, std::string_view path, ExtendOptions options,
                        Progress* progress) {
  const OpenOptions open_options{.writable = true, .user = options.user};
  CO_TRY(const std::unique_ptr<Chain> chain, co_await lib.Open(path, open_options));
  const Status extended = co_await ExtendChain(lib, *chain, options, progress);
  const Status closed = co_await chain->Close();
  co_return extended ? closed : extended;
}

}  // namespace disklib
