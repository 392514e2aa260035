#include "vmfs/mkfs/layout.h"

#include <algorithm>

#include "fs/base/check.h"
#include "vmfs/format/corrupt.h"
#include "vmfs/format/directory.h"
#include "vmfs/format/superblock.h"

namespace vmfs {
namespace {

constexpr uint64_t kHeaderBlocks = kHeaderAreaBytes / kFileBlockBytes;
constexpr uint64_t kPb2LargeFromMebibytes = 128 * 1024;

uint64_t BlocksFor(uint64_t bytes) { return (bytes + kFileBlockBytes - 1) / kFileBlockBytes; }

// `wanted` within the limits, rounded up to whole clusters above the minimum.
uint64_t ItemCount(uint64_t wanted, uint64_t minimum, uint64_t maximum, uint32_t per_cluster) {
  if (wanted <= minimum) return minimum;
  const uint64_t rounded = (wanted + per_cluster - 1) / per_cluster * per_cluster;
  return std::min(rounded, maximum);
}

void PlanResources(VolumeLayout& layout) {
  const uint64_t mebibytes = layout.volume_bytes / kMebibyte;
  const auto plan = [](ResourceKind kind, uint64_t count) { return StandardGeometry(kind, count); };
  layout.fds = plan(ResourceKind::kFd, ItemCount(2 * mebibytes, 2048, 16384, 256));
  layout.sub_blocks = plan(ResourceKind::kSubBlock, ItemCount(mebibytes / 4, 256, 16384, 256));
  layout.journal = plan(ResourceKind::kJournal, ItemCount(mebibytes / 256, 4, 128, 8));
  layout.pb2 = plan(ResourceKind::kPb2, mebibytes < kPb2LargeFromMebibytes ? 16 : 256);
  layout.pointer_blocks = plan(ResourceKind::kPointerBlock, 0);
  layout.small_blocks = plan(ResourceKind::kSmallBlock, layout.block_count());
  layout.large_blocks = plan(ResourceKind::kLargeBlock, layout.small_blocks.cluster_count());
}

void PlanLengths(VolumeLayout& layout) {
  const auto set = [&](FdAddress fd, uint64_t length) {
    layout.files[fd.item()].length_bytes = length;
  };
  set(kRootFd, kDirectoryBirthBytes);
  set(kFbbFd, layout.large_blocks.FileLengthBytes());
  set(kFdcFd, layout.fds.FileLengthBytes());
  set(kPbcFd, layout.pointer_blocks.FileLengthBytes());
  set(kSbcFd, layout.sub_blocks.FileLengthBytes());
  set(kVhFd, kHeaderAreaBytes);
  set(kPb2Fd, layout.pb2.FileLengthBytes());
  set(kSddFd, kDirectoryHeaderBytes + kMetadataBlockBytes);
  set(kJbcFd, layout.journal.FileLengthBytes());
}

// ESXi's order: the header area, the first block of `.fdc.sf`, the root, `.fbb.sf`, then the rest.
void PlanBlocks(VolumeLayout& layout) {
  uint64_t next = 0;
  const auto give = [&](FdAddress fd, uint64_t count) {
    if (count > 0) layout.files[fd.item()].runs.push_back({next, count});
    next += count;
  };
  const auto blocks_of = [&](FdAddress fd) { return BlocksFor(layout.file(fd).length_bytes); };
  give(kVhFd, kHeaderBlocks);
  give(kFdcFd, 1);
  give(kRootFd, 1);
  give(kFbbFd, blocks_of(kFbbFd));
  give(kFdcFd, blocks_of(kFdcFd) - 1);
  for (const FdAddress fd : {kPbcFd, kSbcFd, kPb2Fd, kSddFd, kJbcFd}) give(fd, blocks_of(fd));
  layout.used_block_count = next;
}

void PlanMaps(VolumeLayout& layout) {
  for (PlannedFile& file : layout.files) {
    if (file.block_count() <= kSlotCount) continue;
    CHECK(file.block_count() <= kPointersPerBlock);
    file.map_kind = MapKind::kPb2;
    file.pb2_item = layout.pb2_used_count++;
  }
}

}  // namespace

uint64_t PlannedFile::block_count() const {
  uint64_t count = 0;
  for (const BlockRun& run : runs) count += run.count;
  return count;
}

uint64_t PlannedFile::VolumeBlock(uint64_t index) const {
  for (const BlockRun& run : runs) {
    if (index < run.count) return run.first + index;
    index -= run.count;
  }
  CHECK(false);
  return 0;
}

base::Result<VolumeLayout> PlanVolume(uint64_t volume_bytes) {
  if (volume_bytes < kVolumeBytesMin || volume_bytes > kVolumeBytesMax ||
      volume_bytes % kUnitBytes != 0) {
    return base::Error(base::Code::kInvalidArgument,
                       fmt::format("mkfs: volume of {} bytes: must be 256 MiB to 64 TiB in steps "
                                   "of 256 MiB",
                                   volume_bytes));
  }
  VolumeLayout layout;
  layout.volume_bytes = volume_bytes;
  PlanResources(layout);
  PlanLengths(layout);
  PlanBlocks(layout);
  PlanMaps(layout);
  CHECK(layout.used_block_count <= layout.block_count());
  return layout;
}

base::Result<std::vector<uint64_t>> PlanUnits(std::span<const uint64_t> device_bytes,
                                              std::optional<uint64_t> volume_bytes) {
  if (device_bytes.empty() || device_bytes.size() > kLvmDevicesMax) {
    return base::Error(base::Code::kInvalidArgument,
                       fmt::format("mkfs: {} devices given, 1 to {} can be used",
                                   device_bytes.size(), kLvmDevicesMax));
  }
  uint64_t wanted = kVolumeBytesMax / kUnitBytes + 1;
  if (volume_bytes) wanted = *volume_bytes / kUnitBytes + (*volume_bytes % kUnitBytes != 0 ? 1 : 0);
  std::vector<uint64_t> units;
  uint64_t total = 0;
  for (const uint64_t bytes : device_bytes) {
    const uint64_t fit = bytes < kLvmDataOffset ? 0 : (bytes - kLvmDataOffset) / kUnitBytes;
    if (fit == 0) {
      return base::Error(base::Code::kNoSpace,
                         fmt::format("mkfs: device {} has {} bytes, at least {} (273 MiB) are "
                                     "needed",
                                     units.size() + 1, bytes, kLvmDataOffset + kUnitBytes));
    }
    units.push_back(std::min(fit, wanted - total));
    total += units.back();
  }
  if (volume_bytes && total < wanted) {
    return base::Error(base::Code::kNoSpace,
                       fmt::format("mkfs: a volume of {} MiB was asked for, the devices hold "
                                   "{} MiB",
                                   wanted * 256, total * 256));
  }
  if (total > kVolumeBytesMax / kUnitBytes) {
    return base::Error(base::Code::kTooLarge,
                       "mkfs: the volume would be larger than 64 TiB; give a size");
  }
  if (std::ranges::find(units, uint64_t{0}) != units.end()) {
    return base::Error(base::Code::kInvalidArgument,
                       fmt::format("mkfs: a volume of {} MiB does not need {} devices",
                                   wanted * 256, device_bytes.size()));
  }
  return units;
}

}  // namespace vmfs
