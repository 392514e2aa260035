// CRC32C (Castagnoli), by the processor's instruction where it has one. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace base {

// The CRC of `bytes`; `seed` is the CRC of what came before, 0 at the start.
uint32_t Crc32c(std::span<const std::byte> bytes, uint32_t seed = 0);

// The same without the instruction: for machines that lack it, and to test the fast one.
uint32_t Crc32cPortable(std::span<const std::byte> bytes, uint32_t seed = 0);

}  // namespace base
