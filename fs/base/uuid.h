// 16-byte UUIDs as VMFS writes them: u32 time, u32 time part, u16 random, 6-byte MAC part.
//
// Text form 8-8-4-12 hex digits, the first three groups printed as numbers
// (vmfs/FORMAT.md, "Identifiers"). Plain values, any thread.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "fs/base/result.h"

namespace base {

struct Uuid {
  std::array<uint8_t, 16> bytes{};

  bool is_zero() const { return *this == Uuid{}; }
  std::string ToString() const;
  friend auto operator<=>(const Uuid&, const Uuid&) = default;
};

// Parses the text form. Errors: kParseError.
Result<Uuid> ParseUuid(std::string_view text);

// A UUID of 16 random bytes from the host's kernel, with the time in front. Never all zero.
Uuid NewUuid(uint64_t wall_microseconds);

}  // namespace base
