// Sizes of disks as people write them: "10G", "512m", "2097152s", "1073741824". Pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "fs/base/result.h"

namespace disklib {

// Bytes of a size with an optional suffix, any case: k m g t (powers of 1024, a following "b" or
// "ib" is allowed), s (512-byte sectors), none (bytes). Rounded up to a whole sector.
// Errors: kParseError, kInvalidArgument (zero), kTooLarge (above 62 TiB).
base::Result<uint64_t> ParseDiskSize(std::string_view text);

// The checks of ParseDiskSize on a number of bytes; answers the size rounded up to a sector.
base::Result<uint64_t> CheckDiskSize(uint64_t size_bytes);

}  // namespace disklib
