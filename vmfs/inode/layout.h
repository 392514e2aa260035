// How a file's block map grows: inline, one sub-block, file blocks, pointer blocks, double.
//
// Along ESXi's path (vmfs/FORMAT.md, "File growth"), under two rules that keep other readers right:
// no empty slot before a used one in the descriptor, and no block is linked before it is zero or
// holds its data. Each step is a transaction of its own and consistent. Thread rule: the volume's
// executor; see each function for the locks it needs.
#pragma once

#include <cstdint>

#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/inode/inode.h"
#include "vmfs/resource/allocator.h"
#include "vmfs/volume/core.h"

namespace vmfs {

// The map a file gets that is too long for its descriptor: a sub-block or file blocks.
MapKind FirstMapKind(const VolumeCore& core, uint64_t end_bytes);

// Moves an inline or sub-block file to a kind that can hold `end_bytes`, with its contents. Does
// nothing when it can already, or uses file blocks. The inode's lock is held exclusively.
// Errors: kNoSpace, kTooLarge, kIo …
base::Task<base::Status> MakeLayoutFor(VolumeCore& core, Inode& inode, uint64_t end_bytes);

// Changes the map until it reaches `size_bytes`, without allocating data: for a length set beyond
// what is written. The inode's lock is held exclusively. Errors: kNoSpace, kTooLarge, kIo …
base::Task<base::Status> MakeMapReach(VolumeCore& core, Inode& inode, uint64_t size_bytes);

// Whether MakeLayoutFor has something to do.
bool NeedsLayoutFor(const Inode& inode, uint64_t end_bytes);

// Links a reserved file block, whose contents are on the device, as unit `index`, and moves the end
// of the file to `end_bytes` if that is further. Adds the pointer blocks that are missing. The
// inode's lock is held (shared suffices), and the unit is a hole. The reservation is spent on
// success. Errors: kNoSpace, kIo …
base::Task<base::Status> LinkBlock(VolumeCore& core, Inode& inode, uint64_t index,
                                   Reservation& block, uint64_t end_bytes);

// Changes the map to pointer blocks, so that slots may be emptied in the middle. The inode's lock
// is held exclusively; the kind is kFileBlocks. Errors: kNoSpace, kIo …
base::Task<base::Status> ConvertToPointerBlocks(VolumeCore& core, Inode& inode);

// Holds a sub-block or file block and makes sure that it reads as zeros; `skip_zeroing` for a
// caller who writes all of it. Errors: kNoSpace (after waiting for freed items to come back), kIo …
base::Task<base::Result<Reservation>> ReserveZeroed(VolumeCore& core, Resource& resource,
                                                    ResourceIndex hint, bool skip_zeroing);

}  // namespace vmfs
