#include "vmfs/lock/lock_state.h"

#include <utility>

#include <fmt/format.h>

#include "vmfs/lock/lock_modes.h"

namespace vmfs {
namespace {

constexpr size_t kMacOffset = 10;  // in a UUID

fss::LockState::Mode ModeOf(LockMode mode) {
  switch (mode) {
    case LockMode::kFree: return fss::LockState::Mode::kFree;
    case LockMode::kExclusive: return fss::LockState::Mode::kExclusive;
    case LockMode::kReadOnly: return fss::LockState::Mode::kReadOnly;
    case LockMode::kMultiWriter: break;
  }
  return fss::LockState::Mode::kMultiWriter;
}

}  // namespace

base::Task<base::Result<fss::LockState>> ReadLockState(base::BlockDevice& volume,
                                                       uint64_t lock_address) {
  SectorImage image;
  CO_TRY_STATUS(co_await ReadSector(volume, lock_address, image));
  CO_TRY(const LockBlock lock, DecodeLockBlock(image, lock_address));
  fss::LockState state;
  state.mode = ModeOf(lock.mode());
  state.address = lock_address;
  state.token = lock.token;
  for (const LockHolder& holder : HoldersOf(lock)) {
    fss::LockState::Owner owner;
    owner.host_uuid = holder.owner.ToString();
    const std::span<const uint8_t> mac(holder.owner.bytes.begin() + kMacOffset,
                                       holder.owner.bytes.end());
    owner.mac = fmt::format("{:02x}", fmt::join(mac, ":"));
    owner.heartbeat_address = holder.heartbeat_address;
    owner.heartbeat_generation = holder.heartbeat_generation;
    state.owners.push_back(std::move(owner));
  }
  co_return state;
}

}  // namespace vmfs
