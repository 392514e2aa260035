// Golden tests of heartbeat slots and lock blocks.
#include <gtest/gtest.h>

#include "tests/support/bytes.h"
#include "tests/support/sample.h"
#include "vmfs/format/heartbeat_slot.h"
#include "vmfs/format/lock_block.h"

namespace vmfs {
namespace {

using base::Code;
using testing_support::ExpectError;
using testing_support::ExpectSameBytes;
using testing_support::ReadSampleVolume;
using testing_support::With;

TEST(HeartbeatFormat, ReadsAllSlotsOfTheSample) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  uint32_t used_before_count = 0;
  const auto bytes = ReadSampleVolume(kHeartbeatOffset, 1024 * 4096);
  for (uint32_t index = 0; index < kHeartbeatSlotCount; ++index) {
    const auto slot_bytes = std::span(bytes).subspan(index * size_t{4096}, 4096);
    const auto slot = DecodeHeartbeatSlot(slot_bytes, HeartbeatAddress(index));
    ASSERT_TRUE(slot) << slot.error().message();
    EXPECT_EQ(slot->state(), HeartbeatState::kFree);
    ExpectSameBytes(*slot, slot_bytes);
    if (slot->generation == 0) {
      ExpectSameBytes(MakeFreeHeartbeatSlot(HeartbeatAddress(index)), slot_bytes);
    } else {
      ++used_before_count;
      EXPECT_EQ(TextOf(slot->host_name), "10.199.5.140");
      EXPECT_EQ(slot->version_major, kVmfs6Major);
      EXPECT_EQ(slot->lock_implementation, kLockImplementation);
    }
  }
  EXPECT_EQ(used_before_count, 1u);
}

TEST(HeartbeatFormat, NamesEachBrokenField) {
  const HeartbeatSlot slot = MakeFreeHeartbeatSlot(HeartbeatAddress(7));
  const auto bytes = base::BytesOf(slot);
  const uint64_t address = HeartbeatAddress(7);
  ASSERT_TRUE(DecodeHeartbeatSlot(bytes, address));
  ExpectError(DecodeHeartbeatSlot(With(bytes, 0, uint32_t{0xABCDEF04}), address), Code::kCorrupt,
              "unknown state 0xabcdef04");
  ExpectError(DecodeHeartbeatSlot(With(bytes, 0, uint32_t{0xABCDEF02}), address), Code::kCorrupt,
              "without an owner");
  ExpectError(DecodeHeartbeatSlot(bytes, HeartbeatAddress(8)), Code::kCorrupt, "its address");
  ExpectError(DecodeHeartbeatSlot(bytes.first(100), address), Code::kCorrupt, "bytes");
}

TEST(HeartbeatFormat, AddressesAndIndexesBelongTogether) {
  EXPECT_EQ(HeartbeatAddress(120), 0x378000u);
  EXPECT_EQ(HeartbeatIndex(0x378000), 120u);
  EXPECT_TRUE(IsHeartbeatAddress(0x300000));
  EXPECT_FALSE(IsHeartbeatAddress(0x300200));
  EXPECT_FALSE(IsHeartbeatAddress(0x700000));
  EXPECT_FALSE(IsHeartbeatAddress(0));
}

TEST(LockFormat, ReadsTheLockOfTheRootDirectory) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  const auto bytes = ReadSampleVolume(0x720000, 4096);
  const auto lock = DecodeLockBlock(bytes, 0x720000, LockType::kFd);
  ASSERT_TRUE(lock) << lock.error().message();
  EXPECT_EQ(lock->mode(), LockMode::kFree);
  EXPECT_EQ(lock->heartbeat_address, HeartbeatAddress(120));
  EXPECT_EQ(lock->heartbeat_generation, 9u);
  EXPECT_EQ(lock->token, 3u);
  ExpectSameBytes(*lock, bytes);
}

TEST(LockFormat, NamesEachBrokenField) {
  const LockBlock lock = MakeFreeLock(LockType::kFdCluster, 0x710000);
  const auto bytes = base::BytesOf(lock);
  const auto decode = [&](size_t offset, auto value) {
    return DecodeLockBlock(With(bytes, offset, value), 0x710000, LockType::kFdCluster);
  };
  ASSERT_TRUE(DecodeLockBlock(bytes, 0x710000, LockType::kFdCluster));
  ExpectError(decode(0x00, uint32_t{0x10C00009}), Code::kCorrupt, "unknown type");
  ExpectError(decode(0x00, uint32_t{0x10C00001}), Code::kCorrupt, "expected 0x10c00005");
  ExpectError(decode(0x04, uint64_t{0x712000}), Code::kCorrupt, "its address");
  ExpectError(decode(0x24, uint32_t{4}), Code::kCorrupt, "unknown mode");
  ExpectError(decode(0x24, uint32_t{1}), Code::kCorrupt, "without an owner");
  ExpectError(decode(0x40, uint32_t{9}), Code::kCorrupt, "9 holders");
  const std::vector<std::byte> zeros(512);
  ExpectError(DecodeLockBlock(zeros, 0x710000), Code::kNotRecognized, "never used");
}

}  // namespace
}  // namespace vmfs
