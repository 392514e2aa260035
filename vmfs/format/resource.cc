#include "vmfs/format/resource.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "fs/base/check.h"
#include "vmfs/format/corrupt.h"

namespace vmfs {
namespace {

// What differs between the kinds, as ESXi writes it (vmfs/FORMAT.md, "Resource files").
struct KindInfo {
  const char* name;
  LockType lock_type;
  FdAddress system_file;
  uint32_t resources_per_cluster;
  uint32_t clusters_per_group;
  uint32_t resource_bytes;
  uint32_t bits_per_resource;
  uint32_t flags;
  uint16_t affinity_per_cluster;
  uint16_t affinity_per_resource;
};

constexpr KindInfo kKinds[] = {
    {"fd", LockType::kFdCluster, kFdcFd, 256, 8, 0x2000, 1, 0x04, 256, 1},
    {"sub-block", LockType::kSubBlockCluster, kSbcFd, 256, 8, 0x10000, 1, 0x04, 256, 1},
    {"pb2", LockType::kPb2Cluster, kPb2Fd, 32, 8, 0x10000, 1, 0x04, 32, 1},
    {"journal", LockType::kJournalCluster, kJbcFd, 8, 4, 0x200000, 1, 0x00, 8, 1},
    {"large-block", LockType::kLargeBlockCluster, kFbbFd, 16, 8, 0x2000, 3, 0x35, 0x348, 0x34},
    {"small-block", LockType::kSmallBlockCluster, kFbbFd, 512, 8, 0, 2, 0x2a, 0xd8, 1},
    {"pointer-block", LockType::kPointerBlockCluster, kPbcFd, 0, 8, 0x10000, 1, 0x04, 0, 1},
};

const KindInfo& InfoOf(ResourceKind kind) { return kKinds[static_cast<size_t>(kind)]; }

constexpr uint32_t kBitmapOffset = sizeof(ClusterMetadata);
constexpr uint32_t kLargeBlockValuesOffset = 0xe0;  // 8 bytes per large block, 0xff in samples
constexpr uint16_t kSmallBlockKindValue = 0x100;
constexpr uint16_t kLargeBlockKindValue = 7;

// Where the affinity keys begin; 0: the kind has none.
uint32_t AffinityKeysOffset(const ResourceGeometry& geometry) {
  if (geometry.kind == ResourceKind::kPb2) return 0x2e0;
  const bool has_keys =
      geometry.kind == ResourceKind::kFd || geometry.kind == ResourceKind::kSubBlock;
  return has_keys ? 0x8e0 : 0;
}

// The "free" bits of eight bytes of the bitmap.
uint64_t FreeBits(ConstMetadataSpan block, uint32_t bits_per_resource, uint32_t word) {
  const uint64_t bits = base::LoadAs<Le64>(block, kBitmapOffset + 8 * size_t{word});
  return bits_per_resource == 1 ? bits : bits & 0x5555555555555555;
}

// Bits of word `word` that belong to the first `resource_count` resources, from `from` on.
uint64_t WordMask(uint32_t bits_per_resource, uint32_t word, uint32_t from,
                  uint32_t resource_count) {
  const uint64_t begin = uint64_t{word} * 64;
  const auto mask_below = [begin](uint64_t bit) {
    if (bit <= begin) return uint64_t{0};
    return bit - begin >= 64 ? ~uint64_t{0} : (uint64_t{1} << (bit - begin)) - 1;
  };
  return mask_below(uint64_t{resource_count} * bits_per_resource) &
         ~mask_below(uint64_t{from} * bits_per_resource);
}

base::Status CheckHeaderSums(const ResourceHeader& header, ResourceKind kind) {
  const ResourceGeometry geometry = GeometryOf(header, kind);
  const uint64_t groups = geometry.group_count();
  if (header.group_count != groups) {
    return CorruptError("{} header: {} groups, {} by its counts", NameOf(kind),
                        uint32_t{header.group_count}, groups);
  }
  if (header.group_bytes != geometry.group_bytes()) {
    return CorruptError("{} header: groups of {:#x} bytes, {:#x} by its counts", NameOf(kind),
                        uint32_t{header.group_bytes}, geometry.group_bytes());
  }
  return base::Ok();
}

void SetEntry(MetadataSpan block, uint32_t entry, AffinityEntry value) {
  base::StoreAs(block, kAffinityListOffset + entry * sizeof(AffinityEntry), value);
}

uint32_t EntryCount(ConstMetadataSpan block) {
  const uint32_t count = base::LoadAs<ClusterMetadata>(block).affinity_count;
  return std::clamp(count, uint32_t{1}, kAffinityEntriesMax);
}

void SetEntryCount(MetadataSpan block, uint32_t count) {
  auto metadata = base::LoadAs<ClusterMetadata>(block);
  metadata.affinity_count = static_cast<uint16_t>(count);
  base::StoreAs(block, 0, metadata);
}

// The owner's entry; 0 (nobody's) when it has none.
uint32_t FindEntry(ConstMetadataSpan block, FdAddress owner) {
  const uint32_t count = EntryCount(block);
  for (uint32_t entry = 1; entry < count; ++entry) {
    if (GetAffinityEntry(block, entry).fd == owner.raw()) return entry;
  }
  return 0;
}

uint32_t TakeFromEntry(MetadataSpan block, uint32_t entry, uint32_t block_count) {
  AffinityEntry value = GetAffinityEntry(block, entry);
  const uint32_t taken = std::min<uint32_t>(value.block_count, block_count);
  value.block_count = value.block_count - taken;
  SetEntry(block, entry, value);
  return taken;
}

void RemoveEntry(MetadataSpan block, uint32_t entry) {
  const uint32_t last = EntryCount(block) - 1;
  SetEntry(block, entry, GetAffinityEntry(block, last));
  SetEntry(block, last, AffinityEntry{});
  SetEntryCount(block, last);
}

}  // namespace

const char* NameOf(ResourceKind kind) { return InfoOf(kind).name; }
LockType ClusterLockType(ResourceKind kind) { return InfoOf(kind).lock_type; }
FdAddress SystemFileOf(ResourceKind kind) { return InfoOf(kind).system_file; }

uint32_t ResourceGeometry::ResourcesIn(uint64_t cluster) const {
  const uint64_t before = cluster * resources_per_cluster;
  if (before >= resource_count) return 0;
  return static_cast<uint32_t>(
      std::min<uint64_t>(resources_per_cluster, resource_count - before));
}

uint64_t ResourceGeometry::LockOffset(uint64_t cluster) const {
  if (kind == ResourceKind::kSmallBlock) {
    const uint64_t parent_group = uint64_t{parent_clusters_per_group} * kClusterHeaderBytes *
                                  (1 + uint64_t{parent_resources_per_cluster});
    const uint64_t parents_per_group =
        uint64_t{parent_clusters_per_group} * parent_resources_per_cluster;
    return kResourceGroupOffset + cluster / parents_per_group * parent_group +
           uint64_t{parent_clusters_per_group} * kClusterHeaderBytes +
           cluster % parents_per_group * kClusterHeaderBytes;
  }
  return kResourceGroupOffset + cluster / clusters_per_group * group_bytes() +
         cluster % clusters_per_group * kClusterHeaderBytes;
}

uint64_t ResourceGeometry::ItemOffset(uint64_t cluster, uint32_t item) const {
  CHECK(kind != ResourceKind::kSmallBlock);
  const uint64_t item_in_group = cluster % clusters_per_group * resources_per_cluster + item;
  return kResourceGroupOffset + cluster / clusters_per_group * group_bytes() +
         uint64_t{clusters_per_group} * kClusterHeaderBytes + item_in_group * resource_bytes;
}

uint64_t ResourceGeometry::FileLengthBytes() const {
  if (resource_count == 0) return kResourceGroupOffset;
  const uint64_t last = resource_count - 1;
  return ItemOffset(last / resources_per_cluster,
                    static_cast<uint32_t>(last % resources_per_cluster)) +
         resource_bytes;
}

ResourceGeometry StandardGeometry(ResourceKind kind, uint64_t resource_count) {
  const KindInfo& info = InfoOf(kind);
  ResourceGeometry geometry;
  geometry.kind = kind;
  geometry.resources_per_cluster = info.resources_per_cluster;
  geometry.clusters_per_group = info.clusters_per_group;
  geometry.resource_bytes = info.resource_bytes;
  geometry.bits_per_resource = info.bits_per_resource;
  geometry.resource_count = resource_count;
  if (kind == ResourceKind::kSmallBlock) {
    const KindInfo& parent = InfoOf(ResourceKind::kLargeBlock);
    geometry.parent_resources_per_cluster = parent.resources_per_cluster;
    geometry.parent_clusters_per_group = parent.clusters_per_group;
  }
  return geometry;
}

ResourceHeader MakeResourceHeader(const ResourceGeometry& geometry) {
  const KindInfo& info = InfoOf(geometry.kind);
  ResourceHeader header;
  header.resources_per_cluster = geometry.resources_per_cluster;
  header.clusters_per_group = geometry.clusters_per_group;
  header.group_offset = kResourceGroupOffset;
  header.resource_bytes = geometry.resource_bytes;
  header.group_bytes = static_cast<uint32_t>(geometry.group_bytes());
  header.set_resource_count(geometry.resource_count);
  header.group_count = static_cast<uint32_t>(geometry.group_count());
  header.signature = kResourceSignature;
  header.version = 1;
  header.flags = info.flags;
  header.affinity_per_cluster = info.affinity_per_cluster;
  header.affinity_per_resource = info.affinity_per_resource;
  header.bits_per_resource = geometry.bits_per_resource;
  if (geometry.kind == ResourceKind::kLargeBlock) header.child_offset = kChildHeaderOffset;
  if (geometry.kind == ResourceKind::kSmallBlock) {
    const ResourceGeometry parent =
        StandardGeometry(ResourceKind::kLargeBlock, geometry.cluster_count());
    header.parent_resources_per_cluster = parent.resources_per_cluster;
    header.parent_clusters_per_group = parent.clusters_per_group;
    header.parent_group_bytes = static_cast<uint32_t>(parent.group_bytes());
    header.parents_broken_up = static_cast<uint32_t>(geometry.cluster_count());
  }
  return header;
}

base::Result<ResourceHeader> DecodeResourceHeader(std::span<const std::byte> bytes,
                                                  ResourceKind kind) {
  const KindInfo& info = InfoOf(kind);
  if (bytes.size() < sizeof(ResourceHeader)) {
    return NotRecognizedError("{} header: only {} bytes", info.name, bytes.size());
  }
  const auto header = base::LoadAs<ResourceHeader>(bytes);
  if (header.signature != kResourceSignature) {
    return NotRecognizedError("{} header: signature {:#x}, expected {:#x}", info.name,
                              uint32_t{header.signature}, kResourceSignature);
  }
  struct Row {
    const char* name;
    uint64_t found, expected;
  };
  const Row rows[] = {
      {"version", header.version, 1},
      {"resources per cluster", header.resources_per_cluster, info.resources_per_cluster},
      {"clusters per group", header.clusters_per_group, info.clusters_per_group},
      {"offset of group 0", header.group_offset, kResourceGroupOffset},
      {"resource size", header.resource_bytes, info.resource_bytes},
      {"bits per resource", header.bits_per_resource, info.bits_per_resource},
      {"child header offset", header.child_offset,
       kind == ResourceKind::kLargeBlock ? kChildHeaderOffset : 0},
  };
  for (const Row& row : rows) {
    if (row.found != row.expected) {
      return CorruptError("{} header: {} is {:#x}, expected {:#x}", info.name, row.name, row.found,
                          row.expected);
    }
  }
  const uint64_t count_max = kVolumeBytesMax / kMebibyte;
  if (header.resource_count() > count_max) {
    return CorruptError("{} header: {} resources, at most {} can exist", info.name,
                        header.resource_count(), count_max);
  }
  TRY_STATUS(CheckHeaderSums(header, kind));
  return header;
}

ResourceGeometry GeometryOf(const ResourceHeader& header, ResourceKind kind) {
  ResourceGeometry geometry = StandardGeometry(kind, header.resource_count());
  geometry.resources_per_cluster = header.resources_per_cluster;
  geometry.clusters_per_group = header.clusters_per_group;
  geometry.resource_bytes = header.resource_bytes;
  geometry.bits_per_resource = header.bits_per_resource;
  return geometry;
}

base::Result<ClusterMetadata> DecodeClusterMetadata(ConstMetadataSpan block,
                                                    const ResourceGeometry& geometry,
                                                    uint64_t expected_cluster) {
  const auto metadata = base::LoadAs<ClusterMetadata>(block);
  const char* name = NameOf(geometry.kind);
  if (metadata.signature != kClusterSignature) {
    return CorruptError("{} cluster {}: signature {:#x}, expected {:#x}", name, expected_cluster,
                        uint32_t{metadata.signature}, kClusterSignature);
  }
  if (metadata.cluster != expected_cluster) {
    return CorruptError("{} cluster {}: says it is {}", name, expected_cluster,
                        uint64_t{metadata.cluster});
  }
  const uint32_t expected_total = geometry.ResourcesIn(expected_cluster);
  if (metadata.total_count != expected_total) {
    return CorruptError("{} cluster {}: {} resources, expected {}", name, expected_cluster,
                        uint16_t{metadata.total_count}, expected_total);
  }
  if (metadata.free_count > metadata.total_count) {
    return CorruptError("{} cluster {}: {} resources free of {}", name, expected_cluster,
                        uint16_t{metadata.free_count}, uint16_t{metadata.total_count});
  }
  if (geometry.kind == ResourceKind::kSmallBlock && metadata.affinity_count > kAffinityEntriesMax) {
    return CorruptError("{} cluster {}: {} affinity entries, at most {} fit", name,
                        expected_cluster, uint16_t{metadata.affinity_count}, kAffinityEntriesMax);
  }
  return metadata;
}

void EncodeNewCluster(const ResourceGeometry& geometry, uint64_t cluster, MetadataSpan block) {
  std::memset(block.data(), 0, block.size());
  const uint32_t total = geometry.ResourcesIn(cluster);
  const bool is_large = geometry.kind == ResourceKind::kLargeBlock;
  ClusterMetadata metadata;
  metadata.signature = kClusterSignature;
  metadata.cluster = cluster;
  metadata.total_count = static_cast<uint16_t>(total);
  metadata.free_count = static_cast<uint16_t>(is_large ? 0 : total);
  metadata.one_0x30 = 1;
  if (is_large) metadata.kind_value = kLargeBlockKindValue;
  if (geometry.kind == ResourceKind::kSmallBlock) {
    metadata.kind_value = kSmallBlockKindValue;
    metadata.affinity_count = 1;
  }
  base::StoreAs(block, 0, metadata);
  for (uint32_t item = 0; item < total; ++item) {
    SetBitmapCode(block, geometry.bits_per_resource, item, is_large ? kLargeBlockBrokenUp : 1);
    if (is_large) base::StoreAs(block, kLargeBlockValuesOffset + 8 * item, Le64(0xff));
  }
}

uint8_t BitmapCode(ConstMetadataSpan block, uint32_t bits_per_resource, uint32_t item) {
  uint32_t code = 0;
  for (uint32_t i = 0; i < bits_per_resource; ++i) {
    const uint32_t bit = item * bits_per_resource + i;
    const auto byte = std::to_integer<uint32_t>(block[kBitmapOffset + bit / 8]);
    code |= (byte >> (bit % 8) & 1) << i;
  }
  return static_cast<uint8_t>(code);
}

void SetBitmapCode(MetadataSpan block, uint32_t bits_per_resource, uint32_t item, uint8_t code) {
  for (uint32_t i = 0; i < bits_per_resource; ++i) {
    const uint32_t bit = item * bits_per_resource + i;
    std::byte& byte = block[kBitmapOffset + bit / 8];
    const auto mask = std::byte{1} << static_cast<int>(bit % 8);
    byte = (code >> i & 1) != 0 ? byte | mask : byte & ~mask;
  }
}

bool IsFree(ConstMetadataSpan block, uint32_t bits_per_resource, uint32_t item) {
  return (BitmapCode(block, bits_per_resource, item) & 1) != 0;
}

void SetFree(MetadataSpan block, uint32_t bits_per_resource, uint32_t item, bool is_free) {
  SetBitmapCode(block, bits_per_resource, item, is_free ? 1 : 0);
}

uint32_t CountFree(ConstMetadataSpan block, uint32_t bits_per_resource, uint32_t resource_count) {
  CHECK(bits_per_resource == 1 || bits_per_resource == 2);
  uint32_t count = 0;
  for (uint32_t word = 0; word * 64 < resource_count * bits_per_resource; ++word) {
    count += static_cast<uint32_t>(std::popcount(FreeBits(block, bits_per_resource, word) &
                                                 WordMask(bits_per_resource, word, 0,
                                                          resource_count)));
  }
  return count;
}

std::optional<uint32_t> FindFree(ConstMetadataSpan block, uint32_t bits_per_resource, uint32_t from,
                                 uint32_t resource_count) {
  CHECK(bits_per_resource == 1 || bits_per_resource == 2);
  uint32_t word = from * bits_per_resource / 64;
  for (; word * 64 < resource_count * bits_per_resource; ++word) {
    const uint64_t bits = FreeBits(block, bits_per_resource, word) &
                          WordMask(bits_per_resource, word, from, resource_count);
    if (bits == 0) continue;
    return (word * 64 + static_cast<uint32_t>(std::countr_zero(bits))) / bits_per_resource;
  }
  return std::nullopt;
}

void MarkResource(MetadataSpan block, uint32_t bits_per_resource, uint32_t item, bool is_free) {
  auto metadata = base::LoadAs<ClusterMetadata>(block);
  CHECK(item < metadata.total_count && IsFree(block, bits_per_resource, item) != is_free);
  const bool had_free = metadata.free_count > 0;
  SetFree(block, bits_per_resource, item, is_free);
  // Counted anew: what a damaged cluster says of itself is not believed.
  metadata.free_count =
      static_cast<uint16_t>(CountFree(block, bits_per_resource, metadata.total_count));
  if (is_free) {
    metadata.first_free = had_free ? std::min<uint32_t>(metadata.first_free, item) : item;
  } else if (metadata.first_free == item) {
    metadata.first_free =
        FindFree(block, bits_per_resource, item, metadata.total_count).value_or(0);
  }
  base::StoreAs(block, 0, metadata);
}

FdAddress AffinityKey(ConstMetadataSpan block, const ResourceGeometry& geometry, uint32_t item) {
  const uint32_t offset = AffinityKeysOffset(geometry);
  if (offset == 0) return FdAddress();
  CHECK(item < geometry.resources_per_cluster);
  return FdAddress(base::LoadAs<Le32>(block, offset + 4 * item));
}

void SetAffinityKey(MetadataSpan block, const ResourceGeometry& geometry, uint32_t item,
                    FdAddress key) {
  const uint32_t offset = AffinityKeysOffset(geometry);
  if (offset == 0) return;
  CHECK(item < geometry.resources_per_cluster);
  base::StoreAs(block, offset + 4 * item, Le32(key.raw()));
}

AffinityEntry GetAffinityEntry(ConstMetadataSpan block, uint32_t entry) {
  CHECK(entry < kAffinityEntriesMax);
  return base::LoadAs<AffinityEntry>(block, kAffinityListOffset + entry * sizeof(AffinityEntry));
}

void AddAffinity(MetadataSpan block, FdAddress owner, uint32_t block_count) {
  uint32_t entry = owner.is_none() ? 0 : FindEntry(block, owner);
  const uint32_t count = EntryCount(block);
  if (entry == 0 && !owner.is_none() && count < kAffinityEntriesMax) {
    entry = count;
    SetEntryCount(block, count + 1);
    SetEntry(block, entry, AffinityEntry{owner.raw(), uint32_t{0}});
  }
  AffinityEntry value = GetAffinityEntry(block, entry);
  value.block_count = value.block_count + block_count;
  SetEntry(block, entry, value);
}

void TakeAffinity(MetadataSpan block, FdAddress owner, uint32_t block_count) {
  const uint32_t entry = owner.is_none() ? 0 : FindEntry(block, owner);
  uint32_t taken = 0;
  if (entry != 0) {
    taken = TakeFromEntry(block, entry, block_count);
    if (GetAffinityEntry(block, entry).block_count == 0) RemoveEntry(block, entry);
  }
  TakeFromEntry(block, 0, block_count - taken);
}

}  // namespace vmfs
