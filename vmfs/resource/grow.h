// Growing a resource file by clusters, when it has run full.
//
// New cluster headers go home first; one transaction then links the new blocks, moves the length
// and raises the count (vmfs/FORMAT.md, "Growing a resource file"). Resource files never shrink.
// Thread rule: the volume's executor; no transaction is open.
#pragma once

#include <cstdint>

#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/volume/core.h"

namespace vmfs {

// The largest number of sub-blocks a volume may have: what other readers can address.
inline constexpr uint64_t kSubBlocksMax = 65536;

// Holds a free item as `Allocator::Reserve` does. Where there is none, waits for freed items to
// come back, then grows the resource file. Errors: kNoSpace, kLockHeld, those of the device.
base::Task<base::Result<Reservation>> ReserveItem(VolumeCore& core, Resource& resource,
                                                  ResourceIndex hint);

// Makes a range of the volume read as zeros, at no cost where the device knows it to be a hole.
base::Task<base::Status> ZeroOnDevice(VolumeCore& core, uint64_t address, uint64_t length_bytes);

// Adds one cluster of resources to `.fdc.sf`, `.sbc.sf` or `.pb2.sf`, or as much of it as the free
// file blocks hold. Does nothing when somebody else has grown it since `known_count`.
// Errors: kNoSpace (no file block, or at the format's limit), kIo …
base::Task<base::Status> GrowResource(VolumeCore& core, Resource& resource, uint64_t known_count);

}  // namespace vmfs
