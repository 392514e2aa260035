#include "vmfs/fsck/inode_guess.h"

#include <algorithm>

namespace vmfs::fsck {
namespace {

void Count(AddressCensus& census, Address address, const AddressBounds& bounds) {
  if (address.is_hole()) return;
  if (!bounds.Contains(address)) {
    ++census.impossible;
    return;
  }
  switch (address.kind()) {
    case AddressKind::kFileBlock: ++census.file_blocks; break;
    case AddressKind::kSubBlock: ++census.sub_blocks; break;
    default: ++census.pb2_blocks; break;
  }
}

// Inline data end at the last byte that is not zero; a map at the last slot in use.
uint64_t EndOfContents(ConstMetadataSpan block, const InodeMetadata& inode) {
  if (inode.map_kind() == MapKind::kInline) {
    const auto data = InlineData(block);
    size_t end = data.size();
    while (end > 0 && data[end - 1] == std::byte{0}) --end;
    return end;
  }
  uint64_t slots = kSlotCount;
  while (slots > 0 && GetSlot(block, static_cast<uint32_t>(slots - 1)).is_hole()) --slots;
  return std::min(slots * (MapReachBytes(inode.map_kind()) / kSlotCount), kFileBytesMax);
}

}  // namespace

bool AddressBounds::Contains(Address address) const {
  const ResourceIndex index = address.index();
  switch (address.kind()) {
    case AddressKind::kFileBlock:
      return index.item < kSmallBlocksPerCluster && address.volume_block() < file_block_count;
    case AddressKind::kSubBlock: return index.cluster * 256 + index.item < sub_block_count;
    case AddressKind::kPb2: return index.item < 32 && index.cluster * 32 + index.item < pb2_count;
    default: return false;
  }
}

AddressCensus CountSlots(ConstMetadataSpan block, const AddressBounds& bounds) {
  AddressCensus census;
  for (uint32_t slot = 0; slot < kSlotCount; ++slot) Count(census, GetSlot(block, slot), bounds);
  return census;
}

AddressCensus CountPointers(std::span<const std::byte> pointers, const AddressBounds& bounds) {
  AddressCensus census;
  for (uint32_t i = 0; i < pointers.size() / 8; ++i) Count(census, GetPointer(pointers, i), bounds);
  return census;
}

MapKind GuessMapKind(ConstMetadataSpan block, const AddressBounds& bounds,
                     const std::optional<AddressCensus>& below) {
  const auto inode = base::LoadAs<InodeMetadata>(block);
  const AddressCensus slots = CountSlots(block, bounds);
  if (slots.used() == 0) {
    return IsKnown(inode.map_kind()) ? inode.map_kind() : MapKind::kInline;
  }
  if (slots.is_data()) return MapKind::kInline;
  if (slots.file_blocks >= slots.sub_blocks && slots.file_blocks >= slots.pb2_blocks) {
    return MapKind::kFileBlocks;
  }
  if (slots.pb2_blocks > slots.sub_blocks) return MapKind::kPb2;
  if (!below || below->is_data()) return MapKind::kSubBlocks;
  if (below->used() == 0) {
    const bool fits = inode.map_kind() == MapKind::kSubBlocks ||
                      inode.map_kind() == MapKind::kPointerBlocks ||
                      inode.map_kind() == MapKind::kDoubleIndirect;
    if (fits) return inode.map_kind();
    return inode.block_bytes == kFileBlockBytes ? MapKind::kPointerBlocks : MapKind::kSubBlocks;
  }
  if (below->file_blocks > 0) return MapKind::kPointerBlocks;
  // Directories grow through pointer blocks with units of 64 KiB.
  const bool is_directory = inode.type() == InodeType::kDirectory;
  return is_directory ? MapKind::kPointerBlocks : MapKind::kDoubleIndirect;
}

bool FitsMapKind(const AddressCensus& slots, const std::optional<AddressCensus>& below,
                 const InodeMetadata& inode) {
  const auto is_most = [](uint32_t part, uint32_t whole) { return 2 * part >= whole; };
  switch (inode.map_kind()) {
    case MapKind::kInline: return true;
    case MapKind::kFileBlocks: return is_most(slots.file_blocks, slots.used());
    case MapKind::kSubBlocks: return is_most(slots.sub_blocks, slots.used());
    case MapKind::kPb2: return is_most(slots.pb2_blocks, slots.used());
    default: break;
  }
  if (!is_most(slots.sub_blocks, slots.used())) return false;
  if (!below) return true;
  const bool leads_to_sub_blocks = inode.map_kind() == MapKind::kDoubleIndirect ||
                                   inode.block_bytes == kSubBlockBytes;
  return is_most(leads_to_sub_blocks ? below->sub_blocks : below->file_blocks, below->used());
}

bool IsRestorable(ConstMetadataSpan block, FdAddress fd, const AddressBounds& bounds,
                  const std::optional<InodeHint>& hint) {
  const auto inode = base::LoadAs<InodeMetadata>(block);
  uint32_t evidence = 0;
  evidence += inode.signature == kInodeSignature ? 2 : 0;
  evidence += inode.address() == fd ? 2 : 0;
  evidence += IsKnown(inode.type()) ? 1 : 0;
  evidence += IsKnown(inode.map_kind()) ? 1 : 0;
  evidence += hint && hint->generation == inode.generation && inode.generation != 0 ? 2 : 0;
  if (evidence >= 3) return true;
  const AddressCensus slots = CountSlots(block, bounds);
  return hint && slots.used() > 0 && slots.impossible == 0;
}

void RestoreFields(MetadataSpan block, FdAddress fd, MapKind kind,
                   const std::optional<InodeHint>& hint) {
  auto inode = base::LoadAs<InodeMetadata>(block);
  const bool is_bare = inode.signature != kInodeSignature && inode.address() != fd;
  if (is_bare) {
    const InodeMetadata made = MakeInode(fd, inode.generation, InodeType::kFile);
    inode.log2_tbz_granularity = uint32_t{made.log2_tbz_granularity};
  }
  inode.signature = kInodeSignature;
  inode.fd = fd.raw();
  if (hint && (is_bare || inode.generation == 0)) inode.generation = hint->generation;
  if (hint && !IsKnown(inode.type())) inode.type_value = hint->type;
  if (!IsKnown(inode.type())) inode.set_type(InodeType::kFile);
  const bool keeps_units = inode.type() == InodeType::kDirectory &&
                           kind == MapKind::kPointerBlocks && inode.block_bytes == kSubBlockBytes;
  if (inode.map_kind() != kind || !keeps_units) {
    inode.SetMapKind(kind);
    if (keeps_units) {
      inode.block_bytes = kSubBlockBytes;
      inode.log2_block_bytes = 16;
    }
  }
  base::StoreAs(std::span<std::byte>(block), 0, inode);
  if (DecodeInode(block, fd)) return;
  inode.length_bytes = EndOfContents(block, inode);
  base::StoreAs(std::span<std::byte>(block), 0, inode);
}

}  // namespace vmfs::fsck
