// The file-system descriptor ("superblock", volume offset 0x200000) and our private mark in it.
//
// Each struct is its on-disk bytes; unknown ones are kept when it is stored back. Plain values, any
// thread; no I/O. Facts: vmfs/FORMAT.md, "Superblock" and "Our mark".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/on_disk.h"
#include "fs/base/result.h"
#include "fs/base/uuid.h"
#include "vmfs/format/address.h"
#include "vmfs/format/lvm.h"

namespace vmfs {

// Regions of the volume (volume offsets).
inline constexpr uint64_t kSuperblockOffset = 0x200000;
inline constexpr uint64_t kMailboxOffset = 0x210000;        // ours, of the private area
inline constexpr uint64_t kMailboxBytes = 0x40000;          // 64 hosts x 4 KiB
inline constexpr uint64_t kHeartbeatOffset = 0x300000;
inline constexpr uint32_t kHeartbeatSlotCount = 1024;
inline constexpr uint64_t kFdcBaseOffset = 0x700000;        // first block of `.fdc.sf`
inline constexpr uint64_t kHeaderAreaBytes = 0x700000;      // owned by `.vh.sf`
inline constexpr uint64_t kMarkOffset = 0x200;              // within the superblock's block

inline constexpr uint32_t kSuperblockMagic = 0x2FABF15E;
inline constexpr uint32_t kSuperblockMagicLocal = 0x2FABF15F;  // VMFS-L
// Two further kinds whose magics are known by name only.
inline constexpr uint32_t kSuperblockMagicUnknownFirst = 0x2FABF160;
inline constexpr uint32_t kSuperblockMagicUnknownLast = 0x2FABF161;
inline constexpr uint32_t kVmfs6Major = 24;
inline constexpr uint32_t kVmfs5Major = 14;
inline constexpr uint8_t kVmfs6Minor = 82;
inline constexpr uint32_t kLabelBytes = 128;
// Configuration flags that were seen or are named: 0x02, dense sub-blocks (VMFS-5), maintenance,
// local, shared (vSAN), system (OSDATA), vSAN.
inline constexpr uint32_t kConfigFlagsKnown = 0x02 | 0x04 | 0x08 | 0x100 | 0x400 | 0x800 | 0x1000;

struct Superblock {
  Le32 magic;
  Le32 major;
  uint8_t minor = 0;
  base::Uuid uuid;
  Le32 config_flags;
  std::array<char, kLabelBytes> label{};
  Le32 disk_block_bytes;
  Le64 file_block_bytes;
  Le32 created_s;
  Le32 snapshot_id;
  base::Uuid lvm_uuid;
  Le32 lvm_snapshot_id;
  std::array<uint8_t, 12> unknown_0xc5{};
  Le32 fdc_cluster_group_offset;
  Le32 fdc_clusters_per_group;
  Le32 sub_block_bytes;
  Le32 journal_slots_per_transaction;
  Le64 pb2_volume_address;
  Le32 pb2_fd;
  base::Uuid formatting_host;
  Le64 generation;
  Le64 sdd_volume_address;
  Le32 sdd_fd;
  uint8_t checksum_type = 0;
  Le16 unmap_priority;
  std::array<uint8_t, 4> unknown_0x114{};
  Le64 checksum_generation;
  std::array<uint8_t, 16> checksum{};
  Le32 physical_sector_bytes;
  Le32 metadata_alignment;
  Le16 log2_small_blocks_per_large;
  std::array<uint8_t, 4> unknown_0x13a{};
  Le16 log2_pointer_block_bytes;
  Le16 small_block_address_bits;
  std::array<uint8_t, 2> unknown_0x142{};
  Le32 unmap_granularity_bytes;
  Le32 journal_block_bytes;
  Le32 lease_ms;
  Le32 reclaim_window_ms;
  Le64 local_mount_stamp;
  std::array<uint8_t, 6> local_owner{};
  uint8_t unmap_method = 0;
  Le32 unmap_bandwidth;
  Le32 unmap_bandwidth_min;
  Le32 unmap_bandwidth_max;
  std::array<uint8_t, 0x91> unknown_0x16f{};

  // VMFS-5 volumes are recognised, so that they can be named; nothing else is done with them.
  bool is_vmfs6() const { return major == kVmfs6Major; }
};
static_assert(base::OnDisk<Superblock> && sizeof(Superblock) == 0x200);
static_assert(offsetof(Superblock, uuid) == 0x09);
static_assert(offsetof(Superblock, config_flags) == 0x19);
static_assert(offsetof(Superblock, label) == 0x1d);
static_assert(offsetof(Superblock, disk_block_bytes) == 0x9d);
static_assert(offsetof(Superblock, file_block_bytes) == 0xa1);
static_assert(offsetof(Superblock, created_s) == 0xa9);
static_assert(offsetof(Superblock, snapshot_id) == 0xad);
static_assert(offsetof(Superblock, lvm_uuid) == 0xb1);
static_assert(offsetof(Superblock, lvm_snapshot_id) == 0xc1);
static_assert(offsetof(Superblock, fdc_cluster_group_offset) == 0xd1);
static_assert(offsetof(Superblock, fdc_clusters_per_group) == 0xd5);
static_assert(offsetof(Superblock, sub_block_bytes) == 0xd9);
static_assert(offsetof(Superblock, journal_slots_per_transaction) == 0xdd);
static_assert(offsetof(Superblock, pb2_volume_address) == 0xe1);
static_assert(offsetof(Superblock, pb2_fd) == 0xe9);
static_assert(offsetof(Superblock, formatting_host) == 0xed);
static_assert(offsetof(Superblock, generation) == 0xfd);
static_assert(offsetof(Superblock, sdd_volume_address) == 0x105);
static_assert(offsetof(Superblock, sdd_fd) == 0x10d);
static_assert(offsetof(Superblock, checksum_type) == 0x111);
static_assert(offsetof(Superblock, unmap_priority) == 0x112);
static_assert(offsetof(Superblock, checksum_generation) == 0x118);
static_assert(offsetof(Superblock, checksum) == 0x120);
static_assert(offsetof(Superblock, physical_sector_bytes) == 0x130);
static_assert(offsetof(Superblock, metadata_alignment) == 0x134);
static_assert(offsetof(Superblock, log2_small_blocks_per_large) == 0x138);
static_assert(offsetof(Superblock, log2_pointer_block_bytes) == 0x13e);
static_assert(offsetof(Superblock, small_block_address_bits) == 0x140);
static_assert(offsetof(Superblock, unmap_granularity_bytes) == 0x144);
static_assert(offsetof(Superblock, journal_block_bytes) == 0x148);
static_assert(offsetof(Superblock, lease_ms) == 0x14c);
static_assert(offsetof(Superblock, reclaim_window_ms) == 0x150);
static_assert(offsetof(Superblock, local_mount_stamp) == 0x154);
static_assert(offsetof(Superblock, local_owner) == 0x15c);
static_assert(offsetof(Superblock, unmap_method) == 0x162);
static_assert(offsetof(Superblock, unmap_bandwidth) == 0x163);

// Decodes and validates. A VMFS-5 superblock is accepted (see `is_vmfs6`), other majors are not.
// Errors: kNotRecognized, kVersionUnsupported (a magic known by name only, major version, metadata
// alignment), kCorrupt. What may be read but not written is no error: see `ReadOnlyReasons`.
base::Result<Superblock> DecodeSuperblock(std::span<const std::byte> bytes);

// Why a volume that can be read must not be written, be it ours or not, in words; none on a volume
// as our mkfs and ESXi 6.5 to 7 make them (vmfs/FORMAT.md, "Volumes it did not write").
std::vector<std::string> ReadOnlyReasons(const Superblock& superblock);

// Our private mark, superblock + 0x200. A volume without it is foreign and never written.
inline constexpr std::array<char, 8> kMarkMagic = {'S', 'T', 'R', 'A', 'T', 'A', 'F', 'S'};
inline constexpr uint16_t kMarkMajor = 1;
inline constexpr uint16_t kMarkMinor = 0;

struct StrataMark {
  std::array<char, 8> magic = kMarkMagic;
  Le16 major = kMarkMajor;
  Le16 minor = kMarkMinor;         // of the program that made the volume
  Le16 oldest_minor = kMarkMinor;  // lowest minor of the programs that wrote it
  Le16 reserved_0x0e;
  Le64 compatible_features;  // unknown bits: ignore
  Le64 read_only_features;   // unknown bits: mount read-only
  Le64 incompatible_features;  // unknown bits: refuse
  base::Uuid uuid;             // of the file system: a copied superblock is told apart
  base::Uuid machine;          // the machine a file or block node belongs to; zero: none yet
  std::array<uint8_t, 0xb4> reserved_0x48{};
  Le32 crc;  // CRC32C of volume offset (u64) and the 0xfc bytes before

  bool may_write() const { return read_only_features == 0; }
};
static_assert(base::OnDisk<StrataMark> && sizeof(StrataMark) == 0x100);
static_assert(offsetof(StrataMark, compatible_features) == 0x10);
static_assert(offsetof(StrataMark, uuid) == 0x28);
static_assert(offsetof(StrataMark, machine) == 0x38);
static_assert(offsetof(StrataMark, crc) == 0xfc);

// Decodes the mark from the superblock's 4 KiB block; `uuid` is the superblock's.
// Errors: kNotRecognized (no mark: a foreign volume), kChecksumMismatch, kVersionUnsupported
// (newer major, unknown incompatible feature), kCorrupt (UUID of another volume).
base::Result<StrataMark> DecodeMark(std::span<const std::byte> superblock_block,
                                    const base::Uuid& uuid);

// Fills the CRC and stores the mark into the superblock's 4 KiB block.
void EncodeMark(StrataMark mark, std::span<std::byte> superblock_block);

}  // namespace vmfs
