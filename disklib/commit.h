// `CommitChild`: a link's content goes into its parent, the link goes, and what stood on it stands
// on the parent. The step that deletes of snapshots and consolidation are made of.
//
// Order on the disk (disklib/FORMAT.md, "Snapshots"): first a new content id of the parent, known
// to the child in the same step, and the mark that a commit has begun; then the content; when it is
// durable, in one step: descriptors above, .vmx, .vmsd; then the child's files go. A cut leaves a
// chain that reads the same, and doing it again ends it. Place: under `snapshot.h`. Thread rule:
// the executor of the Lib.
#pragma once

#include <string>
#include <string_view>

#include "disklib/copy_grains.h"
#include "disklib/lib.h"
#include "disklib/snapshot.h"
#include "disklib/snapshot_record.h"
#include "disklib/vm_folder/vm_state.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

// Whether a link can go into its parent. Errors: kUnsupported naming the links that stand in the
// way (other children of the parent, linked clones), kCorrupt (a child smaller than its parent).
base::Task<base::Status> CheckCommit(Lib& lib, VmState& vm, std::string_view child_path);

// What it would copy. Errors: kBusy naming a holder, those of Lib::Open.
base::Task<base::Result<GrainTotals>> MeasureCommit(Lib& lib, VmState& vm,
                                                    std::string_view child_path,
                                                    CommitOptions options, uint64_t block_bytes);

// Does it, and brings `vm` up to what stands on the disk then. The caller has checked it. Errors:
// kBusy naming a holder, kNoSpace and kInterrupted (the chain is valid, run it again), kIo.
base::Task<base::Status> CommitChild(Lib& lib, VmState& vm, SnapshotRecord& record,
                                     std::string_view child_path, CommitOptions options,
                                     CommitSummary& summary, Progress* progress);

}  // namespace disklib
