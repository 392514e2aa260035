#include "vmfs/format/heartbeat_slot.h"

#include "vmfs/format/corrupt.h"

namespace vmfs {

HeartbeatSlot MakeFreeHeartbeatSlot(uint64_t own_address) {
  HeartbeatSlot slot;
  slot.set_state(HeartbeatState::kFree);
  slot.own_address = own_address;
  return slot;
}

base::Result<HeartbeatSlot> DecodeHeartbeatSlot(std::span<const std::byte> bytes,
                                                uint64_t expected_address) {
  if (bytes.size() < sizeof(HeartbeatSlot)) {
    return CorruptError("heartbeat {:#x}: only {} bytes", expected_address, bytes.size());
  }
  const auto slot = base::LoadAs<HeartbeatSlot>(bytes);
  const HeartbeatState state = slot.state();
  if (state != HeartbeatState::kFree && state != HeartbeatState::kInUse &&
      state != HeartbeatState::kReplaying) {
    return CorruptError("heartbeat {:#x}: unknown state {:#x}", expected_address,
                        uint32_t{slot.state_value});
  }
  if (slot.own_address != expected_address) {
    return CorruptError("heartbeat {:#x}: says its address is {:#x}", expected_address,
                        uint64_t{slot.own_address});
  }
  if (state != HeartbeatState::kFree && slot.owner.is_zero()) {
    return CorruptError("heartbeat {:#x}: in use without an owner", expected_address);
  }
  return slot;
}

}  // namespace vmfs
