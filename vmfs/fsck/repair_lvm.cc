#include "vmfs/fsck/repair_lvm.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "fs/base/aligned_buffer.h"
#include "vmfs/format/superblock.h"
#include "vmfs/mkfs/image.h"

namespace vmfs::fsck {
namespace {

using base::BlockDevice;
using base::Result;
using base::Status;
using base::Task;

// The first block of `.fbb.sf` follows header area, `.fdc.sf`'s first block and the root.
constexpr uint64_t kFbbOffset = kFdcBaseOffset + 2 * kFileBlockBytes;

Task<Status> ReadBlock(BlockDevice& device, uint64_t offset, MetadataBytes& block) {
  base::AlignedBuffer buffer(kMetadataBlockBytes);
  const base::IoVec piece = buffer.piece();
  const base::IoRequest request{offset, std::span<const base::IoVec>(&piece, 1)};
  CO_TRY_STATUS(co_await device.Read(request));
  std::memcpy(block.data(), buffer.data(), buffer.size());
  co_return base::Ok();
}

base::Error Hopeless(const char* what) {
  return base::Error(base::Code::kUnsupported,
                     fmt::format("repair LVM headers: {}: nothing says what they were", what));
}

// What the volume itself says about where it lies.
struct VolumeFacts {
  base::Uuid lvm_uuid;
  uint64_t volume_bytes = 0;
  uint64_t created_us = 0;
};

Task<Result<VolumeFacts>> ReadFacts(BlockDevice& device) {
  if (device.size_bytes() < kLvmAreaBytes + kUnitBytes) co_return Hopeless("the device is small");
  MetadataBytes block;
  CO_TRY_STATUS(co_await ReadBlock(device, kLvmDataOffset + kSuperblockOffset, block));
  const Result<Superblock> superblock = DecodeSuperblock(block);
  if (!superblock || !DecodeMark(block, superblock->uuid)) co_return Hopeless("no volume of ours");
  MetadataBytes header_block;
  CO_TRY_STATUS(co_await ReadBlock(device, kLvmDataOffset + kFbbOffset + kChildHeaderOffset,
                                   header_block));
  const Result<ResourceHeader> header =
      DecodeResourceHeader(header_block, ResourceKind::kSmallBlock);
  if (!header) co_return Hopeless("the size of the volume is not known");
  VolumeFacts facts;
  facts.lvm_uuid = superblock->lvm_uuid;
  facts.volume_bytes = header->resource_count() * kFileBlockBytes;
  facts.created_us = uint64_t{superblock->created_s} * 1'000'000;
  const bool fits = facts.volume_bytes % kUnitBytes == 0 && facts.volume_bytes > 0 &&
                    facts.volume_bytes <= device.size_bytes() - kLvmAreaBytes;
  if (!fits) co_return Hopeless("the volume does not lie on one device");
  co_return facts;
}

// The fields that are damaged or may be; what names the device and its times is kept.
void FixHeader(MetadataBytes& block, const LvmDeviceHeader& made) {
  auto header = base::LoadAs<LvmDeviceHeader>(block);
  header.magic = uint32_t{made.magic};
  header.major = uint32_t{made.major};
  header.minor = uint32_t{made.minor};
  header.sector_bytes = uint32_t{made.sector_bytes};
  header.volume_count = 1;
  header.pe_count = uint32_t{made.pe_count};
  header.last_pe = uint32_t{made.last_pe};
  header.data_offset = uint64_t{made.data_offset};
  header.pe_map_count = uint32_t{made.pe_map_count};
  header.extended_header_offset = uint64_t{made.extended_header_offset};
  header.metadata_alignment = uint32_t{made.metadata_alignment};
  header.unit_count = uint32_t{made.unit_count};
  base::StoreAs(std::span<std::byte>(block), 0, header);
}

void FixEntry(MetadataBytes& block, const LvmVolumeEntry& made) {
  auto entry = base::LoadAs<LvmVolumeEntry>(block);
  entry.volume_bytes = uint64_t{made.volume_bytes};
  entry.state = 1;
  entry.name = made.name;
  entry.volume_uuid = made.volume_uuid;
  entry.volume_index = uint32_t{made.volume_index};
  entry.unit_count = uint32_t{made.unit_count};
  entry.first_unit = uint64_t{made.first_unit};
  entry.last_unit = uint64_t{made.last_unit};
  entry.device_count = 1;
  entry.pe_count = uint32_t{made.pe_count};
  base::StoreAs(std::span<std::byte>(block), 0, entry);
}

}  // namespace

Task<Status> PlanLvmRepair(BlockDevice& device, OverlayDevice& overlay) {
  CO_TRY(const VolumeFacts facts, co_await ReadFacts(device));
  VolumeIdentity identity;
  identity.lvm_uuid = facts.lvm_uuid;
  identity.created_us = facts.created_us;
  LvmDevicePlan plan;
  plan.name = device.name();
  plan.device_bytes = device.size_bytes();
  plan.unit_count = facts.volume_bytes / kUnitBytes;
  const std::span<const LvmDevicePlan> plans(&plan, 1);
  MetadataBytes block;
  CO_TRY_STATUS(co_await ReadBlock(device, kLvmHeaderOffset, block));
  FixHeader(block, MakeLvmDeviceHeader(identity, plans, 0));
  overlay.Put(kLvmHeaderOffset, block);
  CO_TRY_STATUS(co_await ReadBlock(device, kLvmHeaderOffset + kLvmVolumeTableOffset, block));
  FixEntry(block, MakeLvmVolumeEntry(identity, plans, 0));
  overlay.Put(kLvmHeaderOffset + kLvmVolumeTableOffset, block);
  const std::vector<LvmPeEntry> extents = MakeLvmPeEntries(plans, 0);
  CO_TRY_STATUS(co_await ReadBlock(device, kLvmHeaderOffset + kLvmPeTableOffset, block));
  for (size_t i = 0; i < extents.size() && (i + 1) * sizeof(LvmPeEntry) <= block.size(); ++i) {
    base::StoreAs(std::span<std::byte>(block), i * sizeof(LvmPeEntry), extents[i]);
  }
  overlay.Put(kLvmHeaderOffset + kLvmPeTableOffset, block);
  co_return base::Ok();
}

Task<Status> WriteLvmRepair(BlockDevice& device, OverlayDevice& overlay) {
  base::AlignedBuffer buffer(kMetadataBlockBytes);
  const base::IoVec piece = buffer.piece();
  // From the end: the header that makes a volume of the tables comes last.
  for (auto block = overlay.blocks().rbegin(); block != overlay.blocks().rend(); ++block) {
    if (block->first == kLvmHeaderOffset) CO_TRY_STATUS(co_await device.Flush());
    std::memcpy(buffer.data(), block->second->data(), buffer.size());
    const base::IoRequest request{block->first, std::span<const base::IoVec>(&piece, 1)};
    CO_TRY_STATUS(co_await device.Write(request));
  }
  co_return co_await device.Flush();
}

}  // namespace vmfs::fsck
