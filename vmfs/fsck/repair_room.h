// Room for the log of a repair: free file blocks, else free journal blocks.
//
// A volume without a free file block still has the journal blocks of `.jbc.sf`, which nobody uses
// while it is repaired. What a log leaves there is emptied behind the repair (vmfs/FORMAT.md,
// "Repair record"). Internal to `vmfs/fsck`. Thread rule: the volume's executor.
#pragma once

#include <cstdint>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/fsck/repair_work.h"

namespace vmfs::fsck {

// Up to `count` volume addresses of 1 MiB each that nothing uses, neither on `volume` as it is nor
// behind the repair that `work` holds. Fewer where there are fewer. Errors: those of Read.
base::Task<base::Result<std::vector<uint64_t>>> ChooseChunks(base::BlockDevice& volume,
                                                             RepairWork& work, uint64_t count);

// Gives journal blocks that hold a part of a log, and belong to no host, the empty form. Errors:
// those of the device.
base::Task<base::Status> EmptyLogJournals(base::BlockDevice& volume, RepairWork& work);

}  // namespace vmfs::fsck
