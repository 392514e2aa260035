// Heartbeat slots: one per host that has the volume mounted ("lease slot" elsewhere).
//
// 1,024 slots of one metadata block from volume offset 0x300000 (vmfs/FORMAT.md, "Heartbeats").
// The struct is the slot's first sector, which is all that is used and what compare-and-write
// swaps; unknown bytes are kept when it is stored back. Plain values, any thread; no I/O.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "fs/base/on_disk.h"
#include "fs/base/result.h"
#include "fs/base/uuid.h"
#include "vmfs/format/superblock.h"

namespace vmfs {

enum class HeartbeatState : uint32_t {
  kFree = 0xABCDEF01,
  kInUse = 0xABCDEF02,
  kReplaying = 0xABCDEF03,  // ours: another host replays the owner's journal
};

struct HeartbeatSlot {
  Le32 state_value;
  Le64 own_address;
  Le64 generation;  // one more at acquire and at release: odd while in use
  Le64 stamp_us;    // the owner's uptime clock; changes at every pulse
  base::Uuid owner;
  Le32 journal_block;  // `Address::MakeJournalBlock`; 0: none
  Le32 version_major;
  uint8_t version_minor = 0;
  uint8_t lock_implementation = 0;
  std::array<char, 46> host_name{};  // ESXi: the owner's IP address, as text
  Le64 journal_volume_address;
  base::Uuid replayer;
  std::array<uint8_t, 0x18> unknown_0x7c{};
  Le64 replayer_heartbeat;
  Le64 replayer_generation;
  std::array<uint8_t, 0x15c> unknown_0xa4{};

  HeartbeatState state() const { return static_cast<HeartbeatState>(uint32_t{state_value}); }
  void set_state(HeartbeatState state) { state_value = static_cast<uint32_t>(state); }
};
static_assert(base::OnDisk<HeartbeatSlot> && sizeof(HeartbeatSlot) == 0x200);
static_assert(offsetof(HeartbeatSlot, own_address) == 0x04);
static_assert(offsetof(HeartbeatSlot, generation) == 0x0c);
static_assert(offsetof(HeartbeatSlot, stamp_us) == 0x14);
static_assert(offsetof(HeartbeatSlot, owner) == 0x1c);
static_assert(offsetof(HeartbeatSlot, journal_block) == 0x2c);
static_assert(offsetof(HeartbeatSlot, version_major) == 0x30);
static_assert(offsetof(HeartbeatSlot, version_minor) == 0x34);
static_assert(offsetof(HeartbeatSlot, lock_implementation) == 0x35);
static_assert(offsetof(HeartbeatSlot, host_name) == 0x36);
static_assert(offsetof(HeartbeatSlot, journal_volume_address) == 0x64);
static_assert(offsetof(HeartbeatSlot, replayer) == 0x6c);
static_assert(offsetof(HeartbeatSlot, replayer_heartbeat) == 0x94);
static_assert(offsetof(HeartbeatSlot, replayer_generation) == 0x9c);

inline constexpr uint8_t kLockImplementation = 3;  // what ESXi writes

// Volume address of slot `index` (under 1,024), and back.
constexpr uint64_t HeartbeatAddress(uint32_t index) {
  return kHeartbeatOffset + uint64_t{index} * kMetadataBlockBytes;
}
constexpr bool IsHeartbeatAddress(uint64_t address) {
  return address >= kHeartbeatOffset && address < HeartbeatAddress(kHeartbeatSlotCount) &&
         address % kMetadataBlockBytes == 0;
}
constexpr uint32_t HeartbeatIndex(uint64_t address) {
  return static_cast<uint32_t>((address - kHeartbeatOffset) / kMetadataBlockBytes);
}

// A slot as mkfs leaves it: free, never used.
HeartbeatSlot MakeFreeHeartbeatSlot(uint64_t own_address);

// `bytes` hold at least the slot's first sector. Errors: kCorrupt (unknown state, wrong own
// address, in use without an owner).
base::Result<HeartbeatSlot> DecodeHeartbeatSlot(std::span<const std::byte> bytes,
                                                uint64_t expected_address);

}  // namespace vmfs
