#include "vmfs/vmfs5/format.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "vmfs/format/corrupt.h"
#include "vmfs/format/lock_block.h"
#include "vmfs/format/resource.h"

namespace vmfs::vmfs5 {
namespace {

constexpr uint64_t kClusterBitmapBytesMax = 0x1f0;
constexpr uint32_t kClustersPerGroupMax = 4096;

}  // namespace

base::Status CheckSuperblock(const Superblock& superblock) {
  if (superblock.major != kVmfs5Major) {
    return VersionError("superblock: major version {}, expected {}", uint32_t{superblock.major},
                        kVmfs5Major);
  }
  const uint64_t file_block = superblock.file_block_bytes;
  if (file_block < kMebibyte || file_block > 8 * kMebibyte || !std::has_single_bit(file_block)) {
    return CorruptError("superblock: file block size {:#x}, expected 1, 2, 4 or 8 MiB", file_block);
  }
  const uint32_t sub_block = superblock.sub_block_bytes;
  if (sub_block != 8192 && sub_block != 65536) {
    return CorruptError("superblock: sub-block size {:#x}, expected 8 or 64 KiB", sub_block);
  }
  if (superblock.disk_block_bytes != kSectorBytes) {
    return CorruptError("superblock: disk block size {:#x}, expected {:#x}",
                        uint32_t{superblock.disk_block_bytes}, kSectorBytes);
  }
  return base::Ok();
}

base::Result<uint64_t> Geometry::ItemOffset(ResourceIndex index) const {
  if (index.item >= resources_per_cluster || index.cluster >= cluster_count() ||
      index.cluster * resources_per_cluster + index.item >= resource_count) {
    return CorruptError("item {} of cluster {}: there are {} items, {} in a cluster", index.item,
                        index.cluster, resource_count, resources_per_cluster);
  }
  const uint64_t in_group =
      (index.cluster % clusters_per_group) * resources_per_cluster + index.item;
  return GroupAt(index.cluster / clusters_per_group) +
         uint64_t{clusters_per_group} * kClusterHeaderBytes + in_group * resource_bytes;
}

base::Result<Geometry> DecodeGeometry(std::span<const std::byte> bytes, uint32_t resource_bytes) {
  if (bytes.size() < sizeof(ResourceHeader)) {
    return CorruptError("resource header: only {} bytes", bytes.size());
  }
  const auto header = base::LoadAs<ResourceHeader>(bytes);
  Geometry geometry;
  geometry.resources_per_cluster = header.resources_per_cluster;
  geometry.clusters_per_group = header.clusters_per_group;
  geometry.resource_bytes = header.resource_bytes;
  geometry.group_offset = header.group_offset;
  geometry.group_bytes = header.group_bytes;
  geometry.resource_count = header.resource_count_low;
  if (geometry.resources_per_cluster == 0 ||
      geometry.resources_per_cluster > 8 * kClusterBitmapBytesMax) {
    return CorruptError("resource header: {} items in a cluster", geometry.resources_per_cluster);
  }
  if (geometry.clusters_per_group == 0 || geometry.clusters_per_group % 4 != 0 ||
      geometry.clusters_per_group > kClustersPerGroupMax) {
    return CorruptError("resource header: {} clusters in a group", geometry.clusters_per_group);
  }
  if (geometry.resource_bytes != resource_bytes) {
    return CorruptError("resource header: items of {:#x} bytes, expected {:#x}",
                        geometry.resource_bytes, resource_bytes);
  }
  const uint64_t cluster_bytes =
      kClusterHeaderBytes + uint64_t{geometry.resources_per_cluster} * resource_bytes;
  if (geometry.group_bytes != geometry.clusters_per_group * cluster_bytes) {
    return CorruptError("resource header: groups of {:#x} bytes, expected {:#x}",
                        geometry.group_bytes, geometry.clusters_per_group * cluster_bytes);
  }
  if (geometry.group_offset == 0 || geometry.group_offset % kMetadataBlockBytes != 0) {
    return CorruptError("resource header: groups begin at {:#x}", geometry.group_offset);
  }
  return geometry;
}

base::Result<uint64_t> CountFree(std::span<const std::byte> headers, uint64_t first_cluster,
                                 const Geometry& geometry) {
  uint64_t free_count = 0;
  for (uint64_t i = 0; i < headers.size() / kClusterHeaderBytes; ++i) {
    const uint64_t at = i * kClusterHeaderBytes + kSectorBytes;
    const auto record = base::LoadAs<ClusterRecord>(headers, at);
    if (record.cluster != first_cluster + i ||
        record.total_count > geometry.resources_per_cluster ||
        record.free_count > record.total_count) {
      return CorruptError("cluster {}: number {}, {} items, {} free", first_cluster + i,
                          uint32_t{record.cluster}, uint32_t{record.total_count},
                          uint32_t{record.free_count});
    }
    free_count += record.free_count;
  }
  return free_count;
}

bool Descriptor::is_directory() const {
  return metadata.type() == InodeType::kDirectory || metadata.address() == kSddFd;
}

uint64_t UnitSizes::Reach(MapKind kind) const {
  switch (kind) {
    case MapKind::kInline: return kDescriptorDataBytes;
    case MapKind::kSubBlocks: return kSlotCount * sub_block_bytes;
    case MapKind::kFileBlocks: return kSlotCount * file_block_bytes;
    case MapKind::kPointerBlocks:
    case MapKind::kPb2: return uint64_t{kSlotCount} * kPointersPerBlock * file_block_bytes;
    case MapKind::kDoubleIndirect:
      return uint64_t{kSlotCount} * kPointersPerBlock * kPointersPerBlock * file_block_bytes;
  }
  return 0;
}

base::Result<Descriptor> DecodeDescriptor(std::span<const std::byte> bytes, FdAddress expected,
                                          const UnitSizes& sizes) {
  if (bytes.size() < kDescriptorBytes) {
    return CorruptError("descriptor {:#x}: only {} bytes", expected.raw(), bytes.size());
  }
  const uint32_t lock_type = base::LoadAs<Le32>(bytes);
  if (lock_type == 0) return NotRecognizedError("descriptor {:#x}: never used", expected.raw());
  if (lock_type != static_cast<uint32_t>(LockType::kFd)) {
    return CorruptError("descriptor {:#x}: lock of type {:#x}", expected.raw(), lock_type);
  }
  Descriptor descriptor;
  descriptor.metadata = base::LoadAs<InodeMetadata>(bytes, kSectorBytes);
  const InodeMetadata& metadata = descriptor.metadata;
  if (metadata.address() != expected) {
    return CorruptError("descriptor {:#x}: holds address {:#x}", expected.raw(),
                        uint32_t{metadata.fd});
  }
  if (!IsKnown(metadata.type())) {
    return CorruptError("descriptor {:#x}: type {}", expected.raw(), uint32_t{metadata.type_value});
  }
  // A raw device map has a disk's length and nothing of its own to read.
  const bool has_map = metadata.type() != InodeType::kRawDeviceMap;
  if (has_map && !IsKnown(metadata.map_kind())) {
    return CorruptError("descriptor {:#x}: map kind {:#x}", expected.raw(),
                        uint32_t{metadata.map_kind_value});
  }
  if (has_map && metadata.length_bytes > sizes.Reach(metadata.map_kind())) {
    return CorruptError("descriptor {:#x}: {:#x} bytes, map kind {:#x} reaches {:#x}",
                        expected.raw(), uint64_t{metadata.length_bytes},
                        uint32_t{metadata.map_kind_value}, sizes.Reach(metadata.map_kind()));
  }
  std::ranges::copy(bytes.subspan(kDescriptorDataOffset, kDescriptorDataBytes),
                    descriptor.data.begin());
  return descriptor;
}

base::Result<std::optional<DirectoryName>> DecodeRecord(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(DirectoryRecord)) {
    return CorruptError("directory record: only {} bytes", bytes.size());
  }
  const auto record = base::LoadAs<DirectoryRecord>(bytes);
  if (record.fd == 0) return std::optional<DirectoryName>();
  const auto end = std::ranges::find(record.name, '\0');
  DirectoryName entry;
  entry.name = std::string(record.name.begin(), end);
  entry.target = FdAddress(record.fd);
  entry.type = static_cast<InodeType>(uint32_t{record.type_value});
  if (!entry.target.is_valid()) {
    return CorruptError("directory record: address {:#x} is no descriptor's", uint32_t{record.fd});
  }
  if (!IsKnown(static_cast<InodeType>(uint32_t{record.type_value}))) {
    return CorruptError("directory record: type {}", uint32_t{record.type_value});
  }
  if (entry.name.empty() || end == record.name.end() || entry.name.find('/') != std::string::npos) {
    return CorruptError("directory record for {:#x}: no name, or one that cannot be",
                        uint32_t{record.fd});
  }
  return std::optional<DirectoryName>(std::move(entry));
}

}  // namespace vmfs::vmfs5
