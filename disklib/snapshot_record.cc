#include "disklib/snapshot_record.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor_lines.h"
#include "disklib/descriptor_store.h"
#include "disklib/extent_places.h"
#include "disklib/link_tree.h"
#include "disklib/names.h"
#include "disklib/new_extents.h"
#include "fs/base/log.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

// The intent at `path`; an empty one where there is none.
Task<Result<SnapshotIntent>> LoadIntent(ObjectBackend& backend, std::string_view path) {
  const Result<std::string> text = co_await ReadObject(backend, path, kIntentBytesMax);
  if (!text && text.error().code() == Code::kNotFound) co_return SnapshotIntent();
  if (!text) co_return text.error();
  Result<SnapshotIntent> intent = ParseIntent(*text);
  if (!intent) co_return intent.error().Within(path);
  co_return intent;
}

Task<Status> StoreIntent(ObjectBackend& backend, std::string_view path, SnapshotIntent& intent) {
  CO_TRY(const std::string text, WriteIntent(intent));
  CO_TRY_STATUS(co_await backend.ReplaceContents(path, text));
  co_return base::Ok();
}

// The content of a .vmx or .vmsd, or a descriptor wherever it stands.
Task<Result<std::string>> ReadSmallFile(ObjectBackend& backend, std::string_view path,
                                        bool& is_embedded) {
  if (EndsWithIgnoringCase(path, kDescriptorSuffix)) {
    Result<DescriptorText> read = co_await ReadDescriptorAt(backend, path);
    if (!read) co_return read.error();
    is_embedded = read->embedded.room_bytes > 0;
    co_return std::move(read->text);
  }
  Result<std::string> text = co_await ReadObject(backend, path, kIntentBytesMax);
  co_return text;
}

// Whether one of the files is a disk with its descriptor inside, which cannot be replaced whole.
Task<Result<bool>> HasEmbedded(ObjectBackend& backend, const std::vector<FileChange>* changes) {
  for (const FileChange& change : *changes) {
    bool is_embedded = false;
    if (!change.old_text) continue;
    CO_TRY(const std::string text, co_await ReadSmallFile(backend, change.path, is_embedded));
    if (is_embedded) co_return true;
  }
  co_return false;
}

// Writes one file's new contents, unless it has them.
Task<Status> ApplyReplacement(ObjectBackend& backend, std::string_view intent_path,
                              const IntentReplacement* replacement) {
  CO_TRY(const std::string path, ResolveName(FolderOf(intent_path), replacement->name));
  bool is_embedded = false;
  const Result<std::string> found = co_await ReadSmallFile(backend, path, is_embedded);
  if (!found && found.error().code() != Code::kNotFound) co_return found.error();
  if (found && *found == replacement->contents) co_return base::Ok();
  const std::optional<ContentMark> mark =
      found ? std::optional<ContentMark>(MarkOf(*found)) : std::nullopt;
  if (mark != replacement->old_mark) {
    co_return Error(Code::kStale,
                    fmt::format("finish {}: {} was changed by somebody else since: put it back, "
                                "or remove the intent to keep it",
                                intent_path, path));
  }
  if (is_embedded) {
    CO_TRY_STATUS(co_await ReplaceDescriptor(backend, path, replacement->contents));
  } else {
    CO_TRY_STATUS(co_await backend.ReplaceContents(path, replacement->contents));
  }
  co_return base::Ok();
}

// Whether what stands at `path` is the link an intent means; nothing there is, too.
Task<Result<bool>> IsThatLink(Lib& lib, std::string_view path, std::string_view parent_path) {
  CO_TRY(const bool is_there, co_await Exists(lib.backend(), path));
  if (!is_there) co_return true;
  const Result<LoadedDescriptor> loaded = co_await lib.Load(path, /*need_extents=*/false);
  if (!loaded) co_return loaded.error();
  const Result<std::string> parent = ParentPathOf(lib.backend(), loaded->descriptor, path);
  co_return parent&&* parent == parent_path;
}

Status CheckUnheld(Lib& lib, std::string_view path, uint64_t id) {
  const DiskHolder* const holder = lib.open_disks().HolderOf(id);
  if (holder == nullptr) return base::Ok();
  return Error(Code::kBusy, fmt::format("remove {}: {}", path, holder->Describe()));
}

Task<Status> RemoveLink(Lib& lib, std::string_view intent_path, const IntentRemoval* removal) {
  const std::string_view folder = FolderOf(intent_path);
  CO_TRY(const std::string path, ResolveName(folder, removal->name));
  CO_TRY(const std::string parent_path, ResolvePath(lib.backend(), folder, removal->parent));
  CO_TRY(const bool is_that_link, co_await IsThatLink(lib, path, parent_path));
  if (!is_that_link) {
    base::LogWarn("disklib", "left a link alone that another made meanwhile link={}", path);
    co_return base::Ok();
  }
  const Result<ObjectInfo> info = co_await lib.backend().GetInfo(path);
  if (info) CO_TRY_STATUS(CheckUnheld(lib, path, info->id));
  CO_TRY_STATUS(co_await RemoveIfThere(lib.backend(), path));
  CO_TRY_STATUS(co_await lib.backend().SyncNames());
  for (const std::string& file : removal->files) {
    CO_TRY(const std::string file_path, ResolveName(folder, file));
    CO_TRY_STATUS(co_await RemoveIfThere(lib.backend(), file_path));
  }
  co_return base::Ok();
}

// Does what an intent says and removes it.
Task<Status> FinishIntent(Lib& lib, std::string_view path, const SnapshotIntent* intent) {
  // What was read may not have been durable: nothing may build on it before it is.
  CO_TRY_STATUS(co_await lib.backend().SyncNames());
  for (const IntentReplacement& replacement : intent->replacements) {
    CO_TRY_STATUS(co_await ApplyReplacement(lib.backend(), path, &replacement));
  }
  for (const IntentRemoval& removal : intent->removals) {
    CO_TRY_STATUS(co_await RemoveLink(lib, path, &removal));
  }
  CO_TRY_STATUS(co_await lib.backend().SyncNames());
  CO_TRY_STATUS(co_await RemoveIfThere(lib.backend(), path));
  // A cut may have met the intent while it was being replaced.
  const std::string replacement_path = ReplacementPath(path);
  CO_TRY_STATUS(co_await RemoveIfThere(lib.backend(), replacement_path));
  CO_TRY_STATUS(co_await lib.backend().SyncNames());
  co_return base::Ok();
}

// Opens the guards of an intent for ourselves alone. False: somebody has one of them, so the
// operation may still run.
Task<Result<bool>> TakeGuards(Lib& lib, std::string_view intent_path, const SnapshotIntent* intent,
                              std::vector<std::unique_ptr<Object>>& taken) {
  for (const std::string& guard : intent->guards) {
    CO_TRY(const std::string path, ResolveName(FolderOf(intent_path), guard));
    Result<std::unique_ptr<Object>> object =
        co_await lib.backend().Open(path, fss::OpenMode::kExclusiveDisk);
    if (!object && object.error().code() == Code::kNotFound) continue;
    if (!object &&
        (object.error().code() == Code::kBusy || object.error().code() == Code::kLockHeld)) {
      co_return false;
    }
    if (!object) co_return object.error();
    taken.push_back(*std::move(object));
    if (lib.open_disks().HolderOf(taken.back()->inode()) != nullptr) co_return false;
  }
  co_return true;
}

Task<Status> FinishFound(Lib& lib, std::string_view path) {
  Result<Lib::PathHold> hold = lib.HoldPath(path);
  if (!hold) co_return base::Ok();  // an operation of this process has it
  CO_TRY(const SnapshotIntent intent, co_await LoadIntent(lib.backend(), path));
  if (lib.backend().read_only() || !VolumeOf(path).empty()) {
    if (intent.replacements.empty()) co_return base::Ok();
    co_return Error(
        Code::kReadOnly,
        fmt::format("finish {}: a change was cut, and the datastore is only read", path));
  }
  std::vector<std::unique_ptr<Object>> taken;
  const Result<bool> is_ours = co_await TakeGuards(lib, path, &intent, taken);
  Status finished = is_ours ? base::Ok() : Status(is_ours.error());
  if (is_ours && *is_ours) {
    finished = co_await FinishIntent(lib, path, &intent);
    if (finished) base::LogInfo("disklib", "finished what a cut left intent={}", path);
  }
  for (const auto& object : taken) {
    const Status closed = co_await object->Close();
    if (finished) finished = closed;
  }
  co_return finished;
}

class IntentCollector : public ObjectSink {
 public:
  void Add(const ObjectEntry& entry) override {
    if (entry.name.ends_with(kIntentSuffix)) names.emplace_back(entry.name);
  }

  std::vector<std::string> names;
};

// The parts an intent and a change have in common.
std::vector<IntentReplacement> ReplacementsOf(std::string_view intent_path,
                                              const std::vector<FileChange>& changes) {
  std::vector<IntentReplacement> replacements;
  for (const FileChange& change : changes) {
    IntentReplacement replacement{.name = RelativeName(FolderOf(intent_path), change.path),
                                  .old_mark = {},
                                  .contents = change.new_text};
    if (change.old_text) replacement.old_mark = MarkOf(*change.old_text);
    replacements.push_back(std::move(replacement));
  }
  return replacements;
}

// Intents name files as seen from their folder.
void MakeRelative(std::string_view folder, SnapshotIntent& intent) {
  for (std::string& guard : intent.guards) guard = RelativeName(folder, guard);
  for (IntentRemoval& removal : intent.removals) {
    removal.name = RelativeName(folder, removal.name);
    removal.parent = RelativeName(folder, removal.parent);
    for (std::string& file : removal.files) file = RelativeName(folder, file);
  }
}

}  // namespace

Result<SnapshotRecord> SnapshotRecord::Hold(Lib& lib, std::string_view vmsd_path) {
  std::string path = fmt::format("{}{}", vmsd_path, kIntentSuffix);
  TRY(Lib::PathHold hold, lib.HoldPath(path));
  return SnapshotRecord(lib, std::move(path), std::move(hold));
}

Task<Status> SnapshotRecord::Note(SnapshotIntent& intent) {
  intent.guards = guards_;
  MakeRelative(FolderOf(path_), intent);
  return StoreIntent(lib_->backend(), path_, intent);
}

Task<Status> SnapshotRecord::Begin(std::vector<IntentRemoval>& links) {
  CO_TRY(const bool is_unfinished, co_await Exists(lib_->backend(), path_));
  if (is_unfinished) {
    co_return Error(Code::kBusy, fmt::format("{}: an operation was cut here, and its disk is in "
                                             "use: it is finished when the disk is free",
                                             path_));
  }
  has_begun_ = true;
  SnapshotIntent intent{.guards = {}, .replacements = {}, .removals = links};
  CO_TRY_STATUS(co_await Note(intent));
  co_return base::Ok();
}

Task<Status> SnapshotRecord::CommitByIntent(std::vector<FileChange>& changes,
                                            SnapshotIntent& rest) {
  SnapshotIntent whole = rest;
  whole.replacements = ReplacementsOf(path_, changes);
  // From here on the change is decided: whoever finds the intent makes it.
  CO_TRY_STATUS(co_await StoreIntent(lib_->backend(), path_, whole));
  for (const IntentReplacement& replacement : whole.replacements) {
    CO_TRY_STATUS(co_await ApplyReplacement(lib_->backend(), path_, &replacement));
  }
  CO_TRY_STATUS(co_await StoreIntent(lib_->backend(), path_, rest));
  co_return base::Ok();
}

Task<Status> SnapshotRecord::Commit(std::vector<FileChange>& changes,
                                    std::vector<IntentRemoval>& links) {
  SnapshotIntent rest{.guards = guards_, .replacements = {}, .removals = links};
  MakeRelative(FolderOf(path_), rest);
  CO_TRY(const std::string rest_text, WriteIntent(rest));
  CO_TRY(const bool has_embedded, co_await HasEmbedded(lib_->backend(), &changes));
  if (!has_embedded) {
    std::vector<ObjectReplacement> replacements = {{path_, rest_text}};
    for (const FileChange& change : changes) replacements.push_back({change.path, change.new_text});
    const Status replaced = co_await lib_->backend().ReplaceTogether(replacements);
    if (replaced) co_return base::Ok();
    const Code code = replaced.error().code();
    if (code != Code::kUnsupported && code != Code::kTooLarge) co_return replaced;
  }
  CO_TRY_STATUS(co_await CommitByIntent(changes, rest));
  co_return base::Ok();
}

Task<Status> SnapshotRecord::Finish() {
  if (!has_begun_) co_return base::Ok();
  CO_TRY(const SnapshotIntent intent, co_await LoadIntent(lib_->backend(), path_));
  CO_TRY_STATUS(co_await FinishIntent(*lib_, path_, &intent));
  has_begun_ = false;
  co_return base::Ok();
}

IntentRemoval RemovalOf(std::string_view path, std::string_view parent_path,
                        const std::vector<std::string>& extent_paths) {
  IntentRemoval removal{.name = std::string(path), .parent = std::string(parent_path)};
  removal.files.push_back(UnfinishedPath(path));
  for (const std::string& extent : extent_paths) {
    removal.files.push_back(extent);
    removal.files.push_back(UnfinishedPath(extent));
  }
  return removal;
}

Task<Status> FinishIntents(Lib& lib, std::string_view folder) {
  IntentCollector collector;
  CO_TRY_STATUS(co_await lib.backend().List(folder, collector));
  for (const std::string& name : collector.names) {
    const std::string path = JoinPath(folder, name);
    CO_TRY_STATUS(co_await FinishFound(lib, path));
  }
  co_return base::Ok();
}

}  // namespace disklib
