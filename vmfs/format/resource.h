// Resource files: a header, then groups of clusters of allocatable things, each with a lock.
//
// `.fbb.sf` (file blocks), `.fdc.sf` (descriptors), `.sbc.sf` (sub-blocks), `.pb2.sf` (system
// pointer blocks) and `.jbc.sf` (journal blocks) share this shape (vmfs/FORMAT.md, "Resource
// files"). `ResourceGeometry` is the arithmetic of offsets, `ClusterMetadata` and the functions on
// its block are a cluster's bitmap and lists. Plain values, any thread; no I/O.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "fs/base/on_disk.h"
#include "fs/base/result.h"
#include "vmfs/format/address.h"
#include "vmfs/format/lock_block.h"
#include "vmfs/format/metadata_block.h"

namespace vmfs {

// What a cluster is made of. Large blocks are clusters of small ones; both live in `.fbb.sf`.
enum class ResourceKind : uint8_t {
  kFd,          // `.fdc.sf`
  kSubBlock,    // `.sbc.sf`
  kPb2,         // `.pb2.sf`
  kJournal,     // `.jbc.sf`
  kLargeBlock,  // `.fbb.sf`
  kSmallBlock,  // `.fbb.sf`, child
  kPointerBlock,  // `.pbc.sf`: always empty on VMFS-6
};

// "fd", "sub-block", "pb2", "journal", "large-block", "small-block", "pointer-block".
const char* NameOf(ResourceKind kind);
// The lock type of the kind's cluster headers.
LockType ClusterLockType(ResourceKind kind);
// The system file that holds the kind's clusters.
FdAddress SystemFileOf(ResourceKind kind);

inline constexpr uint32_t kResourceSignature = 0x72666D64;
inline constexpr uint32_t kClusterSignature = 0x72636D64;
inline constexpr uint32_t kResourceGroupOffset = 0x10000;  // of group 0, in every file
inline constexpr uint32_t kClusterHeaderBytes = 2 * kMetadataBlockBytes;
inline constexpr uint32_t kChildHeaderOffset = 0x1000;  // in `.fbb.sf`

// Resource header flags.
inline constexpr uint32_t kResourceIsChild = 0x02;
inline constexpr uint32_t kResourceHasUnmapBitmap = 0x20;

// Byte 0 of a resource file; in `.fbb.sf` a second one at 0x1000 for the small blocks.
struct ResourceHeader {
  Le32 resources_per_cluster;
  Le32 clusters_per_group;
  Le32 group_offset;
  Le32 resource_bytes;  // 0: stored elsewhere
  Le32 group_bytes;
  Le32 resource_count_low;
  Le32 group_count;
  Le32 resource_count_high;
  Le32 signature;
  Le32 version;
  Le32 flags;
  Le16 affinity_per_cluster;
  Le16 affinity_per_resource;
  Le32 bits_per_resource;
  Le32 child_offset;
  Le32 parent_resources_per_cluster;
  Le32 parent_clusters_per_group;
  Le32 parent_group_bytes;
  std::array<uint8_t, 0x10> unknown_0x44{};
  Le32 parents_broken_up;
  std::array<uint8_t, 0xa8> unknown_0x58{};

  uint64_t resource_count() const {
    return uint64_t{resource_count_high} << 32 | resource_count_low;
  }
  void set_resource_count(uint64_t count) {
    resource_count_low = static_cast<uint32_t>(count);
    resource_count_high = static_cast<uint32_t>(count >> 32);
  }
};
static_assert(base::OnDisk<ResourceHeader> && sizeof(ResourceHeader) == 0x100);
static_assert(offsetof(ResourceHeader, group_offset) == 0x08);
static_assert(offsetof(ResourceHeader, resource_bytes) == 0x0c);
static_assert(offsetof(ResourceHeader, group_bytes) == 0x10);
static_assert(offsetof(ResourceHeader, resource_count_low) == 0x14);
static_assert(offsetof(ResourceHeader, group_count) == 0x18);
static_assert(offsetof(ResourceHeader, resource_count_high) == 0x1c);
static_assert(offsetof(ResourceHeader, signature) == 0x20);
static_assert(offsetof(ResourceHeader, version) == 0x24);
static_assert(offsetof(ResourceHeader, flags) == 0x28);
static_assert(offsetof(ResourceHeader, affinity_per_cluster) == 0x2c);
static_assert(offsetof(ResourceHeader, affinity_per_resource) == 0x2e);
static_assert(offsetof(ResourceHeader, bits_per_resource) == 0x30);
static_assert(offsetof(ResourceHeader, child_offset) == 0x34);
static_assert(offsetof(ResourceHeader, parent_resources_per_cluster) == 0x38);
static_assert(offsetof(ResourceHeader, parent_clusters_per_group) == 0x3c);
static_assert(offsetof(ResourceHeader, parent_group_bytes) == 0x40);
static_assert(offsetof(ResourceHeader, parents_broken_up) == 0x54);

// Where things lie in one resource file. All offsets are file offsets: the file's block map turns
// them into volume addresses.
struct ResourceGeometry {
  ResourceKind kind = ResourceKind::kFd;
  uint32_t resources_per_cluster = 0;
  uint32_t clusters_per_group = 0;
  uint32_t resource_bytes = 0;  // 0 for small blocks: they are the volume itself
  uint32_t bits_per_resource = 1;
  uint64_t resource_count = 0;
  // Small blocks only: the parent's shape, which tells where a cluster's header lies.
  uint32_t parent_resources_per_cluster = 0;
  uint32_t parent_clusters_per_group = 0;

  uint64_t cluster_count() const {
    return resources_per_cluster == 0
               ? 0
               : (resource_count + resources_per_cluster - 1) / resources_per_cluster;
  }
  uint64_t group_count() const {
    return clusters_per_group == 0
               ? 0
               : (cluster_count() + clusters_per_group - 1) / clusters_per_group;
  }
  // Number of resources cluster `cluster` really has: less than resources_per_cluster in the last.
  uint32_t ResourcesIn(uint64_t cluster) const;
  // Bytes from group to group.
  uint64_t group_bytes() const {
    return uint64_t{clusters_per_group} *
           (kClusterHeaderBytes + uint64_t{resources_per_cluster} * resource_bytes);
  }
  // File offset of a cluster's lock block; its metadata block follows.
  uint64_t LockOffset(uint64_t cluster) const;
  uint64_t MetadataOffset(uint64_t cluster) const {
    return LockOffset(cluster) + kMetadataBlockBytes;
  }
  // File offset of an item. Not for small blocks.
  uint64_t ItemOffset(uint64_t cluster, uint32_t item) const;
  uint64_t ItemOffset(ResourceIndex index) const { return ItemOffset(index.cluster, index.item); }
  // Length of the file: the last group ends behind its last item.
  uint64_t FileLengthBytes() const;
  bool Contains(ResourceIndex index) const {
    return index.item < resources_per_cluster && index.cluster < cluster_count() &&
           index.item < ResourcesIn(index.cluster);
  }
};

// Shapes as ESXi makes them (vmfs/FORMAT.md, "Resource files"), for `resource_count` items.
ResourceGeometry StandardGeometry(ResourceKind kind, uint64_t resource_count);
// The header of such a file, small and large blocks included.
ResourceHeader MakeResourceHeader(const ResourceGeometry& geometry);

// Decodes the header at the begin of `bytes` (for small blocks: `.fbb.sf` + 0x1000).
// Errors: kNotRecognized (no signature), kCorrupt (a field contradicts the format or the others).
base::Result<ResourceHeader> DecodeResourceHeader(std::span<const std::byte> bytes,
                                                  ResourceKind kind);
ResourceGeometry GeometryOf(const ResourceHeader& header, ResourceKind kind);

// --- cluster metadata: the second block of a cluster header

struct ClusterMetadata {
  std::array<uint8_t, 0x10> unknown_0x00{};
  Le32 signature;
  Le32 priority;
  Le64 cluster;
  Le16 total_count;
  Le16 free_count;
  std::array<uint8_t, 2> unknown_0x24{};
  Le16 affinity_count;  // small blocks: entries of the list, the empty entry 0 included
  std::array<uint8_t, 2> unknown_0x28{};
  Le16 kind_value;  // 0x100 small blocks, 7 large blocks, else 0
  std::array<uint8_t, 4> unknown_0x2c{};
  Le32 one_0x30;
  std::array<uint8_t, 0x24> unknown_0x34{};
  Le32 allocation_count;  // by the host named next
  std::array<uint8_t, 6> allocating_host{};
  Le32 allocated_at_s;
  std::array<uint8_t, 2> unknown_0x66{};
  Le32 fd_generation;  // descriptors only: the last generation handed out
  std::array<uint8_t, 0x10> unknown_0x6c{};
  Le32 first_free;  // index of the first free resource; a hint
};
static_assert(base::OnDisk<ClusterMetadata> && sizeof(ClusterMetadata) == 0x80);
static_assert(offsetof(ClusterMetadata, signature) == 0x10);
static_assert(offsetof(ClusterMetadata, priority) == 0x14);
static_assert(offsetof(ClusterMetadata, cluster) == 0x18);
static_assert(offsetof(ClusterMetadata, total_count) == 0x20);
static_assert(offsetof(ClusterMetadata, free_count) == 0x22);
static_assert(offsetof(ClusterMetadata, affinity_count) == 0x26);
static_assert(offsetof(ClusterMetadata, kind_value) == 0x2a);
static_assert(offsetof(ClusterMetadata, one_0x30) == 0x30);
static_assert(offsetof(ClusterMetadata, allocation_count) == 0x58);
static_assert(offsetof(ClusterMetadata, allocating_host) == 0x5c);
static_assert(offsetof(ClusterMetadata, allocated_at_s) == 0x62);
static_assert(offsetof(ClusterMetadata, fd_generation) == 0x68);
static_assert(offsetof(ClusterMetadata, first_free) == 0x7c);

using ConstMetadataSpan = std::span<const std::byte, kMetadataBlockBytes>;
using MetadataSpan = std::span<std::byte, kMetadataBlockBytes>;

// Errors: kCorrupt (signature, number, counts that cannot be). The bitmap is not counted here.
base::Result<ClusterMetadata> DecodeClusterMetadata(ConstMetadataSpan block,
                                                    const ResourceGeometry& geometry,
                                                    uint64_t expected_cluster);

// The metadata block of a new cluster with all its resources free (large blocks: broken up).
void EncodeNewCluster(const ResourceGeometry& geometry, uint64_t cluster, MetadataSpan block);

// Codes of the bitmap, by the width of one resource's code:
//  1 bit: 1 free, 0 used. 2 bits (small blocks): bit 0 is "free"; bit 1 belongs to unmap tracking
//  and is written 0. 3 bits (large blocks): 4 broken up into small ones, the only one we write.
inline constexpr uint8_t kLargeBlockBrokenUp = 4;

uint8_t BitmapCode(ConstMetadataSpan block, uint32_t bits_per_resource, uint32_t item);
void SetBitmapCode(MetadataSpan block, uint32_t bits_per_resource, uint32_t item, uint8_t code);

// One- and two-bit kinds.
bool IsFree(ConstMetadataSpan block, uint32_t bits_per_resource, uint32_t item);
void SetFree(MetadataSpan block, uint32_t bits_per_resource, uint32_t item, bool is_free);
// Counts the free resources among the first `resource_count`, a word at a time.
uint32_t CountFree(ConstMetadataSpan block, uint32_t bits_per_resource, uint32_t resource_count);
// The first free resource at or behind `from`, under `resource_count`.
std::optional<uint32_t> FindFree(ConstMetadataSpan block, uint32_t bits_per_resource, uint32_t from,
                                 uint32_t resource_count);

// Marks one resource used or free and keeps free_count and first_free right. The caller has checked
// that it was not so already (CHECKed). One- and two-bit kinds; affinity is set separately.
void MarkResource(MetadataSpan block, uint32_t bits_per_resource, uint32_t item, bool is_free);

// The affinity key of a resource: the descriptor it was allocated for (for a descriptor: its
// directory); none for system items and free ones. Exists for kFd, kSubBlock and kPb2; elsewhere
// reading answers none and setting does nothing.
FdAddress AffinityKey(ConstMetadataSpan block, const ResourceGeometry& geometry, uint32_t item);
void SetAffinityKey(MetadataSpan block, const ResourceGeometry& geometry, uint32_t item,
                    FdAddress key);

// The affinity list of a small-block cluster: who owns how many of its blocks. Entry 0 belongs to
// nobody and takes the owners that find no entry; the counts always add up to the allocated blocks.
struct AffinityEntry {
  Le32 fd;
  Le32 block_count;
};
static_assert(base::OnDisk<AffinityEntry> && sizeof(AffinityEntry) == 8);
inline constexpr uint32_t kAffinityListOffset = 0x940;
inline constexpr uint32_t kAffinityEntriesMax =
    (kMetadataBlockBytes - kAffinityListOffset) / sizeof(AffinityEntry);  // 216

AffinityEntry GetAffinityEntry(ConstMetadataSpan block, uint32_t entry);
// Adds or takes blocks of `owner`; entries that fall to 0 are given up, the list stays packed and
// affinity_count with it. Taking more than `owner` has takes the rest from entry 0.
void AddAffinity(MetadataSpan block, FdAddress owner, uint32_t block_count);
void TakeAffinity(MetadataSpan block, FdAddress owner, uint32_t block_count);

}  // namespace vmfs
