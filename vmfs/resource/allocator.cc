#include "vmfs/resource/allocator.h"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "fs/base/aligned_buffer.h"
#include "fs/base/sync.h"

namespace vmfs {
namespace {

constexpr uint64_t kLoadBytesMax = 1 << 20;
constexpr uint64_t kLoadsInFlight = 8;
constexpr uint64_t kWordBits = 64;

}  // namespace

Reservation::~Reservation() {
  if (allocator_) allocator_->Cancel(*this);
}

Allocator::Allocator(base::Executor& executor, const ResourceGeometry& geometry, SystemFile& file,
                     MetadataCache& cache, LockManager* locks, Journal* journal)
    : geometry_(geometry),
      file_(file),
      cache_(cache),
      locks_(locks),
      journal_(journal),
      executor_(executor) {
  CHECK(geometry.resources_per_cluster <= kResourcesPerClusterMax);
  clusters_.resize(geometry.cluster_count());
  unknown_count_ = clusters_.size();
  candidates_.assign((clusters_.size() + kWordBits - 1) / kWordBits, ~uint64_t{0});
}

base::Task<base::Status> Allocator::LoadCounts() {
  base::Status outcome;
  base::TaskGroup group(executor_);
  const uint64_t end = clusters_.size();  // clusters added meanwhile are known
  for (uint64_t cluster = 0; cluster < end && outcome && !stops_loading_;) {
    const base::Result<HeaderRun> run = NextRun(cluster);
    if (!run) {
      outcome = run.error();
      break;
    }
    co_await group.WaitUntilAtMost(kLoadsInFlight - 1);
    group.Add(LoadRun(&*run, outcome));
    cluster += run->count;
  }
  co_await group.Join();
  co_return outcome;
}

// The headers from `cluster` on that lie adjacent in the file and on the volume.
base::Result<Allocator::HeaderRun> Allocator::NextRun(uint64_t cluster) const {
  const uint64_t offset = geometry_.LockOffset(cluster);
  uint64_t count = 1;
  while (cluster + count < clusters_.size() && (count + 1) * kClusterHeaderBytes <= kLoadBytesMax &&
         geometry_.LockOffset(cluster + count) == offset + count * kClusterHeaderBytes) {
    ++count;
  }
  const uint64_t bytes = file_.AdjacentBytes(offset, count * kClusterHeaderBytes);
  TRY(const uint64_t address, file_.AddressOf(offset));
  return HeaderRun{cluster, bytes / kClusterHeaderBytes, address};
}

// Notes the counts of clusters that nobody has opened by then: an opened one may be ahead of what
// lies on the device.
base::Task<void> Allocator::LoadRun(const HeaderRun* source, base::Status& outcome) {
  const HeaderRun run = *source;
  base::AlignedBuffer buffer(run.count * kClusterHeaderBytes);
  const base::IoVec piece = buffer.piece();
  const base::IoRequest request{run.address, std::span(&piece, 1)};
  const base::Status read = co_await cache_.volume().Read(request);
  if (!read) {
    if (outcome) outcome = read;
    co_return;
  }
  for (uint64_t i = 0; i < run.count; ++i) {
    const uint64_t cluster = run.first_cluster + i;
    if (clusters_[cluster].free_count != kUnknownCount) continue;
    const ConstMetadataSpan block(buffer.data() + i * kClusterHeaderBytes + kMetadataBlockBytes,
                                  kMetadataBlockBytes);
    const auto metadata = DecodeClusterMetadata(block, geometry_, cluster);
    if (!metadata) {
      if (outcome) outcome = metadata.error();
      co_return;
    }
    NoteCount(cluster, metadata->free_count);
  }
}

void Allocator::NoteCount(uint64_t cluster, uint32_t free_count) {
  if (clusters_[cluster].free_count != kUnknownCount) return;
  clusters_[cluster].free_count = static_cast<uint16_t>(free_count);
  free_count_ += free_count;
  --unknown_count_;
  NoteCandidate(cluster);
}

// To be called whenever the counts of a cluster have changed.
void Allocator::NoteCandidate(uint64_t cluster) {
  const uint64_t bit = uint64_t{1} << (cluster % kWordBits);
  const bool has_free = clusters_[cluster].free_count > clusters_[cluster].held_count;
  uint64_t& word = candidates_[cluster / kWordBits];
  word = has_free ? word | bit : word & ~bit;
}

// The first cluster from `from` on, going round, that has or may have a free item.
std::optional<uint64_t> Allocator::NextCandidate(uint64_t from) const {
  if (clusters_.empty()) return std::nullopt;
  if (from >= clusters_.size()) from = 0;
  const uint64_t first_word = from / kWordBits;
  for (uint64_t i = 0; i <= candidates_.size(); ++i) {
    const uint64_t number = (first_word + i) % candidates_.size();
    uint64_t word = candidates_[number];
    if (i == 0) word &= ~uint64_t{0} << (from % kWordBits);
    if (word == 0) continue;
    const uint64_t cluster = number * kWordBits + static_cast<uint64_t>(std::countr_zero(word));
    if (cluster < clusters_.size()) return cluster;
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
  NoteCount(cluster, metadata->free_count);
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
      // Full as one finds only now, or taken while the cluster was being opened; or its count is
      // wrong, and then it is not asked again.
      Cluster& cluster = clusters_[*candidate];
      if (cluster.free_count > cluster.held_count) {
        free_count_ -= cluster.free_count - cluster.held_count;
        cluster.free_count = cluster.held_count;
      }
      NoteCandidate(*candidate);
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
  NoteCandidate(index.cluster);
}

void Allocator::Unhold(ResourceIndex index) {
  Cluster& cluster = clusters_[index.cluster];
  CHECK(cluster.held && cluster.held->test(index.item));
  cluster.held->reset(index.item);
  --held_count_;
  if (--cluster.held_count == 0) cluster.held.reset();
  NoteCandidate(index.cluster);
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
  NoteCandidate(index.cluster);
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

// New items of a cluster, which may be new itself. One that was never looked at tells them later.
void Allocator::AddToCount(uint64_t cluster, uint32_t new_count) {
  if (cluster >= clusters_.size()) {
    clusters_.resize(cluster + 1);
    clusters_[cluster].free_count = 0;
    candidates_.resize(cluster / kWordBits + 1, 0);
  } else if (clusters_[cluster].free_count == kUnknownCount) {
    return;
  }
  clusters_[cluster].free_count = static_cast<uint16_t>(clusters_[cluster].free_count + new_count);
  free_count_ += new_count;
  NoteCandidate(cluster);
}

std::vector<ResourceIndex> Allocator::FreeFrom(const Reservation& reservation,
                                               uint32_t count_max) const {
  std::vector<ResourceIndex> found{reservation.index()};
  const ClusterHandle& handle = reservation.handle_;
  const uint32_t end = geometry_.ResourcesIn(handle.cluster);
  const HeldBits* held = clusters_[handle.cluster].held.get();
  for (uint32_t item = reservation.index().item + 1; item < end && found.size() < count_max;
       ++item) {
    const bool is_free = IsFree(handle.header->bytes(), geometry_.bits_per_resource, item);
    if (!is_free || (held && held->test(item))) break;
    found.push_back({handle.cluster, item});
  }
  return found;
}

void Allocator::SetResourceCount(uint64_t resource_count) {
  CHECK(resource_count >= geometry_.resource_count);
  for (uint64_t i = geometry_.resource_count; i < resource_count;) {
    const uint64_t cluster = i / geometry_.resources_per_cluster;
    const uint64_t end = std::min((cluster + 1) * geometry_.resources_per_cluster, resource_count);
    AddToCount(cluster, static_cast<uint32_t>(end - i));
    i = end;
  }
  geometry_.resource_count = resource_count;
}

}  // namespace vmfs
