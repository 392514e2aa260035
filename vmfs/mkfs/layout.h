// What mkfs will put where: sizes of the resource files and the blocks of every system file.
//
// Pure functions of the volume's size (vmfs/FORMAT.md, "A fresh volume"). Thread rule: plain
// values.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "fs/base/result.h"
#include "vmfs/format/address.h"
#include "vmfs/format/inode.h"
#include "vmfs/format/resource.h"

namespace vmfs {

inline constexpr uint64_t kVolumeBytesMin = kUnitBytes;

// Consecutive 1 MiB blocks of the volume.
struct BlockRun {
  uint64_t first = 0;
  uint64_t count = 0;
  friend bool operator==(const BlockRun&, const BlockRun&) = default;
};

// A system file (or the root) as it lies on a fresh volume.
struct PlannedFile {
  uint64_t length_bytes = 0;
  std::vector<BlockRun> runs;
  MapKind map_kind = MapKind::kFileBlocks;
  uint32_t pb2_item = 0;  // of its pointer block, when the map goes through `.pb2.sf`

  uint64_t block_count() const;
  // Volume block of file block `index`, which is under block_count().
  uint64_t VolumeBlock(uint64_t index) const;
};

struct VolumeLayout {
  uint64_t volume_bytes = 0;
  ResourceGeometry fds, sub_blocks, pb2, journal, large_blocks, small_blocks, pointer_blocks;
  std::array<PlannedFile, kSystemFdCount> files;  // by item of descriptor cluster 0
  uint32_t pb2_used_count = 0;                   // items of `.pb2.sf` in use
  uint64_t used_block_count = 0;                 // blocks 0 … used_block_count - 1 are in use

  uint64_t block_count() const { return volume_bytes / kFileBlockBytes; }
  uint64_t free_block_count() const { return block_count() - used_block_count; }
  const PlannedFile& file(FdAddress fd) const { return files[fd.item()]; }
};

// Plans a volume of `volume_bytes`, a whole number of 256 MiB units up to 64 TiB.
// Errors: kInvalidArgument (not such a size).
base::Result<VolumeLayout> PlanVolume(uint64_t volume_bytes);

// The units of 256 MiB each device gives. Without `volume_bytes`: all that fit. With it (rounded up
// to whole units): the devices are filled in order, each gets at least one.
// Errors: kTooLarge (over 64 TiB), kNoSpace (the devices are too small: the message says how much
// is needed), kInvalidArgument (no device, or more than 32 or than the size needs).
base::Result<std::vector<uint64_t>> PlanUnits(std::span<const uint64_t> device_bytes,
                                              std::optional<uint64_t> volume_bytes);

}  // namespace vmfs
