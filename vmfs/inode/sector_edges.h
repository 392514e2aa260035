// Transfers at any byte of the volume over a device that moves whole sectors.
//
// Aligned transfers pass straight through. Others go through a buffer of their own; a write reads
// the sectors at its edges first, under a latch of the 4 KiB pages it touches, so that two writers
// of one sector do not undo each other. Thread rule: the volume's executor.
#pragma once

#include <cstdint>
#include <span>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/inode/inode.h"
#include "vmfs/volume/core.h"

namespace vmfs {

inline constexpr uint64_t kSectorBytes = 512;

// True when a transfer needs no help.
constexpr bool IsSectorAligned(uint64_t address, uint64_t length_bytes) {
  return (address | length_bytes) % kSectorBytes == 0;
}

// Fills `pieces` from volume address `address`.
base::Task<base::Status> ReadBytes(VolumeCore& core, uint64_t address,
                                   std::span<const base::IoVec> pieces);

// Stores `pieces` at volume address `address`; the latches are the inode's.
base::Task<base::Status> WriteBytes(VolumeCore& core, Inode& inode, uint64_t address,
                                    std::span<const base::IoVec> pieces);

}  // namespace vmfs
