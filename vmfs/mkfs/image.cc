#include "vmfs/mkfs/image.h"

#include <algorithm>

#include "fs/base/check.h"
#include "vmfs/directory/new_directory.h"
#include "vmfs/format/directory.h"
#include "vmfs/format/heartbeat_slot.h"

namespace vmfs {
namespace {

constexpr uint32_t kSystemGeneration = 1;
constexpr uint32_t kRootMode = 01755;
constexpr uint32_t kSystemMode = 0400;
constexpr uint32_t kSddMode = 040700;  // the only descriptor whose type bits ESXi sets
constexpr uint32_t kRootLinkCount = 3;
constexpr uint32_t kSddLinkCount = 2;

// One 1 MiB block in the making.
class BlockImage {
 public:
  BlockImage(const VolumeLayout& layout, const VolumeIdentity& identity, std::span<std::byte> bytes)
      : layout_(layout), identity_(identity), bytes_(bytes) {}

  bool Fill(uint64_t volume_block);

 private:
  MetadataSpan Piece(uint64_t offset) {
    touched_ = true;
    return bytes_.subspan(offset).first<kMetadataBlockBytes>();
  }
  void FillHeaderArea(uint64_t volume_block);
  void FillSystemFile(FdAddress fd, uint64_t file_block, uint64_t volume_block);
  void FillResource(const ResourceGeometry& geometry, uint64_t file_block, uint64_t volume_block);
  void FillCluster(const ResourceGeometry& geometry, uint64_t cluster, uint64_t offset,
                   uint64_t volume_block);
  void FillInodes(uint64_t first_item_offset, uint64_t volume_block);
  void FillPointerBlocks(uint64_t file_block);
  void FillDirectory(NewDirectoryKind kind, FdAddress self);
  void MarkUsed(const ResourceGeometry& geometry, uint64_t cluster, MetadataSpan block) const;
  void MarkUsedBlocks(uint64_t cluster, MetadataSpan block) const;
  InodeMetadata MakeSystemInode(FdAddress fd) const;
  void EncodeSystemInode(FdAddress fd, MetadataSpan block) const;

  const VolumeLayout& layout_;
  const VolumeIdentity& identity_;
  const std::span<std::byte> bytes_;
  bool touched_ = false;
};

bool BlockImage::Fill(uint64_t volume_block) {
  for (uint32_t item = 0; item < kSystemFdCount; ++item) {
    uint64_t file_block = 0;
    for (const BlockRun& run : layout_.files[item].runs) {
      if (volume_block >= run.first && volume_block - run.first < run.count) {
        FillSystemFile(FdAddress::Make(0, item), file_block + (volume_block - run.first),
                       volume_block);
      }
      file_block += run.count;
    }
  }
  return touched_;
}

void BlockImage::FillSystemFile(FdAddress fd, uint64_t file_block, uint64_t volume_block) {
  if (fd == kVhFd) return FillHeaderArea(volume_block);
  if (fd == kRootFd) return FillDirectory(NewDirectoryKind::kRoot, fd);
  if (fd == kSddFd) return FillDirectory(NewDirectoryKind::kSddSystem, fd);
  if (fd == kFbbFd) FillResource(layout_.small_blocks, file_block, volume_block);
  if (fd == kFbbFd) FillResource(layout_.large_blocks, file_block, volume_block);
  if (fd == kFdcFd) FillResource(layout_.fds, file_block, volume_block);
  if (fd == kPbcFd) FillResource(layout_.pointer_blocks, file_block, volume_block);
  if (fd == kSbcFd) FillResource(layout_.sub_blocks, file_block, volume_block);
  if (fd == kPb2Fd) FillResource(layout_.pb2, file_block, volume_block);
  if (fd == kJbcFd) FillResource(layout_.journal, file_block, volume_block);
  if (fd == kFdcFd && file_block == 0) FillInodes(layout_.fds.ItemOffset(0, 0), volume_block);
  if (fd == kPb2Fd) FillPointerBlocks(file_block);
}

void BlockImage::FillHeaderArea(uint64_t volume_block) {
  const uint64_t begin = volume_block * kFileBlockBytes;
  for (uint64_t offset = 0; offset < kFileBlockBytes; offset += kMetadataBlockBytes) {
    const uint64_t address = begin + offset;
    if (!IsHeartbeatAddress(address)) continue;
    base::StoreAs(Piece(offset), 0, MakeFreeHeartbeatSlot(address));
  }
}

// The header, and the cluster headers whose place falls into this block of the file.
void BlockImage::FillResource(const ResourceGeometry& geometry, uint64_t file_block,
                              uint64_t volume_block) {
  const uint64_t begin = file_block * kFileBlockBytes;
  if (file_block == 0) {
    const uint64_t offset = geometry.kind == ResourceKind::kSmallBlock ? kChildHeaderOffset : 0;
    base::StoreAs(Piece(offset), 0, MakeResourceHeader(geometry));
  }
  // Headers lie in ascending order: find the first at or behind the begin, go on to the end.
  uint64_t low = 0;
  uint64_t high = geometry.cluster_count();
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    if (geometry.LockOffset(middle) < begin) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  for (; low < geometry.cluster_count(); ++low) {
    const uint64_t offset = geometry.LockOffset(low);
    if (offset >= begin + kFileBlockBytes) break;
    FillCluster(geometry, low, offset - begin, volume_block);
  }
}

void BlockImage::FillCluster(const ResourceGeometry& geometry, uint64_t cluster, uint64_t offset,
                             uint64_t volume_block) {
  const uint64_t address = volume_block * kFileBlockBytes + offset;
  base::StoreAs(Piece(offset), 0, MakeFreeLock(ClusterLockType(geometry.kind), address));
  const MetadataSpan metadata = Piece(offset + kMetadataBlockBytes);
  EncodeNewCluster(geometry, cluster, metadata);
  if (geometry.kind == ResourceKind::kSmallBlock) {
    MarkUsedBlocks(cluster, metadata);
  } else if (cluster == 0) {
    MarkUsed(geometry, cluster, metadata);
  }
}

void BlockImage::MarkUsed(const ResourceGeometry& geometry, uint64_t cluster,
                          MetadataSpan block) const {
  CHECK(cluster == 0);
  const auto mark = [&](uint32_t item) {
    MarkResource(block, geometry.bits_per_resource, item, /*is_free=*/false);
  };
  if (geometry.kind == ResourceKind::kFd) {
    for (uint32_t item = 0; item < kSystemFdCount; ++item) mark(item);
  }
  // Sub-block (0,0) stays zero for ever: readers take it for a missing pointer block.
  if (geometry.kind == ResourceKind::kSubBlock) mark(0);
  if (geometry.kind != ResourceKind::kPb2) return;
  for (uint32_t item = 0; item < kSystemFdCount; ++item) {
    const PlannedFile& file = layout_.files[item];
    if (file.map_kind != MapKind::kPb2) continue;
    mark(file.pb2_item);
    SetAffinityKey(block, geometry, file.pb2_item, FdAddress::Make(0, item));
  }
}

void BlockImage::MarkUsedBlocks(uint64_t cluster, MetadataSpan block) const {
  const uint64_t begin = cluster * kSmallBlocksPerCluster;
  const uint64_t end = std::min(begin + kSmallBlocksPerCluster, layout_.used_block_count);
  for (uint64_t i = begin; i < end; ++i) {
    MarkResource(block, 2, static_cast<uint32_t>(i - begin), /*is_free=*/false);
  }
  for (uint32_t item = 0; item < kSystemFdCount; ++item) {
    uint64_t owned = 0;
    for (const BlockRun& run : layout_.files[item].runs) {
      const uint64_t from = std::max(begin, run.first);
      const uint64_t to = std::min(end, run.first + run.count);
      owned += to > from ? to - from : 0;
    }
    if (owned > 0) AddAffinity(block, FdAddress::Make(0, item), static_cast<uint32_t>(owned));
  }
}

void BlockImage::FillInodes(uint64_t first_item_offset, uint64_t volume_block) {
  for (uint32_t item = 0; item < kSystemFdCount; ++item) {
    const uint64_t offset = first_item_offset + uint64_t{item} * kInodeBytes;
    const uint64_t address = volume_block * kFileBlockBytes + offset;
    base::StoreAs(Piece(offset), 0, MakeFreeLock(LockType::kFd, address));
    EncodeSystemInode(FdAddress::Make(0, item), Piece(offset + kMetadataBlockBytes));
  }
}

InodeMetadata BlockImage::MakeSystemInode(FdAddress fd) const {
  const PlannedFile& file = layout_.file(fd);
  const auto created_s = static_cast<uint32_t>(identity_.created_us / 1'000'000);
  InodeMetadata inode = MakeInode(fd, kSystemGeneration,
                                  fd == kRootFd ? InodeType::kDirectory : InodeType::kSystem);
  inode.link_count = 1;
  inode.length_bytes = file.length_bytes;
  inode.SetMapKind(file.map_kind);
  inode.SetBlockCount(file.block_count());
  inode.modified_s = created_s;
  inode.changed_s = created_s;
  inode.accessed_s = created_s;
  inode.mode = kSystemMode;
  inode.affinity_fd = fd.raw();
  if (fd == kRootFd) {
    inode.link_count = kRootLinkCount;
    inode.mode = kRootMode;
    inode.uid = identity_.uid;
    inode.gid = identity_.gid;
  }
  if (fd == kSddFd) {
    inode.link_count = kSddLinkCount;
    inode.mode = kSddMode;
  }
  // ESXi counts only the first block, which exists before the others are allocated.
  if (fd == kFdcFd) inode.new_count_low = 1;
  return inode;
}

void BlockImage::EncodeSystemInode(FdAddress fd, MetadataSpan block) const {
  const PlannedFile& file = layout_.file(fd);
  InodeMetadata inode = MakeSystemInode(fd);
  if (file.map_kind == MapKind::kPb2) {
    inode.flags = kInodeMapsThroughPb2;
    inode.pointer_block_count = 1;
    SetSlot(block, 0, Address::MakePb2(0, file.pb2_item));
  } else {
    for (uint32_t slot = 0; slot < file.block_count(); ++slot) {
      SetSlot(block, slot, Address::MakeFileBlock(file.VolumeBlock(slot)));
    }
  }
  base::StoreAs(block, 0, inode);
}

// Pointer blocks of the system files that need them, where they fall into this block of `.pb2.sf`.
void BlockImage::FillPointerBlocks(uint64_t file_block) {
  const uint64_t begin = file_block * kFileBlockBytes;
  for (const PlannedFile& file : layout_.files) {
    if (file.map_kind != MapKind::kPb2) continue;
    const uint64_t offset = layout_.pb2.ItemOffset(0, file.pb2_item);
    if (offset < begin || offset >= begin + kFileBlockBytes) continue;
    touched_ = true;
    const std::span<std::byte> pointers = bytes_.subspan(offset - begin, kSubBlockBytes);
    uint32_t index = 0;
    for (const BlockRun& run : file.runs) {
      for (uint64_t i = 0; i < run.count; ++i) {
        SetPointer(pointers, index++, Address::MakeFileBlock(run.first + i));
      }
    }
  }
}

void BlockImage::FillDirectory(NewDirectoryKind kind, FdAddress self) {
  NewDirectory directory;
  directory.kind = kind;
  directory.self = self;
  directory.parent = kRootFd;
  directory.self_generation = kSystemGeneration;
  directory.parent_generation = kSystemGeneration;
  touched_ = true;
  BuildNewDirectory(directory, bytes_.first(NewDirectoryPieceCount(kind) * kMetadataBlockBytes));
}

}  // namespace

std::vector<LvmRun> RunsOf(std::span<const LvmDevicePlan> devices) {
  std::vector<LvmRun> runs;
  for (size_t i = 0; i < devices.size(); ++i) {
    runs.push_back({devices[i].first_unit * kUnitBytes, devices[i].unit_count * kUnitBytes, i,
                    kLvmDataOffset});
  }
  return runs;
}

std::vector<LvmPeEntry> MakeLvmPeEntries(std::span<const LvmDevicePlan> devices, size_t index) {
  const auto entries_of = [](const LvmDevicePlan& device) {
    const uint64_t bytes = device.unit_count * kUnitBytes;
    return (bytes + kLvmPeEntryBytesMax - 1) / kLvmPeEntryBytesMax;
  };
  uint64_t next_id = 0;
  for (const LvmDevicePlan& device : devices.first(index)) next_id += entries_of(device);
  const LvmDevicePlan& device = devices[index];
  const uint64_t bytes = device.unit_count * kUnitBytes;
  std::vector<LvmPeEntry> entries;
  for (uint64_t offset = 0; offset < bytes; offset += kLvmPeEntryBytesMax) {
    LvmPeEntry entry;
    entry.used = 1;
    entry.pe_id = static_cast<uint32_t>(next_id++);
    entry.physical_offset = kLvmDataOffset + offset;
    entry.logical_offset = device.first_unit * kUnitBytes + offset;
    entry.length_bytes = std::min(kLvmPeEntryBytesMax, bytes - offset);
    entry.version = 1;
    entries.push_back(entry);
  }
  return entries;
}

LvmDeviceHeader MakeLvmDeviceHeader(const VolumeIdentity& identity,
                                    std::span<const LvmDevicePlan> devices, size_t index) {
  const LvmDevicePlan& device = devices[index];
  const auto pe_count = static_cast<uint32_t>(MakeLvmPeEntries(devices, index).size());
  LvmDeviceHeader header;
  header.magic = kLvmMagic;
  header.major = kLvmMajor;
  header.minor = kLvmMinor;
  const std::string_view id = std::string_view(device.name).substr(0, sizeof(DiskId::id));
  header.disk_id.id_length = static_cast<uint8_t>(id.size());
  SetText(header.disk_id.id, id);
  header.sector_bytes = 512;
  header.device_bytes = device.device_bytes;
  header.volume_count = 1;
  header.pe_count = pe_count;
  header.last_pe = pe_count - 1;
  header.generation = 3;
  header.data_offset = kLvmDataOffset;
  header.device_uuid = device.device_uuid;
  header.created_us = identity.created_us;
  header.modified_us = identity.created_us;
  header.metadata_alignment = kMetadataBlockBytes;
  header.unit_count = static_cast<uint32_t>(device.unit_count);
  return header;
}

LvmVolumeEntry MakeLvmVolumeEntry(const VolumeIdentity& identity,
                                  std::span<const LvmDevicePlan> devices, size_t index) {
  const LvmDevicePlan& device = devices[index];
  const LvmDevicePlan& last = devices.back();
  LvmVolumeEntry entry;
  entry.volume_bytes = (last.first_unit + last.unit_count) * kUnitBytes;
  entry.generation = 2;
  entry.state = 1;
  SetText(entry.name, identity.lvm_uuid.ToString());
  entry.volume_uuid = identity.lvm_uuid;
  entry.snapshot_id = 1;
  entry.created_us = identity.created_us;
  entry.unit_count = static_cast<uint32_t>(device.unit_count);
  entry.first_unit = device.first_unit;
  entry.last_unit = device.first_unit + device.unit_count - 1;
  entry.modified_us = identity.created_us;
  entry.device_count = static_cast<uint32_t>(devices.size());
  entry.pe_count = static_cast<uint32_t>(MakeLvmPeEntries(devices, index).size());
  return entry;
}

void EncodeSuperblockBlock(const VolumeIdentity& identity, MetadataSpan block) {
  std::ranges::fill(block, std::byte{0});
  const uint64_t first_inode = kFdcBaseOffset + 0x20000;
  Superblock superblock;
  superblock.magic = kSuperblockMagic;
  superblock.major = kVmfs6Major;
  superblock.minor = kVmfs6Minor;
  superblock.uuid = identity.uuid;
  superblock.config_flags = 6;
  SetText(superblock.label, identity.label);
  superblock.disk_block_bytes = 512;
  superblock.file_block_bytes = kFileBlockBytes;
  superblock.created_s = static_cast<uint32_t>(identity.created_us / 1'000'000);
  superblock.snapshot_id = 1;
  superblock.lvm_uuid = identity.lvm_uuid;
  superblock.lvm_snapshot_id = 1;
  superblock.fdc_cluster_group_offset = kResourceGroupOffset;
  superblock.fdc_clusters_per_group = 8;
  superblock.sub_block_bytes = kSubBlockBytes;
  superblock.journal_slots_per_transaction = 64;
  superblock.pb2_volume_address = first_inode + uint64_t{kPb2Fd.item()} * kInodeBytes;
  superblock.pb2_fd = kPb2Fd.raw();
  superblock.formatting_host = identity.host;
  superblock.generation = 1;
  superblock.sdd_volume_address = first_inode + uint64_t{kSddFd.item()} * kInodeBytes;
  superblock.sdd_fd = kSddFd.raw();
  superblock.unmap_priority = 1;
  superblock.physical_sector_bytes = 512;
  superblock.metadata_alignment = kMetadataBlockBytes;
  superblock.log2_small_blocks_per_large = 9;
  superblock.log2_pointer_block_bytes = 16;
  superblock.small_block_address_bits = 44;
  superblock.unmap_granularity_bytes = kMebibyte;
  superblock.journal_block_bytes = kJournalBlockBytes;
  superblock.lease_ms = 16000;
  superblock.reclaim_window_ms = 4000;
  base::StoreAs(block, 0, superblock);
  StrataMark mark;
  mark.uuid = identity.uuid;
  EncodeMark(mark, block);
}

bool EncodeVolumeBlock(const VolumeLayout& layout, const VolumeIdentity& identity, uint64_t block,
                       std::span<std::byte> bytes) {
  CHECK(bytes.size() == kFileBlockBytes);
  return BlockImage(layout, identity, bytes).Fill(block);
}

}  // namespace vmfs
