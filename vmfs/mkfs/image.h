// The bytes of a fresh volume, block by block: what mkfs writes.
//
// Pure functions of a layout and an identity: every byte as ESXi leaves it, but for our mark, the
// owner of the root and the sub-block kept as zeros (vmfs/FORMAT.md, "A fresh volume"). Thread
// rule: plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "fs/base/uuid.h"
#include "vmfs/format/lvm.h"
#include "vmfs/format/superblock.h"
#include "vmfs/lvm_device.h"
#include "vmfs/mkfs/layout.h"

namespace vmfs {

// Who the volume is. UUIDs differ from each other and from every other volume's.
struct VolumeIdentity {
  std::string label;  // at most 127 bytes
  base::Uuid uuid;    // of the file system
  base::Uuid lvm_uuid;
  base::Uuid host;    // of the formatting host
  uint64_t created_us = 0;
  uint32_t uid = 0, gid = 0;  // owner of the root directory
};

// What the LVM area of one device says besides the identity.
struct LvmDevicePlan {
  std::string name;
  base::Uuid device_uuid;
  uint64_t device_bytes = 0;
  uint64_t first_unit = 0;
  uint64_t unit_count = 0;
};

// The runs of the volume that these devices make, in order.
std::vector<LvmRun> RunsOf(std::span<const LvmDevicePlan> devices);

// Structures of the LVM area of device `index`.
LvmDeviceHeader MakeLvmDeviceHeader(const VolumeIdentity& identity,
                                    std::span<const LvmDevicePlan> devices, size_t index);
LvmVolumeEntry MakeLvmVolumeEntry(const VolumeIdentity& identity,
                                  std::span<const LvmDevicePlan> devices, size_t index);
// The PE table's used entries, as bytes.
std::vector<LvmPeEntry> MakeLvmPeEntries(std::span<const LvmDevicePlan> devices, size_t index);

// The superblock's 4 KiB block with our mark.
void EncodeSuperblockBlock(const VolumeIdentity& identity, MetadataSpan block);

// Fills `bytes` (1 MiB, zeroed) with what block `block` of a fresh volume holds; the superblock is
// left out, it is written last. Returns whether anything is not zero.
bool EncodeVolumeBlock(const VolumeLayout& layout, const VolumeIdentity& identity, uint64_t block,
                       std::span<std::byte> bytes);

}  // namespace vmfs
