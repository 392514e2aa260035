// What snapshot operations share: the state of a VM made ready, new links planned, records changed.
//
// Place: under `snapshot.h`, over `vm_state.h` and `snapshot_record.h`. Thread rule: the executor
// of the Lib; planning functions are pure.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/lib.h"
#include "disklib/new_disk.h"
#include "disklib/snapshot.h"
#include "disklib/snapshot_record.h"
#include "disklib/vm_folder/vm_state.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

// A link to be made on top of another.
struct PlannedLink {
  std::string node;
  std::string path;
  std::string parent_path;
  uint32_t parent_content_id = 0;
  uint64_t size_bytes = 0;
  DiskLayout layout = DiskLayout::kSeSparse;
  std::optional<uint32_t> content_id = std::nullopt;  // unset: that of the parent

  std::string extent_path() const;
};

// The state around `path` when nothing is unfinished but a delete, and the list can be.
// Errors: kBusy (an operation that was cut and cannot be finished now), those of LoadVm.
base::Task<base::Result<VmState>> LoadVmReady(Lib& lib, std::string_view path);

// Refuses while a delete is unfinished: kBusy naming the snapshot.
base::Status CheckNoUnfinishedDelete(const VmState& vm);

// The next free name for a link of a disk on `parent`, and how it is made. Errors: kTooManyLinks,
// kUnsupported (what no snapshot can be made of, a layout that is no delta).
base::Task<base::Result<PlannedLink>> PlanLink(Lib& lib, VmState& vm, const VmDisk* disk,
                                               const TreeLink* parent, DiskLayout layout);

// Makes planned links; they are noted in the record before.
base::Task<base::Status> MakeLinks(Lib& lib, std::vector<PlannedLink>& links, Progress* progress);

std::vector<IntentRemoval> RemovalsOf(const std::vector<PlannedLink>& links);

// The removal of a link that exists, with its extents and its tracking file.
base::Task<base::Result<IntentRemoval>> PlanRemoval(Lib& lib, std::string_view path);

// The file of a link that tells, while an operation keeps it open, that the operation runs.
base::Task<base::Result<std::string>> GuardOf(Lib& lib, std::string_view link_path);

// Makes the leaf at `node` another one in the state: in the .vmx, or in the list.
base::Status SetLeaf(VmState& vm, std::string_view node, std::string_view path);

// The changes of .vmx and .vmsd from what was read to what the state says now.
std::vector<FileChange> ChangesOf(const VmState& vm);

// The .vmsd must exist to be changed together with others: an empty one is a list of nothing.
base::Task<base::Status> EnsureVmsd(Lib& lib, VmState& vm);

SnapshotInfo DescribeSnapshot(const VmState& vm, const Snapshot& snapshot);

// Chains that are open; `CloseChains` closes all and answers the first error.
using OpenChains = std::vector<std::unique_ptr<Chain>>;
base::Task<base::Status> CloseChains(OpenChains& chains);

}  // namespace disklib
