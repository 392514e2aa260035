#include "vmfs/raw_volume.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "fs/base/aligned_buffer.h"
#include "vmfs/format/corrupt.h"

namespace vmfs {
namespace {

using base::Result;
using base::Status;
using base::Task;

// Collects the blocks of a system file.
class BlockCollector final : public MapVisitor {
 public:
  explicit BlockCollector(std::vector<Address>& blocks) : blocks_(blocks) {}
  bool PointerBlock(Address address, uint32_t) override {
    return address.kind() == AddressKind::kPb2;
  }
  void Data(uint64_t index, Address address) override {
    if (index >= kVolumeBytesMax / kFileBlockBytes) return;
    if (blocks_.size() <= index) blocks_.resize(index + 1);
    blocks_[index] = address;
  }

 private:
  std::vector<Address>& blocks_;
};

// Collects where the units of a file lie, up to a number of them.
class UnitCollector final : public MapVisitor {
 public:
  explicit UnitCollector(uint64_t unit_count) : units_(unit_count) {}
  bool PointerBlock(Address, uint32_t) override { return true; }
  void Data(uint64_t index, Address address) override {
    if (index < units_.size()) units_[index] = address;
  }
  bool IsDone(uint64_t index) override { return index >= units_.size(); }
  const std::vector<Address>& units() const { return units_; }

 private:
  std::vector<Address> units_;
};

uint32_t PointerLevels(MapKind kind) {
  switch (kind) {
    case MapKind::kPointerBlocks:
    case MapKind::kPb2: return 1;
    case MapKind::kDoubleIndirect: return 2;
    default: return 0;
  }
}

// Units that one address of `level` stands for.
uint64_t UnitsBelow(uint32_t level) {
  uint64_t units = 1;
  for (; level > 0; --level) units *= kPointersPerBlock;
  return units;
}

}  // namespace

Task<Result<std::unique_ptr<RawVolume>>> RawVolume::Open(base::BlockDevice& volume) {
  std::unique_ptr<RawVolume> raw(new RawVolume(volume));
  base::AlignedBuffer buffer(kMetadataBlockBytes);
  CO_TRY_STATUS(co_await raw->Read(kSuperblockOffset, buffer.span()));
  CO_TRY(raw->superblock_, DecodeSuperblock(buffer.span()));
  if (!raw->superblock_.is_vmfs6()) {
    co_return VersionError("superblock: VMFS-5, only VMFS-6 is read");
  }
  raw->mark_ = DecodeMark(buffer.span(), raw->superblock_.uuid);
  co_return raw;
}

Task<Status> RawVolume::Read(uint64_t volume_address, std::span<std::byte> target) {
  if (volume_address > size_bytes() || target.size() > size_bytes() - volume_address) {
    co_return base::Error(base::Code::kOutOfRange,
                          fmt::format("read of {:#x} bytes at volume address {:#x}: the volume has "
                                      "{:#x}",
                                      target.size(), volume_address, size_bytes()));
  }
  const uint64_t step = device_.limits().transfer_bytes_max;
  for (uint64_t done = 0; done < target.size(); done += step) {
    const base::IoVec piece{target.data() + done, std::min<uint64_t>(step, target.size() - done)};
    const base::IoRequest request{volume_address + done, std::span<const base::IoVec>(&piece, 1)};
    CO_TRY_STATUS(co_await device_.Read(request));
  }
  auto image = overlay_.lower_bound(volume_address);
  for (; image != overlay_.end() && image->first < volume_address + target.size(); ++image) {
    const uint64_t at = image->first - volume_address;
    const uint64_t length = std::min<uint64_t>(kMetadataBlockBytes, target.size() - at);
    std::memcpy(target.data() + at, image->second->data(), length);
  }
  co_return base::Ok();
}

void RawVolume::Overlay(uint64_t volume_address, ConstMetadataSpan image) {
  auto& block = overlay_[volume_address];
  if (!block) block = std::make_unique<MetadataBytes>();
  std::memcpy(block->data(), image.data(), image.size());
}

Task<Status> RawVolume::LoadSystemFile(FdAddress fd, uint64_t metadata_address) {
  MetadataBytes block;
  CO_TRY_STATUS(co_await Read(metadata_address, block));
  SystemFileMap& file = system_files_[fd.item()];
  file.blocks.clear();
  CO_TRY(file.inode, DecodeInode(block, fd));
  const bool known_map =
      file.inode.map_kind() == MapKind::kFileBlocks || file.inode.map_kind() == MapKind::kPb2;
  if (!known_map || file.inode.block_bytes != kFileBlockBytes) {
    co_return CorruptError("{}: a system file with map kind {:#x}", fd.ToString(),
                           uint32_t{file.inode.map_kind_value});
  }
  BlockCollector collector(file.blocks);
  co_return co_await WalkMap(&file.inode, &block, collector);
}

Task<Status> RawVolume::LoadHeader(ResourceKind kind, uint64_t header_offset) {
  CO_TRY(const uint64_t address, AddressInFile(SystemFileOf(kind), header_offset));
  MetadataBytes block;
  CO_TRY_STATUS(co_await Read(address, block));
  CO_TRY(const ResourceHeader header, DecodeResourceHeader(block, kind));
  geometries_[static_cast<size_t>(kind)] = GeometryOf(header, kind);
  co_return base::Ok();
}

Task<Status> RawVolume::LoadSystemFiles() {
  // `.pb2.sf` first: it is never mapped through itself, and the others may be mapped through it.
  // Its descriptor's place is known because all system descriptors lie in the first block.
  constexpr uint64_t kFirstInode = kFdcBaseOffset + 0x20000 + kMetadataBlockBytes;
  const auto place = [](FdAddress fd) { return kFirstInode + fd.item() * uint64_t{kInodeBytes}; };
  CO_TRY_STATUS(co_await LoadSystemFile(kPb2Fd, place(kPb2Fd)));
  CO_TRY_STATUS(co_await LoadHeader(ResourceKind::kPb2, 0));
  for (uint32_t item = 0; item < kSystemFdCount; ++item) {
    const FdAddress fd = FdAddress::Make(0, item);
    if (fd != kPb2Fd) CO_TRY_STATUS(co_await LoadSystemFile(fd, place(fd)));
  }
  CO_TRY_STATUS(co_await LoadHeader(ResourceKind::kFd, 0));
  CO_TRY_STATUS(co_await LoadHeader(ResourceKind::kSubBlock, 0));
  CO_TRY_STATUS(co_await LoadHeader(ResourceKind::kJournal, 0));
  CO_TRY_STATUS(co_await LoadHeader(ResourceKind::kLargeBlock, 0));
  CO_TRY_STATUS(co_await LoadHeader(ResourceKind::kSmallBlock, kChildHeaderOffset));
  CO_TRY_STATUS(co_await LoadHeader(ResourceKind::kPointerBlock, 0));
  if (system_files_[kFdcFd.item()].blocks.front() !=
      Address::MakeFileBlock(kFdcBaseOffset / kFileBlockBytes)) {
    co_return CorruptError(".fdc.sf: begins at {}, not where the superblock's rule puts it",
                           system_files_[kFdcFd.item()].blocks.front().ToString());
  }
  co_return base::Ok();
}

Result<uint64_t> RawVolume::AddressInFile(FdAddress system_file, uint64_t file_offset) const {
  const SystemFileMap& file = system_files_[system_file.item()];
  const uint64_t index = file_offset / kFileBlockBytes;
  if (index >= file.blocks.size() || file.blocks[index].kind() != AddressKind::kFileBlock) {
    return CorruptError("system file {}: no block at offset {:#x}", system_file.ToString(),
                        file_offset);
  }
  const uint64_t block = file.blocks[index].volume_block();
  if (block >= block_count()) {
    return CorruptError("system file {}: block {} lies behind the volume's end",
                        system_file.ToString(), block);
  }
  return block * kFileBlockBytes + file_offset % kFileBlockBytes;
}

Result<uint64_t> RawVolume::ClusterAddress(ResourceKind kind, uint64_t cluster) const {
  return AddressInFile(SystemFileOf(kind), geometry(kind).LockOffset(cluster));
}

Result<uint64_t> RawVolume::ItemAddress(ResourceKind kind, ResourceIndex index) const {
  if (!geometry(kind).Contains(index)) {
    return CorruptError("{} {}/{}: there are {}", NameOf(kind), index.cluster, index.item,
                        geometry(kind).resource_count);
  }
  return AddressInFile(SystemFileOf(kind), geometry(kind).ItemOffset(index));
}

Result<uint64_t> RawVolume::DataAddress(Address address) const {
  switch (address.kind()) {
    case AddressKind::kFileBlock:
    case AddressKind::kLargeBlock:
      if (address.volume_block() >= block_count()) break;
      return address.volume_block() * kFileBlockBytes;
    case AddressKind::kSubBlock: return ItemAddress(ResourceKind::kSubBlock, address.index());
    case AddressKind::kPb2: return ItemAddress(ResourceKind::kPb2, address.index());
    case AddressKind::kJournalBlock: return ItemAddress(ResourceKind::kJournal, address.index());
    default: break;
  }
  return CorruptError("{}: not on this volume", address.ToString());
}

Task<Status> RawVolume::ReadInodeBlock(FdAddress fd, MetadataBytes& block) {
  CO_TRY(const uint64_t address, InodeAddress(fd));
  co_return co_await Read(address + kMetadataBlockBytes, block);
}

Task<Status> RawVolume::WalkMap(const InodeMetadata* inode, const MetadataBytes* block,
                                MapVisitor& visitor) {
  if (inode->map_kind() == MapKind::kInline) co_return base::Ok();
  const uint32_t levels = PointerLevels(inode->map_kind());
  Walk walk{visitor};
  for (uint32_t slot = 0; slot < kSlotCount && !visitor.IsDone(walk.index); ++slot) {
    const Address address = GetSlot(*block, slot);
    visitor.Slot(slot, address);
    if (levels > 0) {
      CO_TRY_STATUS(co_await WalkPointers(address, levels, walk));
      continue;
    }
    if (!address.is_hole()) visitor.Data(walk.index, address);
    ++walk.index;
  }
  co_return base::Ok();
}

Task<Status> RawVolume::WalkPointers(Address address, uint32_t level, Walk& walk) {
  const Result<uint64_t> place = address.is_hole() ? Result<uint64_t>(0) : DataAddress(address);
  if (address.is_hole() || !walk.visitor.PointerBlock(address, level) || !place ||
      !walk.pointer_blocks.insert(*place).second) {
    walk.index += UnitsBelow(level);
    co_return base::Ok();
  }
  base::AlignedBuffer pointers(kSubBlockBytes);
  CO_TRY_STATUS(co_await Read(*place, pointers.span()));
  for (uint32_t i = 0; i < kPointersPerBlock && !walk.visitor.IsDone(walk.index); ++i) {
    const Address pointer = GetPointer(pointers.span(), i);
    if (level > 1) {
      CO_TRY_STATUS(co_await WalkPointers(pointer, level - 1, walk));
      continue;
    }
    if (!pointer.is_hole()) walk.visitor.Data(walk.index, pointer);
    ++walk.index;
  }
  co_return base::Ok();
}

Task<Result<std::vector<std::byte>>> RawVolume::ReadFile(const InodeMetadata* inode,
                                                         const MetadataBytes* block,
                                                         uint64_t bytes_max) {
  const uint64_t length = std::min<uint64_t>(inode->length_bytes, bytes_max);
  std::vector<std::byte> bytes(length);
  if (inode->map_kind() == MapKind::kInline) {
    std::memcpy(bytes.data(), block->data() + kInlineOffset,
                std::min<uint64_t>(length, kInlineBytesMax));
    co_return bytes;
  }
  const uint64_t unit_bytes = inode->block_bytes;
  UnitCollector collector((length + unit_bytes - 1) / unit_bytes);
  CO_TRY_STATUS(co_await WalkMap(inode, block, collector));
  for (uint64_t i = 0; i < collector.units().size(); ++i) {
    const Address address = collector.units()[i];
    if (address.is_hole() || address.to_be_zeroed() != 0) continue;
    CO_TRY(const uint64_t place, DataAddress(address));
    const uint64_t at = i * unit_bytes;
    const uint64_t take = std::min(unit_bytes, length - at);
    // Devices read whole blocks: the tail goes through a buffer.
    base::AlignedBuffer buffer(base::RoundUp(take, kMetadataBlockBytes));
    CO_TRY_STATUS(co_await Read(place, buffer.span()));
    std::memcpy(bytes.data() + at, buffer.data(), take);
  }
  co_return bytes;
}

}  // namespace vmfs
