#include "vmfs/lock/lock_modes.h"

#include <cstring>

#include <gtest/gtest.h>

#include "fs/base/on_disk.h"

namespace vmfs {
namespace {

constexpr uint64_t kLockAddress = 0x720000;

base::Uuid MakeUuid(uint8_t fill) {
  base::Uuid uuid;
  uuid.bytes.fill(fill);
  return uuid;
}

LockHolder Host(uint8_t n) {
  return {0x300000 + uint64_t{n} * 0x1000, uint64_t{2} * n + 1, MakeUuid(n)};
}

LockBlock FreeLock() {
  return MakeFreeLock(LockType::kFd, kLockAddress);
}

// A sector written field by field at the offsets the format names.
class Golden {
 public:
  Golden& U32(size_t offset, uint32_t value) { return Put(offset, base::Le32(value)); }

  Golden& U64(size_t offset, uint64_t value) { return Put(offset, base::Le64(value)); }

  Golden& Uuid(size_t offset, const base::Uuid& uuid) { return Put(offset, uuid); }

  bool Equals(const LockBlock& lock) const {
    return std::memcmp(bytes_.data(), &lock, sizeof(lock)) == 0;
  }

 private:
  template <typename T>
  Golden& Put(size_t offset, const T& value) {
    base::StoreAs(std::span(bytes_), offset, value);
    return *this;
  }

  std::vector<std::byte> bytes_ = std::vector<std::byte>(512);
};

TEST(LockModes, TakingALockGivesTheDocumentedBytes) {
  const LockBlock taken = TakenLock(FreeLock(), Host(5));
  Golden golden;
  golden.U32(0x00, 0x10C00001).U64(0x04, kLockAddress).U64(0x0c, 0x305000).U64(0x14, 11);
  golden.U64(0x1c, 2).U32(0x24, 1).Uuid(0x28, MakeUuid(5));
  EXPECT_TRUE(golden.Equals(taken));
}

TEST(LockModes, FreeingKeepsTheLastHoldersHeartbeatAndZeroesTheOwner) {
  const LockBlock freed = FreedLock(TakenLock(FreeLock(), Host(5)));
  Golden golden;
  golden.U32(0x00, 0x10C00001).U64(0x04, kLockAddress).U64(0x0c, 0x305000).U64(0x14, 11);
  golden.U64(0x1c, 3).U32(0x24, 0);
  EXPECT_TRUE(golden.Equals(freed));
}

TEST(LockModes, SharingListsTheHolders) {
  const LockBlock one = *AddHolder(FreeLock(), LockMode::kReadOnly, Host(1));
  const LockBlock two = *AddHolder(one, LockMode::kReadOnly, Host(2));
  Golden golden;
  golden.U32(0x00, 0x10C00001).U64(0x04, kLockAddress).U64(0x0c, 0x302000).U64(0x14, 5);
  golden.U64(0x1c, 3).U32(0x24, 2).U32(0x40, 2);
  golden.U64(0x44, 0x301000).U64(0x4c, 3).Uuid(0x54, MakeUuid(1));
  golden.U64(0x64, 0x302000).U64(0x6c, 5).Uuid(0x74, MakeUuid(2));
  EXPECT_TRUE(golden.Equals(two));
}

TEST(LockModes, UnknownBytesSurviveEveryChange) {
  LockBlock lock = FreeLock();
  lock.mtime = 77;
  lock.unknown_0x144.fill(0xA5);
  lock.unknown_0x174.fill(0x5A);
  for (const LockBlock& changed : {TakenLock(lock, Host(1)), FreedLock(TakenLock(lock, Host(1))),
                                   *AddHolder(lock, LockMode::kMultiWriter, Host(1))}) {
    EXPECT_EQ(changed.mtime, 77u);
    EXPECT_EQ(changed.unknown_0x144, lock.unknown_0x144);
    EXPECT_EQ(changed.unknown_0x174, lock.unknown_0x174);
  }
}

TEST(LockModes, HoldersOfAnswersWhoeverHasIt) {
  EXPECT_TRUE(HoldersOf(FreeLock()).empty());
  const std::vector<LockHolder> exclusive = HoldersOf(TakenLock(FreeLock(), Host(3)));
  ASSERT_EQ(exclusive.size(), 1u);
  EXPECT_TRUE(SameHolder(exclusive[0], Host(3)));
  const LockBlock shared = *AddHolder(FreeLock(), LockMode::kMultiWriter, Host(4));
  ASSERT_EQ(HoldersOf(shared).size(), 1u);
  EXPECT_TRUE(SameHolder(HoldersOf(shared)[0], Host(4)));
}

TEST(LockModes, AGenerationLaterIsAnotherHolder) {
  LockHolder later = Host(3);
  later.heartbeat_generation = later.heartbeat_generation + 2;
  const LockBlock taken = TakenLock(FreeLock(), Host(3));
  EXPECT_TRUE(HeldExclusivelyBy(taken, Host(3)));
  EXPECT_FALSE(HeldExclusivelyBy(taken, later));
}

TEST(LockModes, ModesDoNotMix) {
  const LockBlock reading = *AddHolder(FreeLock(), LockMode::kReadOnly, Host(1));
  EXPECT_EQ(AddHolder(reading, LockMode::kMultiWriter, Host(2)).error().code(),
            base::Code::kLockHeld);
  EXPECT_EQ(AddHolder(TakenLock(FreeLock(), Host(1)), LockMode::kReadOnly, Host(2)).error().code(),
            base::Code::kLockHeld);
}

TEST(LockModes, TheNinthHolderFindsNoPlace) {
  LockBlock lock = FreeLock();
  for (uint8_t n = 1; n <= 8; ++n) lock = *AddHolder(lock, LockMode::kReadOnly, Host(n));
  EXPECT_EQ(AddHolder(lock, LockMode::kReadOnly, Host(9)).error().code(), base::Code::kNoSpace);
}

TEST(LockModes, AHolderIsAddedOnce) {
  const LockBlock lock = *AddHolder(FreeLock(), LockMode::kReadOnly, Host(1));
  EXPECT_EQ(AddHolder(lock, LockMode::kReadOnly, Host(1)).error().code(), base::Code::kExists);
}

TEST(LockModes, TheLastHolderToLeaveFreesTheLock) {
  LockBlock lock = *AddHolder(FreeLock(), LockMode::kReadOnly, Host(1));
  lock = *AddHolder(lock, LockMode::kReadOnly, Host(2));
  lock = *RemoveHolder(lock, Host(1));
  EXPECT_EQ(lock.holder_count, 1u);
  EXPECT_TRUE(SameHolder(lock.holders[0], Host(2)));
  EXPECT_EQ(RemoveHolder(lock, Host(1)).error().code(), base::Code::kNotFound);
  lock = *RemoveHolder(lock, Host(2));
  EXPECT_EQ(lock.mode(), LockMode::kFree);
  EXPECT_EQ(lock.holder_count, 0u);
  EXPECT_EQ(lock.token, 5u);
}

TEST(LockModes, OnlyTheOnlyReaderBecomesExclusive) {
  LockBlock lock = *AddHolder(FreeLock(), LockMode::kReadOnly, Host(1));
  EXPECT_EQ(UpgradeToExclusive(lock, Host(2)).error().code(), base::Code::kNotFound);
  const LockBlock two = *AddHolder(lock, LockMode::kReadOnly, Host(2));
  EXPECT_EQ(UpgradeToExclusive(two, Host(1)).error().code(), base::Code::kLockHeld);
  const LockBlock upgraded = *UpgradeToExclusive(lock, Host(1));
  EXPECT_TRUE(HeldExclusivelyBy(upgraded, Host(1)));
  EXPECT_EQ(upgraded.holder_count, 0u);
  EXPECT_EQ(UpgradeToExclusive(upgraded, Host(1)).error().code(), base::Code::kInvalidArgument);
}

TEST(LockModes, TheTokenGrowsByOneWithEachChange) {
  LockBlock lock = FreeLock();
  EXPECT_EQ(lock.token, 1u);
  lock = TakenLock(lock, Host(1));
  EXPECT_EQ(lock.token, 2u);
  lock = FreedLock(lock);
  EXPECT_EQ(lock.token, 3u);
  lock = *AddHolder(lock, LockMode::kReadOnly, Host(1));
  EXPECT_EQ(lock.token, 4u);
  lock = *UpgradeToExclusive(lock, Host(1));
  EXPECT_EQ(lock.token, 5u);
}

}  // namespace
}  // namespace vmfs
