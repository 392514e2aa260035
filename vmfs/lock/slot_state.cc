#include "vmfs/lock/slot_state.h"

#include <algorithm>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "fs/base/on_disk.h"

namespace vmfs {

SlotState MakeSlotState(uint32_t index, SectorImage image) {
  SlotState state;
  state.index = index;
  state.address = HeartbeatAddress(index);
  state.image = std::move(image);
  base::Result<HeartbeatSlot> slot = DecodeHeartbeatSlot(state.image, state.address);
  if (slot) {
    state.slot = *slot;
  } else {
    state.fault = slot.error();
  }
  return state;
}

SectorImage WithSlot(const SectorImage& image, const HeartbeatSlot& slot) {
  SectorImage changed = image;
  base::StoreAs(std::span(changed), 0, slot);
  return changed;
}

SlotVerdict JudgeSlot(const HeartbeatSlot& slot, const SlotEvidence& evidence) {
  if (slot.state() == HeartbeatState::kFree) return SlotVerdict::kFree;
  if (evidence.ours) return SlotVerdict::kOurs;
  if (!evidence.guard_obtained) return SlotVerdict::kMustWatch;
  if (!*evidence.guard_obtained) return SlotVerdict::kLive;
  if (evidence.guard_covers_every_writer) return SlotVerdict::kDead;
  // The medium reaches further than the guard: only processes that share our UUID must be local.
  const bool replaying = slot.state() == HeartbeatState::kReplaying;
  const base::Uuid& responsible = replaying ? slot.replayer : slot.owner;
  return responsible == evidence.own_owner ? SlotVerdict::kDead : SlotVerdict::kMustWatch;
}

bool ReplayerIsGone(const HeartbeatSlot& slot, const HeartbeatSlot& replayer_slot) {
  return replayer_slot.state() == HeartbeatState::kFree ||
         replayer_slot.generation != slot.replayer_generation;
}

std::string HostNameOf(const HeartbeatSlot& slot) {
  std::string name;
  for (const char c : slot.host_name) {
    if (c == '\0') break;
    name.push_back(c >= ' ' && c <= '~' ? c : '?');
  }
  return name;
}

std::string DescribeHolder(uint32_t index, const HeartbeatSlot& slot) {
  return fmt::format("host {} ({}, heartbeat slot {})", slot.owner.ToString(), HostNameOf(slot),
                     index);
}

HeartbeatSlot AcquiredSlot(const HeartbeatSlot& free_slot, const HostIdentity& identity,
                           uint64_t now_us) {
  HeartbeatSlot slot = free_slot;
  slot.set_state(HeartbeatState::kInUse);
  slot.generation = (slot.generation + 1) | 1;  // odd while in use, also after a foreign odd one
  slot.stamp_us = now_us;
  slot.owner = identity.owner;
  slot.journal_block = 0;
  slot.journal_volume_address = 0;
  slot.version_major = identity.fs_version_major;
  slot.version_minor = identity.fs_version_minor;
  slot.lock_implementation = kLockImplementation;
  slot.host_name = {};
  const size_t length = std::min(identity.address_text.size(), slot.host_name.size() - 1);
  std::copy_n(identity.address_text.begin(), length, slot.host_name.begin());
  return slot;
}

HeartbeatSlot PulsedSlot(const HeartbeatSlot& own_slot, uint64_t now_us) {
  HeartbeatSlot slot = own_slot;
  slot.stamp_us = std::max(now_us, own_slot.stamp_us + 1);  // watchers look for a change
  return slot;
}

HeartbeatSlot WithJournal(const HeartbeatSlot& own_slot, uint32_t journal_block_address,
                          uint64_t journal_volume_address) {
  HeartbeatSlot slot = own_slot;
  slot.journal_block = journal_block_address;
  slot.journal_volume_address = journal_volume_address;
  return slot;
}

HeartbeatSlot ReplayingSlot(const HeartbeatSlot& dead_slot, const base::Uuid& replayer,
                            uint64_t replayer_heartbeat, uint64_t replayer_generation) {
  HeartbeatSlot slot = dead_slot;
  slot.set_state(HeartbeatState::kReplaying);
  slot.replayer = replayer;
  slot.replayer_heartbeat = replayer_heartbeat;
  slot.replayer_generation = replayer_generation;
  return slot;
}

HeartbeatSlot FreedSlot(const HeartbeatSlot& used_slot) {
  HeartbeatSlot slot = used_slot;
  slot.set_state(HeartbeatState::kFree);
  slot.generation = (slot.generation + 2) & ~uint64_t{1};  // the next even one
  slot.owner = {};
  slot.journal_block = 0;
  slot.journal_volume_address = 0;
  slot.replayer = {};
  slot.replayer_heartbeat = 0;
  slot.replayer_generation = 0;
  return slot;
}

}  // namespace vmfs
