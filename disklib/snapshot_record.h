// `SnapshotRecord`: changes small files of a VM folder as one, and finishes what a cut left.
//
// On a file system that can replace several files together (VMFS) it does; elsewhere an intent file
// beside the .vmsd makes the change one step (`snapshot_intent.h`). Used by every operation on
// snapshots, and by `Lib::Open`. Thread rule: the executor of the Lib.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/lib.h"
#include "disklib/snapshot_intent.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

// The key of a parent's descriptor while a child is committed into it: the child's name. The link
// alone may hold half of something else then; the child still reads right.
inline constexpr std::string_view kCommittingKey = "ddb.strata.committing";

// A file and the text it gets.
struct FileChange {
  std::string path;
  std::optional<std::string> old_text;  // unset: there is no such file
  std::string new_text;
};

// One operation's hold on the record of a VM or a disk.
class SnapshotRecord {
 public:
  // Takes the record whose .vmsd is `vmsd_path`. Errors: kBusy (another operation has it).
  static base::Result<SnapshotRecord> Hold(Lib& lib, std::string_view vmsd_path);

  // Files that this operation keeps open until it ends, for others to see that it runs.
  void SetGuards(std::vector<std::string> paths) { guards_ = std::move(paths); }

  // Notes links that go unless `Commit` decides otherwise: they are about to be made. Durable when
  // answered. Errors: kBusy (an unfinished operation stands in the way), kNoSpace, kIo.
  base::Task<base::Status> Begin(std::vector<IntentRemoval>& links);

  // Changes all files or none, durable when answered, and notes instead of what Begin noted the
  // links that go now. After an error `Finish` tells what was decided.
  base::Task<base::Status> Commit(std::vector<FileChange>& changes,
                                  std::vector<IntentRemoval>& links);

  // Does what is noted and forgets it: contents that are still to be written, links that go.
  // Called at the end whatever happened before; without a Begin there is nothing to do. Errors:
  // kBusy naming a holder, kStale (a file was changed by somebody else), kIo.
  base::Task<base::Status> Finish();

 private:
  SnapshotRecord(Lib& lib, std::string path, Lib::PathHold hold)
      : lib_(&lib), path_(std::move(path)), hold_(std::move(hold)) {}

  base::Task<base::Status> Note(SnapshotIntent& intent);
  base::Task<base::Status> CommitByIntent(std::vector<FileChange>& changes, SnapshotIntent& rest);

  Lib* lib_;
  std::string path_;  // of the intent
  Lib::PathHold hold_;
  std::vector<std::string> guards_;
  bool has_begun_ = false;  // the intent is this operation's
};

// The names of a link's files as an intent lists them: extents, and what a cut may have left.
IntentRemoval RemovalOf(std::string_view path, std::string_view parent_path,
                        const std::vector<std::string>& extent_paths);

// Finishes every operation on snapshots of a folder that was cut and that nobody runs. Called
// before a disk is opened. Errors: kReadOnly (contents are still to be written and the datastore
// takes none), kStale, kCorrupt and kChecksumMismatch naming the intent, kIo.
base::Task<base::Status> FinishIntents(Lib& lib, std::string_view folder);

}  // namespace disklib
