// The repairer of virtual disks: makes a damaged chain check clean again, losing nothing that is
// referred to.
//
// It is the same walk as the check (`check.h`), with permission: what is `automatic` is done, what
// would change the meaning of the disk only when it is named or confirmed. Each repair is safe to
// cut and to run again: what protects data is durable before what refers to it, and that before
// anything is freed; a descriptor changes in one step (disklib/FORMAT.md, "Check"). A disk that is
// in use is never repaired. Place: beside `operations.h`. Thread rule: the executor of the Lib.
#pragma once

#include <functional>
#include <set>
#include <string_view>

#include "disklib/check/check.h"
#include "disklib/check/report.h"
#include "disklib/lib.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

struct DiskRepairOptions {
  CheckOptions check = {.user = "strata disk check --repair"};
  std::set<Invariant> fix;  // named by the user: their repairs on request are made
  // Asked for every other repair on request; empty: none of them is made.
  std::function<bool(const CheckFinding&)> confirm;
};

// Checks and repairs the disk at `path` with all its parents. `options` outlives the call. Errors:
// those of CheckDisk; kBusy naming the holder; kUnsupported (`fix` names a row that has no repair);
// kReadOnly, kNoSpace, kIo.
base::Task<base::Result<DiskRepairReport>> RepairDisk(Lib& lib, std::string_view path,
                                                      DiskRepairOptions& options,
                                                      Progress* progress);

// Repairs what CheckFolder finds beside the disks: lost descriptors, the .vmsd. The disks of the
// folder are repaired one by one, by RepairDisk. Errors: as RepairDisk.
base::Task<base::Result<DiskRepairReport>> RepairFolder(Lib& lib, std::string_view folder,
                                                        DiskRepairOptions& options,
                                                        Progress* progress);

}  // namespace disklib
