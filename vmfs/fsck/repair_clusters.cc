// Cluster headers that cannot be, locks of every kind, and descriptors that are marked free.
//
// A header is written only where there is evidence that one belongs: the place is one of those that
// mkfs laid out, or the half of it that is not damaged says so. A wrong block map must never make
// somebody's data a cluster header.
#include <algorithm>
#include <vector>

#include "vmfs/fsck/repair_work.h"

namespace vmfs::fsck {
namespace {

using base::Result;
using base::Status;
using base::Task;

// Blocks that mkfs filled belong to system files for ever.
bool IsPlannedPlace(RepairWork& work, uint64_t address) {
  const Result<const VolumeLayout*> layout = work.FreshLayout();
  return layout && address / kFileBlockBytes < (*layout)->used_block_count;
}

// Descriptors of the cluster that are alive by their own bytes.
Task<Result<std::vector<uint32_t>>> FindAlive(RepairWork& work, uint64_t cluster,
                                              uint32_t* generation_max) {
  std::vector<uint32_t> alive;
  MetadataBytes block;
  for (uint32_t item = 0; item < work.volume().geometry(ResourceKind::kFd).ResourcesIn(cluster);
       ++item) {
    const FdAddress fd = FdAddress::Make(static_cast<uint32_t>(cluster), item);
    CO_TRY_STATUS(co_await work.volume().ReadInodeBlock(fd, block));
    const Result<InodeMetadata> inode = DecodeInode(block, fd);
    if (!inode) continue;
    *generation_max = std::max<uint32_t>(*generation_max, inode->generation);
    if (inode->link_count > 0) alive.push_back(item);
  }
  co_return alive;
}

// A header of which nothing can be believed: everything free, but the descriptors that are alive.
// The last stage marks what is in use of other kinds.
Task<Status> EncodeAnew(RepairWork& work, const ResourceGeometry* geometry, uint64_t cluster,
                        MetadataBytes& block) {
  EncodeNewCluster(*geometry, cluster, block);
  if (geometry->kind != ResourceKind::kFd) co_return base::Ok();
  uint32_t generation = 0;
  CO_TRY(const std::vector<uint32_t> alive, co_await FindAlive(work, cluster, &generation));
  for (const uint32_t item : alive) {
    MarkResource(block, geometry->bits_per_resource, item, /*is_free=*/false);
  }
  auto metadata = base::LoadAs<ClusterMetadata>(block);
  metadata.fd_generation = generation;
  base::StoreAs(std::span<std::byte>(block), 0, metadata);
  co_return base::Ok();
}

void FixFields(const ResourceGeometry& geometry, uint64_t cluster, MetadataSpan block) {
  MetadataBytes fresh;
  EncodeNewCluster(geometry, cluster, fresh);
  const auto made = base::LoadAs<ClusterMetadata>(fresh);
  auto metadata = base::LoadAs<ClusterMetadata>(block);
  metadata.signature = kClusterSignature;
  metadata.cluster = cluster;
  metadata.total_count = uint16_t{made.total_count};
  metadata.free_count =
      std::min<uint16_t>(uint16_t{metadata.free_count}, uint16_t{made.total_count});
  metadata.kind_value = uint16_t{made.kind_value};
  metadata.one_0x30 = 1;
  if (metadata.affinity_count > kAffinityEntriesMax) metadata.affinity_count = 1;
  base::StoreAs(block, 0, metadata);
}

Task<Status> RepairCluster(RepairWork& work, ResourceKind kind, uint64_t cluster) {
  const ResourceGeometry geometry = work.volume().geometry(kind);
  if (cluster >= geometry.cluster_count()) co_return base::Ok();
  CO_TRY(const uint64_t address, work.volume().ClusterAddress(kind, cluster));
  MetadataBytes lock, block;
  CO_TRY_STATUS(co_await work.ReadBlock(address, lock));
  CO_TRY_STATUS(co_await work.ReadBlock(address + kMetadataBlockBytes, block));
  const auto metadata = base::LoadAs<ClusterMetadata>(block);
  const bool is_locked = DecodeLockBlock(lock, address, ClusterLockType(kind)).has_value();
  const bool has_name = metadata.signature == kClusterSignature;
  const bool has_number = metadata.cluster == cluster;
  if (!is_locked && !(has_name && has_number) && !IsPlannedPlace(work, address)) {
    co_return base::Ok();
  }
  if (has_name || has_number) {
    FixFields(geometry, cluster, block);
  } else {
    CO_TRY_STATUS(co_await EncodeAnew(work, &geometry, cluster, block));
  }
  work.Act(FindingCode::kCluster, "{} cluster {}: {}", NameOf(kind), cluster,
           has_name || has_number ? "fields set right" : "written anew");
  co_return co_await work.WriteBlock(address + kMetadataBlockBytes, block);
}

// A lock that nobody holds; its token goes on, so that no journal takes it for an older one.
Task<Status> RepairLock(RepairWork& work, uint64_t address, LockType type) {
  MetadataBytes lock, behind;
  CO_TRY_STATUS(co_await work.ReadBlock(address, lock));
  CO_TRY_STATUS(co_await work.ReadBlock(address + kMetadataBlockBytes, behind));
  const bool is_descriptor =
      type == LockType::kFd && base::LoadAs<InodeMetadata>(behind).signature == kInodeSignature;
  const bool is_cluster = type != LockType::kFd &&
                          base::LoadAs<ClusterMetadata>(behind).signature == kClusterSignature;
  if (!is_descriptor && !is_cluster && !IsPlannedPlace(work, address)) co_return base::Ok();
  constexpr uint64_t kTokenMax = uint64_t{1} << 62;
  const auto old = base::LoadAs<LockBlock>(lock);
  LockBlock fresh = MakeFreeLock(type, address);
  fresh.token = old.token < kTokenMax ? old.token + 1 : kTokenMax;
  lock.fill(std::byte{0});
  base::StoreAs(std::span<std::byte>(lock), 0, fresh);
  work.Act(FindingCode::kLock, "lock {:#x}: written anew, free", address);
  co_return co_await work.WriteBlock(address, lock);
}

Task<Status> RepairLargeBlocks(RepairWork& work, uint64_t cluster) {
  const ResourceGeometry geometry = work.volume().geometry(ResourceKind::kLargeBlock);
  CO_TRY(const uint64_t address, work.volume().ClusterAddress(ResourceKind::kLargeBlock, cluster));
  MetadataBytes block;
  CO_TRY_STATUS(co_await work.ReadBlock(address + kMetadataBlockBytes, block));
  for (uint32_t item = 0; item < geometry.resources_per_cluster; ++item) {
    const bool exists = item < geometry.ResourcesIn(cluster);
    SetBitmapCode(block, geometry.bits_per_resource, item,
                  exists ? kLargeBlockBrokenUp : uint8_t{0});
  }
  work.Act(FindingCode::kBitmap, "large-block cluster {}: codes set right", cluster);
  co_return co_await work.WriteBlock(address + kMetadataBlockBytes, block);
}

Task<Status> RepairOne(RepairWork& work, const Finding* finding) {
  const FindingPlace place = finding->place;
  const auto kind = static_cast<ResourceKind>(place.resource - 1);
  if (finding->code == FindingCode::kLock && place.address != 0) {
    co_return co_await RepairLock(work, place.address,
                                  static_cast<LockType>(static_cast<uint32_t>(place.number)));
  }
  if (finding->code == FindingCode::kCluster && place.resource != 0) {
    co_return co_await RepairCluster(work, kind, place.number);
  }
  if (finding->code == FindingCode::kBitmap && place.resource != 0 &&
      kind == ResourceKind::kLargeBlock) {
    co_return co_await RepairLargeBlocks(work, place.number);
  }
  co_return base::Ok();
}

}  // namespace

Task<Status> RepairClusters(RepairWork& work) {
  if (work.state() == nullptr) co_return base::Ok();
  for (const Finding& finding : work.state()->report().findings) {
    const Status done = co_await RepairOne(work, &finding);
    if (!IsLocal(done)) co_return done;
  }
  co_return base::Ok();
}

Task<Status> RepairMarks(RepairWork& work) {
  if (work.state() == nullptr || !work.state()->report().is_whole) co_return base::Ok();
  const ResourceGeometry geometry = work.volume().geometry(ResourceKind::kFd);
  std::vector<FdAddress> fds = work.state()->unmarked_fds;
  std::ranges::sort(fds);
  fds.erase(std::unique(fds.begin(), fds.end()), fds.end());
  MetadataBytes block;
  for (const FdAddress fd : fds) {
    CO_TRY(const uint64_t address, work.volume().ClusterAddress(ResourceKind::kFd, fd.cluster()));
    CO_TRY_STATUS(co_await work.ReadBlock(address + kMetadataBlockBytes, block));
    SetFree(block, geometry.bits_per_resource, fd.item(), /*is_free=*/false);
    CO_TRY_STATUS(co_await work.WriteBlock(address + kMetadataBlockBytes, block));
    work.Act(FindingCode::kBlockNotMarked, "{}: marked used", fd.ToString());
  }
  co_return base::Ok();
}

}  // namespace vmfs::fsck
