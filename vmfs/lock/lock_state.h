// The state of a lock in words, for those who look for its holder (vmfs/FORMAT.md, "Locks").
//
// Thread rule: the volume's executor. Needs no lock and no heartbeat: also on read-only mounts.
#pragma once

#include <cstdint>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "fs/fss/file_system.h"

namespace vmfs {

// Reads the lock block at `lock_address`. Errors: kCorrupt, kNotRecognized, the device's.
base::Task<base::Result<fss::LockState>> ReadLockState(base::BlockDevice& volume,
                                                       uint64_t lock_address);

}  // namespace vmfs
