// The range check with which every block device begins its calls.
//
// Offsets and lengths come from guests and from bytes on disk, so a wrong one is answered, never
// asserted. Plain function, any thread.
#pragma once

#include <cstdint>

#include "fs/base/block_device.h"
#include "fs/base/result.h"

namespace base {

// Whether the range lies within `device` and consists of whole blocks. `verb` is for the message:
// "read". Errors: kOutOfRange, kMisaligned.
Status CheckDeviceRange(const BlockDevice& device, const char* verb, uint64_t offset_bytes,
                        uint64_t length_bytes);

}  // namespace base
