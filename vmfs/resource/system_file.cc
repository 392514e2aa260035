#include "vmfs/resource/system_file.h"

#include <algorithm>

#include <fmt/format.h>

namespace vmfs {
namespace {

constexpr uint32_t kPointersPerPiece = kMetadataBlockBytes / 8;

base::Error Corrupt(FdAddress fd, std::string_view what) {
  return base::Error(base::Code::kCorrupt,
                     fmt::format("read block map of system file {}: {}", fd.ToString(), what));
}

}  // namespace

base::Status SystemFile::AddPointer(Address address) {
  switch (address.kind()) {
    case AddressKind::kFileBlock: blocks_.push_back(address.volume_block()); return base::Ok();
    case AddressKind::kLargeBlock:
      blocks_.push_back(address.volume_block() + blocks_.size() % kSmallBlocksPerCluster);
      return base::Ok();
    default:
      return Corrupt(fd_, fmt::format("{} where a file block is needed", address.ToString()));
  }
}

base::Task<base::Status> SystemFile::LoadPointers(MetadataCache& cache, MetadataBlock& inode,
                                                  const SystemFile* pb2,
                                                  const ResourceGeometry* pb2_geometry) {
  const uint64_t wanted = (length_bytes_ + kFileBlockBytes - 1) / kFileBlockBytes;
  if (pb2 == nullptr) co_return Corrupt(fd_, "pointer blocks, but no .pb2.sf to hold them");
  for (uint32_t slot = 0; slot < kSlotCount && blocks_.size() < wanted; ++slot) {
    const Address pointer_block = GetSlot(inode.bytes(), slot);
    if (pointer_block.kind() != AddressKind::kPb2 ||
        !pb2_geometry->Contains(pointer_block.index())) {
      co_return Corrupt(fd_, fmt::format("slot {} is {}", slot, pointer_block.ToString()));
    }
    const uint64_t offset = pb2_geometry->ItemOffset(pointer_block.index());
    for (uint32_t piece = 0; piece < kSubBlockBytes / kMetadataBlockBytes; ++piece) {
      CO_TRY(const uint64_t address,
             pb2->AddressOf(offset + uint64_t{piece} * kMetadataBlockBytes));
      CO_TRY(const BlockRef block, co_await cache.Get(address));
      for (uint32_t i = 0; i < kPointersPerPiece && blocks_.size() < wanted; ++i) {
        CO_TRY_STATUS(AddPointer(GetPointer(block->bytes(), i)));
      }
      if (blocks_.size() >= wanted) break;
    }
  }
  co_return base::Ok();
}

base::Task<base::Result<SystemFile>> SystemFile::Load(MetadataCache& cache, FdAddress fd,
                                                      uint64_t inode_address, const SystemFile* pb2,
                                                      const ResourceGeometry* pb2_geometry) {
  CO_TRY(const BlockRef block, co_await cache.Get(inode_address));
  CO_TRY(const InodeMetadata inode, DecodeInode(block->bytes(), fd));
  SystemFile file;
  file.fd_ = fd;
  file.inode_address_ = inode_address;
  file.length_bytes_ = inode.length_bytes;
  const uint64_t wanted = (file.length_bytes_ + kFileBlockBytes - 1) / kFileBlockBytes;
  if (wanted * kFileBlockBytes > cache.volume().size_bytes()) {
    co_return Corrupt(fd, fmt::format("length {} is more than the volume", file.length_bytes_));
  }
  if (inode.map_kind() == MapKind::kPb2) {
    CO_TRY_STATUS(co_await file.LoadPointers(cache, *block, pb2, pb2_geometry));
  } else if (inode.map_kind() == MapKind::kFileBlocks) {
    for (uint32_t slot = 0; slot < std::min<uint64_t>(wanted, kSlotCount); ++slot) {
      CO_TRY_STATUS(file.AddPointer(GetSlot(block->bytes(), slot)));
    }
  } else if (wanted > 0 && inode.map_kind() != MapKind::kInline) {
    co_return Corrupt(fd, fmt::format("map kind {:#x}", uint32_t{inode.map_kind_value}));
  }
  if (inode.map_kind() != MapKind::kInline && file.blocks_.size() < wanted) {
    co_return Corrupt(
        fd, fmt::format("{} blocks for {} bytes", file.blocks_.size(), file.length_bytes_));
  }
  co_return file;
}

base::Result<uint64_t> SystemFile::AddressOf(uint64_t file_offset) const {
  const uint64_t index = file_offset / kFileBlockBytes;
  if (index >= blocks_.size()) {
    return Corrupt(fd_, fmt::format("offset {:#x} is behind its end", file_offset));
  }
  return blocks_[index] * kFileBlockBytes + file_offset % kFileBlockBytes;
}

uint64_t SystemFile::AdjacentBytes(uint64_t file_offset, uint64_t bytes_max) const {
  uint64_t index = file_offset / kFileBlockBytes;
  uint64_t bytes = kFileBlockBytes - file_offset % kFileBlockBytes;
  for (; bytes < bytes_max && index + 1 < blocks_.size(); ++index, bytes += kFileBlockBytes) {
    if (blocks_[index + 1] != blocks_[index] + 1) break;
  }
  return std::min(bytes, bytes_max);
}

}  // namespace vmfs
