// Locks that hosts read under side by side: joining and leaving the list of holders.

#include <fmt/format.h>

#include "fs/base/check.h"
#include "fs/base/on_disk.h"
#include "vmfs/lock/lock_manager.h"
#include "vmfs/lock/lock_modes.h"

namespace vmfs {
namespace {

constexpr int kListAttemptsMax = 32;

base::Error TooManyChanges(uint64_t lock_address, const std::string& volume) {
  return base::Error(base::Code::kLockHeld,
                     fmt::format("lock at {:#x} on {}: it changed {} times in a row", lock_address,
                                 volume, kListAttemptsMax));
}

}  // namespace

base::Task<base::Status> LockManager::JoinReaders(uint64_t lock_address) {
  co_await readers_lock_.Acquire();
  base::LockGuard guard(readers_lock_);
  if (++readers_[lock_address] > 1) co_return base::Ok();
  // From here on, a lock of ours that is given back becomes a reader's.
  base::Status joined = co_await GiveBackIdle(lock_address);
  if (joined) joined = co_await ListOurselves(lock_address);
  if (!joined) readers_.erase(lock_address);
  co_return joined;
}

base::Task<base::Status> LockManager::LeaveReaders(uint64_t lock_address) {
  co_await readers_lock_.Acquire();
  base::LockGuard guard(readers_lock_);
  const auto found = readers_.find(lock_address);
  CHECK(found != readers_.end());
  if (--found->second > 0) co_return base::Ok();
  readers_.erase(found);
  co_return co_await UnlistOurselves(lock_address);
}

// Until nobody here is taking or giving back the lock exclusively.
base::Task<void> LockManager::WaitForExchange(uint64_t lock_address) {
  for (;;) {
    const auto found = entries_.find(lock_address);
    if (found == entries_.end()) co_return;
    const LockEntry::State state = found->second.state;
    if (state != LockEntry::State::kTaking && state != LockEntry::State::kReleasing) co_return;
    co_await changed_.Wait();
  }
}

// Takes the holders off whose heartbeats have gone on without the lock. Living readers stay; a
// living holder in another mode is the error.
base::Task<base::Status> LockManager::DropDeadHolders(LockBlock& lock) {
  const std::vector<LockHolder> holders = HoldersOf(lock);
  const LockHolder ourselves = Ourselves();
  for (const LockHolder& holder : holders) {
    if (SameHolder(holder, ourselves)) continue;
    const base::Status gone = co_await CheckHolderGone(holder, lock.own_address);
    const bool is_alive = !gone && gone.error().code() == base::Code::kLockHeld;
    if (is_alive && lock.mode() == LockMode::kReadOnly) continue;
    if (!gone) co_return gone;
    if (lock.mode() == LockMode::kExclusive) {
      lock = FreedLock(lock);
      break;
    }
    CO_TRY(lock, RemoveHolder(lock, holder));
  }
  co_return base::Ok();
}

// Swaps the lock's sector. One change, however many steps led to `lock`: one token.
base::Task<base::Result<bool>> LockManager::ExchangeList(const SectorImage* seen,
                                                         const LockBlock* lock) {
  LockBlock next = *lock;
  next.token = base::LoadAs<LockBlock>(*seen).token + 1;
  const SectorImage image = WithLock(*seen, next);
  CO_TRY_STATUS(co_await heartbeat_.WaitUntilMayWrite());
  const base::Status exchanged = co_await volume_.CompareAndWrite(lock->own_address, *seen, image);
  if (exchanged) co_return true;
  if (exchanged.error().code() == base::Code::kMiscompare) co_return false;
  co_return exchanged.error();
}

base::Task<base::Status> LockManager::ListOurselves(uint64_t lock_address) {
  const LockHolder ourselves = Ourselves();
  for (int attempt = 0; attempt < kListAttemptsMax; ++attempt) {
    co_await WaitForExchange(lock_address);
    SectorImage seen;
    CO_TRY_STATUS(co_await ReadSector(volume_, lock_address, seen));
    CO_TRY(LockBlock lock, DecodeLockBlock(seen, lock_address));
    if (HeldExclusivelyBy(lock, ourselves)) co_return base::Ok();
    CO_TRY_STATUS(co_await DropDeadHolders(lock));
    const base::Result<LockBlock> joined = AddHolder(lock, LockMode::kReadOnly, ourselves);
    // An exchange whose answer got lost has listed us already.
    if (!joined && joined.error().code() == base::Code::kExists) co_return base::Ok();
    if (!joined) co_return joined.error();
    CO_TRY(const bool exchanged, co_await ExchangeList(&seen, &*joined));
    if (exchanged) co_return base::Ok();
  }
  co_return TooManyChanges(lock_address, volume_.name());
}

base::Task<base::Status> LockManager::UnlistOurselves(uint64_t lock_address) {
  const LockHolder ourselves = Ourselves();
  for (int attempt = 0; attempt < kListAttemptsMax; ++attempt) {
    co_await WaitForExchange(lock_address);
    SectorImage seen;
    CO_TRY_STATUS(co_await ReadSector(volume_, lock_address, seen));
    CO_TRY(const LockBlock lock, DecodeLockBlock(seen, lock_address));
    const base::Result<LockBlock> left = RemoveHolder(lock, ourselves);
    if (!left) co_return base::Ok();  // the lock is ours alone, or an answer got lost
    CO_TRY(const bool exchanged, co_await ExchangeList(&seen, &*left));
    if (exchanged) co_return base::Ok();
  }
  co_return TooManyChanges(lock_address, volume_.name());
}

}  // namespace vmfs
