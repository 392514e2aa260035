// Taking a slot: judging who else is there, watching the silent, claiming a free one.

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "fs/base/check.h"
#include "fs/base/crc32c.h"
#include "fs/base/log.h"
#include "fs/base/on_disk.h"
#include "vmfs/lock/heartbeat.h"

namespace vmfs {
namespace {

constexpr int kAttemptsMax = 8;
constexpr uint64_t kStepBackMicroseconds = 100'000;
constexpr uint64_t kWatchStepMicroseconds = 1'000'000;

base::Error InUseError(const base::BlockDevice& volume, const SlotState& holder) {
  const char* doing = holder.slot.state() == HeartbeatState::kReplaying ? "is being recovered from"
                                                                        : "is in use by";
  return base::Error(base::Code::kLockHeld, fmt::format("volume {} {} {}", volume.name(), doing,
                                                        DescribeHolder(holder.index, holder.slot)));
}

// The first slot to try: hosts start at different places, so that they rarely meet.
uint32_t FirstSlot(const base::Uuid& owner) {
  return base::Crc32c(base::BytesOf(owner)) % kHeartbeatSlotCount;
}

}  // namespace

base::Task<base::Result<std::vector<SlotState>>> Heartbeat::ReadSlots(base::BlockDevice& volume) {
  constexpr uint64_t kRegionBytes = uint64_t{kHeartbeatSlotCount} * kMetadataBlockBytes;
  constexpr uint32_t kSlotsPerRead = kMebibyte / kMetadataBlockBytes;
  static_assert(kRegionBytes % kMebibyte == 0);
  const size_t image_bytes = volume.limits().block_size_bytes;
  std::vector<SlotState> slots;
  slots.reserve(kHeartbeatSlotCount);
  std::vector<std::byte> bytes;
  for (uint32_t first = 0; first < kHeartbeatSlotCount; first += kSlotsPerRead) {
    CO_TRY_STATUS(co_await ReadRange(volume, HeartbeatAddress(first), kMebibyte, bytes));
    for (uint32_t i = 0; i < kSlotsPerRead; ++i) {
      const std::byte* slot = bytes.data() + size_t{i} * kMetadataBlockBytes;
      slots.push_back(MakeSlotState(first + i, SectorImage(slot, slot + image_bytes)));
    }
  }
  co_return slots;
}

base::Task<base::Status> Heartbeat::Acquire() {
  CHECK(!held_ && !stopping_);
  for (uint32_t attempt = 1; attempt <= kAttemptsMax; ++attempt) {
    bool contended = false;
    base::Status tried = co_await TryAcquire(contended);
    if (tried && !contended) {
      pulse_.Add(PulseLoop());
      base::LogInfo("vmfs", "heartbeat acquired slot={} generation={} volume={}", slot_index_,
                    generation_, volume_.name());
      co_return base::Ok();
    }
    dead_.clear();
    UnguardAll();
    if (!tried) co_return tried;
    co_await executor_.Sleep(kStepBackMicroseconds +
                             executor_.random().Below(attempt * 4 * kStepBackMicroseconds));
  }
  co_return base::Error(
      base::Code::kLockHeld,
      fmt::format("volume {}: other hosts are mounting it at the same time", volume_.name()));
}

// Hosts that start together may each find all slots free. So everybody looks again once it has its
// slot: whoever claimed last sees the other. Both may see each other; then both step back.
base::Task<base::Status> Heartbeat::TryAcquire(bool& contended) {
  CO_TRY(std::vector<SlotState> slots, co_await ReadSlots(volume_));
  CO_TRY_STATUS(co_await JudgeOthers(slots, contended));
  if (contended) co_return base::Ok();
  CO_TRY_STATUS(co_await ClaimAnySlot(slots));
  if (!options_.refuse_other_hosts) co_return base::Ok();
  const base::Result<bool> arrived = co_await OthersArrived();
  if (arrived && !*arrived) co_return base::Ok();
  contended = true;
  const base::Status back = co_await StepBack();
  if (!arrived) co_return arrived.error();
  co_return back;
}

base::Task<base::Status> Heartbeat::JudgeOthers(std::vector<SlotState>& slots, bool& contended) {
  std::vector<Suspect> suspects;
  CO_TRY_STATUS(SortOthers(slots, suspects));
  if (suspects.empty() || !options_.refuse_other_hosts) co_return base::Ok();
  base::LogInfo("vmfs", "watching {} silent heartbeat slots volume={}", suspects.size(),
                volume_.name());
  CO_TRY(std::vector<SlotState> changed, co_await WatchUntilChange(suspects));
  for (const SlotState& state : changed) {
    if (state.fault) co_return *state.fault;
    if (state.slot.state() != HeartbeatState::kFree) co_return InUseError(volume_, state);
  }
  // A slot that was given back meanwhile: everything has to be looked at afresh.
  contended = !changed.empty();
  if (!contended) std::move(suspects.begin(), suspects.end(), std::back_inserter(dead_));
  co_return base::Ok();
}

// Judges by what is known at once. Dead slots go to `dead_`, with their guard held; those that only
// time can tell go to `suspects`.
base::Status Heartbeat::SortOthers(std::vector<SlotState>& slots, std::vector<Suspect>& suspects) {
  const uint64_t now_us = executor_.NowMicroseconds();
  for (SlotState& state : slots) {
    if (state.fault) return *state.fault;
    if (state.slot.state() == HeartbeatState::kFree) continue;
    TRY(const SlotVerdict verdict, JudgeWithGuard(state));
    if (verdict == SlotVerdict::kLive && options_.refuse_other_hosts) {
      return InUseError(volume_, state);
    }
    if (verdict == SlotVerdict::kDead) dead_.push_back({state.index, state.image, now_us});
    if (verdict == SlotVerdict::kMustWatch) suspects.push_back({state.index, state.image, now_us});
  }
  return base::Ok();
}

base::Result<SlotVerdict> Heartbeat::JudgeWithGuard(const SlotState& state) {
  SlotEvidence evidence;
  evidence.ours = held_ && state.index == slot_index_;
  evidence.own_owner = options_.identity.owner;
  if (options_.guard && !evidence.ours) {
    TRY(evidence.guard_obtained, GuardSlot(state.index));
    evidence.guard_covers_every_writer = options_.guard->covers_every_writer();
  }
  const SlotVerdict verdict = JudgeSlot(state.slot, evidence);
  if (verdict != SlotVerdict::kDead && !evidence.ours) UnguardSlot(state.index);
  return verdict;
}

// Watches the suspects for lease and reclaim window. Answers the slots that changed, as they are
// now, as soon as one did; none when all of them are dead.
base::Task<base::Result<std::vector<SlotState>>> Heartbeat::WatchUntilChange(
    std::vector<Suspect>& suspects) {
  const uint64_t window_us = options_.times.lease_us + options_.times.reclaim_us;
  std::vector<SlotState> changed;
  for (bool watching = true; watching && changed.empty();) {
    co_await executor_.Sleep(kWatchStepMicroseconds);
    watching = false;
    for (Suspect& suspect : suspects) {
      const uint64_t read_at_us = executor_.NowMicroseconds();
      SectorImage seen;
      CO_TRY_STATUS(co_await ReadSector(volume_, HeartbeatAddress(suspect.index), seen));
      if (seen != suspect.image) changed.push_back(MakeSlotState(suspect.index, std::move(seen)));
      if (read_at_us < suspect.seen_at_us + window_us) watching = true;
    }
  }
  co_return changed;
}

base::Task<base::Status> Heartbeat::ClaimAnySlot(std::vector<SlotState>& slots) {
  const uint32_t first = FirstSlot(options_.identity.owner);
  for (uint32_t i = 0; i < kHeartbeatSlotCount; ++i) {
    SlotState& state = slots[(first + i) % kHeartbeatSlotCount];
    if (state.slot.state() != HeartbeatState::kFree) continue;
    CO_TRY(const bool claimed, co_await ClaimSlot(state));
    if (claimed) co_return base::Ok();
  }
  co_return base::Error(base::Code::kNoSpace,
                        fmt::format("volume {}: all {} heartbeat slots are in use", volume_.name(),
                                    kHeartbeatSlotCount));
}

// False: another host or process was faster.
base::Task<base::Result<bool>> Heartbeat::ClaimSlot(SlotState& state) {
  if (options_.guard) {
    CO_TRY(const bool guarded, GuardSlot(state.index));
    if (!guarded) co_return false;
  }
  const uint64_t started_us = executor_.NowMicroseconds();
  const HeartbeatSlot slot = AcquiredSlot(state.slot, options_.identity, started_us);
  SectorImage image = WithSlot(state.image, slot);
  const base::Status exchanged =
      co_await volume_.CompareAndWrite(state.address, state.image, image);
  if (!exchanged) {
    UnguardSlot(state.index);
    if (exchanged.error().code() == base::Code::kMiscompare) co_return false;
    co_return exchanged.error();
  }
  slot_index_ = state.index;
  slot_address_ = state.address;
  generation_ = slot.generation;
  write_deadline_us_ = 0;
  held_ = true;
  NoteOwnSlot(std::move(image), started_us);
  co_return true;
}

// Whether slots are in use besides ours and those proven dead.
base::Task<base::Result<bool>> Heartbeat::OthersArrived() {
  CO_TRY(const std::vector<SlotState> slots, co_await ReadSlots(volume_));
  for (const SlotState& state : slots) {
    if (state.index == slot_index_ || state.fault) continue;
    if (state.slot.state() == HeartbeatState::kFree) continue;
    const auto is_dead = [&](const Suspect& dead) {
      return dead.index == state.index && dead.image == state.image;
    };
    if (std::none_of(dead_.begin(), dead_.end(), is_dead)) co_return true;
  }
  co_return false;
}

base::Task<base::Status> Heartbeat::StepBack() {
  const Change change{Change::Kind::kFree};
  base::Status freed = co_await UpdateOwnSlot(change);
  LetGo();
  co_return freed;
}

}  // namespace vmfs
