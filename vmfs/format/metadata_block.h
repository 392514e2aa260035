// Sizes that hold for a whole VMFS-6 volume, and helpers on whole metadata blocks.
//
// Only volumes with 4 KiB metadata blocks are known (vmfs/FORMAT.md, "Regions"); any other
// alignment is refused when the superblock is decoded. Plain values, any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace vmfs {

inline constexpr uint32_t kMetadataBlockBytes = 4096;
inline constexpr uint64_t kMebibyte = uint64_t{1} << 20;
inline constexpr uint64_t kFileBlockBytes = kMebibyte;
inline constexpr uint64_t kSubBlockBytes = 64 << 10;
inline constexpr uint64_t kJournalBlockBytes = 2 * kMebibyte;
inline constexpr uint64_t kUnitBytes = 256 * kMebibyte;  // volumes are whole units
inline constexpr uint32_t kSmallBlocksPerCluster = 512;  // one large block is one cluster
inline constexpr uint64_t kVolumeBytesMax = uint64_t{64} << 40;
inline constexpr uint32_t kNameBytesMax = 127;

using MetadataBytes = std::array<std::byte, kMetadataBlockBytes>;

// True when every byte is zero. Most unused structures of a volume are.
inline bool IsZero(std::span<const std::byte> bytes) {
  // Equal to itself one byte further on: runs at the speed of memcmp.
  return bytes.empty() || (bytes.front() == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

}  // namespace vmfs
