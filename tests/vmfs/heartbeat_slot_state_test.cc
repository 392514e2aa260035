#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "fs/base/on_disk.h"
#include "vmfs/lock/slot_state.h"

namespace vmfs {
namespace {

base::Uuid MakeUuid(uint8_t fill) {
  base::Uuid uuid;
  uuid.bytes.fill(fill);
  return uuid;
}

HostIdentity Identity(uint8_t fill = 0x11) {
  HostIdentity identity;
  identity.owner = MakeUuid(fill);
  identity.address_text = "esx1 pid 41";
  return identity;
}

HeartbeatSlot FreeSlot() {
  return MakeFreeHeartbeatSlot(HeartbeatAddress(7));
}

HeartbeatSlot UsedSlot() {
  return AcquiredSlot(FreeSlot(), Identity(), 5'000'000);
}

// A sector written field by field at the offsets the format names.
class Golden {
 public:
  Golden() { U32(0x00, 0xABCDEF02).U64(0x04, 0x307000).U64(0x0c, 1).U64(0x14, 5'000'000); }

  Golden& U8(size_t offset, uint8_t value) { return Put(offset, value); }

  Golden& U32(size_t offset, uint32_t value) { return Put(offset, base::Le32(value)); }

  Golden& U64(size_t offset, uint64_t value) { return Put(offset, base::Le64(value)); }

  Golden& Uuid(size_t offset, const base::Uuid& uuid) { return Put(offset, uuid); }

  Golden& Host() {
    U32(0x30, 24).U8(0x34, 82).U8(0x35, 3);
    std::memcpy(bytes_.data() + 0x36, "esx1 pid 41", 11);
    return *this;
  }

  bool Equals(const HeartbeatSlot& slot) const {
    return std::memcmp(bytes_.data(), &slot, sizeof(slot)) == 0;
  }

 private:
  template <typename T>
  Golden& Put(size_t offset, const T& value) {
    base::StoreAs(std::span(bytes_), offset, value);
    return *this;
  }

  std::vector<std::byte> bytes_ = std::vector<std::byte>(512);
};

TEST(SlotState, AcquiringGivesTheDocumentedBytes) {
  Golden golden;
  golden.Uuid(0x1c, MakeUuid(0x11)).Host();
  EXPECT_TRUE(golden.Equals(UsedSlot()));
}

TEST(SlotState, AJournalIsNamedByBothItsAddresses) {
  Golden golden;
  golden.Uuid(0x1c, MakeUuid(0x11)).Host().U32(0x2c, 0x47).U64(0x64, 0x12300000);
  EXPECT_TRUE(golden.Equals(WithJournal(UsedSlot(), 0x47, 0x12300000)));
}

TEST(SlotState, ReplayingNamesTheReplayerAndKeepsTheOwner) {
  Golden golden;
  golden.U32(0x00, 0xABCDEF03).Uuid(0x1c, MakeUuid(0x11)).Host();
  golden.Uuid(0x6c, MakeUuid(0x22)).U64(0x94, 0x30a000).U64(0x9c, 9);
  EXPECT_TRUE(golden.Equals(ReplayingSlot(UsedSlot(), MakeUuid(0x22), 0x30a000, 9)));
}

TEST(SlotState, FreeingLeavesTheFormThatESXiLeaves) {
  Golden golden;
  golden.U32(0x00, 0xABCDEF01).U64(0x0c, 2).Host();
  const HeartbeatSlot used = WithJournal(UsedSlot(), 0x47, 0x12300000);
  EXPECT_TRUE(golden.Equals(FreedSlot(used)));
  EXPECT_TRUE(golden.Equals(FreedSlot(ReplayingSlot(used, MakeUuid(0x22), 0x30a000, 9))));
}

TEST(SlotState, GenerationsAreOddInUseAndEvenWhenFree) {
  HeartbeatSlot slot = FreeSlot();
  for (uint64_t round = 0; round < 3; ++round) {
    slot = AcquiredSlot(slot, Identity(), 1);
    EXPECT_EQ(slot.generation, 2 * round + 1);
    slot = FreedSlot(slot);
    EXPECT_EQ(slot.generation, 2 * round + 2);
  }
}

TEST(SlotState, APulseAlwaysChangesTheStamp) {
  const HeartbeatSlot slot = UsedSlot();
  EXPECT_EQ(PulsedSlot(slot, 8'000'000).stamp_us, 8'000'000u);
  EXPECT_EQ(PulsedSlot(slot, 5'000'000).stamp_us, 5'000'001u);
  EXPECT_EQ(PulsedSlot(slot, 10).stamp_us, 5'000'001u);
}

TEST(SlotState, UnknownBytesSurviveEveryChange) {
  HeartbeatSlot slot = FreeSlot();
  slot.unknown_0x7c.fill(0xA5);
  slot.unknown_0xa4.fill(0x5A);
  const HeartbeatSlot changed =
      FreedSlot(ReplayingSlot(AcquiredSlot(slot, Identity(), 1), MakeUuid(2), 0x300000, 1));
  EXPECT_EQ(changed.unknown_0x7c, slot.unknown_0x7c);
  EXPECT_EQ(changed.unknown_0xa4, slot.unknown_0xa4);
}

TEST(SlotState, ALongHostNameIsCutAndNothingUnprintableIsShown) {
  HostIdentity identity = Identity();
  identity.address_text = "\x1b[31m" + std::string(100, 'x');
  const std::string name = HostNameOf(AcquiredSlot(FreeSlot(), identity, 1));
  EXPECT_EQ(name, "?[31m" + std::string(40, 'x'));
}

TEST(SlotState, ADamagedSlotCarriesItsFault) {
  SectorImage image(512);
  HeartbeatSlot slot = FreeSlot();
  slot.state_value = 0x12345678;
  base::StoreAs(std::span(image), 0, slot);
  const SlotState state = MakeSlotState(7, image);
  ASSERT_TRUE(state.fault.has_value());
  EXPECT_EQ(state.fault->code(), base::Code::kCorrupt);
}

SlotVerdict Judge(const HeartbeatSlot& slot, std::optional<bool> guard_obtained, bool covers,
                  uint8_t own_fill = 0x33) {
  SlotEvidence evidence;
  evidence.guard_obtained = guard_obtained;
  evidence.guard_covers_every_writer = covers;
  evidence.own_owner = MakeUuid(own_fill);
  return JudgeSlot(slot, evidence);
}

TEST(JudgeSlot, FreeIsFreeWhateverTheGuardSays) {
  EXPECT_EQ(Judge(FreeSlot(), false, true), SlotVerdict::kFree);
  EXPECT_EQ(Judge(FreeSlot(), std::nullopt, false), SlotVerdict::kFree);
}

TEST(JudgeSlot, OursIsOurs) {
  SlotEvidence evidence;
  evidence.ours = true;
  EXPECT_EQ(JudgeSlot(UsedSlot(), evidence), SlotVerdict::kOurs);
}

TEST(JudgeSlot, AHeldGuardMeansAlive) {
  EXPECT_EQ(Judge(UsedSlot(), false, true), SlotVerdict::kLive);
  EXPECT_EQ(Judge(UsedSlot(), false, false), SlotVerdict::kLive);
}

TEST(JudgeSlot, AnObtainedGuardMeansDeadWhereItCoversEveryWriter) {
  EXPECT_EQ(Judge(UsedSlot(), true, true), SlotVerdict::kDead);
}

TEST(JudgeSlot, OnSharedMediaAnObtainedGuardSpeaksOnlyForOurOwnUuid) {
  EXPECT_EQ(Judge(UsedSlot(), true, false), SlotVerdict::kMustWatch);
  EXPECT_EQ(Judge(UsedSlot(), true, false, 0x11), SlotVerdict::kDead);
}

TEST(JudgeSlot, WithoutAGuardOnlyWatchingTells) {
  EXPECT_EQ(Judge(UsedSlot(), std::nullopt, false), SlotVerdict::kMustWatch);
}

TEST(JudgeSlot, AReplayedSlotLivesByItsReplayer) {
  const HeartbeatSlot slot = ReplayingSlot(UsedSlot(), MakeUuid(0x22), HeartbeatAddress(9), 5);
  EXPECT_EQ(Judge(slot, true, false, 0x11), SlotVerdict::kMustWatch);
  EXPECT_EQ(Judge(slot, true, false, 0x22), SlotVerdict::kDead);
  HeartbeatSlot replayer = MakeFreeHeartbeatSlot(HeartbeatAddress(9));
  EXPECT_TRUE(ReplayerIsGone(slot, replayer));
  replayer.generation = 4;
  replayer = AcquiredSlot(replayer, Identity(0x22), 1);
  EXPECT_FALSE(ReplayerIsGone(slot, replayer));
  replayer.generation = 7;
  EXPECT_TRUE(ReplayerIsGone(slot, replayer));
}

}  // namespace
}  // namespace vmfs
