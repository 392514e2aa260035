// Taking over from the dead: mark the slot, replay, give it free.

#include <utility>

#include <fmt/format.h>

#include "fs/base/check.h"
#include "fs/base/log.h"
#include "fs/base/on_disk.h"
#include "vmfs/lock/heartbeat.h"

namespace vmfs {

// All are marked before the first is replayed: a replay may need a lock that another of the dead
// holds.
base::Task<base::Status> Heartbeat::TakeOverDead(TakeoverHandler& handler) {
  for (size_t i = 0; i < dead_.size();) {
    CO_TRY(const bool marked, co_await MarkDead(dead_[i]));
    if (marked) {
      ++i;
      continue;
    }
    UnguardSlot(dead_[i].index);
    dead_.erase(dead_.begin() + static_cast<ptrdiff_t>(i));
  }
  while (!dead_.empty()) {
    CO_TRY_STATUS(co_await TakeOverMarked(dead_.back(), handler));
    UnguardSlot(dead_.back().index);
    dead_.pop_back();
  }
  co_return base::Ok();
}

base::Task<base::Result<bool>> Heartbeat::TakeOverIfDead(uint32_t slot_index,
                                                         TakeoverHandler& handler) {
  CHECK(held_ && slot_index != slot_index_ && slot_index < kHeartbeatSlotCount);
  SectorImage image;
  CO_TRY_STATUS(co_await ReadSector(volume_, HeartbeatAddress(slot_index), image));
  SlotState state = MakeSlotState(slot_index, std::move(image));
  if (state.fault) co_return *state.fault;
  if (state.slot.state() == HeartbeatState::kFree) co_return true;
  CO_TRY(const bool is_dead, co_await IsDead(state));
  if (!is_dead) co_return false;
  Suspect dead{slot_index, std::move(state.image), 0};
  const base::Result<bool> marked = co_await MarkDead(dead);
  base::Status taken;
  if (marked && *marked) taken = co_await TakeOverMarked(dead, handler);
  UnguardSlot(slot_index);
  if (!marked) co_return marked.error();
  if (!taken) co_return taken.error();
  co_return true;
}

// A slot in use is watched itself; one being replayed lives as long as its replayer's slot.
base::Task<base::Result<bool>> Heartbeat::IsDead(SlotState& state) {
  CO_TRY(const SlotVerdict verdict, JudgeWithGuard(state));
  if (verdict != SlotVerdict::kMustWatch) co_return verdict == SlotVerdict::kDead;
  Suspect suspect{state.index, state.image, executor_.NowMicroseconds()};
  if (state.slot.state() == HeartbeatState::kReplaying) {
    const uint64_t address = state.slot.replayer_heartbeat;
    if (address == slot_address_ && state.slot.replayer_generation == generation_) co_return true;
    if (!IsHeartbeatAddress(address)) {
      co_return base::Error(base::Code::kCorrupt,
                            fmt::format("heartbeat slot {} on {}: replayed by a host at {:#x}, "
                                        "which is no heartbeat slot",
                                        state.index, volume_.name(), address));
    }
    suspect.index = HeartbeatIndex(address);
    CO_TRY_STATUS(co_await ReadSector(volume_, address, suspect.image));
    suspect.seen_at_us = executor_.NowMicroseconds();
    const SlotState replayer = MakeSlotState(suspect.index, suspect.image);
    if (replayer.fault) co_return *replayer.fault;
    if (ReplayerIsGone(state.slot, replayer.slot)) co_return true;
  }
  std::vector<Suspect> suspects;
  suspects.push_back(std::move(suspect));
  CO_TRY(const std::vector<SlotState> changed, co_await WatchUntilChange(suspects));
  co_return changed.empty();
}

// Every exchange starts from the bytes that were judged, so a slot that its owner or another
// replayer has touched since is left alone: then the answer is false.
base::Task<base::Result<bool>> Heartbeat::MarkDead(Suspect& dead) {
  CO_TRY_STATUS(co_await WaitUntilMayWrite());
  const HeartbeatSlot slot = base::LoadAs<HeartbeatSlot>(dead.image);
  SectorImage next = WithSlot(
      dead.image, ReplayingSlot(slot, options_.identity.owner, slot_address_, generation_));
  CO_TRY(const bool marked, co_await ExchangeDeadSlot(dead, next));
  if (!marked) {
    base::LogInfo("vmfs", "heartbeat slot changed before takeover slot={} volume={}", dead.index,
                  volume_.name());
  }
  co_return marked;
}

base::Task<base::Status> Heartbeat::TakeOverMarked(Suspect& dead, TakeoverHandler& handler) {
  const HeartbeatSlot slot = base::LoadAs<HeartbeatSlot>(dead.image);
  const DeadSlot description{dead.index, HeartbeatAddress(dead.index), slot.generation,
                             slot.owner, slot.journal_block,           slot.journal_volume_address};
  base::LogWarn("vmfs", "taking over from dead {} volume={}", DescribeHolder(dead.index, slot),
                volume_.name());
  const base::Status replayed = co_await handler.Replay(&description);
  if (!replayed) {
    co_return replayed.error().Within(
        fmt::format("take over from {}", DescribeHolder(dead.index, slot)));
  }
  CO_TRY_STATUS(co_await WaitUntilMayWrite());
  SectorImage next = WithSlot(dead.image, FreedSlot(slot));
  CO_TRY(const bool freed, co_await ExchangeDeadSlot(dead, next));
  if (freed) co_return base::Ok();
  co_return base::Error(base::Code::kFenced,
                        fmt::format("take over from {}: another host has taken it over from us",
                                    DescribeHolder(dead.index, slot)));
}

// False: the slot holds something that is not of our making. An exchange that was carried out
// although its answer got lost is recognised by its bytes.
base::Task<base::Result<bool>> Heartbeat::ExchangeDeadSlot(Suspect& dead, SectorImage& next) {
  const uint64_t address = HeartbeatAddress(dead.index);
  const base::Status exchanged = co_await volume_.CompareAndWrite(address, dead.image, next);
  if (!exchanged) {
    if (exchanged.error().code() != base::Code::kMiscompare) co_return exchanged.error();
    SectorImage seen;
    CO_TRY_STATUS(co_await ReadSector(volume_, address, seen));
    if (seen != next) co_return false;
  }
  dead.image = next;
  co_return true;
}

}  // namespace vmfs
