// Reading and writing a file's bytes.
//
// Data goes straight between the caller's buffers and the device; edges that do not fill sectors
// are read, merged and written under a latch of their 4 KiB page. A write into a hole puts the data
// on the device first and links the block afterwards. Reads and overwrites share the inode's lock;
// what changes the map kind or shortens the file is alone. Thread rule: the volume's executor.
#pragma once

#include <cstdint>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/inode/inode.h"
#include "vmfs/volume/core.h"

namespace vmfs {

// Reads up to the end of the file. Errors: kCorrupt, those of the device.
base::Task<base::Result<uint64_t>> ReadFile(VolumeCore& core, Inode& inode,
                                            base::IoRequest request);

// Writes and grows. Answers less than asked only when space ran out behind the first byte.
// Errors: kReadOnly, kFenced, kNoSpace, kTooLarge, those of the device.
base::Task<base::Result<uint64_t>> WriteFile(VolumeCore& core, Inode& inode,
                                             base::IoRequest request);

// Makes the bytes between the end of the file and the end of its last unit zero on the device, so
// that growing exposes none of what was there. The inode's lock is held exclusively.
base::Task<base::Status> ZeroTail(VolumeCore& core, Inode& inode);

// Allocates unit `index`, a hole, as zeros. `end_bytes` as in LinkBlock. The inode's lock is held.
base::Task<base::Status> AllocateUnit(VolumeCore& core, Inode& inode, uint64_t index,
                                      uint64_t end_bytes);

// Makes [offset, offset + length) of one allocated unit zero. The inode's lock is held.
base::Task<base::Status> ZeroMapped(VolumeCore& core, Inode& inode, uint64_t address,
                                    uint64_t length_bytes);

}  // namespace vmfs
