// `CrashFiles`: a file system in memory that knows what a power cut may leave of it.
//
// The fault model. Every change is logged when it takes effect. A crash leaves
//  * of names (create, remove, rename): a beginning of them in their order, as a file system with a
//    journal of names does, with at least everything that was answered before the start of a
//    SyncAll that was answered;
//  * of the contents of files (writes, lengths, allocation, punched holes): everything that was
//    answered before the start of a Sync of that file, or a SyncAll, that was answered; FUA writes
//    that were answered; and of all others each by itself: all of it, none of it, or, of a write,
//    any subset of its 512-byte sectors (torn). A write that survives brings the length it needs;
//  * of ReplaceContents all files or none, durable when answered.
// What stands in a file whose name did not survive is gone.
//
//   fss::CrashFiles files;
//   ...prepare through `files`...
//   files.Settle();                          // the log begins here
//   ...the scenario, through `files`...
//   const auto result = fss::SweepCrashFiles(files, options, RecoverAndCheck);
//   EXPECT_TRUE(result.ok()) << result.failure;
//
// Failed calls: `files.live().FailAt(n)`, and `SweepFailures` for one after the other. With an
// executor every call suspends before and after it takes effect, so that callers interleave; else
// everything is answered at once. Thread rule: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/executor.h"
#include "fs/fss/forwarding.h"
#include "tests/support/crash_sweep.h"
#include "tests/support/memory_file_system.h"

namespace fss {

class CrashFiles final : public ForwardingFileSystem {
 public:
  enum class Change : uint8_t {
    kWrite,
    kAllocate,
    kSetAttributes,
    kReplace,
    kCreate,  // a file, folder or symbolic link
    kRemove,
    kRename,
    kSync,
    kSyncAll,
  };

  struct LogEntry {
    Change change = Change::kSync;
    size_t issued_at = 0;     // entries in the log when the call began
    bool is_durable = false;  // survives by itself once answered
    InodeNumber inode = 0;    // the file; of names, the folder
    uint64_t offset_bytes = 0;
    uint64_t length_bytes = 0;
    AllocateMode mode = AllocateMode::kAllocate;
    AttributeChange attributes = {};
    std::vector<std::byte> data = {};  // written; of kReplace, of that file
    FileType type = FileType::kRegular;
    NewInode new_inode = {};
    std::string name = {};
    InodeNumber to_inode = 0;  // of kRename, the other folder
    std::string to_name = {};  // the same; of kCreate, what a symbolic link says
    std::vector<std::pair<InodeNumber, std::string>> contents = {};  // of kReplace

    // "write inode 3 [4096, +512)"
    std::string ToString() const;
  };

  // `blocks_max`: as MemoryFileSystem. `executor`: null answers at once.
  explicit CrashFiles(uint64_t blocks_max = UINT64_MAX, base::Executor* executor = nullptr);
  ~CrashFiles() override;

  // The file system as its users see it: for faults, figures and looks.
  MemoryFileSystem& live() { return *live_; }

  const std::vector<LogEntry>& log() const { return log_; }

  // Everything seen now counts as durable: empties the log. No call may be in flight.
  void Settle();

  // A Sync or SyncAll is answered and does nothing: a planted fault that sweeps must notice.
  void set_ignore_syncs(bool ignore) { ignores_syncs_ = ignore; }

  // Indices of the changes whose fate is open when the first `prefix_length` entries have taken
  // effect: those that no Sync covers, and later ones that were already issued.
  const std::vector<size_t>& OpenChanges(size_t prefix_length);

  // What the next mount finds after a crash there: `fates[i]` is of the i-th of OpenChanges. Every
  // file is closed, everything is durable. Prefixes do not decrease.
  std::unique_ptr<MemoryFileSystem> CrashImage(size_t prefix_length,
                                               std::span<const base::SimDisk::Fate> fates);

  // --- what is logged; all else goes straight to `live`
  base::Task<base::Result<Attributes>> SetAttributes(InodeNumber inode,
                                                     AttributeChange change) override;
  base::Task<base::Result<Attributes>> CreateFile(InodeNumber parent, std::string_view name,
                                                  NewInode attributes) override;
  base::Task<base::Result<Attributes>> MakeDirectory(InodeNumber parent, std::string_view name,
                                                     NewInode attributes) override;
  base::Task<base::Result<Attributes>> MakeSymlink(InodeNumber parent, std::string_view name,
                                                   std::string_view target,
                                                   NewInode attributes) override;
  base::Task<base::Status> Unlink(InodeNumber parent, std::string_view name) override;
  base::Task<base::Status> RemoveDirectory(InodeNumber parent, std::string_view name) override;
  base::Task<base::Status> Rename(InodeNumber from_parent, std::string_view from_name,
                                  InodeNumber to_parent, std::string_view to_name,
                                  bool no_replace) override;
  base::Task<base::Result<std::unique_ptr<File>>> Open(InodeNumber inode, OpenMode mode) override;
  base::Task<base::Status> ReplaceContents(std::span<const Replacement> replacements) override;
  base::Task<base::Status> SyncAll() override;
  base::Task<base::Status> Unmount() override;

 private:
  friend class CrashFile;

  CrashFiles(std::unique_ptr<MemoryFileSystem> live, base::Executor* executor);

  base::Task<void> Pause();
  base::Task<base::Result<Attributes>> Create(InodeNumber parent, std::string_view name,
                                              std::string_view target, NewInode attributes,
                                              FileType type);
  base::Task<base::Status> Remove(InodeNumber parent, std::string_view name, FileType type);
  LogEntry NewEntry(Change change, InodeNumber inode) const;
  void MarkSettled(size_t entry, std::vector<bool>& settled) const;
  std::vector<bool> SettledBefore(size_t prefix_length) const;
  std::vector<size_t> OpenAmong(const std::vector<bool>& settled) const;
  void AdvanceMedium(const std::vector<bool>& settled);

  std::unique_ptr<MemoryFileSystem> live_;
  base::Executor* executor_;
  bool ignores_syncs_ = false;
  std::vector<LogEntry> log_;

  // What every crash finds: the start of the log and its first `medium_count_` entries.
  std::unique_ptr<MemoryFileSystem> medium_;
  size_t medium_count_ = 0;

  // Of the prefix that was asked for last: a sweep asks for each many times.
  std::vector<bool> settled_;
  std::vector<size_t> open_;
};

// Mounts what is left and checks it. Answers what is wrong, empty when nothing is.
using CrashFilesCheck = std::function<std::string(
    base::SimExecutor& executor, MemoryFileSystem& files, const base::CrashCase& crash)>;

// As base::SweepCrashes, over the log of `files`.
base::CrashSweepResult SweepCrashFiles(CrashFiles& files, const base::CrashSweepOptions& options,
                                       const CrashFilesCheck& check, uint64_t failures_max = 1);

struct FailureSweepResult {
  uint64_t rounds = 0;
  std::string failure;  // the first one, with the number of the call that failed

  bool ok() const { return failure.empty(); }
};

// Calls `round` with 1, 2, 3 … until it says that its fault was not reached. A round makes its own
// file system, prepares it, calls `FailAt(call_number)`, runs the scenario and checks what is left;
// it sets `*was_reached`, and answers what is wrong. Ends with the first failure.
FailureSweepResult SweepFailures(
    const std::function<std::string(uint64_t call_number, bool* was_reached)>& round,
    uint64_t step = 1);

}  // namespace fss
