// Heartbeat slots as values: what a slot says about its owner, and each legal change of a slot.
//
// Pure functions on `HeartbeatSlot`; the exchange on the volume is in `heartbeat.h`. A slot goes
// free -> in use -> free, or in use -> replaying -> free when its owner died (vmfs/FORMAT.md,
// Heartbeats). Plain values, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "fs/base/result.h"
#include "fs/base/uuid.h"
#include "vmfs/format/heartbeat_slot.h"
#include "vmfs/lock/sector.h"

namespace vmfs {

// Who we are on the volume.
struct HostIdentity {
  base::Uuid owner;          // random, of this daemon instance; never zero
  std::string address_text;  // for people who look for the holder: "hostname pid 123"; cut at 45 B
  uint8_t fs_version_major = 24;
  uint8_t fs_version_minor = 82;
};

// One slot as read from the volume.
struct SlotState {
  uint32_t index = 0;
  uint64_t address = 0;
  SectorImage image;                 // its bytes, for compare-and-write
  HeartbeatSlot slot;                // decoded; meaningless with a fault
  std::optional<base::Error> fault;  // why it cannot be understood
};

// Decodes `image` as slot `index`. Never fails: a damaged slot carries its fault.
SlotState MakeSlotState(uint32_t index, SectorImage image);

// `image` with the slot's sector replaced; what lies behind the sector is kept.
SectorImage WithSlot(const SectorImage& image, const HeartbeatSlot& slot);

// What is known about a slot besides its bytes.
struct SlotEvidence {
  bool ours = false;                   // the slot that this very heartbeat holds
  std::optional<bool> guard_obtained;  // nothing: the medium has no guard
  bool guard_covers_every_writer = false;
  base::Uuid own_owner;
};

enum class SlotVerdict : uint8_t {
  kFree,
  kOurs,       // held by this heartbeat
  kLive,       // its owner, or whoever replays it, is a running process of this machine
  kDead,       // proven dead now: its guard lock was obtained
  kMustWatch,  // only watching it for lease and reclaim window can tell
};

// Judges a slot. Pure.
SlotVerdict JudgeSlot(const HeartbeatSlot& slot, const SlotEvidence& evidence);

// Whether the host that replays `slot` has let go of its own heartbeat, so that the replay must be
// started again. `replayer_slot` is the slot that `slot.replayer_heartbeat` names.
bool ReplayerIsGone(const HeartbeatSlot& slot, const HeartbeatSlot& replayer_slot);

// The text of the slot's address field, printable characters only.
std::string HostNameOf(const HeartbeatSlot& slot);

// "host 61a0…-… (esx1 pid 41, slot 120)": the holder, for messages.
std::string DescribeHolder(uint32_t index, const HeartbeatSlot& slot);

// The legal changes. Bytes we do not know are kept.
HeartbeatSlot AcquiredSlot(const HeartbeatSlot& free_slot, const HostIdentity& identity,
                           uint64_t now_us);
HeartbeatSlot PulsedSlot(const HeartbeatSlot& own_slot, uint64_t now_us);
HeartbeatSlot WithJournal(const HeartbeatSlot& own_slot, uint32_t journal_block_address,
                          uint64_t journal_volume_address);
HeartbeatSlot ReplayingSlot(const HeartbeatSlot& dead_slot, const base::Uuid& replayer,
                            uint64_t replayer_heartbeat, uint64_t replayer_generation);
// As ESXi leaves it: generation even, owner and journal zero; version, address text and stamp stay.
HeartbeatSlot FreedSlot(const HeartbeatSlot& used_slot);

}  // namespace vmfs
