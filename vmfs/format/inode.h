// Descriptors ("inodes" elsewhere): a lock block, then the metadata block described here.
//
// `InodeMetadata` is the fixed part, the first 512 bytes; behind it lie inline data or 320 slots of
// the block map (vmfs/FORMAT.md, "Descriptors"). Unknown bytes are kept when it is stored back.
// Plain values, any thread; no I/O.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "fs/base/on_disk.h"
#include "fs/base/result.h"
#include "vmfs/format/address.h"
#include "vmfs/format/resource.h"

namespace vmfs {

enum class InodeType : uint32_t {
  kDirectory = 2,
  kFile = 3,
  kSymlink = 4,
  kSystem = 5,
  kRawDeviceMap = 6,
};

// How a file's bytes are found ("ZLA" on disk).
enum class MapKind : uint32_t {
  kFileBlocks = 1,         // slots are file blocks (small or large)
  kSubBlocks = 2,          // slots are sub-blocks
  kPointerBlocks = 3,      // slots are pointer blocks, which are sub-blocks
  kPb2 = 5,                // slots are pointer blocks in `.pb2.sf`; system files only
  kDoubleIndirect = 0x10D0,  // slots are pointer blocks of pointer blocks
  kInline = 0x10D1,        // the data lies in the descriptor
};

// Whether what the disk holds is one of the values above.
bool IsKnown(InodeType type);
bool IsKnown(MapKind kind);

inline constexpr uint32_t kInodeSignature = 0x66646D64;
inline constexpr uint32_t kInodeBytes = 2 * kMetadataBlockBytes;  // with its lock block
inline constexpr uint32_t kInlineOffset = 0x200;
inline constexpr uint32_t kInlineBytesMax = kMetadataBlockBytes - kInlineOffset;  // 3,584
inline constexpr uint32_t kSlotCount = 320;
inline constexpr uint32_t kSlotsOffset = kMetadataBlockBytes - 8 * kSlotCount;  // 0x600
inline constexpr uint32_t kPointersPerBlock = kSubBlockBytes / 8;               // 8,192
inline constexpr uint64_t kFileBytesMax = uint64_t{64} << 40;
// Descriptor flags.
inline constexpr uint32_t kInodeOutgrewInline = 0x1;
inline constexpr uint32_t kInodeMapsThroughPb2 = 0x8;

struct InodeMetadata {
  Le32 fd;
  Le32 generation;
  Le32 link_count;
  Le32 type_value;
  Le32 flags;
  Le64 length_bytes;
  Le64 block_bytes;  // 64 KiB inline and sub-blocks, 1 MiB otherwise
  Le64 block_count;  // allocated; 0 when inline
  Le32 modified_s;
  Le32 changed_s;
  Le32 accessed_s;
  Le32 uid;
  Le32 gid;
  Le32 mode;  // permission bits; type bits only where ESXi put them
  Le32 map_kind_value;
  Le32 tbz_count_low;
  Le32 cow_count_low;
  Le32 new_count_low;  // blocks since the epoch; equals the block count in practice
  Le32 tbz_count_high;
  Le32 cow_count_high;
  Le32 pointer_block_count;
  Le32 new_count_high;
  Le32 signature;
  Le32 affinity_fd;  // system files and directories: itself; else its directory
  Le32 log2_tbz_granularity;
  Le32 parent_fd;
  Le32 last_small_block_cluster;
  std::array<uint8_t, 8> unknown_0x78{};
  Le32 affinity_bitmap;
  uint8_t preallocated_blocks = 0;
  std::array<uint8_t, 4> unknown_0x85{};
  uint8_t log2_block_bytes = 0;
  uint8_t tracked_large_blocks = 0;
  std::array<uint8_t, 1> unknown_0x8b{};
  Le32 large_block_count;
  std::array<uint8_t, 0xd8> unknown_0x90{};
  Le32 last_free_small_block_cluster;
  std::array<uint8_t, 0x94> unknown_0x16c{};

  InodeType type() const { return static_cast<InodeType>(uint32_t{type_value}); }
  MapKind map_kind() const { return static_cast<MapKind>(uint32_t{map_kind_value}); }
  FdAddress address() const { return FdAddress(fd); }
  FdAddress parent() const { return FdAddress(parent_fd); }

  void set_type(InodeType type) { type_value = static_cast<uint32_t>(type); }
  // Sets the map kind and the block size that belongs to it (inline and sub-blocks 64 KiB).
  void SetMapKind(MapKind kind);
  // Sets block_count, and the count since the epoch with it.
  void SetBlockCount(uint64_t count);
};
static_assert(base::OnDisk<InodeMetadata> && sizeof(InodeMetadata) == kInlineOffset);
static_assert(offsetof(InodeMetadata, generation) == 0x04);
static_assert(offsetof(InodeMetadata, link_count) == 0x08);
static_assert(offsetof(InodeMetadata, type_value) == 0x0c);
static_assert(offsetof(InodeMetadata, flags) == 0x10);
static_assert(offsetof(InodeMetadata, length_bytes) == 0x14);
static_assert(offsetof(InodeMetadata, block_bytes) == 0x1c);
static_assert(offsetof(InodeMetadata, block_count) == 0x24);
static_assert(offsetof(InodeMetadata, modified_s) == 0x2c);
static_assert(offsetof(InodeMetadata, changed_s) == 0x30);
static_assert(offsetof(InodeMetadata, accessed_s) == 0x34);
static_assert(offsetof(InodeMetadata, uid) == 0x38);
static_assert(offsetof(InodeMetadata, gid) == 0x3c);
static_assert(offsetof(InodeMetadata, mode) == 0x40);
static_assert(offsetof(InodeMetadata, map_kind_value) == 0x44);
static_assert(offsetof(InodeMetadata, tbz_count_low) == 0x48);
static_assert(offsetof(InodeMetadata, cow_count_low) == 0x4c);
static_assert(offsetof(InodeMetadata, new_count_low) == 0x50);
static_assert(offsetof(InodeMetadata, tbz_count_high) == 0x54);
static_assert(offsetof(InodeMetadata, cow_count_high) == 0x58);
static_assert(offsetof(InodeMetadata, pointer_block_count) == 0x5c);
static_assert(offsetof(InodeMetadata, new_count_high) == 0x60);
static_assert(offsetof(InodeMetadata, signature) == 0x64);
static_assert(offsetof(InodeMetadata, affinity_fd) == 0x68);
static_assert(offsetof(InodeMetadata, log2_tbz_granularity) == 0x6c);
static_assert(offsetof(InodeMetadata, parent_fd) == 0x70);
static_assert(offsetof(InodeMetadata, last_small_block_cluster) == 0x74);
static_assert(offsetof(InodeMetadata, affinity_bitmap) == 0x80);
static_assert(offsetof(InodeMetadata, preallocated_blocks) == 0x84);
static_assert(offsetof(InodeMetadata, log2_block_bytes) == 0x89);
static_assert(offsetof(InodeMetadata, tracked_large_blocks) == 0x8a);
static_assert(offsetof(InodeMetadata, large_block_count) == 0x8c);
static_assert(offsetof(InodeMetadata, last_free_small_block_cluster) == 0x168);

// A new descriptor's fixed part: signature, address, granularity, an inline map, all else zero.
InodeMetadata MakeInode(FdAddress address, uint32_t generation, InodeType type);

// Decodes a descriptor's metadata block. Errors: kNotRecognized (no signature: never used),
// kCorrupt (another descriptor's, unknown type or map kind, block size, length beyond what the map
// kind reaches). A link count of 0 (an orphan, or deleted) is not an error.
base::Result<InodeMetadata> DecodeInode(std::span<const std::byte> block, FdAddress expected);

// Bytes a map kind reaches with 320 slots, capped at 64 TiB.
uint64_t MapReachBytes(MapKind kind);

// The slots of the block map, and any array of addresses in a piece of a pointer block.
Address GetSlot(ConstMetadataSpan inode_block, uint32_t slot);
void SetSlot(MetadataSpan inode_block, uint32_t slot, Address address);
Address GetPointer(std::span<const std::byte> pointer_bytes, uint32_t index);
void SetPointer(std::span<std::byte> pointer_bytes, uint32_t index, Address address);

inline std::span<const std::byte, kInlineBytesMax> InlineData(ConstMetadataSpan inode_block) {
  return inode_block.subspan<kInlineOffset>();
}
inline std::span<std::byte, kInlineBytesMax> InlineData(MetadataSpan inode_block) {
  return inode_block.subspan<kInlineOffset>();
}

}  // namespace vmfs
