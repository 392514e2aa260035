// VMFS-5 on disk where it differs from VMFS-6: addresses, resources, descriptors, directories.
//
// Metadata blocks are sectors of 512 bytes and addresses have 32 bits (vmfs/FORMAT.md, "VMFS-5").
// Superblock, lock block and the fixed part of a descriptor have the shape of VMFS-6 and are used
// from `vmfs/format`. Only reading is known. Plain values, any thread; no I/O.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "fs/base/on_disk.h"
#include "fs/base/result.h"
#include "vmfs/format/address.h"
#include "vmfs/format/heartbeat_slot.h"
#include "vmfs/format/inode.h"
#include "vmfs/format/superblock.h"

namespace vmfs::vmfs5 {

inline constexpr uint32_t kSectorBytes = 512;
inline constexpr uint32_t kHeartbeatCount = 2048;
inline constexpr uint64_t kHeaderBytes = 0x400000;  // owned by `.vh.sf`; `.fdc.sf` comes behind it
inline constexpr uint32_t kClusterHeaderBytes = 2 * kSectorBytes;
inline constexpr uint32_t kDescriptorBytes = 2048;
inline constexpr uint32_t kDescriptorDataOffset = 1024;  // slots, or inline data
inline constexpr uint32_t kDescriptorDataBytes = 1024;
inline constexpr uint32_t kSlotCount = kDescriptorDataBytes / 4;
inline constexpr uint32_t kPointerBlockBytes = 4096;
inline constexpr uint32_t kPointersPerBlock = kPointerBlockBytes / 4;
inline constexpr uint32_t kDenseSubBlocks = 0x4;  // configuration flag: sub-blocks 32 to a cluster
inline constexpr uint64_t kDirectoryBytesMax = 64 * kMebibyte;

// A 32-bit address in a slot or a pointer block. Zero is a hole.
class Address5 {
 public:
  constexpr explicit Address5(uint32_t raw) : raw_(raw) {}

  constexpr uint32_t raw() const { return raw_; }
  constexpr bool is_hole() const { return raw_ == 0; }
  constexpr AddressKind kind() const { return static_cast<AddressKind>(raw_ & 7); }

  // For file blocks: allocated but never written ("to be zeroed"), reads as zeros.
  constexpr bool is_zeroed() const {
    return kind() == AddressKind::kFileBlock && (raw_ & 0x20) != 0;
  }
  // For file blocks: volume address / file block size.
  constexpr uint32_t file_block() const { return raw_ >> 6; }

  // For all others. `dense` is the volume's flag and says something about sub-blocks only.
  constexpr ResourceIndex index(bool dense) const {
    const uint32_t more = dense && kind() == AddressKind::kSubBlock ? (raw_ >> 3 & 3) << 4 : 0;
    return {raw_ >> 6 & 0x3fffff, raw_ >> 28 | more};
  }

 private:
  uint32_t raw_;
};

// Checks that a superblock of major version 14 describes a shape we know: file blocks of 1 to 8 MiB
// and sub-blocks of 8 or 64 KiB (volumes upgraded from VMFS-3 keep theirs). Errors:
// kVersionUnsupported (not VMFS-5), kCorrupt.
base::Status CheckSuperblock(const Superblock& superblock);

// Volume address of the first block of `.fdc.sf`.
constexpr uint64_t FdcBase(uint64_t file_block_bytes) {
  return (kHeaderBytes + file_block_bytes - 1) / file_block_bytes * file_block_bytes;
}

// Where things lie in one resource file; all offsets are file offsets.
struct Geometry {
  uint32_t resources_per_cluster = 0;
  uint32_t clusters_per_group = 0;  // a multiple of 4, so that no item straddles 4 KiB blocks
  uint32_t resource_bytes = 0;      // 0 for file blocks
  uint64_t group_offset = 0;
  uint64_t group_bytes = 0;
  uint64_t resource_count = 0;

  uint64_t cluster_count() const {
    return (resource_count + resources_per_cluster - 1) / resources_per_cluster;
  }
  uint64_t group_count() const {
    return (cluster_count() + clusters_per_group - 1) / clusters_per_group;
  }
  // The cluster headers of a group lie side by side from here.
  uint64_t GroupAt(uint64_t group) const { return group_offset + group * group_bytes; }
  // Errors: kCorrupt (there is no such item).
  base::Result<uint64_t> ItemOffset(ResourceIndex index) const;
};

// Decodes a resource file's first bytes; `resource_bytes` is the size its items must have.
// Errors: kCorrupt.
base::Result<Geometry> DecodeGeometry(std::span<const std::byte> bytes, uint32_t resource_bytes);

// The second sector of a cluster's header, as far as it is used.
struct ClusterRecord {
  Le32 cluster;
  Le32 total_count;
  Le32 free_count;
  Le32 first_free;
};
static_assert(base::OnDisk<ClusterRecord> && sizeof(ClusterRecord) == 16);

// Free items by the headers of a group's clusters, which are given whole. Errors: kCorrupt.
base::Result<uint64_t> CountFree(std::span<const std::byte> headers, uint64_t first_cluster,
                                 const Geometry& geometry);

// A descriptor without its lock.
struct Descriptor {
  InodeMetadata metadata;
  std::array<std::byte, kDescriptorDataBytes> data{};

  FdAddress fd() const { return metadata.address(); }
  uint64_t length_bytes() const { return metadata.length_bytes; }
  bool is_directory() const;
  Address5 Slot(uint32_t slot) const {
    return Address5(base::LoadAs<Le32>(std::span<const std::byte>(data), slot * size_t{4}));
  }
};

// Sizes of what slots point to.
struct UnitSizes {
  uint64_t file_block_bytes = kFileBlockBytes;
  uint64_t sub_block_bytes = 8192;

  uint64_t Of(MapKind kind) const {
    return kind == MapKind::kSubBlocks ? sub_block_bytes : file_block_bytes;
  }
  // Bytes a map kind reaches; at most 2^51.
  uint64_t Reach(MapKind kind) const;
};

// Decodes a descriptor of 2,048 bytes. Errors: kNotRecognized (never used), kCorrupt (another
// descriptor's, unknown type or map kind, length beyond what the map reaches). A link count of 0 (a
// deleted one) is not an error.
base::Result<Descriptor> DecodeDescriptor(std::span<const std::byte> bytes, FdAddress expected,
                                          const UnitSizes& sizes);

// Directories are arrays of these, without order; the first two are "." and "..".
struct DirectoryRecord {
  Le32 type_value;
  Le32 fd;  // 0: free
  Le32 generation;
  std::array<char, 128> name{};
};
static_assert(base::OnDisk<DirectoryRecord> && sizeof(DirectoryRecord) == 140);

struct DirectoryName {
  std::string name;
  FdAddress target;
  InodeType type = InodeType::kFile;
};

// Nothing for a free record. Errors: kCorrupt (no descriptor's address, unknown type, a name that
// is empty, without end or with '/').
base::Result<std::optional<DirectoryName>> DecodeRecord(std::span<const std::byte> bytes);

}  // namespace vmfs::vmfs5
