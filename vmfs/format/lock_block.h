// Lock blocks: the first metadata block of every lockable object.
//
// Changed only by compare-and-write of the first sector, which is what the struct holds; never
// journaled (vmfs/FORMAT.md, "Locks"). Unknown bytes are kept when it is stored back. Plain values,
// any thread; no I/O.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "fs/base/on_disk.h"
#include "fs/base/result.h"
#include "fs/base/uuid.h"
#include "vmfs/format/lvm.h"

namespace vmfs {

enum class LockType : uint32_t {
  kFd = 0x10C00001,
  kSmallBlockCluster = 0x10C00002,
  kSubBlockCluster = 0x10C00003,
  kPointerBlockCluster = 0x10C00004,
  kFdCluster = 0x10C00005,
  kPb2Cluster = 0x10C00006,
  kJournalCluster = 0x10C00007,
  kLargeBlockCluster = 0x10C00008,
};

enum class LockMode : uint32_t {
  kFree = 0,
  kExclusive = 1,
  kReadOnly = 2,     // shared by the holders in the list
  kMultiWriter = 3,  // shared by the holders in the list
};

struct LockHolder {
  Le64 heartbeat_address;
  Le64 heartbeat_generation;
  base::Uuid owner;
};
static_assert(base::OnDisk<LockHolder> && sizeof(LockHolder) == 32);

inline constexpr uint32_t kLockHoldersMax = 8;

struct LockBlock {
  Le32 type_value;
  Le64 own_address;
  Le64 heartbeat_address;     // of the (last) holder; kept after release
  Le64 heartbeat_generation;  // of the (last) holder; kept after release
  Le64 token;                 // 1 when formatted, one more at each change, never starts again
  Le32 mode_value;
  base::Uuid owner;  // mode kExclusive; zero otherwise
  Le64 mtime;        // ESXi: a counter of the host; we leave it alone
  Le32 holder_count;
  std::array<LockHolder, kLockHoldersMax> holders{};
  std::array<uint8_t, 32> unknown_0x144{};
  Le32 global_holder_count;
  Le64 global_generation;
  Le32 global_break;
  std::array<uint8_t, 0x8c> unknown_0x174{};

  LockType type() const { return static_cast<LockType>(uint32_t{type_value}); }
  LockMode mode() const { return static_cast<LockMode>(uint32_t{mode_value}); }
  void set_mode(LockMode mode) { mode_value = static_cast<uint32_t>(mode); }
};
static_assert(base::OnDisk<LockBlock> && sizeof(LockBlock) == 0x200);
static_assert(offsetof(LockBlock, own_address) == 0x04);
static_assert(offsetof(LockBlock, heartbeat_address) == 0x0c);
static_assert(offsetof(LockBlock, heartbeat_generation) == 0x14);
static_assert(offsetof(LockBlock, token) == 0x1c);
static_assert(offsetof(LockBlock, mode_value) == 0x24);
static_assert(offsetof(LockBlock, owner) == 0x28);
static_assert(offsetof(LockBlock, mtime) == 0x38);
static_assert(offsetof(LockBlock, holder_count) == 0x40);
static_assert(offsetof(LockBlock, holders) == 0x44);
static_assert(offsetof(LockBlock, global_holder_count) == 0x164);
static_assert(offsetof(LockBlock, global_generation) == 0x168);
static_assert(offsetof(LockBlock, global_break) == 0x170);

// A lock as mkfs leaves it: free, token 1.
LockBlock MakeFreeLock(LockType type, uint64_t own_address);

// `bytes` hold at least the block's first sector. Errors: kNotRecognized (all zero: an object never
// used), kCorrupt (unknown type or mode, wrong own address, holders that contradict the mode).
base::Result<LockBlock> DecodeLockBlock(std::span<const std::byte> bytes,
                                        uint64_t expected_address);

// The same, and kCorrupt when the type is another one.
base::Result<LockBlock> DecodeLockBlock(std::span<const std::byte> bytes,
                                        uint64_t expected_address, LockType expected_type);

}  // namespace vmfs
