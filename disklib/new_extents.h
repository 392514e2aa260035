// Makes the files of new extents so that a cut leaves nothing half made under a final name.
//
// Files are made under unfinished names, filled and synced; an intent beside the descriptor says
// what is being made; then they are renamed. Running again after a cut goes on where it stopped and
// never touches a file it did not make (disklib/FORMAT.md, "Create"). Used by create and extend.
// Thread rule: the executor of the back end; the caller holds the disk's path (`Lib::HoldPath`).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/disk_info.h"
#include "disklib/object_backend.h"
#include "disklib/sparse/sparse_extent.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

// Told of the progress of long operations; may stop them.
class Progress {
 public:
  virtual ~Progress() = default;
  // Answers false to stop: the operation cleans up and fails with kInterrupted.
  virtual bool Advance(uint64_t done_bytes, uint64_t total_bytes) = 0;
};

struct NewExtent {
  std::string path;
  uint64_t size_bytes = 0;
  std::optional<SparseKind> sparse = std::nullopt;  // unset: flat
};

struct NewExtentsPlan {
  std::string descriptor_path;
  std::vector<NewExtent> extents;
  Provisioning provisioning = Provisioning::kThin;
  uint64_t grain_bytes = 0;   // of sparse extents; 0: the format's default
  bool all_tables = false;    // of sparse extents
  bool is_stream = false;     // the filler writes the whole file, header and all
  std::string embedded = {};  // a descriptor that stands inside the only extent; empty: none
  std::string content = {};   // what is filled in, in one line; empty: zeros
};

// Writes content into extents that were made and have no final name yet.
class ExtentFiller {
 public:
  virtual ~ExtentFiller() = default;

  // Fills the files at `UnfinishedPath` of the plan's extents and makes them durable. Thin and
  // sparse ones hold nothing, others have their space. Errors end the operation.
  virtual base::Task<base::Status> Fill(NewExtentsPlan& plan, Progress* progress) = 0;
};

// Makes all of them. Errors: kExists naming a file in the way, kNoSpace, kInterrupted, kTooLarge,
// kIo; on an error that is no cut, nothing stays behind. `progress` and `filler` may be null.
base::Task<base::Status> MakeExtents(ObjectBackend& backend, NewExtentsPlan& plan,
                                     Progress* progress, ExtentFiller* filler = nullptr);

// Forgets the intent: the descriptor that names the extents is durable.
base::Task<base::Status> FinishExtents(ObjectBackend& backend, std::string_view descriptor_path);

// Whether an intent like this plan's is there: an earlier run was cut.
base::Task<base::Result<bool>> HasIntent(ObjectBackend& backend, NewExtentsPlan& plan);

// Takes the space of `length_bytes` behind `offset_bytes` of an open file as `provisioning` says,
// growing it; the range reads as zeros. Errors: kNoSpace, kInterrupted, kIo.
base::Task<base::Status> Provision(Object& object, uint64_t offset_bytes, uint64_t length_bytes,
                                   Provisioning provisioning, Progress* progress);

// Whether something stands at `path`. Errors: those of GetInfo but kNotFound.
base::Task<base::Result<bool>> Exists(ObjectBackend& backend, std::string_view path);

// Removes it if it is there.
base::Task<base::Status> RemoveIfThere(ObjectBackend& backend, std::string_view path);

}  // namespace disklib
