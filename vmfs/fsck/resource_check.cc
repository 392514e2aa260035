// Clusters of every resource file: locks, counts, bitmaps, affinity.
#include <algorithm>
#include <set>

#include "vmfs/cluster_reader.h"
#include "vmfs/fsck/state.h"

namespace vmfs::fsck {
namespace {

using base::Status;
using base::Task;

void CheckResourceHeader(State& state, ResourceKind kind) {
  const ResourceGeometry& geometry = state.volume().geometry(kind);
  const FdAddress fd = SystemFileOf(kind);
  const InodeMetadata& inode = state.volume().system_file(fd).inode;
  // The small blocks' length is their parent's.
  if (kind == ResourceKind::kSmallBlock) {
    const uint64_t blocks = state.volume().block_count();
    const uint64_t large = state.volume().geometry(ResourceKind::kLargeBlock).resource_count;
    if (geometry.resource_count != blocks || geometry.cluster_count() != large) {
      state.Error(PlaceOf(fd), FindingCode::kSystemFile,
                  ".fbb.sf: {} small and {} large blocks, the volume has {} blocks",
                  geometry.resource_count, large, blocks);
    }
    return;
  }
  if (inode.length_bytes != geometry.FileLengthBytes()) {
    state.Error(PlaceOf(fd), FindingCode::kSystemFile, "{} file: length {}, by its header {}",
                NameOf(kind), uint64_t{inode.length_bytes}, geometry.FileLengthBytes());
  }
}

void CheckAffinityList(State& state, uint64_t cluster, const ClusterMetadata& metadata,
                       ConstMetadataSpan block) {
  const FindingPlace place = PlaceOf(ResourceKind::kSmallBlock, cluster);
  std::set<uint32_t> owners;
  uint64_t sum = 0;
  const uint32_t count = std::max<uint32_t>(metadata.affinity_count, 1);
  for (uint32_t i = 0; i < kAffinityEntriesMax; ++i) {
    const AffinityEntry entry = GetAffinityEntry(block, i);
    sum += entry.block_count;
    if (i >= count && (entry.fd != 0 || entry.block_count != 0)) {
      state.NoteBadCluster(ResourceKind::kSmallBlock, cluster);
      state.Warning(place, FindingCode::kAffinity,
                    "small-block cluster {}: affinity entry {} is used, the list has {}", cluster,
                    i, count);
    }
    if (i == 0 || i >= count) continue;
    state.affinity_lists[cluster].push_back({entry.fd, entry.block_count});
    if (!FdAddress(entry.fd).is_valid() || !owners.insert(entry.fd).second) {
      state.NoteBadCluster(ResourceKind::kSmallBlock, cluster);
      state.Warning(place, FindingCode::kAffinity,
                    "small-block cluster {}: affinity entry {} names {}", cluster, i,
                    FdAddress(entry.fd).ToString());
    }
  }
  const uint64_t used = uint64_t{metadata.total_count} - metadata.free_count;
  if (sum != used) {
    state.NoteBadCluster(ResourceKind::kSmallBlock, cluster);
    state.Warning(place, FindingCode::kAffinity,
                  "small-block cluster {}: affinity counts add up to {}, {} blocks are used",
                  cluster, sum, used);
  }
}

void CheckLargeBlockCodes(State& state, const ResourceGeometry& geometry, uint64_t cluster,
                          ConstMetadataSpan block) {
  for (uint32_t item = 0; item < geometry.resources_per_cluster; ++item) {
    const bool exists = item < geometry.ResourcesIn(cluster);
    const uint8_t expected = exists ? kLargeBlockBrokenUp : uint8_t{0};
    const uint8_t code = BitmapCode(block, geometry.bits_per_resource, item);
    if (code == expected || !state.report().is_ours) continue;
    state.NoteBadCluster(ResourceKind::kLargeBlock, cluster);
    state.Error(PlaceOf(ResourceKind::kLargeBlock, cluster), FindingCode::kBitmap,
                "large-block cluster {}: item {} has code {}, expected {}", cluster, item, code,
                expected);
  }
}

// Takes the bitmap over into memory; answers the number of free resources in it.
uint32_t TakeBitmap(State& state, const ResourceGeometry& geometry, uint64_t cluster,
                    ConstMetadataSpan block) {
  Usage& usage = state.usage(geometry.kind);
  const uint32_t bits = geometry.bits_per_resource;
  const uint32_t total = geometry.ResourcesIn(cluster);
  const uint64_t first = cluster * geometry.resources_per_cluster;
  uint32_t free_count = 0;
  bool has_odd_code = false;
  bool has_padding = false;
  for (uint32_t item = 0; item < geometry.resources_per_cluster; ++item) {
    const uint8_t code = BitmapCode(block, bits, item);
    has_padding = has_padding || (item >= total && code != 0);
    if (item >= total) continue;
    has_odd_code = has_odd_code || code > 1;
    if ((code & 1) != 0) {
      ++free_count;
    } else {
      usage.marked.Set(first + item);
      if (!usage.keys.empty()) {
        usage.keys[first + item] = AffinityKey(block, geometry, item).raw();
      }
    }
  }
  // The second bit of foreign small blocks belongs to unmap tracking.
  if (has_padding || (has_odd_code && state.report().is_ours)) {
    state.NoteBadCluster(geometry.kind, cluster);
    state.Warning(PlaceOf(geometry.kind, cluster), FindingCode::kBitmap, "{} cluster {}: {}",
                  NameOf(geometry.kind), cluster,
                  has_padding ? "codes behind the last item are not zero" : "codes over 1");
  }
  return free_count;
}

// Ours names the first free resource exactly, and 0 when there is none; of others it is a hint.
void CheckFirstFree(State& state, const ResourceGeometry& geometry, uint64_t cluster,
                    const ClusterMetadata& metadata, ConstMetadataSpan block) {
  if (!state.report().is_ours) return;
  const uint32_t first = FindFree(block, geometry.bits_per_resource, 0,
                                  geometry.ResourcesIn(cluster)).value_or(0);
  if (metadata.first_free == first) return;
  state.NoteBadCluster(geometry.kind, cluster);
  state.Warning(PlaceOf(geometry.kind, cluster), FindingCode::kFreeCount,
                "{} cluster {}: its first free resource is said to be {}, it is {}",
                NameOf(geometry.kind), cluster, uint32_t{metadata.first_free}, first);
}

void CheckCluster(State& state, const ResourceGeometry& geometry, uint64_t cluster,
                  uint64_t address, std::span<const std::byte> bytes) {
  state.CheckLock(bytes, address, ClusterLockType(geometry.kind));
  const auto block = bytes.subspan(kMetadataBlockBytes).first<kMetadataBlockBytes>();
  const auto metadata = DecodeClusterMetadata(block, geometry, cluster);
  if (!metadata) {
    state.Error(PlaceOf(geometry.kind, cluster), FindingCode::kCluster, "{}",
                metadata.error().message());
    return;
  }
  if (geometry.kind == ResourceKind::kLargeBlock) {
    CheckLargeBlockCodes(state, geometry, cluster, block);
    return;
  }
  if (geometry.kind == ResourceKind::kFd) {
    state.last_generations[cluster] = metadata->fd_generation;
  }
  const uint32_t free_count = TakeBitmap(state, geometry, cluster, block);
  if (free_count != metadata->free_count) {
    state.NoteBadCluster(geometry.kind, cluster);
    state.Error(PlaceOf(geometry.kind, cluster), FindingCode::kFreeCount,
                "{} cluster {}: {} free, {} by its bitmap", NameOf(geometry.kind), cluster,
                uint16_t{metadata->free_count}, free_count);
  }
  CheckFirstFree(state, geometry, cluster, *metadata, block);
  if (geometry.kind == ResourceKind::kSmallBlock) {
    CheckAffinityList(state, cluster, *metadata, block);
  }
}

Task<Status> CheckKind(State& state, ResourceKind kind) {
  CheckResourceHeader(state, kind);
  const ResourceGeometry& geometry = state.volume().geometry(kind);
  ClusterReader reader(state.volume());
  for (uint64_t cluster = 0; cluster < geometry.cluster_count(); ++cluster) {
    if (cluster % 64 == 0) {
      CO_TRY_STATUS(state.Progress(NameOf(kind), cluster, geometry.cluster_count()));
    }
    const auto header = co_await reader.Read(kind, cluster);
    if (header) {
      CheckCluster(state, geometry, cluster, header->address, header->bytes);
    } else {
      const bool is_damage = header.error().code() == base::Code::kCorrupt;
      state.Error(PlaceOf(kind, cluster),
                  is_damage ? FindingCode::kSystemFile : FindingCode::kUnreadable,
                  "{} cluster {}: {}", NameOf(kind), cluster, header.error().message());
    }
  }
  co_return base::Ok();
}

}  // namespace

Task<Status> CheckResources(State& state) {
  for (const ResourceKind kind : {ResourceKind::kFd, ResourceKind::kSubBlock, ResourceKind::kPb2,
                                  ResourceKind::kJournal, ResourceKind::kSmallBlock}) {
    const ResourceGeometry& geometry = state.volume().geometry(kind);
    // Whole clusters: an address of an item past the end is out of range before it is looked up.
    const uint64_t count = geometry.cluster_count() * geometry.resources_per_cluster;
    state.usage(kind).marked.Resize(count);
    state.usage(kind).seen.Resize(count);
  }
  state.inodes.resize(state.fds.marked.count());
  state.last_generations.resize(state.volume().geometry(ResourceKind::kFd).cluster_count());
  for (Usage* usage : {&state.sub_blocks, &state.pb2}) {
    usage->keys.resize(usage->marked.count());
    usage->owners.resize(usage->marked.count());
  }
  const uint64_t clusters =
      state.volume().geometry(ResourceKind::kSmallBlock).cluster_count();
  state.owned_blocks.resize(clusters);
  state.affinity_lists.resize(clusters);
  for (const ResourceKind kind :
       {ResourceKind::kFd, ResourceKind::kSubBlock, ResourceKind::kPb2, ResourceKind::kJournal,
        ResourceKind::kLargeBlock, ResourceKind::kSmallBlock}) {
    CO_TRY_STATUS(co_await CheckKind(state, kind));
  }
  co_return base::Ok();
}

}  // namespace vmfs::fsck
