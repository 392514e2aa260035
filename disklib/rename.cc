#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "disklib/children.h"
#include "disklib/descriptor_edit.h"
#include "disklib/descriptor_store.h"
#include "disklib/extent_places.h"
#include "disklib/names.h"
#include "disklib/operations.h"
#include "disklib/snapshot_record.h"
#include "disklib/vm_folder/records.h"
#include "fs/base/log.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

// Nothing may stand where the rename goes, but extents it has moved itself.
Task<Status> CheckTargetsFree(Lib& lib, LoadedDescriptor& loaded, RenameMark& mark,
                              std::vector<ExtentPlace>& places) {
  CO_TRY(const bool is_taken, co_await Exists(lib.backend(), mark.to));
  if (is_taken) {
    co_return Error(Code::kExists,
                    fmt::format("rename {} to {}: exists already", mark.from, mark.to));
  }
  const bool has_begun = FindRenameMark(loaded.descriptor, mark.from).has_value();
  for (size_t i = 0; i < places.size(); ++i) {
    const std::string& moved_path = places[i].moved_path;
    if (moved_path.empty() || (has_begun && loaded.found_paths[i] == moved_path)) continue;
    CO_TRY(const bool extent_is_taken, co_await Exists(lib.backend(), moved_path));
    if (extent_is_taken) {
      co_return Error(Code::kExists, fmt::format("rename {} to {}: {} is in the way", mark.from,
                                                 mark.to, moved_path));
    }
  }
  co_return base::Ok();
}

// The parent of a linked clone that is registered there; empty: the disk is none.
Task<Result<std::string>> CloneParentOf(Lib& lib, const LoadedDescriptor* loaded,
                                        RenameMark& mark) {
  if (!loaded->descriptor.has_parent()) co_return std::string();
  const Result<std::string> parent = ParentPathOf(lib.backend(), loaded->descriptor, loaded->path);
  if (!parent || !VolumeOf(*parent).empty()) co_return std::string();
  CO_TRY(const std::vector<std::string> clones,
         co_await RegisteredChildren(lib.backend(), *parent));
  const bool is_clone = std::any_of(clones.begin(), clones.end(), [&](const std::string& clone) {
    return clone == mark.from || clone == mark.to;
  });
  co_return is_clone ? *parent : std::string();
}

// A linked clone is registered under both names while it moves: the parent is kept at every moment.
Task<Status> RegisterMove(Lib& lib, const LoadedDescriptor* loaded, RenameMark& mark) {
  CO_TRY(const std::string parent_path, co_await CloneParentOf(lib, loaded, mark));
  if (!parent_path.empty()) {
    CO_TRY(const Lib::PathHold hold, lib.HoldPath(parent_path));
    co_return co_await RegisterChild(lib.backend(), parent_path, mark.to);
  }
  if (!loaded->descriptor.has_parent() || FolderOf(mark.from) == FolderOf(mark.to)) {
    co_return base::Ok();
  }
  co_return Error(
      Code::kUnsupported,
      fmt::format("rename {} to {}: it stands on {} and is no linked clone: it stays in "
                  "its folder",
                  mark.from, mark.to, loaded->descriptor.parent_file_name_hint));
}

// What others say of the disk: the records of VMs and the registry of its parent.
Task<Status> MoveMentions(Lib& lib, const LoadedDescriptor* loaded, RenameMark& mark) {
  CO_TRY_STATUS(co_await RenameInRecords(lib, mark.from, mark.to));
  CO_TRY(const std::string parent_path, co_await CloneParentOf(lib, loaded, mark));
  if (parent_path.empty()) co_return base::Ok();
  CO_TRY(const Lib::PathHold hold, lib.HoldPath(parent_path));
  CO_TRY_STATUS(co_await RegisterChild(lib.backend(), parent_path, mark.to));
  co_return co_await UnregisterChild(lib.backend(), parent_path, mark.from);
}

// Writes into the descriptor where its files are going, so that it opens at every moment.
Task<Status> WriteMark(Lib& lib, LoadedDescriptor& loaded, RenameMark& mark,
                       OpenDisks::Claim& claim) {
  const std::optional<RenameMark> old_mark = FindRenameMark(loaded.descriptor, mark.from);
  if (old_mark && old_mark->to == mark.to) co_return base::Ok();
  if (old_mark) {
    co_return Error(Code::kBusy, fmt::format("rename {} to {}: a rename to {} has begun: finish "
                                             "that first",
                                             mark.from, mark.to, old_mark->to));
  }
  DescriptorEdit edit(loaded.text);
  const RenameMarkNames names = NamesOfMark(mark);
  edit.SetDatabase(kRenamingFromKey, names.from);
  edit.SetDatabase(kRenamingToKey, names.to);
  CO_TRY(const std::string text, edit.Finish());
  CO_TRY(const ObjectInfo info, co_await ReplaceDescriptor(lib.backend(), mark.from, text));
  co_return claim.Replace(loaded.info.id, info.id);
}

// From the first mark to the descriptor's new name.
Task<Status> MoveFiles(Lib& lib, RenameMark& mark) {
  CO_TRY(LoadedDescriptor loaded, co_await lib.Load(mark.from, /*need_extents=*/true));
  CO_TRY_STATUS(Lib::CheckKind(loaded.descriptor, mark.from));
  CO_TRY_STATUS(co_await lib.CheckAlone(loaded, "rename"));
  CO_TRY(std::vector<ExtentPlace> places, PlanRename(loaded.descriptor, mark));
  // A file around its own descriptor moves with it, as the last step.
  for (ExtentPlace& place : places) {
    if (place.path == loaded.path) place.moved_path.clear();
  }
  const OpenOptions options{.writable = true, .user = "strata disk rename"};
  CO_TRY(OpenDisks::Claim claim, lib.ClaimDisk(loaded, options));
  CO_TRY_STATUS(co_await CheckTargetsFree(lib, loaded, mark, places));
  CO_TRY_STATUS(co_await CheckRecordsCanFollow(lib, mark.from, mark.to));
  CO_TRY_STATUS(co_await RegisterMove(lib, &loaded, mark));
  CO_TRY_STATUS(co_await WriteMark(lib, loaded, mark, claim));
  for (size_t i = 0; i < places.size(); ++i) {
    const std::string& moved_path = places[i].moved_path;
    if (moved_path.empty() || loaded.found_paths[i] == moved_path) continue;
    CO_TRY_STATUS(co_await lib.backend().Rename(places[i].path, moved_path));
  }
  CO_TRY_STATUS(co_await lib.backend().SyncNames());
  CO_TRY_STATUS(co_await lib.backend().Rename(mark.from, mark.to));
  CO_TRY_STATUS(co_await lib.backend().SyncNames());
  co_return base::Ok();
}

// The descriptor's text under its new name: new extent names, no mark.
Result<std::string> RenamedText(ObjectBackend& backend, const LoadedDescriptor& loaded,
                                const RenameMark& mark) {
  std::vector<ExtentLine> extents = loaded.descriptor.extents;
  for (ExtentLine& extent : extents) {
    extent.file_name = RenamedExtentName(extent.file_name, NameOf(mark.from), NameOf(mark.to));
  }
  DescriptorEdit edit(loaded.text);
  edit.SetExtents(extents);
  edit.RemoveDatabase(kRenamingFromKey);
  edit.RemoveDatabase(kRenamingToKey);
  if (FolderOf(mark.from) == FolderOf(mark.to)) return edit.Finish();
  // The tracking file stays where it is; its name is relative to the folder, as the parent's is.
  edit.EndChangeTracking();
  if (loaded.descriptor.has_parent()) {
    TRY(const std::string parent_path, ParentPathOf(backend, loaded.descriptor, mark.to));
    edit.SetParent(RelativeName(FolderOf(mark.to), parent_path),
                   loaded.descriptor.parent_content_id);
  }
  return edit.Finish();
}

// Takes the mark out of a descriptor that has its new name.
Task<Status> FinishRename(Lib& lib, RenameMark& mark) {
  CO_TRY(LoadedDescriptor loaded, co_await lib.Load(mark.to, /*need_extents=*/true));
  const std::optional<RenameMark> found = FindRenameMark(loaded.descriptor, mark.to);
  if (!found || found->from != mark.from) {
    co_return Error(Code::kNotFound, fmt::format("rename {}: no such disk", mark.from));
  }
  const OpenOptions options{.writable = true, .user = "strata disk rename"};
  CO_TRY(OpenDisks::Claim claim, lib.ClaimDisk(loaded, options));
  CO_TRY_STATUS(co_await MoveMentions(lib, &loaded, mark));
  CO_TRY(const std::string text, RenamedText(lib.backend(), loaded, mark));
  CO_TRY_STATUS(co_await ReplaceDescriptor(lib.backend(), mark.to, text));
  co_return base::Ok();
}

}  // namespace

Task<Status> RenameDisk(Lib& lib, std::string_view from, std::string_view to) {
  CO_TRY_STATUS(CheckDiskPath(from));
  CO_TRY_STATUS(CheckDiskPath(to));
  RenameMark mark{.from = std::string(from), .to = std::string(to)};
  if (from == to) co_return Error(Code::kExists, fmt::format("rename {}: to itself", from));
  CO_TRY(const Lib::PathHold hold_from, lib.HoldPath(from));
  CO_TRY(const Lib::PathHold hold_to, lib.HoldPath(to));
  CO_TRY_STATUS(co_await FinishIntents(lib, FolderOf(from)));
  CO_TRY(const bool is_unmoved, co_await Exists(lib.backend(), from));
  CO_TRY(const bool is_moved, co_await Exists(lib.backend(), to));
  if (!is_unmoved && !is_moved) {
    co_return Error(Code::kNotFound, fmt::format("rename {}: no such disk", from));
  }
  if (is_unmoved) CO_TRY_STATUS(co_await MoveFiles(lib, mark));
  CO_TRY_STATUS(co_await FinishRename(lib, mark));
  base::LogInfo("disklib", "renamed disk={} to={}", from, to);
  co_return base::Ok();
}

}  // namespace disklib
