// Freeing a file's blocks: for truncate, punched holes and deletion, in bounded transactions.
//
// Works from the end, so that no empty slot ever stands before a used one in the descriptor, and so
// that a crash between two transactions leaves a shorter file, not a damaged one. Thread rule: the
// volume's executor; the inode's lock is held exclusively.
#pragma once

#include <cstdint>

#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/inode/inode.h"
#include "vmfs/volume/core.h"

namespace vmfs {

// The allocator of what a file's map names: file blocks and sub-blocks; null for anything else.
Allocator* AllocatorOf(VolumeCore& core, Address address);

// Frees what lies behind `new_size_bytes` and sets the length to it. At 0 the file is inline again.
// One transaction where it can be; a very large or scattered file shrinks in steps.
// Errors: kCorrupt, kIo, kLockHeld.
base::Task<base::Status> ShrinkTo(VolumeCore& core, Inode& inode, uint64_t new_size_bytes);

// Frees units [first, end) of a file and leaves holes; the length stays. The map kind allows holes
// there (pointer blocks, or the units are at the end). Errors: as ShrinkTo.
base::Task<base::Status> FreeUnits(VolumeCore& core, Inode& inode, uint64_t first, uint64_t end);

}  // namespace vmfs
