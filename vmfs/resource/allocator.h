// `Allocator`: hands out and takes back the items of one resource file: file blocks, sub-blocks,
// descriptors, pointer blocks of system files, journal blocks.
//
// In three steps, so that nothing half done is ever committed: `Reserve` finds an item and holds it
// in memory (loads the cluster, takes its on-disk lock); `Apply`, within a transaction, marks it
// used; a reservation that is dropped lets go. Freed items stay held until the journal says that
// they may be used again. Thread rule: the volume's executor.
#pragma once

#include <bitset>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/format/address.h"
#include "vmfs/format/resource.h"
#include "vmfs/journal/journal.h"
#include "vmfs/journal/metadata_cache.h"
#include "vmfs/journal/transaction.h"
#include "vmfs/lock/lock_manager.h"
#include "vmfs/resource/system_file.h"

namespace vmfs {

class Allocator;

// A cluster header that is loaded and, on a writable volume, locked.
struct ClusterHandle {
  uint64_t cluster = 0;
  uint64_t lock_address = 0;
  BlockRef header;
  HeldLock lock;
};

// An item held for its owner, not yet marked on disk. Movable; letting go of it frees the item.
class Reservation {
 public:
  Reservation() = default;

  Reservation(Reservation&& other) noexcept
      : allocator_(std::exchange(other.allocator_, nullptr)),
        index_(other.index_),
        handle_(std::move(other.handle_)) {}

  Reservation& operator=(Reservation&& other) noexcept {
    std::swap(allocator_, other.allocator_);
    std::swap(index_, other.index_);
    std::swap(handle_, other.handle_);
    return *this;
  }

  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;
  ~Reservation();

  explicit operator bool() const { return allocator_ != nullptr; }

  const ResourceIndex& index() const { return index_; }

 private:
  friend class Allocator;
  Allocator* allocator_ = nullptr;
  ResourceIndex index_;
  ClusterHandle handle_;
};

class Allocator {
 public:
  // Borrows everything. `locks` and `journal` are null on a read-only volume.
  Allocator(base::Executor& executor, const ResourceGeometry& geometry, SystemFile& file,
            MetadataCache& cache, LockManager* locks, Journal* journal);
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  // Reads how much every cluster has free, in large reads. Until it has come to a cluster, the
  // cluster's own header says so when the cluster is opened; so this may go on in the background.
  // Ends early after `StopLoading`. Errors: kCorrupt, the device's.
  base::Task<base::Status> LoadCounts();

  void StopLoading() { stops_loading_ = true; }

  // Whether the counts below are those of all clusters, and not only of the ones looked at so far.
  bool counts_known() const { return unknown_count_ == 0; }

  // Holds one free item, at `hint` or as near behind it as there is one.
  // Errors: kNoSpace, kLockHeld, those of the device.
  base::Task<base::Result<Reservation>> Reserve(ResourceIndex hint);

  // The reserved item and the free ones that follow it in its cluster, at most `count_max` in all.
  std::vector<ResourceIndex> FreeFrom(const Reservation& reservation, uint32_t count_max) const;

  // Marks the reserved item used, for `owner`; the reservation is spent.
  void Apply(Transaction& transaction, Reservation& reservation, FdAddress owner, uint32_t now_s);

  // For descriptors: the next generation of the reserved item's cluster; part of the transaction.
  uint32_t NextGeneration(Transaction& transaction, const Reservation& reservation);

  // Loads and locks a cluster, for freeing. Errors: kCorrupt for a cluster that does not exist.
  base::Task<base::Result<ClusterHandle>> Open(uint64_t cluster);

  // Whether the item is marked used; kCorrupt otherwise: freeing it would free it twice.
  base::Status CheckUsed(const ClusterHandle& handle, ResourceIndex index) const;

  // Marks the item free; it stays held until `Return`. The caller has checked that it is used.
  void Free(Transaction& transaction, const ClusterHandle& handle, ResourceIndex index,
            FdAddress owner);

  // A freed item may be used again.
  void Return(ResourceIndex index) { Unhold(index); }

  // Volume address of an item's first byte. Errors: kCorrupt.
  base::Result<uint64_t> AddressOf(ResourceIndex index) const;

  // Free items: marked free and not promised to anybody. Freed ones count from the start. A lower
  // bound until the counts are known.
  uint64_t free_count() const { return free_count_ - reserved_count_; }

  // Items that are free but still held, because the journal could bring back what they were.
  uint64_t pending_count() const { return held_count_ - reserved_count_; }

  uint64_t resource_count() const { return geometry_.resource_count; }

  const ResourceGeometry& geometry() const { return geometry_; }

  SystemFile& file() { return file_; }

  // After the resource file has grown: the clusters from the old count on are new or larger.
  void SetResourceCount(uint64_t resource_count);

 private:
  friend class Reservation;
  static constexpr uint32_t kResourcesPerClusterMax = 512;
  using HeldBits = std::bitset<kResourcesPerClusterMax>;

  struct Cluster {
    uint16_t free_count = kUnknownCount;  // as marked on disk
    uint16_t held_count = 0;              // of those, held in memory
    std::unique_ptr<HeldBits> held;
  };

  static constexpr uint16_t kUnknownCount = UINT16_MAX;

  // Headers that lie adjacent on the volume, to be read at once.
  struct HeaderRun {
    uint64_t first_cluster = 0;
    uint64_t count = 0;
    uint64_t address = 0;
  };

  base::Result<HeaderRun> NextRun(uint64_t cluster) const;
  base::Task<void> LoadRun(const HeaderRun* source, base::Status& outcome);
  void NoteCount(uint64_t cluster, uint32_t free_count);
  void NoteCandidate(uint64_t cluster);
  void AddToCount(uint64_t cluster, uint32_t new_count);
  std::optional<uint64_t> NextCandidate(uint64_t from) const;
  std::optional<uint32_t> FindItem(const ClusterHandle& handle, uint32_t from) const;
  void Hold(ResourceIndex index);
  void Unhold(ResourceIndex index);
  void Cancel(Reservation& reservation);

  ResourceGeometry geometry_;
  SystemFile& file_;
  MetadataCache& cache_;
  LockManager* locks_;
  Journal* journal_;
  base::Executor& executor_;
  std::vector<Cluster> clusters_;
  std::vector<uint64_t> candidates_;  // one bit per cluster: it has, or may have, a free item
  uint64_t unknown_count_ = 0;        // clusters not looked at yet
  bool stops_loading_ = false;
  uint64_t free_count_ = 0;      // marked free on disk
  uint64_t held_count_ = 0;      // of those, held in memory: reserved or pending
  uint64_t reserved_count_ = 0;  // of those, reserved
};

}  // namespace vmfs
