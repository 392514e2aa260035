// What the formats with 32-bit sector addresses have in common: hosted sparse and vmfsSparse. Pure.
//
// A grain or table is named by the sector it starts at in 32 bits, so a file of these formats ends
// below 2 TiB. Thread rule: none.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

#include "disklib/descriptor.h"
#include "fs/base/aligned_buffer.h"
#include "fs/base/result.h"

namespace disklib {

// No sector at or past this one has an address.
inline constexpr uint64_t kSectorAddressCount = uint64_t{1} << 32;

// The largest capacity that is created or extended to. What is above stays free for tables, so that
// a full delta still fits below the last address.
inline constexpr uint64_t kSectorFormatBytesMax = uint64_t{2032} << 30;

inline constexpr uint64_t kGrainSectorsMax = 2048;

constexpr bool IsGrainSectors(uint64_t sectors) {
  return std::has_single_bit(sectors) && sectors <= kGrainSectorsMax;
}

constexpr uint64_t DivideUp(uint64_t value, uint64_t divisor) {
  return value / divisor + (value % divisor != 0 ? 1 : 0);
}

using base::RoundUp;

// Whether a new or longer extent of `format` may have this capacity. Errors: kInvalidArgument (zero
// or no whole sectors), kTooLarge (over 2,032 GiB; the message offers seSparse).
base::Status CheckSectorFormatCapacity(std::string_view format, uint64_t size_bytes);

// Whether `sector_count` sectors at `sector` have addresses. Error kNoSpace: the file of this
// format is full, whatever the volume has left.
base::Status CheckSectorAddresses(std::string_view format, uint64_t sector, uint64_t sector_count);

}  // namespace disklib
