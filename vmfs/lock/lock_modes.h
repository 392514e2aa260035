// Lock blocks as values: who holds a lock, and each legal change of a lock.
//
// Pure functions on `LockBlock`; the exchange on the volume is in `lock_manager.h`. Every change
// raises the token by one, and bytes we do not know are kept (vmfs/FORMAT.md, Locks). Whether a
// holder is still alive is for the caller to find out. Plain values, any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fs/base/result.h"
#include "vmfs/format/lock_block.h"
#include "vmfs/lock/sector.h"

namespace vmfs {

// A holder by value equality of all three fields.
bool SameHolder(const LockHolder& a, const LockHolder& b);

// Everybody who holds the lock: nobody, the exclusive owner, or the shared holders.
std::vector<LockHolder> HoldersOf(const LockBlock& lock);

// Whether `holder` has the lock in mode 1.
bool HeldExclusivelyBy(const LockBlock& lock, const LockHolder& holder);

// Mode 1 for `holder`, whoever held it before: of a free lock, or one whose holders are all dead.
LockBlock TakenLock(const LockBlock& lock, const LockHolder& holder);

// Mode 0 as ESXi leaves it: owner zero, heartbeat address and generation of the last holder kept.
LockBlock FreedLock(const LockBlock& lock);

// Mode 1 -> 2 with `holder`, who had it, as the only reader.
LockBlock DowngradedLock(const LockBlock& lock, const LockHolder& holder);

// Adds a shared holder; `mode` is kReadOnly or kMultiWriter. Errors: kLockHeld when the lock is
// held in another mode, kNoSpace when all 8 places are taken, kExists when it is a holder already.
base::Result<LockBlock> AddHolder(const LockBlock& lock, LockMode mode, const LockHolder& holder);

// Takes a shared holder off the list, also a dead one; without holders the lock is free.
// Errors: kNotFound.
base::Result<LockBlock> RemoveHolder(const LockBlock& lock, const LockHolder& holder);

// Mode 2 -> 1 for its only holder. Errors: kNotFound when `holder` is none, kLockHeld when there
// are others, kInvalidArgument from another mode.
base::Result<LockBlock> UpgradeToExclusive(const LockBlock& lock, const LockHolder& holder);

// `image` with the lock's sector replaced; what lies behind the sector is kept.
SectorImage WithLock(const SectorImage& image, const LockBlock& lock);

}  // namespace vmfs
