// One sector that changes only by compare-and-write: a heartbeat slot or the head of a lock block.
//
// Only the first 512 bytes of such a block are used, so one sector is the unit of the exchange on
// disks with 512-byte blocks; disks with 4 KiB blocks exchange the whole block (vmfs/FORMAT.md,
// Locks). Thread rule: the volume's executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace vmfs {

// The bytes of the sector, exactly as they lie on the volume: as many as the volume's block.
using SectorImage = std::vector<std::byte>;

// Reads the sector at volume address `address` into `image`, which takes its size from the volume.
// Errors: those of BlockDevice::Read.
base::Task<base::Status> ReadSector(base::BlockDevice& volume, uint64_t address,
                                    SectorImage& image);

// Reads `length_bytes` from `address` into `bytes`, in transfers the volume allows.
// Errors: those of BlockDevice::Read.
base::Task<base::Status> ReadRange(base::BlockDevice& volume, uint64_t address,
                                   uint64_t length_bytes, std::vector<std::byte>& bytes);

// Writes `bytes` at `address`. Durable after the next flush. Errors: those of BlockDevice::Write.
base::Task<base::Status> WriteRange(base::BlockDevice& volume, uint64_t address,
                                    std::vector<std::byte>& bytes);

}  // namespace vmfs
