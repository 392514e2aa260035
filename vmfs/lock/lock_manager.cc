#include "vmfs/lock/lock_manager.h"

#include <utility>

#include <fmt/format.h>

#include "fs/base/check.h"
#include "fs/base/log.h"
#include "fs/base/on_disk.h"
#include "vmfs/lock/lock_modes.h"

namespace vmfs {
namespace {

constexpr int kTakeAttemptsMax = 32;

using State = LockEntry::State;

}  // namespace

LockManager::LockManager(base::Executor& executor, base::BlockDevice& volume, Heartbeat& heartbeat,
                         ReleaseBarrier& barrier, LockManagerOptions options)
    : executor_(executor),
      volume_(volume),
      heartbeat_(heartbeat),
      barrier_(barrier),
      options_(options),
      changed_(executor),
      batch_lock_(executor),
      readers_lock_(executor),
      background_(executor) {}

LockManager::~LockManager() {
  for (const auto& [address, entry] : entries_) CHECK(entry.use_count == 0);
}

uint64_t LockManager::TokenOf(uint64_t lock_address) const {
  const auto found = entries_.find(lock_address);
  CHECK(found != entries_.end());
  CHECK(found->second.state != State::kUnanswered && found->second.state != State::kReleasing);
  return found->second.token;
}

LockHolder LockManager::Ourselves() const {
  return {heartbeat_.slot_address(), heartbeat_.generation(), heartbeat_.identity().owner};
}

void LockManager::LeaveIdle(LockEntry& entry) {
  others_.splice(others_.end(), idle_, entry.position);
  entry.state = State::kHeld;  // also out of a batch that has not begun to free it
}

void LockManager::BecomeIdle(LockEntry& entry) {
  idle_.splice(idle_.end(), others_, entry.position);
  if (idle_.size() <= options_.idle_locks_max || trimming_) return;
  if (heartbeat_.fenced() || executor_.NowMicroseconds() < trim_after_us_) return;
  trimming_ = true;
  background_.Add(TrimInBackground());
}

void LockManager::Erase(LockEntry& entry) {
  CHECK(entry.use_count == 0);
  others_.erase(entry.position);
  entries_.erase(entry.address);
}

base::Task<base::Result<HeldLock>> LockManager::AcquireSlow(uint64_t lock_address) {
  CO_TRY(LockEntry* const entry, co_await Enter(lock_address));
  if (entry->state == State::kHeld) {
    entry->is_fresh = false;
    co_return HeldLock(*this, *entry);
  }
  const base::Status taken = co_await Take(*entry);
  if (taken) co_return LeaveHeld(*entry);
  LeaveFailed(*entry);
  co_return taken.error();
}

base::Task<base::Result<HeldLock>> LockManager::CreateLocked(uint64_t lock_address,
                                                             LockType lock_type) {
  CO_TRY(LockEntry* const entry, co_await Enter(lock_address));
  const bool was_held = entry->state == State::kHeld;
  if (was_held && std::exchange(entry->is_fresh, false)) co_return HeldLock(*this, *entry);
  entry->state = State::kTaking;
  const base::Status written = co_await WriteBornLocked(*entry, lock_type, was_held);
  if (written) co_return LeaveHeld(*entry);
  // Whichever bytes are there after a failed write, they still say that it is ours.
  if (was_held) {
    static_cast<void>(LeaveHeld(*entry));
  } else {
    LeaveFailed(*entry);
  }
  co_return written.error();
}

base::Task<void> LockManager::PrepareLocked(std::span<const uint64_t> lock_addresses,
                                            LockType lock_type) {
  base::TaskGroup group(executor_);
  for (const uint64_t lock_address : lock_addresses) {
    if (!entries_.contains(lock_address)) group.Add(PrepareOne(lock_address, lock_type));
  }
  co_await group.Join();
}

base::Task<void> LockManager::PrepareOne(uint64_t lock_address, LockType lock_type) {
  const base::Result<HeldLock> made = co_await CreateLocked(lock_address, lock_type);
  if (made) made->entry_->is_fresh = true;
}

// Waits for exchanges of others on this lock, then adds a use, which keeps the entry from being
// given back. The entry is held; or it is new or in doubt, and then in state kTaking, which makes
// others wait until `LeaveHeld` or `LeaveFailed`.
base::Task<base::Result<LockEntry*>> LockManager::Enter(uint64_t lock_address) {
  for (;;) {
    if (heartbeat_.fenced()) co_return heartbeat_.CheckMayWrite().error();
    const auto [position, is_new] = entries_.try_emplace(lock_address);
    LockEntry& entry = position->second;
    if (!is_new && (entry.state == State::kTaking || entry.state == State::kReleasing)) {
      co_await changed_.Wait();
      continue;
    }
    if (is_new) {
      entry.address = lock_address;
      entry.position = others_.insert(others_.end(), &entry);
    } else if (entry.use_count == 0) {
      const bool in_doubt = entry.state == State::kUnanswered;
      LeaveIdle(entry);
      if (in_doubt) entry.state = State::kTaking;
    }
    ++entry.use_count;
    co_return &entry;
  }
}

HeldLock LockManager::LeaveHeld(LockEntry& entry) {
  entry.state = State::kHeld;
  changed_.NotifyAll();
  return HeldLock(*this, entry);
}

void LockManager::LeaveFailed(LockEntry& entry) {
  CHECK(entry.use_count == 1);
  entry.use_count = 0;
  if (entry.unanswered) {
    entry.state = State::kUnanswered;
    idle_.splice(idle_.end(), others_, entry.position);
  } else {
    Erase(entry);
  }
  changed_.NotifyAll();
}

base::Task<base::Status> LockManager::Take(LockEntry& entry) {
  for (int attempt = 0; attempt < kTakeAttemptsMax; ++attempt) {
    CO_TRY(const bool taken, co_await TryTake(entry));
    if (taken) co_return base::Ok();
  }
  co_return base::Error(
      base::Code::kLockHeld,
      fmt::format("lock at {:#x} on {}: other hosts were faster {} times in a row", entry.address,
                  volume_.name(), kTakeAttemptsMax));
}

// False: the lock changed while we looked at it. A lock that is ours already, left by an exchange
// whose answer got lost, is taken again with a new token: then no late exchange can take it away.
base::Task<base::Result<bool>> LockManager::TryTake(LockEntry& entry) {
  SectorImage seen;
  CO_TRY_STATUS(co_await ReadSector(volume_, entry.address, seen));
  CO_TRY(LockBlock lock, DecodeLockBlock(seen, entry.address));
  if (!HeldExclusivelyBy(lock, Ourselves())) {
    CO_TRY_STATUS(co_await CheckStale(lock));
  }
  SectorImage next = WithLock(seen, TakenLock(lock, Ourselves()));
  base::Result<bool> taken = co_await Exchange(entry, seen, next);
  co_return taken;
}

base::Task<base::Status> LockManager::CheckStale(LockBlock& lock) {
  if (options_.faults.break_without_asking) co_return base::Ok();
  const std::vector<LockHolder> holders = HoldersOf(lock);
  const LockHolder ourselves = Ourselves();
  for (const LockHolder& holder : holders) {
    if (SameHolder(holder, ourselves)) continue;  // a reader that becomes the owner
    CO_TRY_STATUS(co_await CheckHolderGone(holder, lock.own_address));
  }
  co_return base::Ok();
}

// A lock outlives its holder's heartbeat only when the holder died: its slot is free, or serves a
// later generation. While we replay a dead host's journal its locks are ours to break, too.
base::Task<base::Status> LockManager::CheckHolderGone(LockHolder holder, uint64_t lock_address) {
  if (!IsHeartbeatAddress(holder.heartbeat_address)) {
    co_return base::Error(
        base::Code::kCorrupt,
        fmt::format("lock at {:#x} on {}: its holder's heartbeat address {:#x} is no slot",
                    lock_address, volume_.name(), uint64_t{holder.heartbeat_address}));
  }
  SectorImage image;
  CO_TRY_STATUS(co_await ReadSector(volume_, holder.heartbeat_address, image));
  const SlotState state = MakeSlotState(HeartbeatIndex(holder.heartbeat_address), std::move(image));
  if (state.fault) co_return *state.fault;
  if (state.slot.state() == HeartbeatState::kFree) co_return base::Ok();
  if (state.slot.generation != holder.heartbeat_generation) co_return base::Ok();
  if (state.slot.state() == HeartbeatState::kReplaying &&
      state.slot.replayer_heartbeat == heartbeat_.slot_address() &&
      state.slot.replayer_generation == heartbeat_.generation()) {
    co_return base::Ok();
  }
  co_return base::Error(base::Code::kLockHeld,
                        fmt::format("lock at {:#x} on {}: held by {}", lock_address, volume_.name(),
                                    DescribeHolder(state.index, state.slot)));
}

// Swaps the lock block. False: it does not hold `seen` any more.
base::Task<base::Result<bool>> LockManager::Exchange(LockEntry& entry, SectorImage& seen,
                                                     SectorImage& next) {
  CO_TRY_STATUS(co_await heartbeat_.WaitUntilMayWrite());
  const base::Status exchanged = co_await volume_.CompareAndWrite(entry.address, seen, next);
  if (exchanged) {
    NoteTaken(entry, std::move(next));
    co_return true;
  }
  if (exchanged.error().code() == base::Code::kMiscompare) co_return false;
  entry.image = next;
  entry.unanswered = true;
  co_return exchanged.error();
}

void LockManager::NoteTaken(LockEntry& entry, SectorImage image) {
  entry.token = base::LoadAs<LockBlock>(image).token;
  entry.image = std::move(image);
  entry.unanswered = false;
}

// An item nobody can reach yet has a lock nobody competes for: a plain write will do. Only the lock
// of a dead host is exchanged, since others may be breaking it.
base::Task<base::Status> LockManager::WriteBornLocked(LockEntry& entry, LockType lock_type,
                                                      bool was_held) {
  SectorImage seen = entry.image;
  if (!was_held) {
    CO_TRY_STATUS(co_await ReadSector(volume_, entry.address, seen));
  }
  LockBlock lock = MakeFreeLock(lock_type, entry.address);
  lock.token = 0;
  bool competes = false;
  if (!IsZero(seen)) {
    CO_TRY(lock, DecodeLockBlock(seen, entry.address));
    competes = lock.mode() != LockMode::kFree && !HeldExclusivelyBy(lock, Ourselves());
    if (competes) {
      CO_TRY_STATUS(co_await CheckStale(lock));
    }
  }
  lock.type_value = static_cast<uint32_t>(lock_type);
  SectorImage next = WithLock(seen, TakenLock(lock, Ourselves()));
  if (competes) {
    CO_TRY(const bool exchanged, co_await Exchange(entry, seen, next));
    if (exchanged) co_return base::Ok();
    co_return base::Error(base::Code::kLockHeld,
                          fmt::format("create lock at {:#x} on {}: another host took the old lock",
                                      entry.address, volume_.name()));
  }
  CO_TRY_STATUS(co_await heartbeat_.WaitUntilMayWrite());
  const base::Status written = co_await WriteRange(volume_, entry.address, next);
  if (!written && was_held) co_return written;
  NoteTaken(entry, std::move(next));
  entry.unanswered = !written.has_value();
  co_return written;
}

}  // namespace vmfs
