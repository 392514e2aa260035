// `VolumeHistory`: runs operations on a simulated volume and keeps what the volume must hold after
// each, so that the state found after a crash at any point can be judged.
//
// The rule: metadata operations take effect in order, each whole or not at all; what was made
// durable before the crash is there; file data overwritten in place may be old or new, byte by
// byte, once the overwrite has begun. A long truncate or write may stop half way. Thread rule: one
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/vmfs_volume.h"
#include "tests/support/volume_tree.h"

namespace vmfs {

// Pseudo-random bytes from a seed.
std::vector<std::byte> SeededBytes(uint64_t seed, size_t size);
std::string SeededText(uint64_t seed, size_t size);

class VolumeHistory {
 public:
  // `volume` is mounted now and later, whenever an operation runs.
  VolumeHistory(base::SimExecutor& executor, SimVolume& volume);

  void Create(const std::string& path);
  void MakeDirectory(const std::string& path);
  void MakeSymlink(const std::string& path, const std::string& target);
  void Unlink(const std::string& path);
  void RemoveDirectory(const std::string& path);
  void Rename(const std::string& from, const std::string& to);
  void Truncate(const std::string& path, uint64_t size_bytes);
  void Write(const std::string& path, uint64_t offset_bytes, size_t length_bytes);
  void Punch(const std::string& path, uint64_t offset_bytes, uint64_t length_bytes);
  void Allocate(const std::string& path, uint64_t offset_bytes, uint64_t length_bytes);
  // Blocks for a range behind the end, whose length stays.
  void Reserve(const std::string& path, uint64_t offset_bytes, uint64_t length_bytes);

  // Gives every file new content of so many bytes, all in one step, durable when done.
  void Replace(const std::vector<std::pair<std::string, size_t>>& files);

  // Opens a file and keeps it open; the name may go, the file stays until it is closed.
  void KeepOpen(const std::string& path, fss::OpenMode mode = fss::OpenMode::kWrite);
  void CloseKept();

  // Operations of somebody who is not alone on the volume. `task` is a `VolumeClient` call that
  // has not begun; then `last()` is what the caller changes, and `Touch` says whose data it was.
  base::Task<void> Await(const char* what, base::Task<base::Status>* task);
  Tree& last() { return steps_.back().after; }
  void Touch(const std::string& path) { steps_.back().touched_id = last()[path].id; }
  uint64_t NewId() { return next_id_++; }
  void MarkSynced(const std::string& path);

  // Everything up to the last change of the file is durable.
  void Sync(const std::string& path);
  void SyncData(const std::string& path);  // fdatasync
  void SyncAll();
  // Lets time pass, for what the volume does by itself: commits and checkpoints.
  void Wait(uint64_t microseconds);
  void Unmount();

  // What stands now is where the disk's log begins.
  void StartOver();

  // The first error of an operation, which should not have failed; empty when there is none.
  const std::string& failure() const { return failure_; }

  const Tree& now() const { return steps_.back().after; }

  // What is wrong with the tree found after a crash at this prefix of the disk's log; empty when
  // nothing is.
  std::string Judge(size_t prefix_length, const Tree& found) const;

 private:
  struct Step {
    std::string what;
    size_t begin = 0, end = 0;  // lengths of the disk's log
    uint64_t touched_id = 0;    // whose data or length it changed; 0: no file's
    Tree after;
  };
  struct DurableMark {
    size_t log_length;  // from here on ...
    size_t step;        // ... this step is durable
  };

  // Runs an operation, and adds a step with a copy of the last tree for the caller to change.
  Tree& Run(const std::string& what, base::Task<base::Status> task);
  void AddStep(const std::string& what, size_t begin, const base::Status& status);
  void MarkDurable(size_t step);
  std::string Compare(size_t step, size_t last_step, const Tree& found) const;
  std::string CompareFile(size_t step, size_t last_step, const std::string& path,
                          const TreeNode& found) const;
  uint64_t FirstUnexplained(size_t step, size_t last_step, uint64_t id,
                            const TreeNode& found) const;
  bool IsTouched(size_t step, size_t last_step, uint64_t id) const;
  const TreeNode* FindId(size_t step, uint64_t id) const;

  base::SimExecutor& executor_;
  SimVolume& volume_;
  std::vector<Step> steps_;
  std::vector<DurableMark> marks_;
  std::string failure_;
  std::vector<std::unique_ptr<fss::File>> kept_;
  uint64_t next_id_ = 1;
};

}  // namespace vmfs
