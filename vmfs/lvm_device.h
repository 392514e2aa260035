// The logical volume of 1 to 32 devices, seen as one `BlockDevice` addressed by volume offset.
//
// Reads the LVM headers, puts the devices in order and maps volume offsets to device offsets
// (vmfs/FORMAT.md, "LVM"). Thread rule: the executor of the devices. Place in the stack: between
// the devices (PSA, files) and everything else of `vmfs`, which knows volume offsets only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/format/lvm.h"

namespace vmfs {

// One run of the volume on one device.
struct LvmRun {
  uint64_t volume_offset = 0;
  uint64_t length_bytes = 0;
  size_t device_index = 0;  // in the order in which the devices were given
  uint64_t device_offset = 0;
  friend bool operator==(const LvmRun&, const LvmRun&) = default;
};

// What the headers of one device say.
struct LvmDeviceInfo {
  std::string name;
  uint64_t size_bytes = 0;
  LvmDeviceHeader header;
  LvmVolumeEntry volume;
  std::vector<LvmPeEntry> extents;
};

// A volume put together: `devices` as given, `runs` in volume order without gap or overlap,
// adjacent ones of one device merged.
struct LvmVolume {
  base::Uuid uuid;
  uint64_t size_bytes = 0;
  std::vector<LvmDeviceInfo> devices;
  std::vector<LvmRun> runs;
};

// Puts devices together; pure. Errors: kCorrupt (the headers contradict each other, runs overlap or
// leave the device), kNotFound (a device of the volume is missing), kInvalidArgument (one device
// twice, or devices of different volumes), kOutOfRange (a device smaller than its header says).
base::Result<LvmVolume> AssembleLvm(std::vector<LvmDeviceInfo> devices);

// Reads the headers of one device. Errors: kNotRecognized (no LVM header; the message names the
// device), kVersionUnsupported, kCorrupt, and those of Read.
base::Task<base::Result<LvmDeviceInfo>> ReadLvmDevice(base::BlockDevice& device);

// Reads the headers of all devices and puts them together. Errors: as the two above.
base::Task<base::Result<LvmVolume>> ReadLvm(std::span<base::BlockDevice* const> devices);

// The volume as a device. The devices are borrowed, in the order `runs` refers to, and outlive it;
// Close closes all of them. A request that crosses from one device to another is split.
std::unique_ptr<base::BlockDevice> MakeLvmDevice(std::span<base::BlockDevice* const> devices,
                                                 std::vector<LvmRun> runs, std::string name);

// ReadLvm and MakeLvmDevice in one. The name is the volume's UUID.
base::Task<base::Result<std::unique_ptr<base::BlockDevice>>> OpenLvm(
    std::span<base::BlockDevice* const> devices);

}  // namespace vmfs
