#include "vmfs/format/directory.h"

#include <cstring>

#include "fs/base/check.h"
#include "vmfs/format/corrupt.h"

namespace vmfs {
namespace {

uint32_t SlotsOf(DirectoryBlockKind kind) {
  switch (kind) {
    case DirectoryBlockKind::kRecords: return kRecordsPerBlock;
    case DirectoryBlockKind::kLinks: return kLinkGroupsPerBlock;
    default: return 0;
  }
}

uint32_t CountBits(std::span<const uint8_t> bytes) {
  uint32_t count = 0;
  for (const uint8_t byte : bytes) count += static_cast<uint32_t>(__builtin_popcount(byte));
  return count;
}

}  // namespace

Location GetHashSlot(ConstMetadataSpan piece, uint32_t bucket) {
  CHECK(bucket < kHashBucketCount);
  return Location::Decode(base::LoadAs<Le32>(piece, HashSlotOffset(bucket)));
}

void SetHashSlot(MetadataSpan piece, uint32_t bucket, Location location) {
  CHECK(bucket < kHashBucketCount);
  base::StoreAs(piece, HashSlotOffset(bucket), Le32(location.Encode()));
}

void DirectoryBlockHeader::Mark(uint32_t slot, bool is_free_now) {
  CHECK(slot < slot_count && is_free(slot) != is_free_now);
  bitmap[slot / 8] = static_cast<uint8_t>(bitmap[slot / 8] ^ (1 << (slot % 8)));
  free_count = static_cast<uint16_t>(free_count + (is_free_now ? 1 : -1));
}

uint32_t DirectoryBlockHeader::FirstFree() const {
  uint32_t slot = 0;
  while (slot < slot_count && !is_free(slot)) ++slot;
  return slot;
}

MapNibble GetMapNibble(ConstMetadataSpan map_block, uint32_t index) {
  CHECK(index < kBlocksPerMapBlock);
  const auto byte = std::to_integer<uint8_t>(map_block[sizeof(DirectoryBlockHeader) + index / 2]);
  return MapNibble::Decode(static_cast<uint8_t>(index % 2 == 0 ? byte >> 4 : byte & 15));
}

void SetMapNibble(MetadataSpan map_block, uint32_t index, MapNibble nibble) {
  CHECK(index < kBlocksPerMapBlock);
  std::byte& byte = map_block[sizeof(DirectoryBlockHeader) + index / 2];
  const auto value = std::byte{nibble.Encode()};
  byte = index % 2 == 0 ? (byte & std::byte{0x0f}) | value << 4 : (byte & std::byte{0xf0}) | value;
}

DirectoryRecord MakeRecord(InodeType type, FdAddress fd, uint32_t generation, uint32_t hash,
                           uint64_t file_offset, std::string_view name) {
  CHECK(!name.empty() && name.size() <= kNameBytesMax);
  DirectoryRecord record;
  record.type_value = static_cast<uint32_t>(type);
  record.fd = fd.raw();
  record.generation = generation;
  record.hash = hash;
  record.file_offset = file_offset;
  std::memcpy(record.name_bytes.data(), name.data(), name.size());
  return record;
}

DirectoryHeader MakeDirectoryHeader(DirectoryRecord self, DirectoryRecord parent) {
  DirectoryHeader header;
  header.version = kDirectoryVersion;
  header.entry_count = 2;
  header.allocated_count = 2;
  header.map_block_count = 1;
  self.file_offset = offsetof(DirectoryHeader, dot);
  self.name_bytes = {'.'};
  parent.file_offset = offsetof(DirectoryHeader, dot_dot);
  parent.name_bytes = {'.', '.'};
  header.dot = self;
  header.dot_dot = parent;
  return header;
}

void EncodeFirstMapBlock(bool with_record_block, MetadataSpan block) {
  EncodeEmptyBlock(DirectoryBlockKind::kMap, block);
  SetMapNibble(block, 0, {DirectoryBlockKind::kMap, false, false});
  if (with_record_block) SetMapNibble(block, 1, {DirectoryBlockKind::kRecords, true, false});
}

void EncodeEmptyBlock(DirectoryBlockKind kind, MetadataSpan block) {
  std::memset(block.data(), 0, block.size());
  DirectoryBlockHeader header;
  header.kind_value = static_cast<uint16_t>(kind);
  const uint32_t slots = SlotsOf(kind);
  header.version = kind == DirectoryBlockKind::kMap ? uint16_t{0} : uint16_t{1};
  header.slot_count = static_cast<uint16_t>(slots);
  header.free_count = static_cast<uint16_t>(slots);
  for (uint32_t slot = 0; slot < slots; ++slot) {
    header.bitmap[slot / 8] = static_cast<uint8_t>(header.bitmap[slot / 8] | 1 << (slot % 8));
  }
  base::StoreAs(block, 0, header);
  if (kind != DirectoryBlockKind::kMap) return;
  for (uint32_t i = 0; i < kBlocksPerMapBlock; ++i) {
    SetMapNibble(block, i, {DirectoryBlockKind::kNone, false, true});
  }
}

base::Result<DirectoryHeader> DecodeDirectoryHeader(std::span<const std::byte> piece_0) {
  if (piece_0.size() < sizeof(DirectoryHeader)) {
    return CorruptError("directory header: only {} bytes", piece_0.size());
  }
  const auto header = base::LoadAs<DirectoryHeader>(piece_0);
  if (header.version != kDirectoryVersion) {
    return CorruptError("directory header: version {:#x}, expected {:#x}",
                        uint32_t{header.version}, kDirectoryVersion);
  }
  if (header.entry_count < 2) {
    return CorruptError("directory header: {} entries, at least 2 exist",
                        uint32_t{header.entry_count});
  }
  if (header.map_block_count == 0 || header.map_block_count > kMapBlocksMax) {
    return CorruptError("directory header: {} map blocks, expected 1 to {}",
                        uint32_t{header.map_block_count}, kMapBlocksMax);
  }
  if (header.map_blocks[0] != 0) {
    return CorruptError("directory header: first map block is {}, expected 0",
                        uint32_t{header.map_blocks[0]});
  }
  if (header.dot.name() != "." || header.dot_dot.name() != "..") {
    return CorruptError("directory header: the names of its own records are not . and ..");
  }
  return header;
}

base::Result<DirectoryRecord> DecodeRecord(std::span<const std::byte> bytes,
                                           uint64_t expected_file_offset) {
  if (bytes.size() < sizeof(DirectoryRecord)) {
    return CorruptError("record at {:#x}: only {} bytes", expected_file_offset, bytes.size());
  }
  const auto record = base::LoadAs<DirectoryRecord>(bytes);
  const uint32_t type = record.type_value;
  if (type < static_cast<uint32_t>(InodeType::kDirectory) ||
      type > static_cast<uint32_t>(InodeType::kRawDeviceMap)) {
    return CorruptError("record at {:#x}: unknown type {}", expected_file_offset, type);
  }
  if (!record.address().is_valid()) {
    return CorruptError("record at {:#x}: {} is no descriptor address", expected_file_offset,
                        record.address().ToString());
  }
  if (record.file_offset != expected_file_offset) {
    return CorruptError("record at {:#x}: says it is at {:#x}", expected_file_offset,
                        uint64_t{record.file_offset});
  }
  const size_t name_bytes = record.name().size();
  if (name_bytes == 0 || name_bytes == record.name_bytes.size()) {
    return CorruptError("record at {:#x}: name of {} bytes", expected_file_offset, name_bytes);
  }
  return record;
}

base::Result<DirectoryBlockHeader> DecodeBlockHeader(std::span<const std::byte> block,
                                                     DirectoryBlockKind expected_kind) {
  if (block.size() < sizeof(DirectoryBlockHeader)) {
    return CorruptError("directory block: only {} bytes", block.size());
  }
  const auto header = base::LoadAs<DirectoryBlockHeader>(block);
  if (header.kind() != expected_kind) {
    return CorruptError("directory block: kind {}, expected {}", uint16_t{header.kind_value},
                        static_cast<int>(expected_kind));
  }
  if (expected_kind == DirectoryBlockKind::kMap) return header;
  const uint32_t slots = SlotsOf(expected_kind);
  if (header.version != 1) {
    return CorruptError("directory block: version {}, expected 1", uint16_t{header.version});
  }
  if (header.slot_count != slots) {
    return CorruptError("directory block: {} slots, expected {}", uint16_t{header.slot_count},
                        slots);
  }
  const uint32_t free_bits = CountBits(header.bitmap);
  uint32_t free_slots = 0;
  for (uint32_t slot = 0; slot < slots; ++slot) free_slots += header.is_free(slot) ? 1 : 0;
  // A bit behind the last slot would promise a slot that does not exist.
  if (header.free_count != free_bits || free_slots != free_bits) {
    return CorruptError("directory block: {} slots free, {} by its bitmap",
                        uint16_t{header.free_count}, free_bits);
  }
  return header;
}

base::Result<LinkGroup> DecodeLinkGroup(std::span<const std::byte> bytes,
                                        uint32_t expected_bucket) {
  if (bytes.size() < sizeof(LinkGroup)) {
    return CorruptError("link group: only {} bytes", bytes.size());
  }
  const auto group = base::LoadAs<LinkGroup>(bytes);
  if (group.bucket != expected_bucket) {
    return CorruptError("link group: of bucket {}, expected {}", uint16_t{group.bucket},
                        expected_bucket);
  }
  if (group.link_count != kLinksPerGroup || group.free_count > kLinksPerGroup) {
    return CorruptError("link group: {} links, {} free, expected {}", group.link_count,
                        group.free_count, kLinksPerGroup);
  }
  return group;
}

}  // namespace vmfs
