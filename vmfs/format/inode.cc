#include "vmfs/format/inode.h"

#include <algorithm>
#include <bit>

#include "fs/base/check.h"
#include "vmfs/format/corrupt.h"

namespace vmfs {

bool IsKnown(InodeType type) {
  return type >= InodeType::kDirectory && type <= InodeType::kRawDeviceMap;
}

bool IsKnown(MapKind kind) {
  switch (kind) {
    case MapKind::kFileBlocks:
    case MapKind::kSubBlocks:
    case MapKind::kPointerBlocks:
    case MapKind::kPb2:
    case MapKind::kDoubleIndirect:
    case MapKind::kInline: return true;
  }
  return false;
}

namespace {

uint64_t BlockBytesOf(MapKind kind) {
  return kind == MapKind::kInline || kind == MapKind::kSubBlocks ? kSubBlockBytes
                                                                 : kFileBlockBytes;
}

uint64_t ReachBytes(MapKind kind, uint64_t block_bytes) {
  switch (kind) {
    case MapKind::kInline: return kInlineBytesMax;
    case MapKind::kFileBlocks:
    case MapKind::kSubBlocks: return kSlotCount * block_bytes;
    case MapKind::kPointerBlocks:
    case MapKind::kPb2:
      return std::min(kSlotCount * uint64_t{kPointersPerBlock} * block_bytes, kFileBytesMax);
    case MapKind::kDoubleIndirect: return kFileBytesMax;
  }
  return 0;
}

// Large files of ESXi may count in large blocks of 512 MiB; sub-block directories grow through
// pointer blocks with 64 KiB blocks.
bool BlockBytesFit(const InodeMetadata& inode) {
  const uint64_t bytes = inode.block_bytes;
  const bool shift_agrees =
      inode.log2_block_bytes < 64 && uint64_t{1} << inode.log2_block_bytes == bytes;
  if (!shift_agrees) return false;
  if (inode.map_kind() == MapKind::kInline || inode.map_kind() == MapKind::kSubBlocks) {
    return bytes == kSubBlockBytes;
  }
  return bytes == kFileBlockBytes || bytes == kFileBlockBytes * kSmallBlocksPerCluster ||
         bytes == kSubBlockBytes;
}

}  // namespace

void InodeMetadata::SetMapKind(MapKind kind) {
  map_kind_value = static_cast<uint32_t>(kind);
  block_bytes = BlockBytesOf(kind);
  log2_block_bytes = static_cast<uint8_t>(std::countr_zero(BlockBytesOf(kind)));
}

void InodeMetadata::SetBlockCount(uint64_t count) {
  block_count = count;
  new_count_low = static_cast<uint32_t>(count);
  new_count_high = static_cast<uint32_t>(count >> 32);
}

InodeMetadata MakeInode(FdAddress address, uint32_t generation, InodeType type) {
  InodeMetadata inode;
  inode.fd = address.raw();
  inode.generation = generation;
  inode.signature = kInodeSignature;
  inode.log2_tbz_granularity = 20;
  inode.set_type(type);
  inode.SetMapKind(MapKind::kInline);
  return inode;
}

base::Result<InodeMetadata> DecodeInode(std::span<const std::byte> block, FdAddress expected) {
  if (block.size() < kMetadataBlockBytes) {
    return CorruptError("{}: only {} bytes", expected.ToString(), block.size());
  }
  const auto inode = base::LoadAs<InodeMetadata>(block);
  if (inode.signature != kInodeSignature) {
    return NotRecognizedError("{}: signature {:#x}, expected {:#x}", expected.ToString(),
                              uint32_t{inode.signature}, kInodeSignature);
  }
  if (inode.address() != expected) {
    return CorruptError("{}: says it is {}", expected.ToString(), inode.address().ToString());
  }
  if (!IsKnown(inode.type())) {
    return CorruptError("{}: unknown type {}", expected.ToString(), uint32_t{inode.type_value});
  }
  if (!IsKnown(inode.map_kind())) {
    return CorruptError("{}: unknown map kind {:#x}", expected.ToString(),
                        uint32_t{inode.map_kind_value});
  }
  if (!BlockBytesFit(inode)) {
    return CorruptError("{}: block size {:#x}, log2 {}, map kind {:#x}", expected.ToString(),
                        uint64_t{inode.block_bytes}, inode.log2_block_bytes,
                        uint32_t{inode.map_kind_value});
  }
  const uint64_t reach = ReachBytes(inode.map_kind(), inode.block_bytes);
  if (inode.type() != InodeType::kRawDeviceMap && inode.length_bytes > reach) {
    return CorruptError("{}: length {:#x}, its map reaches {:#x}", expected.ToString(),
                        uint64_t{inode.length_bytes}, reach);
  }
  return inode;
}

uint64_t MapReachBytes(MapKind kind) { return ReachBytes(kind, BlockBytesOf(kind)); }

Address GetSlot(ConstMetadataSpan inode_block, uint32_t slot) {
  CHECK(slot < kSlotCount);
  return Address(base::LoadAs<Le64>(inode_block, kSlotsOffset + 8 * slot));
}

void SetSlot(MetadataSpan inode_block, uint32_t slot, Address address) {
  CHECK(slot < kSlotCount);
  base::StoreAs(inode_block, kSlotsOffset + 8 * slot, Le64(address.raw()));
}

Address GetPointer(std::span<const std::byte> pointer_bytes, uint32_t index) {
  DCHECK((index + 1) * size_t{8} <= pointer_bytes.size());
  return Address(base::LoadAs<Le64>(pointer_bytes, index * size_t{8}));
}

void SetPointer(std::span<std::byte> pointer_bytes, uint32_t index, Address address) {
  DCHECK((index + 1) * size_t{8} <= pointer_bytes.size());
  base::StoreAs(pointer_bytes, index * size_t{8}, Le64(address.raw()));
}

}  // namespace vmfs
