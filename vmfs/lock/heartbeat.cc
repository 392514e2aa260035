#include "vmfs/lock/heartbeat.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "fs/base/check.h"
#include "fs/base/log.h"
#include "fs/base/on_disk.h"

namespace vmfs {
namespace {

constexpr uint64_t kRetryMicroseconds = 1'000'000;  // after a pulse that the device failed
constexpr size_t kUnresolvedMax = 64;
constexpr int kUpdateAttemptsMax = 3;

}  // namespace

Heartbeat::Heartbeat(base::Executor& executor, base::BlockDevice& volume, HeartbeatOptions options)
    : executor_(executor),
      volume_(volume),
      options_(std::move(options)),
      slot_lock_(executor),
      changed_(executor),
      pulse_alarm_(executor),
      pulse_(executor) {
  CHECK(!options_.identity.owner.is_zero());
  CHECK(options_.times.margin_us + options_.times.pulse_us < options_.times.lease_us);
}

Heartbeat::~Heartbeat() {
  CHECK(pulse_.running_count() == 0);
  UnguardAll();
}

base::Status Heartbeat::CheckMayWrite() const {
  if (MayWrite()) return base::Ok();
  if (fenced_) return FencedError();
  if (!held_) return base::Error(base::Code::kFenced, "heartbeat: no slot is held");
  const uint64_t window_us = options_.times.lease_us - options_.times.margin_us;
  const uint64_t age_us = executor_.NowMicroseconds() - (write_deadline_us_ - window_us);
  return base::Error(base::Code::kFenced,
                     fmt::format("heartbeat slot {} on {}: last successful pulse began {} ms ago, "
                                 "writes stop after {} ms",
                                 slot_index_, volume_.name(), age_us / 1000, window_us / 1000));
}

base::Task<base::Status> Heartbeat::WaitUntilMayWrite() {
  while (!MayWrite()) {
    if (fenced_ || stopping_ || !held_) co_return CheckMayWrite();
    co_await changed_.Wait();
  }
  co_return base::Ok();
}

base::Task<base::Status> Heartbeat::SetJournal(uint32_t journal_block_address,
                                               uint64_t journal_volume_address) {
  CHECK(held_);
  const Change change{Change::Kind::kJournal, journal_block_address, journal_volume_address};
  return UpdateOwnSlot(change);
}

base::Task<base::Status> Heartbeat::Release() {
  CHECK(held_);
  co_await Stop();
  const Change change{Change::Kind::kFree};
  base::Status freed = co_await UpdateOwnSlot(change);
  LetGo();
  UnguardAll();
  co_return freed;
}

base::Task<void> Heartbeat::Stop() {
  stopping_ = true;
  pulse_alarm_.Ring();
  changed_.NotifyAll();
  return pulse_.Join();
}

void Heartbeat::LetGo() {
  held_ = false;
  last_.clear();
  unresolved_.clear();
  changed_.NotifyAll();
}

SectorImage Heartbeat::ChangedImage(const Change& change) const {
  HeartbeatSlot slot = base::LoadAs<HeartbeatSlot>(last_);
  switch (change.kind) {
    case Change::Kind::kPulse: slot = PulsedSlot(slot, executor_.NowMicroseconds()); break;
    case Change::Kind::kJournal:
      slot = WithJournal(slot, change.journal_block_address, change.journal_volume_address);
      break;
    case Change::Kind::kFree: slot = FreedSlot(slot); break;
  }
  return WithSlot(last_, slot);
}

// Changes our slot from the bytes we know to be there. An exchange whose answer got lost leaves two
// possible contents; the slot itself then tells which one it is, before the next change is built.
base::Task<base::Status> Heartbeat::UpdateOwnSlot(Change change) {
  co_await slot_lock_.Acquire();
  base::LockGuard guard(slot_lock_);
  for (int attempt = 0; attempt < kUpdateAttemptsMax; ++attempt) {
    if (fenced_) co_return FencedError();
    if (!unresolved_.empty()) {
      CO_TRY_STATUS(co_await ResolveOwnSlot());
    }
    const uint64_t started_us = executor_.NowMicroseconds();
    SectorImage image = ChangedImage(change);
    if (unresolved_.size() == kUnresolvedMax) unresolved_.erase(unresolved_.begin());
    unresolved_.push_back({image, started_us});
    base::Status exchanged = co_await volume_.CompareAndWrite(slot_address_, last_, image);
    if (exchanged) {
      NoteOwnSlot(std::move(image), started_us);
      co_return base::Ok();
    }
    if (exchanged.error().code() != base::Code::kMiscompare) co_return exchanged;
    CO_TRY_STATUS(co_await ResolveOwnSlot());
    if (last_ == image) co_return base::Ok();
  }
  co_return base::Error(base::Code::kMiscompare,
                        fmt::format("heartbeat slot {} on {}: the exchange answers miscompare but "
                                    "the slot holds what was expected",
                                    slot_index_, volume_.name()));
}

// Finds out which of our images the slot holds. Anything else was written by another host.
base::Task<base::Status> Heartbeat::ResolveOwnSlot() {
  SectorImage seen;
  CO_TRY_STATUS(co_await ReadSector(volume_, slot_address_, seen));
  if (seen == last_) co_return base::Ok();
  for (Unresolved& sent : unresolved_) {
    if (seen != sent.image) continue;
    NoteOwnSlot(std::move(seen), sent.started_us);
    co_return base::Ok();
  }
  const SlotState now = MakeSlotState(slot_index_, std::move(seen));
  const std::string found =
      now.fault ? now.fault->message()
                : fmt::format("state {:#x} generation {} of {}", uint32_t{now.slot.state_value},
                              uint64_t{now.slot.generation}, DescribeHolder(slot_index_, now.slot));
  Fence(fmt::format("heartbeat slot {} on {} (generation {}): changed by another host: {}",
                    slot_index_, volume_.name(), generation_, found));
  co_return FencedError();
}

// The lease counts from when the exchange was *sent*: watchers saw it at some later time.
// Earlier unanswered exchanges expect bytes that are gone for good, so they cannot arrive any more.
void Heartbeat::NoteOwnSlot(SectorImage image, uint64_t started_us) {
  const LeaseTimes& times = options_.times;
  last_ = std::move(image);
  unresolved_.clear();
  write_deadline_us_ = std::max(write_deadline_us_, started_us + times.lease_us - times.margin_us);
  changed_.NotifyAll();
}

base::Task<void> Heartbeat::PulseLoop() {
  uint64_t next_us = executor_.NowMicroseconds() + options_.times.pulse_us;
  while (!stopping_ && !fenced_) {
    co_await pulse_alarm_.SleepUntil(next_us);
    if (stopping_ || fenced_) break;
    const uint64_t started_us = executor_.NowMicroseconds();
    if (started_us >= write_deadline_us_) {
      base::LogWarn("vmfs", "heartbeat lapsed, reclaiming slot={} volume={}", slot_index_,
                    volume_.name());
    }
    const Change change{Change::Kind::kPulse};
    const base::Status pulsed = co_await UpdateOwnSlot(change);
    next_us = started_us + options_.times.pulse_us;
    if (!pulsed && !fenced_) {
      base::LogWarn("vmfs", "heartbeat not renewed: {}", pulsed.error().message());
      next_us = executor_.NowMicroseconds() + kRetryMicroseconds;
    }
  }
}

void Heartbeat::Fence(std::string reason) {
  if (fenced_) return;
  fenced_ = true;
  fence_reason_ = std::move(reason);
  base::LogError("vmfs", "fenced: {}", fence_reason_);
  changed_.NotifyAll();
  if (fence_listener_) fence_listener_(fence_reason_);
}

base::Error Heartbeat::FencedError() const {
  return base::Error(base::Code::kFenced, fence_reason_);
}

base::Result<bool> Heartbeat::GuardSlot(uint32_t index) {
  CHECK(options_.guard);
  if (guarded_.contains(index)) return true;
  TRY(const bool obtained, options_.guard->TryLock(kGuardByteOffset + index));
  if (obtained) guarded_.insert(index);
  return obtained;
}

void Heartbeat::UnguardSlot(uint32_t index) {
  if (guarded_.erase(index) > 0) options_.guard->Unlock(kGuardByteOffset + index);
}

void Heartbeat::UnguardAll() {
  while (!guarded_.empty()) UnguardSlot(*guarded_.begin());
}

}  // namespace vmfs
