// Length and allocation of a file: truncate, fallocate, SEEK_DATA and SEEK_HOLE.
//
// Each takes the inode's lock itself. Thread rule: the volume's executor.
#pragma once

#include <cstdint>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/task.h"
#include "fs/fss/file_system.h"
#include "vmfs/inode/inode.h"
#include "vmfs/volume/core.h"

namespace vmfs {

// Who sets the time of the change: the volume's clock, or the caller in a call of its own.
enum class TimeKeeper : uint8_t { kVolume, kCaller };

// Sets the length; what is new reads as zeros, what is cut off is freed.
// Errors: kTooLarge, kNoSpace, kReadOnly, kIo …
base::Task<base::Status> Truncate(VolumeCore& core, Inode& inode, uint64_t size_bytes,
                                  TimeKeeper times);

// fallocate(2) in its five forms. Errors: kTooLarge, kNoSpace (what was allocated so far stays), …
base::Task<base::Status> AllocateRange(VolumeCore& core, Inode& inode, fss::AllocateMode mode,
                                       uint64_t offset_bytes, uint64_t length_bytes,
                                       TimeKeeper times);

// The next data or hole at or behind the offset; the end of the file is a hole. Error: kNoData.
base::Task<base::Result<uint64_t>> SeekFile(VolumeCore& core, Inode& inode, fss::SeekKind kind,
                                            uint64_t offset_bytes);

// Appends what the range holds: data or holes. Behind the end: one hole.
base::Task<base::Status> MapFile(VolumeCore& core, Inode& inode, uint64_t offset_bytes,
                                 uint64_t length_bytes, std::vector<base::MapRun>& runs);

}  // namespace vmfs
