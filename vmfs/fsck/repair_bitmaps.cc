// Bitmaps, counts and affinity of clusters, written from what is in use.
//
// The last stage: by now every owner is known. Where something cannot be seen, nothing is freed.
#include <algorithm>
#include <set>

#include "vmfs/fsck/repair_work.h"

namespace vmfs::fsck {
namespace {

using base::Result;
using base::Status;
using base::Task;

class BitmapRepair {
 public:
  explicit BitmapRepair(RepairWork& work)
      : work_(work),
        state_(*work.state()),
        may_free_(!IsBlind(state_.report())) {}

  Task<Status> Run() {
    NoteDescriptors();
    for (const auto& [kind, cluster] : state_.bad_clusters) {
      if (kind == ResourceKind::kLargeBlock) continue;
      const Status done = co_await RepairCluster(kind, cluster);
      if (!IsLocal(done)) co_return done;
    }
    co_return base::Ok();
  }

 private:
  // Descriptors in which nothing can be read, and generations that were never handed out.
  void NoteDescriptors() {
    for (const Finding& finding : state_.report().findings) {
      const FdAddress fd(finding.place.fd);
      if (finding.code != FindingCode::kInode || fd.is_none()) continue;
      const uint64_t index = state_.InodeIndex(fd);
      if (index >= state_.inodes.size() || index < kSystemFdCount) continue;
      state_.NoteBadCluster(ResourceKind::kFd, fd.cluster());
      if (state_.inodes[index].type == 0) dead_.insert(index);
    }
  }

  bool IsUsed(ResourceKind kind, uint64_t index) const {
    const Usage& usage = state_.usage(kind);
    if (kind == ResourceKind::kFd) {
      return state_.inodes[index].type != 0 || (usage.marked.Get(index) && !dead_.contains(index));
    }
    return usage.seen.Get(index) || (!may_free_ && usage.marked.Get(index));
  }

  FdAddress OwnerOf(ResourceKind kind, uint64_t index) const {
    const Usage& usage = state_.usage(kind);
    return usage.owners.empty() ? FdAddress() : FdAddress(usage.owners[index]);
  }

  // The key of a resource that stays in use is left alone where it is one of its owner's.
  void SetKey(const ResourceGeometry& geometry, uint64_t index, uint32_t item, bool used,
              MetadataSpan block) const {
    const FdAddress now = AffinityKey(block, geometry, item);
    if (!used) {
      SetAffinityKey(block, geometry, item, FdAddress());
    } else if (geometry.kind == ResourceKind::kFd) {
      const FdAddress parent(state_.inodes[index].parent);
      if (now.is_none() && index >= kSystemFdCount) {
        SetAffinityKey(block, geometry, item, parent);
      }
    } else if (!OwnerOf(geometry.kind, index).is_none()) {
      SetAffinityKey(block, geometry, item, OwnerOf(geometry.kind, index));
    }
  }

  void WriteAffinityList(uint64_t cluster, uint32_t used, MetadataSpan block) const {
    std::fill(block.begin() + kAffinityListOffset, block.end(), std::byte{0});
    auto metadata = base::LoadAs<ClusterMetadata>(block);
    metadata.affinity_count = 1;
    base::StoreAs(block, 0, metadata);
    uint32_t owned = 0;
    for (const OwnedBlocks& blocks : state_.owned_blocks[cluster]) {
      AddAffinity(block, FdAddress(blocks.fd), blocks.block_count);
      owned += blocks.block_count;
    }
    if (owned < used) AddAffinity(block, FdAddress(), used - owned);
  }

  Task<Status> RepairCluster(ResourceKind kind, uint64_t cluster) {
    const ResourceGeometry geometry = work_.volume().geometry(kind);
    CO_TRY(const uint64_t lock_address, work_.volume().ClusterAddress(kind, cluster));
    const uint64_t address = lock_address + kMetadataBlockBytes;
    MetadataBytes block;
    CO_TRY_STATUS(co_await work_.ReadBlock(address, block));
    CO_TRY(ClusterMetadata metadata, DecodeClusterMetadata(block, geometry, cluster));
    const uint32_t total = geometry.ResourcesIn(cluster);
    uint32_t freed = 0;
    for (uint32_t item = 0; item < geometry.resources_per_cluster; ++item) {
      const uint64_t index = cluster * geometry.resources_per_cluster + item;
      const bool used = item < total && IsUsed(kind, index);
      freed += item < total && !used && state_.usage(kind).marked.Get(index) ? 1 : 0;
      SetBitmapCode(block, geometry.bits_per_resource, item, item < total && !used ? 1 : 0);
      SetKey(geometry, index, item, used, block);
      if (kind == ResourceKind::kFd && used) {
        metadata.fd_generation =
            std::max<uint32_t>(metadata.fd_generation, state_.inodes[index].generation);
      }
    }
    metadata.free_count =
        static_cast<uint16_t>(CountFree(block, geometry.bits_per_resource, total));
    metadata.first_free = FindFree(block, geometry.bits_per_resource, 0, total).value_or(0);
    base::StoreAs(std::span<std::byte>(block), 0, metadata);
    if (kind == ResourceKind::kSmallBlock) {
      WriteAffinityList(cluster, total - metadata.free_count, block);
    }
    Report(kind, cluster, freed);
    co_return co_await work_.WriteBlock(address, block);
  }

  void Report(ResourceKind kind, uint64_t cluster, uint32_t freed) {
    RepairCounters& counters = work_.report().counters;
    (kind == ResourceKind::kFd ? counters.descriptors_freed : counters.resources_freed) += freed;
    work_.Act(FindingCode::kBitmap, "{} cluster {}: bitmap and counts written from what is in use",
              NameOf(kind), cluster);
    if (freed > 0) {
      work_.Act(FindingCode::kBlockLeaked, "{} cluster {}: {} freed that belong to nothing",
                NameOf(kind), cluster, freed);
    }
  }

  RepairWork& work_;
  State& state_;
  const bool may_free_;
  std::set<uint64_t> dead_;
};

}  // namespace

Task<Status> RepairBitmaps(RepairWork& work) {
  if (work.state() == nullptr || !work.state()->report().is_whole) co_return base::Ok();
  BitmapRepair repair(work);
  co_return co_await repair.Run();
}

}  // namespace vmfs::fsck
