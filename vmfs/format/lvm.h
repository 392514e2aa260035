// The logical volume manager's structures: device header, volume table, table of physical extents.
//
// They lie in the first 17 MiB of every device of a volume (vmfs/FORMAT.md, "LVM"). Each struct is
// its on-disk bytes; `Decode…` validates, storing it back with `base::StoreAs` keeps the bytes we
// do not know. Plain values, any thread; no I/O.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "fs/base/on_disk.h"
#include "fs/base/result.h"
#include "fs/base/uuid.h"
#include "vmfs/format/metadata_block.h"

namespace vmfs {

using base::Le16;
using base::Le32;
using base::Le64;

inline constexpr uint64_t kLvmHeaderOffset = 0x100000;      // device offset
inline constexpr uint64_t kLvmDataOffset = 0x1100000;       // volume data of this device
inline constexpr uint64_t kLvmAreaBytes = kLvmDataOffset;
// Offsets from the device header (LVM 6).
inline constexpr uint64_t kLvmVolumeTableOffset = 0x1000;
inline constexpr uint64_t kLvmNameTableOffset = 0x7f000;
inline constexpr uint64_t kLvmPeBitmapOffset = 0x81000;
inline constexpr uint64_t kLvmPeTableOffset = 0x82000;
// The same of LVM 5 (VMFS-5), which is only read.
inline constexpr uint64_t kLvm5VolumeTableOffset = 0x200;
inline constexpr uint64_t kLvm5PeTableOffset = 0x80600;
inline constexpr uint32_t kLvm5MapsMax = 32;  // of 8192 entries of 256 MiB: 64 TiB
inline constexpr uint32_t kLvmNameBytes = 256;
inline constexpr uint32_t kLvmDevicesMax = 32;
inline constexpr uint64_t kLvmPeEntryBytesMax = uint64_t{16} << 40;
inline constexpr uint32_t kLvmPeEntriesMax = 8192;

inline constexpr uint32_t kLvmMagic = 0xC001D00D;
inline constexpr uint32_t kLvmMajor = 6;
inline constexpr uint32_t kLvm5Major = 5;
inline constexpr uint32_t kLvmMinor = 0x15;

// How a device named itself when the volume was made: SCSI INQUIRY data and an id.
struct DiskId {
  uint8_t type = 0;
  uint8_t id_length = 0;
  Le16 lun;
  uint8_t device_type = 0;
  uint8_t scsi_level = 0;
  std::array<char, 8> vendor{};
  std::array<char, 16> model{};
  std::array<char, 4> revision{};
  std::array<char, 44> id{};
};
static_assert(base::OnDisk<DiskId> && sizeof(DiskId) == 78);

// Device offset 0x100000.
struct LvmDeviceHeader {
  Le32 magic;
  Le32 major;
  Le32 minor;
  DiskId disk_id;
  Le32 sector_bytes;
  Le64 device_bytes;
  Le32 volume_count;
  Le32 pe_count;
  Le32 last_pe;
  Le64 generation;
  Le64 data_offset;
  base::Uuid device_uuid;
  Le64 created_us;
  Le64 modified_us;
  base::Uuid locked_by;
  Le64 locked_at_us;
  Le32 unknown_0xba;
  Le32 pe_map_count;  // 0 means 1
  Le64 extended_header_offset;
  Le32 metadata_alignment;
  Le32 unit_count;  // of 256 MiB on this device
  Le32 flags;       // 1: VMFS-L
  std::array<uint8_t, 0x12a> unknown_0xd6{};

  bool is_lvm5() const { return major == kLvm5Major; }
  // Device offsets of the two tables that are read.
  uint64_t VolumeTableAt() const {
    return kLvmHeaderOffset + (is_lvm5() ? kLvm5VolumeTableOffset : kLvmVolumeTableOffset);
  }
  uint64_t PeTableAt() const {
    return kLvmHeaderOffset + (is_lvm5() ? kLvm5PeTableOffset : kLvmPeTableOffset);
  }
};
static_assert(base::OnDisk<LvmDeviceHeader> && sizeof(LvmDeviceHeader) == 0x200);
static_assert(offsetof(LvmDeviceHeader, disk_id) == 0x0c);
static_assert(offsetof(LvmDeviceHeader, sector_bytes) == 0x5a);
static_assert(offsetof(LvmDeviceHeader, device_bytes) == 0x5e);
static_assert(offsetof(LvmDeviceHeader, volume_count) == 0x66);
static_assert(offsetof(LvmDeviceHeader, pe_count) == 0x6a);
static_assert(offsetof(LvmDeviceHeader, last_pe) == 0x6e);
static_assert(offsetof(LvmDeviceHeader, generation) == 0x72);
static_assert(offsetof(LvmDeviceHeader, data_offset) == 0x7a);
static_assert(offsetof(LvmDeviceHeader, device_uuid) == 0x82);
static_assert(offsetof(LvmDeviceHeader, created_us) == 0x92);
static_assert(offsetof(LvmDeviceHeader, modified_us) == 0x9a);
static_assert(offsetof(LvmDeviceHeader, locked_by) == 0xa2);
static_assert(offsetof(LvmDeviceHeader, locked_at_us) == 0xb2);
static_assert(offsetof(LvmDeviceHeader, pe_map_count) == 0xbe);
static_assert(offsetof(LvmDeviceHeader, extended_header_offset) == 0xc2);
static_assert(offsetof(LvmDeviceHeader, metadata_alignment) == 0xca);
static_assert(offsetof(LvmDeviceHeader, unit_count) == 0xce);
static_assert(offsetof(LvmDeviceHeader, flags) == 0xd2);

// Header + 0x1000 (LVM 5: + 0x200): the one volume this device belongs to.
struct LvmVolumeEntry {
  Le64 volume_bytes;  // of all devices together
  Le64 generation;
  Le32 state;  // 1 normal, 2 resignature pending, 3 resignatured
  std::array<char, 64> name{};
  base::Uuid volume_uuid;
  Le32 snapshot_id;
  Le64 created_us;
  Le32 volume_index;
  Le32 unit_count;  // of 256 MiB on this device
  Le64 first_unit;  // of this device within the volume
  Le64 last_unit;   // inclusive
  Le64 modified_us;
  Le32 device_count;
  std::array<uint8_t, 0x7c> unknown_0x94{};
  Le32 pe_count;  // LVM 5: 0
  std::array<uint8_t, 0xec> unknown_0x114{};
};
static_assert(base::OnDisk<LvmVolumeEntry> && sizeof(LvmVolumeEntry) == 0x200);
static_assert(offsetof(LvmVolumeEntry, state) == 0x10);
static_assert(offsetof(LvmVolumeEntry, name) == 0x14);
static_assert(offsetof(LvmVolumeEntry, volume_uuid) == 0x54);
static_assert(offsetof(LvmVolumeEntry, snapshot_id) == 0x64);
static_assert(offsetof(LvmVolumeEntry, created_us) == 0x68);
static_assert(offsetof(LvmVolumeEntry, volume_index) == 0x70);
static_assert(offsetof(LvmVolumeEntry, unit_count) == 0x74);
static_assert(offsetof(LvmVolumeEntry, first_unit) == 0x78);
static_assert(offsetof(LvmVolumeEntry, last_unit) == 0x80);
static_assert(offsetof(LvmVolumeEntry, modified_us) == 0x88);
static_assert(offsetof(LvmVolumeEntry, device_count) == 0x90);
static_assert(offsetof(LvmVolumeEntry, pe_count) == 0x110);

// Header + 0x82000 (LVM 5: + 0x80600, 256 MiB each): one run of the volume on this device.
struct LvmPeEntry {
  uint8_t used = 0;
  Le32 pe_id;
  Le32 volume_index;
  Le64 physical_offset;  // device offset; the first run begins at the data offset
  Le64 logical_offset;   // in the volume
  Le64 length_bytes;
  Le32 version;
  std::array<uint8_t, 0x5b> unknown_0x25{};
};
static_assert(base::OnDisk<LvmPeEntry> && sizeof(LvmPeEntry) == 0x80);
static_assert(offsetof(LvmPeEntry, pe_id) == 0x01);
static_assert(offsetof(LvmPeEntry, volume_index) == 0x05);
static_assert(offsetof(LvmPeEntry, physical_offset) == 0x09);
static_assert(offsetof(LvmPeEntry, logical_offset) == 0x11);
static_assert(offsetof(LvmPeEntry, length_bytes) == 0x19);
static_assert(offsetof(LvmPeEntry, version) == 0x21);

// `bytes` begin at the structure and hold at least all of it.
// Errors: kNotRecognized (not an LVM device at all), kVersionUnsupported (LVM 4 and older, other
// metadata alignments, extended headers), kCorrupt (a field contradicts the format).
base::Result<LvmDeviceHeader> DecodeLvmDeviceHeader(std::span<const std::byte> bytes);
base::Result<LvmVolumeEntry> DecodeLvmVolumeEntry(std::span<const std::byte> bytes,
                                                  uint32_t lvm_major = kLvmMajor);
base::Result<LvmPeEntry> DecodeLvmPeEntry(std::span<const std::byte> bytes);

// Text of a fixed-size, zero-padded field.
std::string TextOf(std::span<const char> field);
// Stores `text` zero-padded; the caller has checked that it fits.
void SetText(std::span<char> field, std::string_view text);

}  // namespace vmfs
