#include "vmfs/lock/lock_modes.h"

#include <algorithm>

#include <fmt/format.h>

#include "fs/base/check.h"
#include "fs/base/on_disk.h"

namespace vmfs {
namespace {

base::Error LockError(base::Code code, const LockBlock& lock, std::string_view found) {
  return base::Error(code, fmt::format("lock at {:#x} in mode {}: {}", uint64_t{lock.own_address},
                                       uint32_t{lock.mode_value}, found));
}

// Index of `holder` in the list, or the count of holders.
uint32_t FindHolder(const LockBlock& lock, const LockHolder& holder) {
  uint32_t i = 0;
  while (i < lock.holder_count && !SameHolder(lock.holders[i], holder)) ++i;
  return i;
}

LockBlock WithNextToken(const LockBlock& lock) {
  LockBlock changed = lock;
  changed.token = lock.token + 1;
  return changed;
}

}  // namespace

bool SameHolder(const LockHolder& a, const LockHolder& b) {
  return a.heartbeat_address == b.heartbeat_address &&
         a.heartbeat_generation == b.heartbeat_generation && a.owner == b.owner;
}

std::vector<LockHolder> HoldersOf(const LockBlock& lock) {
  if (lock.mode() == LockMode::kFree) return {};
  if (lock.mode() == LockMode::kExclusive) {
    return {LockHolder{lock.heartbeat_address, lock.heartbeat_generation, lock.owner}};
  }
  const uint32_t count = std::min<uint32_t>(lock.holder_count, kLockHoldersMax);
  return {lock.holders.begin(), lock.holders.begin() + count};
}

bool HeldExclusivelyBy(const LockBlock& lock, const LockHolder& holder) {
  return lock.mode() == LockMode::kExclusive && SameHolder(HoldersOf(lock)[0], holder);
}

LockBlock TakenLock(const LockBlock& lock, const LockHolder& holder) {
  LockBlock taken = WithNextToken(lock);
  taken.set_mode(LockMode::kExclusive);
  taken.heartbeat_address = holder.heartbeat_address;
  taken.heartbeat_generation = holder.heartbeat_generation;
  taken.owner = holder.owner;
  taken.holder_count = 0;
  taken.holders = {};
  return taken;
}

LockBlock FreedLock(const LockBlock& lock) {
  LockBlock freed = WithNextToken(lock);
  freed.set_mode(LockMode::kFree);
  freed.owner = {};
  freed.holder_count = 0;
  freed.holders = {};
  return freed;
}

LockBlock DowngradedLock(const LockBlock& lock, const LockHolder& holder) {
  LockBlock shared = FreedLock(lock);
  shared.set_mode(LockMode::kReadOnly);
  shared.heartbeat_address = holder.heartbeat_address;
  shared.heartbeat_generation = holder.heartbeat_generation;
  shared.holders[0] = holder;
  shared.holder_count = 1;
  return shared;
}

base::Result<LockBlock> AddHolder(const LockBlock& lock, LockMode mode, const LockHolder& holder) {
  CHECK(mode == LockMode::kReadOnly || mode == LockMode::kMultiWriter);
  if (lock.mode() != LockMode::kFree && lock.mode() != mode) {
    return LockError(base::Code::kLockHeld, lock, "held in another mode");
  }
  const uint32_t count = lock.mode() == LockMode::kFree ? 0 : uint32_t{lock.holder_count};
  if (count >= kLockHoldersMax) return LockError(base::Code::kNoSpace, lock, "8 holders already");
  LockBlock shared = WithNextToken(lock);
  if (count == 0) shared.holders = {};
  if (count > 0 && FindHolder(lock, holder) < count) {
    return LockError(base::Code::kExists, lock, "already a holder");
  }
  shared.set_mode(mode);
  shared.owner = {};
  shared.heartbeat_address = holder.heartbeat_address;
  shared.heartbeat_generation = holder.heartbeat_generation;
  shared.holders[count] = holder;
  shared.holder_count = count + 1;
  return shared;
}

base::Result<LockBlock> RemoveHolder(const LockBlock& lock, const LockHolder& holder) {
  const bool is_shared =
      lock.mode() == LockMode::kReadOnly || lock.mode() == LockMode::kMultiWriter;
  const uint32_t index = FindHolder(lock, holder);
  if (!is_shared || index >= lock.holder_count) {
    return LockError(base::Code::kNotFound, lock, "not a holder");
  }
  if (lock.holder_count == 1) return FreedLock(lock);
  LockBlock changed = WithNextToken(lock);
  const uint32_t last = lock.holder_count - 1;
  changed.holders[index] = lock.holders[last];
  changed.holders[last] = {};
  changed.holder_count = last;
  return changed;
}

base::Result<LockBlock> UpgradeToExclusive(const LockBlock& lock, const LockHolder& holder) {
  if (lock.mode() != LockMode::kReadOnly) {
    return LockError(base::Code::kInvalidArgument, lock, "only mode 2 can be upgraded");
  }
  if (FindHolder(lock, holder) >= lock.holder_count) {
    return LockError(base::Code::kNotFound, lock, "not a holder");
  }
  if (lock.holder_count != 1) {
    return LockError(base::Code::kLockHeld, lock, "there are other holders");
  }
  return TakenLock(lock, holder);
}

SectorImage WithLock(const SectorImage& image, const LockBlock& lock) {
  SectorImage changed = image;
  base::StoreAs(std::span(changed), 0, lock);
  return changed;
}

}  // namespace vmfs
