#include "vmfs/format/lock_block.h"

#include "vmfs/format/corrupt.h"

namespace vmfs {

LockBlock MakeFreeLock(LockType type, uint64_t own_address) {
  LockBlock lock;
  lock.type_value = static_cast<uint32_t>(type);
  lock.own_address = own_address;
  lock.token = 1;
  return lock;
}

base::Result<LockBlock> DecodeLockBlock(std::span<const std::byte> bytes,
                                        uint64_t expected_address) {
  if (bytes.size() < sizeof(LockBlock)) {
    return CorruptError("lock {:#x}: only {} bytes", expected_address, bytes.size());
  }
  if (IsZero(bytes.first(sizeof(LockBlock)))) {
    return NotRecognizedError("lock {:#x}: all zero, never used", expected_address);
  }
  const auto lock = base::LoadAs<LockBlock>(bytes);
  if (lock.type() < LockType::kFd || lock.type() > LockType::kLargeBlockCluster) {
    return CorruptError("lock {:#x}: unknown type {:#x}", expected_address,
                        uint32_t{lock.type_value});
  }
  if (lock.own_address != expected_address) {
    return CorruptError("lock {:#x}: says its address is {:#x}", expected_address,
                        uint64_t{lock.own_address});
  }
  if (lock.mode() > LockMode::kMultiWriter) {
    return CorruptError("lock {:#x}: unknown mode {}", expected_address,
                        uint32_t{lock.mode_value});
  }
  if (lock.holder_count > kLockHoldersMax) {
    return CorruptError("lock {:#x}: {} holders, at most {} fit", expected_address,
                        uint32_t{lock.holder_count}, kLockHoldersMax);
  }
  if (lock.mode() == LockMode::kExclusive && lock.owner.is_zero()) {
    return CorruptError("lock {:#x}: exclusive without an owner", expected_address);
  }
  return lock;
}

base::Result<LockBlock> DecodeLockBlock(std::span<const std::byte> bytes, uint64_t expected_address,
                                        LockType expected_type) {
  TRY(const LockBlock lock, DecodeLockBlock(bytes, expected_address));
  if (lock.type() != expected_type) {
    return CorruptError("lock {:#x}: type {:#x}, expected {:#x}", expected_address,
                        uint32_t{lock.type_value}, static_cast<uint32_t>(expected_type));
  }
  return lock;
}

}  // namespace vmfs
