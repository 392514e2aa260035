// Sizes as people write them on a command line. Pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "fs/base/result.h"

namespace stratad {

// Bytes of a whole number with an optional suffix, any case: k m g t p (powers of 1024, followed
// by "b" or "ib" or nothing), none (bytes). Errors: kParseError, kTooLarge (over 64 bits).
base::Result<uint64_t> ParseSize(std::string_view text);

}  // namespace stratad
