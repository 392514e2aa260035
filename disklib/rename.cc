#include <optional>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor_edit.h"
#include "disklib/descriptor_store.h"
#include "disklib/names.h"
#include "disklib/operations.h"
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
  edit.SetDatabase(kRenamingFromKey, mark.from);
  edit.SetDatabase(kRenamingToKey, mark.to);
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
Result<std::string> RenamedText(const LoadedDescriptor& loaded, const RenameMark& mark) {
  std::vector<ExtentLine> extents = loaded.descriptor.extents;
  for (ExtentLine& extent : extents) {
    extent.file_name = RenamedExtentName(extent.file_name, NameOf(mark.from), NameOf(mark.to));
  }
  DescriptorEdit edit(loaded.text);
  edit.SetExtents(extents);
  edit.RemoveDatabase(kRenamingFromKey);
  edit.RemoveDatabase(kRenamingToKey);
  // The tracking file stays where it is; its name is relative to the folder.
  if (FolderOf(mark.from) != FolderOf(mark.to)) edit.EndChangeTracking();
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
  CO_TRY(const std::string text, RenamedText(loaded, mark));
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
