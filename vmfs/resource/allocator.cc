#include "vmfs/resource/allocator.h"

#include <algorithm>

#include <fmt/format.h>

namespace vmfs {
namespace {

constexpr uint64_t kLoadBytesMax = 1 << 20;

}  // namespace

Reservation::~Reservation() {
  if (allocator_) allocator_->Cancel(*this);
}

Allocator::Allocator(const ResourceGeometry& geometry, SystemFile& file, MetadataCache& cache,
                     LockManager* locks, Journal* journal)
    : geometry_(geometry), file_(file), cache_(cache), locks_(locks), journal_(journal) {
  CHECK(geometry.resources_per_cluster <= kResourcesPerClusterMax);
  clusters_.resize(geometry.cluster_count());
}

base::Task<base::Status> Allocator::LoadCounts() {
  std::vector<std::byte> buffer(kLoadBytesMax);
  for (uint64_t cluster = 0; cluster < clusters_.size();) {
    const uint64_t offset = geometry_.LockOffset(cluster);
    uint64_t count = 1;
    while (cluster + count < clusters_.size() &&
           (count + 1) * kClusterHeaderBytes <= kLoadBytesMax &&
           geometry_.LockOffset(cluster + count) == offset + count * kClusterHeaderBytes) {
      ++count;
    }
    const uint64_t bytes = file_.AdjacentBytes(offset, count * kClusterHeaderBytes);
    count = bytes / kClusterHeaderBytes;
    CO_TRY(const uint64_t address, file_.AddressOf(offset));
    const base::IoVec piece{buffer.data(), count * kClusterHeaderBytes};
    const base::IoRequest request{address, std::span(&piece, 1)};
    CO_TRY_STATUS(co_await cache_.volume().Read(request));
    for (uint64_t i = 0; i < count; ++i) {
      const ConstMetadataSpan block(buffer.data() + i * kClusterHeaderBytes + kMetadataBlockBytes,
                                    kMetadataBlockBytes);
      CO_TRY(const ClusterMetadata metadata, DecodeClusterMetadata(block, geometry_, cluster + i));
      clusters_[cluster + i].free_count = metadata.free_count;
      free_count_ += metadata.free_count;
    }
    cluster += count;
  }
  co_return base::Ok();
}

std::optional<uint64_t> Allocator::NextCandidate(uint64_t from) const {
  if (from >= clusters_.size()) from = 0;
  for (uint64_t i = 0; i < clusters_.size(); ++i) {
    const uint64_t cluster = (from + i) % clusters_.size();
    if (clusters_[cluster].free_count > clusters_[cluster].held_count) return cluster;
  }
  return std::nullopt;
}

// The first free item at or behind `from` that nobody holds, going round once.
std::optional<uint32_t> Allocator::FindItem(const ClusterHandle& handle, uint32_t from) const {
  const uint32_t count = geometry_.ResourcesIn(handle.cluster);
  const Cluster& cluster = clusters_[handle.cluster];
  const ConstMetadataSpan bytes = handle.header->bytes();
  for (int round = 0; round < 2; ++round) {
    uint32_t at = round == 0 ? from : 0;
    while (at < count) {
      const std::optional<uint32_t> found = FindFree(bytes, geometry_.bits_per_resource, at, count);
      if (!found) break;
      if (!cluster.held || !cluster.held->test(*found)) return found;
      at = *found + 1;
    }
  }
  return std::nullopt;
}

base::Task<base::Result<ClusterHandle>> Allocator::Open(uint64_t cluster) {
  if (cluster >= clusters_.size()) {
    co_return base::Error(base::Code::kCorrupt,
                          fmt::format("open {} cluster {}: there are {}", NameOf(geometry_.kind),
                                      cluster, clusters_.size()));
  }
  ClusterHandle handle;
  handle.cluster = cluster;
  CO_TRY(handle.lock_address, file_.AddressOf(geometry_.LockOffset(cluster)));
  if (locks_) {
    CO_TRY(handle.lock, co_await locks_->Acquire(handle.lock_address));
  }
  CO_TRY(handle.header, co_await cache_.Get(handle.lock_address + kMetadataBlockBytes));
  const auto metadata = DecodeClusterMetadata(handle.header->bytes(), geometry_, cluster);
  if (!metadata) co_return metadata.error();
  co_return handle;
}

base::Task<base::Result<Reservation>> Allocator::Reserve(ResourceIndex hint) {
  for (uint64_t start = hint.cluster;;) {
    const std::optional<uint64_t> candidate = NextCandidate(start);
    if (!candidate) co_return base::Code::kNoSpace;
    CO_TRY(ClusterHandle handle, co_await Open(*candidate));
    const uint32_t from = *candidate == hint.cluster ? hint.item : 0;
    const std::optional<uint32_t> item = FindItem(handle, from);
    if (!item) {
      // Somebody took the last one while the cluster was being opened, or its count is wrong.
      clusters_[*candidate].free_count = clusters_[*candidate].held_count;
      continue;
    }
    Reservation reservation;
    reservation.allocator_ = this;
    reservation.index_ = {*candidate, *item};
    reservation.handle_ = std::move(handle);
    Hold(reservation.index_);
    ++reserved_count_;
    co_return reservation;
  }
}

void Allocator::Hold(ResourceIndex index) {
  Cluster& cluster = clusters_[index.cluster];
  if (!cluster.held) cluster.held = std::make_unique<HeldBits>();
  CHECK(!cluster.held->test(index.item));
  cluster.held->set(index.item);
  ++cluster.held_count;
  ++held_count_;
}

void Allocator::Unhold(ResourceIndex index) {
  Cluster& cluster = clusters_[index.cluster];
  CHECK(cluster.held && cluster.held->test(index.item));
  cluster.held->reset(index.item);
  --held_count_;
  if (--cluster.held_count == 0) cluster.held.reset();
}

void Allocator::Cancel(Reservation& reservation) {
  Unhold(reservation.index_);
  --reserved_count_;
  reservation.allocator_ = nullptr;
}

void Allocator::Apply(Transaction& transaction, Reservation& reservation, FdAddress owner,
                      uint32_t now_s) {
  CHECK(reservation.allocator_ == this);
  const ResourceIndex index = reservation.index_;
  const ClusterHandle& handle = reservation.handle_;
  const MetadataSpan block = transaction.Modify(*handle.header, handle.lock_address);
  MarkResource(block, geometry_.bits_per_resource, index.item, /*is_free=*/false);
  if (geometry_.kind == ResourceKind::kSmallBlock) {
    AddAffinity(block, owner, 1);
  } else {
    SetAffinityKey(block, geometry_, index.item, owner);
  }
  auto metadata = base::LoadAs<ClusterMetadata>(block);
  metadata.allocation_count = metadata.allocation_count + 1;
  metadata.allocated_at_s = now_s;
  base::StoreAs(std::span<std::byte>(block), 0, metadata);
  Cancel(reservation);
  --clusters_[index.cluster].free_count;
  --free_count_;
}

uint32_t Allocator::NextGeneration(Transaction& transaction, const Reservation& reservation) {
  const ClusterHandle& handle = reservation.handle_;
  const MetadataSpan block = transaction.Modify(*handle.header, handle.lock_address);
  auto metadata = base::LoadAs<ClusterMetadata>(block);
  metadata.fd_generation = metadata.fd_generation + 1;
  base::StoreAs(std::span<std::byte>(block), 0, metadata);
  return metadata.fd_generation;
}

base::Status Allocator::CheckUsed(const ClusterHandle& handle, ResourceIndex index) const {
  if (!geometry_.Contains(index) || handle.cluster != index.cluster) {
    return base::Error(base::Code::kCorrupt,
                       fmt::format("free {} {}/{}: no such item", NameOf(geometry_.kind),
                                   index.cluster, index.item));
  }
  if (IsFree(handle.header->bytes(), geometry_.bits_per_resource, index.item)) {
    return base::Error(base::Code::kCorrupt,
                       fmt::format("free {} {}/{}: it is marked free already",
                                   NameOf(geometry_.kind), index.cluster, index.item));
  }
  return base::Ok();
}

void Allocator::Free(Transaction& transaction, const ClusterHandle& handle, ResourceIndex index,
                     FdAddress owner) {
  const MetadataSpan block = transaction.Modify(*handle.header, handle.lock_address);
  MarkResource(block, geometry_.bits_per_resource, index.item, /*is_free=*/true);
  if (geometry_.kind == ResourceKind::kSmallBlock) {
    TakeAffinity(block, owner, 1);
  } else {
    SetAffinityKey(block, geometry_, index.item, FdAddress());
  }
  ++clusters_[index.cluster].free_count;
  ++free_count_;
  Hold(index);
  journal_->AddFreed(
      {static_cast<uint8_t>(geometry_.kind), static_cast<uint32_t>(index.cluster), index.item});
}

base::Result<uint64_t> Allocator::AddressOf(ResourceIndex index) const {
  if (!geometry_.Contains(index)) {
    return base::Error(
        base::Code::kCorrupt,
        fmt::format("{} {}/{}: no such item", NameOf(geometry_.kind), index.cluster, index.item));
  }
  if (geometry_.kind == ResourceKind::kSmallBlock) {
    return (index.cluster * kSmallBlocksPerCluster + index.item) * kFileBlockBytes;
  }
  return file_.AddressOf(geometry_.ItemOffset(index));
}

void Allocator::SetResourceCount(uint64_t resource_count) {
  CHECK(resource_count >= geometry_.resource_count);
  for (uint64_t i = geometry_.resource_count; i < resource_count;) {
    const uint64_t cluster = i / geometry_.resources_per_cluster;
    const uint64_t end = std::min((cluster + 1) * geometry_.resources_per_cluster, resource_count);
    if (cluster >= clusters_.size()) clusters_.resize(cluster + 1);
    clusters_[cluster].free_count =
        static_cast<uint16_t>(clusters_[cluster].free_count + (end - i));
    free_count_ += end - i;
    i = end;
  }
  geometry_.resource_count = resource_count;
}

}  // namespace vmfs
