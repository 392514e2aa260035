// Directories: a 64 KiB header with a hash table, then blocks of records, links or allocation map.
//
// The structures only; `vmfs/directory/` works on them (vmfs/FORMAT.md, "Directories"). A directory
// file is seen as 4 KiB pieces: pieces 0 to 15 are the header, piece 16 + n is block n. Plain
// values, any thread; no I/O.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "fs/base/on_disk.h"
#include "fs/base/result.h"
#include "vmfs/format/address.h"
#include "vmfs/format/inode.h"
#include "vmfs/format/name_hash.h"

namespace vmfs {

inline constexpr uint32_t kDirectoryVersion = 0x00F50001;
inline constexpr uint32_t kDirectoryHeaderBytes = 64 << 10;
inline constexpr uint32_t kDirectoryHeaderPieces = kDirectoryHeaderBytes / kMetadataBlockBytes;
inline constexpr uint32_t kDirectoryBirthBytes = kDirectoryHeaderBytes + 2 * kMetadataBlockBytes;

// A record: one name. Slots of a record block; "." and ".." stand in the header.
struct DirectoryRecord {
  Le32 type_value;  // InodeType
  Le32 fd;
  Le32 generation;
  Le32 hash;           // low half of the name's hash; 0 for ".", ".." and system names
  Le64 file_offset;    // of this record in the directory file
  std::array<char, 256> name_bytes{};
  Le64 reserved_0x118;

  std::string_view name() const {
    const std::string_view all(name_bytes.data(), name_bytes.size());
    return all.substr(0, all.find('\0'));
  }
  FdAddress address() const { return FdAddress(fd); }
};
static_assert(base::OnDisk<DirectoryRecord> && sizeof(DirectoryRecord) == 0x120);
static_assert(offsetof(DirectoryRecord, fd) == 0x04);
static_assert(offsetof(DirectoryRecord, generation) == 0x08);
static_assert(offsetof(DirectoryRecord, hash) == 0x0c);
static_assert(offsetof(DirectoryRecord, file_offset) == 0x10);
static_assert(offsetof(DirectoryRecord, name_bytes) == 0x18);
static_assert(offsetof(DirectoryRecord, reserved_0x118) == 0x118);

inline constexpr uint32_t kMapBlocksMax = 128;

// The fixed part of the header: everything before the hash table. All of it lies in piece 0.
struct DirectoryHeader {
  Le32 version;
  Le32 entry_count;      // "." and ".." included
  Le32 allocated_count;  // the same value in practice
  Le32 map_block_count;
  std::array<Le32, kMapBlocksMax> map_blocks{};
  std::array<uint8_t, 0x198> unknown_0x210{};
  Le64 checksum;
  Le64 checksum_generation;
  DirectoryRecord dot;
  DirectoryRecord dot_dot;
};
static_assert(base::OnDisk<DirectoryHeader> && sizeof(DirectoryHeader) == 0x5f8);
static_assert(offsetof(DirectoryHeader, map_blocks) == 0x10);
static_assert(offsetof(DirectoryHeader, checksum) == 0x3a8);
static_assert(offsetof(DirectoryHeader, checksum_generation) == 0x3b0);
static_assert(offsetof(DirectoryHeader, dot) == 0x3b8);
static_assert(offsetof(DirectoryHeader, dot_dot) == 0x4d8);

// Where a name's record or link group is: the 32-bit value of the hash table and of links.
enum class DirectoryBlockKind : uint8_t { kNone = 0, kRecords = 1, kLinks = 2, kMap = 3 };

struct Location {
  DirectoryBlockKind kind = DirectoryBlockKind::kNone;
  uint32_t block = 0;  // under 2^22
  uint32_t slot = 0;   // under 256

  static constexpr Location Decode(uint32_t raw) {
    return {static_cast<DirectoryBlockKind>(raw & 3), raw >> 2 & 0x3fffff, raw >> 24};
  }
  constexpr uint32_t Encode() const {
    return static_cast<uint32_t>(kind) | block << 2 | slot << 24;
  }
  constexpr bool is_none() const { return kind == DirectoryBlockKind::kNone; }
  friend constexpr bool operator==(const Location&, const Location&) = default;
};

// The hash table: one location per bucket. A bucket never straddles two pieces.
inline constexpr uint32_t kHashTableOffset = sizeof(DirectoryHeader);
constexpr uint32_t HashSlotPiece(uint32_t bucket) {
  return (kHashTableOffset + 4 * bucket) / kMetadataBlockBytes;
}
constexpr uint32_t HashSlotOffset(uint32_t bucket) {
  return (kHashTableOffset + 4 * bucket) % kMetadataBlockBytes;
}
// `piece` is piece HashSlotPiece(bucket) of the directory.
Location GetHashSlot(ConstMetadataSpan piece, uint32_t bucket);
void SetHashSlot(MetadataSpan piece, uint32_t bucket, Location location);

// Begin of every block behind the header.
inline constexpr uint32_t kBlockBitmapBytes = 56;
struct DirectoryBlockHeader {
  Le16 version;  // 1; 0 in map blocks
  Le16 kind_value;
  Le16 slot_count;
  Le16 free_count;
  std::array<uint8_t, kBlockBitmapBytes> bitmap{};  // 1 is free

  DirectoryBlockKind kind() const { return static_cast<DirectoryBlockKind>(uint16_t{kind_value}); }
  bool is_free(uint32_t slot) const { return (bitmap[slot / 8] >> (slot % 8) & 1) != 0; }
  // Marks a slot and keeps free_count right; the slot must be in the other state (CHECKed).
  void Mark(uint32_t slot, bool is_free_now);
  // The first free slot; slot_count when there is none.
  uint32_t FirstFree() const;
};
static_assert(base::OnDisk<DirectoryBlockHeader> && sizeof(DirectoryBlockHeader) == 64);
static_assert(offsetof(DirectoryBlockHeader, kind_value) == 2);
static_assert(offsetof(DirectoryBlockHeader, slot_count) == 4);
static_assert(offsetof(DirectoryBlockHeader, free_count) == 6);
static_assert(offsetof(DirectoryBlockHeader, bitmap) == 8);

inline constexpr uint32_t kRecordsPerBlock = 14;
inline constexpr uint32_t kLinkGroupsPerBlock = 48;

// File offset of block `block`, of a record in it; offset of a slot within its block.
constexpr uint64_t DirectoryBlockOffset(uint32_t block) {
  return kDirectoryHeaderBytes + uint64_t{block} * kMetadataBlockBytes;
}
constexpr uint32_t RecordOffsetInBlock(uint32_t slot) {
  return static_cast<uint32_t>(sizeof(DirectoryBlockHeader) + slot * sizeof(DirectoryRecord));
}
constexpr uint64_t RecordFileOffset(uint32_t block, uint32_t slot) {
  return DirectoryBlockOffset(block) + RecordOffsetInBlock(slot);
}

// Names with the same bucket: up to 12 in a group, groups chained. Used links are packed from 0.
inline constexpr uint32_t kLinksPerGroup = 12;
struct DirectoryLink {
  Le32 location;
  Le16 hash;  // LinkHash()
};
struct LinkGroup {
  Le16 bucket;
  uint8_t link_count = 0;  // 12
  uint8_t free_count = 0;
  uint8_t next_free = 0;
  uint8_t padding_0x05 = 0;
  std::array<DirectoryLink, kLinksPerGroup> links{};
  Le32 next_group;  // Location; 0: the last
  std::array<uint8_t, 2> padding_0x52{};
};
static_assert(base::OnDisk<LinkGroup> && sizeof(LinkGroup) == 84);
static_assert(offsetof(LinkGroup, links) == 6);
static_assert(offsetof(LinkGroup, next_group) == 78);
static_assert(sizeof(DirectoryBlockHeader) + kRecordsPerBlock * sizeof(DirectoryRecord) ==
              kMetadataBlockBytes);
static_assert(sizeof(DirectoryBlockHeader) + kLinkGroupsPerBlock * sizeof(LinkGroup) ==
              kMetadataBlockBytes);
constexpr uint32_t LinkGroupOffsetInBlock(uint32_t slot) {
  return static_cast<uint32_t>(sizeof(DirectoryBlockHeader) + slot * sizeof(LinkGroup));
}

// The allocation map: one nibble per directory block, high nibble first. Block 0 is the first map
// block; one map block covers 8,064 blocks.
inline constexpr uint32_t kBlocksPerMapBlock = 2 * (kMetadataBlockBytes - 64);
struct MapNibble {
  DirectoryBlockKind kind = DirectoryBlockKind::kNone;
  bool has_free = false;
  bool never_written = false;
  static constexpr MapNibble Decode(uint8_t value) {
    return {static_cast<DirectoryBlockKind>(value & 3), (value & 4) != 0, (value & 8) != 0};
  }
  constexpr uint8_t Encode() const {
    return static_cast<uint8_t>(static_cast<uint8_t>(kind) | (has_free ? 4 : 0) |
                                (never_written ? 8 : 0));
  }
  friend constexpr bool operator==(const MapNibble&, const MapNibble&) = default;
};
// `index` is the block's number within the map block (under 8,064).
MapNibble GetMapNibble(ConstMetadataSpan map_block, uint32_t index);
void SetMapNibble(MetadataSpan map_block, uint32_t index, MapNibble nibble);

// A record as it is written for `name` (at most 127 bytes, CHECKed) at `file_offset`; `hash` is 0
// for ".", ".." and system names, else RecordHash().
DirectoryRecord MakeRecord(InodeType type, FdAddress fd, uint32_t generation, uint32_t hash,
                           uint64_t file_offset, std::string_view name);

// Piece 0, and block 0 (map) and block 1 (records) of a new directory. `self` and `parent` are
// records for "." and ".." (their offsets and names are filled in here).
DirectoryHeader MakeDirectoryHeader(DirectoryRecord self, DirectoryRecord parent);
void EncodeFirstMapBlock(bool with_record_block, MetadataSpan block);
void EncodeEmptyBlock(DirectoryBlockKind kind, MetadataSpan block);

// Errors of all: kCorrupt, naming the field. Ranges against the directory's own size are the
// caller's: locations, block numbers and descriptors may point anywhere.
base::Result<DirectoryHeader> DecodeDirectoryHeader(std::span<const std::byte> piece_0);
base::Result<DirectoryRecord> DecodeRecord(std::span<const std::byte> bytes,
                                           uint64_t expected_file_offset);
base::Result<DirectoryBlockHeader> DecodeBlockHeader(std::span<const std::byte> block,
                                                     DirectoryBlockKind expected_kind);
base::Result<LinkGroup> DecodeLinkGroup(std::span<const std::byte> bytes, uint32_t expected_bucket);

}  // namespace vmfs
