// Giving locks back: after one barrier for many locks, several exchanges at a time.

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "fs/base/check.h"
#include "fs/base/log.h"
#include "fs/base/on_disk.h"
#include "vmfs/lock/lock_manager.h"
#include "vmfs/lock/lock_modes.h"

namespace vmfs {
namespace {

constexpr uint64_t kTrimPauseMicroseconds = 5'000'000;
constexpr int kFreeAttemptsMax = 3;

using State = LockEntry::State;

}  // namespace

base::Task<base::Status> LockManager::ReleaseAll() {
  base::Status outcome;
  co_await batch_lock_.Acquire();
  base::LockGuard guard(batch_lock_);
  // The barrier may finish operations, which leave further idle locks behind.
  while (outcome && !idle_.empty()) outcome = co_await GiveBack(idle_.size());
  guard.Release();
  co_await background_.Join();
  if (!outcome) co_return outcome;
  if (others_.empty()) co_return base::Ok();
  co_return base::Error(base::Code::kBusy,
                        fmt::format("release all locks of {}: {} are in use, the first at {:#x}",
                                    volume_.name(), others_.size(), others_.front()->address));
}

base::Task<void> LockManager::Abandon() {
  co_await heartbeat_.Stop();
  co_await background_.Join();
  for (const auto& [address, entry] : entries_) CHECK(entry.use_count == 0);
  idle_.clear();
  others_.clear();
  entries_.clear();
}

// Not begun where it is asked for: that is the end of some operation's scope.
base::Task<void> LockManager::TrimInBackground() {
  co_await executor_.Yield();
  co_await batch_lock_.Acquire();
  base::LockGuard guard(batch_lock_);
  while (idle_.size() > options_.idle_locks_max) {
    const size_t excess = idle_.size() - options_.idle_locks_max;
    const base::Status given = co_await GiveBack(excess + options_.give_back_count);
    if (given) continue;
    base::LogWarn("vmfs", "idle locks kept: {}", given.error().message());
    trim_after_us_ = executor_.NowMicroseconds() + kTrimPauseMicroseconds;
    break;
  }
  trimming_ = false;
}

// Gives back at least the `count` oldest idle locks, less those that are wanted again before their
// turn: such a lock may cover metadata modified after the barrier.
base::Task<base::Status> LockManager::GiveBack(size_t count) {
  std::vector<uint64_t> chosen;
  for (LockEntry* entry : idle_) {
    if (chosen.size() == count) break;
    if (entry->state == State::kHeld) entry->state = State::kGivingBack;
    chosen.push_back(entry->address);
  }
  if (!options_.faults.release_without_barrier) {
    const base::Status home = co_await barrier_.MakeHome();
    if (!home) {
      for (LockEntry* entry : idle_) {
        if (entry->state == State::kGivingBack) entry->state = State::kHeld;
      }
      co_return home.error().Within("give back locks");
    }
  }
  base::Status freed = co_await FreeAll(chosen);
  co_return freed;
}

base::Task<base::Status> LockManager::GiveBackIdle(uint64_t lock_address) {
  co_await batch_lock_.Acquire();
  base::LockGuard guard(batch_lock_);
  const auto found = entries_.find(lock_address);
  if (found == entries_.end() || found->second.use_count > 0) co_return base::Ok();
  if (found->second.state == State::kHeld) found->second.state = State::kGivingBack;
  const base::Status home = co_await barrier_.MakeHome();
  if (!home) {
    const auto kept = entries_.find(lock_address);
    if (kept != entries_.end() && kept->second.state == State::kGivingBack) {
      kept->second.state = State::kHeld;
    }
    co_return home.error().Within("give back a lock");
  }
  std::vector<uint64_t> chosen{lock_address};
  base::Status freed = co_await FreeAll(chosen);
  co_return freed;
}

base::Task<base::Status> LockManager::FreeAll(std::vector<uint64_t>& addresses) {
  base::Status outcome;
  base::TaskGroup group(executor_);
  for (const uint64_t address : addresses) {
    co_await group.WaitUntilAtMost(options_.exchanges_in_flight - 1);
    const auto found = entries_.find(address);
    if (found == entries_.end()) continue;
    LockEntry& entry = found->second;
    if (entry.state != State::kGivingBack && entry.state != State::kUnanswered) continue;
    entry.state = State::kReleasing;
    others_.splice(others_.end(), idle_, entry.position);
    group.Add(Free(&entry, outcome));
  }
  co_await group.Join();
  co_return outcome;
}

base::Task<void> LockManager::Free(LockEntry* entry, base::Status& outcome) {
  const base::Status freed = co_await FreeOnDisk(*entry);
  if (freed) {
    Erase(*entry);
  } else {
    entry->unanswered = true;
    entry->state = State::kUnanswered;
    idle_.splice(idle_.end(), others_, entry->position);
    if (outcome) outcome = freed.error();
  }
  changed_.NotifyAll();
}

// Ok also when the lock turns out not to be ours, provided we were not sure.
base::Task<base::Status> LockManager::FreeOnDisk(LockEntry& entry) {
  SectorImage expected = entry.image;
  for (int attempt = 0; attempt < kFreeAttemptsMax; ++attempt) {
    CO_TRY_STATUS(co_await heartbeat_.WaitUntilMayWrite());
    const LockBlock held = base::LoadAs<LockBlock>(expected);
    // Whoever still reads here stays listed.
    const bool is_read = readers_.contains(entry.address);
    const SectorImage next =
        WithLock(expected, is_read ? DowngradedLock(held, Ourselves()) : FreedLock(held));
    const base::Status exchanged = co_await volume_.CompareAndWrite(entry.address, expected, next);
    if (exchanged || exchanged.error().code() != base::Code::kMiscompare) co_return exchanged;
    SectorImage seen;
    CO_TRY_STATUS(co_await ReadSector(volume_, entry.address, seen));
    if (seen == next) co_return base::Ok();
    const base::Result<LockBlock> lock = DecodeLockBlock(seen, entry.address);
    if (!lock) {
      // The write that was to make the lock block never took effect: there is no lock.
      const bool never_made = lock.error().code() == base::Code::kNotRecognized;
      if (entry.unanswered && never_made) co_return base::Ok();
      co_return lock.error();
    }
    expected = std::move(seen);
    if (HeldExclusivelyBy(*lock, Ourselves())) continue;
    if (entry.unanswered) co_return base::Ok();
    co_return base::Error(base::Code::kFenced,
                          fmt::format("give back lock at {:#x} on {}: another host has taken it",
                                      entry.address, volume_.name()));
  }
  co_return base::Error(base::Code::kMiscompare,
                        fmt::format("give back lock at {:#x} on {}: it changed {} times",
                                    entry.address, volume_.name(), kFreeAttemptsMax));
}

}  // namespace vmfs
