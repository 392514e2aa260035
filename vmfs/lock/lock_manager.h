// `LockManager`: the on-disk locks this host holds on a volume, taken by compare-and-write.
//
// A lock excludes hosts, not tasks of this host: any number of `HeldLock`s of one lock may exist
// here, and ordering between them is the business of in-memory locks. A lock that nobody uses stays
// ours on disk; beyond 1,024 such idle locks the oldest are given back in batches, each after all
// metadata they cover is home and flushed (vmfs/FORMAT.md, Locks). Thread rule: the volume's
// executor. Place: above the heartbeat, below allocators, inodes and directories.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/sync.h"
#include "fs/base/task.h"
#include "vmfs/format/lock_block.h"
#include "vmfs/lock/heartbeat.h"
#include "vmfs/lock/sector.h"

namespace vmfs {

class LockManager;

// What must happen before a lock may be given back to other hosts.
class ReleaseBarrier {
 public:
  virtual ~ReleaseBarrier() = default;

  // Commits and writes home everything modified under any lock so far, and flushes. An error keeps
  // the locks. Must not acquire locks.
  virtual base::Task<base::Status> MakeHome() = 0;
};

// One lock as this host knows it. Owned by the manager.
struct LockEntry {
  enum class State : uint8_t {
    kHeld,        // ours on disk
    kTaking,      // being taken or created; others wait
    kGivingBack,  // chosen for a batch; a new user takes it out again
    kReleasing,   // being freed on disk; others wait, then take it anew
    kUnanswered,  // the device failed an exchange: ours or not, the next user finds out
  };

  uint64_t address = 0;
  uint64_t token = 0;  // version of the lock block; grows with each change of the lock
  State state = State::kTaking;
  bool unanswered = false;  // an exchange was sent and not answered with success
  bool is_fresh = false;    // made by `PrepareLocked` and not used since
  uint32_t use_count = 0;
  SectorImage image;                         // as it lies on the volume, while held
  std::list<LockEntry*>::iterator position;  // in the manager's list of idle or of other locks
};

// One use of a held lock. Ends with the object; the lock itself stays cached. Movable.
class [[nodiscard]] HeldLock {
 public:
  HeldLock() = default;

  HeldLock(HeldLock&& other) noexcept
      : manager_(std::exchange(other.manager_, nullptr)),
        entry_(std::exchange(other.entry_, nullptr)) {}

  HeldLock& operator=(HeldLock&& other) noexcept {
    if (this != &other) {
      Reset();
      manager_ = std::exchange(other.manager_, nullptr);
      entry_ = std::exchange(other.entry_, nullptr);
    }
    return *this;
  }

  HeldLock(const HeldLock&) = delete;
  HeldLock& operator=(const HeldLock&) = delete;

  ~HeldLock() { Reset(); }

  explicit operator bool() const { return entry_ != nullptr; }

  uint64_t address() const { return entry_->address; }

  uint64_t token() const { return entry_->token; }

  inline void Reset();

 private:
  friend class LockManager;

  HeldLock(LockManager& manager, LockEntry& entry) : manager_(&manager), entry_(&entry) {}

  LockManager* manager_ = nullptr;
  LockEntry* entry_ = nullptr;
};

// Deliberate faults for tests of the tests: each must be caught by the simulation.
struct LockFaults {
  bool break_without_asking = false;  // takes held locks without looking at the holder's heartbeat
  bool release_without_barrier = false;
};

struct LockManagerOptions {
  size_t idle_locks_max = 1024;
  size_t give_back_count = 512;  // so many below the maximum, to share one barrier among many locks
  size_t exchanges_in_flight = 32;
  LockFaults faults;
};

class LockManager {
 public:
  LockManager(base::Executor& executor, base::BlockDevice& volume, Heartbeat& heartbeat,
              ReleaseBarrier& barrier, LockManagerOptions options = {});
  LockManager(const LockManager&) = delete;
  LockManager& operator=(const LockManager&) = delete;
  // No lock is in use and no batch runs: after ReleaseAll or Abandon.
  ~LockManager();

  class AcquireAwaiter;

  // Takes the exclusive lock whose lock block lies at volume address `lock_address`, or adds a use
  // if it is ours already. `CO_TRY(HeldLock lock, co_await locks.Acquire(address));` makes no
  // coroutine frame when the lock is cached. A lock whose holder's heartbeat has gone on without it
  // (freed, or a newer generation) is broken. Errors: kLockHeld naming the holder, kCorrupt when
  // there is no lock block, kFenced, those of the device.
  inline AcquireAwaiter Acquire(uint64_t lock_address);

  // Adds a use if the lock is cached; else an empty HeldLock. Never waits.
  HeldLock TryUse(uint64_t lock_address) {
    const auto found = entries_.find(lock_address);
    if (found == entries_.end() || heartbeat_.fenced()) return {};
    LockEntry& entry = found->second;
    if (entry.state != LockEntry::State::kHeld && entry.state != LockEntry::State::kGivingBack) {
      return {};
    }
    return Use(entry);
  }

  // The token of a lock that is in use or cached: what the journal records with each image. A lock
  // we do not hold fails a CHECK.
  uint64_t TokenOf(uint64_t lock_address) const;

  // Writes a lock block of `lock_type` at home that is ours from the start (no exchange needed,
  // since the item it belongs to is not reachable yet), token one above what the old bytes there
  // carry. Durable with the next flush of the device; flush before committing what makes it
  // reachable. Works whether or not the lock is cached. Errors: kLockHeld when a live host holds
  // the old lock, kCorrupt when the place holds something else than zeros or a lock block, kFenced,
  // the device's.
  base::Task<base::Result<HeldLock>> CreateLocked(uint64_t lock_address, LockType lock_type);

  // Makes lock blocks that `CreateLocked` will probably be asked for soon, side by side; it then
  // answers without I/O. Those that are cached are left alone, and so is what fails: CreateLocked
  // will say why. Durable as above. The caller keeps others from creating the same locks.
  base::Task<void> PrepareLocked(std::span<const uint64_t> lock_addresses, LockType lock_type);

  // Gives an exclusive lock back now, unless it is in use. Errors: as ReleaseAll, but kBusy.
  base::Task<base::Status> GiveBackIdle(uint64_t lock_address);

  // Lists this host among the readers of a lock (mode 2) until as many `LeaveReaders`. Hosts that
  // are listed read side by side, and none can take the lock for itself. An exclusive lock of ours
  // covers reading: it is made a reader's once it is given back, which is now if nobody uses it; a
  // reader that modifies takes the lock alone if no other host reads. Dead readers are taken off
  // the list. Errors: kLockHeld naming the host that holds it in another mode, kNoSpace with 8
  // readers, kCorrupt, kFenced, the device's.
  base::Task<base::Status> JoinReaders(uint64_t lock_address);
  // Errors: kCorrupt, kFenced, the device's; this host may then stay listed until its heartbeat
  // ends.
  base::Task<base::Status> LeaveReaders(uint64_t lock_address);

  // Gives every lock back after one barrier; for unmount. Errors: kBusy when a lock is in use
  // (after all others were given back), the barrier's, the device's, kFenced.
  base::Task<base::Status> ReleaseAll();

  // Forgets every lock without touching the volume, as after fencing or when the device is lost.
  // Ends the heartbeat's pulse first: a batch that waits for the lease would wait for ever. No lock
  // is in use.
  base::Task<void> Abandon();

  size_t cached_count() const { return entries_.size(); }

  size_t idle_count() const { return idle_.size(); }

  class AcquireAwaiter {
   public:
    AcquireAwaiter(LockManager& manager, uint64_t address) : manager_(manager), address_(address) {}

    bool await_ready() {
      cached_ = manager_.TryUse(address_);
      return static_cast<bool>(cached_);
    }

    bool await_suspend(std::coroutine_handle<> parent) {
      task_.emplace(manager_.AcquireSlow(address_));
      return task_->operator co_await().await_suspend(parent);
    }

    base::Result<HeldLock> await_resume() {
      if (cached_) return std::move(cached_);
      return task_->TakeValue();
    }

   private:
    LockManager& manager_;
    const uint64_t address_;
    HeldLock cached_;
    std::optional<base::Task<base::Result<HeldLock>>> task_;
  };

 private:
  friend class HeldLock;

  HeldLock Use(LockEntry& entry) {
    entry.is_fresh = false;
    if (entry.use_count++ == 0) LeaveIdle(entry);
    return HeldLock(*this, entry);
  }

  void Unuse(LockEntry& entry) {
    if (--entry.use_count == 0) BecomeIdle(entry);
  }

  void LeaveIdle(LockEntry& entry);
  void BecomeIdle(LockEntry& entry);
  void Erase(LockEntry& entry);
  LockHolder Ourselves() const;

  // Taking, in `lock_manager.cc`.
  base::Task<base::Result<HeldLock>> AcquireSlow(uint64_t lock_address);
  base::Task<base::Result<LockEntry*>> Enter(uint64_t lock_address);
  HeldLock LeaveHeld(LockEntry& entry);
  void LeaveFailed(LockEntry& entry);
  base::Task<base::Status> Take(LockEntry& entry);
  base::Task<base::Result<bool>> TryTake(LockEntry& entry);
  base::Task<base::Status> CheckStale(LockBlock& lock);
  base::Task<base::Status> CheckHolderGone(LockHolder holder, uint64_t lock_address);
  base::Task<base::Result<bool>> Exchange(LockEntry& entry, SectorImage& seen, SectorImage& next);
  void NoteTaken(LockEntry& entry, SectorImage image);
  base::Task<base::Status> WriteBornLocked(LockEntry& entry, LockType lock_type, bool was_held);
  base::Task<void> PrepareOne(uint64_t lock_address, LockType lock_type);

  // Reading along, in `lock_readers.cc`.
  base::Task<base::Status> ListOurselves(uint64_t lock_address);
  base::Task<base::Status> UnlistOurselves(uint64_t lock_address);
  base::Task<base::Status> DropDeadHolders(LockBlock& lock);
  base::Task<base::Result<bool>> ExchangeList(const SectorImage* seen, const LockBlock* lock);
  base::Task<void> WaitForExchange(uint64_t lock_address);

  // Giving back, in `lock_release.cc`.
  base::Task<void> TrimInBackground();
  base::Task<base::Status> GiveBack(size_t count);
  base::Task<base::Status> FreeAll(std::vector<uint64_t>& addresses);
  base::Task<void> Free(LockEntry* entry, base::Status& outcome);
  base::Task<base::Status> FreeOnDisk(LockEntry& entry);

  base::Executor& executor_;
  base::BlockDevice& volume_;
  Heartbeat& heartbeat_;
  ReleaseBarrier& barrier_;
  const LockManagerOptions options_;

  std::unordered_map<uint64_t, LockEntry> entries_;
  std::list<LockEntry*> idle_;    // unused, least recently used first
  std::list<LockEntry*> others_;  // used or changing
  base::AsyncCondition changed_;  // an exchange has ended
  base::AsyncLock batch_lock_;    // one batch at a time
  std::map<uint64_t, uint32_t> readers_;  // locks this host reads under, with the number of uses
  base::AsyncLock readers_lock_;          // one change of a reader's lock at a time
  bool trimming_ = false;         // a background batch is under way or scheduled
  uint64_t trim_after_us_ = 0;    // not before: the last one failed
  base::TaskGroup background_;
};

inline LockManager::AcquireAwaiter LockManager::Acquire(uint64_t lock_address) {
  return AcquireAwaiter(*this, lock_address);
}

inline void HeldLock::Reset() {
  if (entry_) std::exchange(manager_, nullptr)->Unuse(*std::exchange(entry_, nullptr));
}

}  // namespace vmfs
