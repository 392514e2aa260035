#include "vmfs/lock/heartbeat.h"

#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "tests/support/sim_cluster.h"

namespace vmfs {
namespace {

constexpr uint64_t kSecond = 1'000'000;

base::Uuid MakeUuid(uint8_t fill) {
  base::Uuid uuid;
  uuid.bytes.fill(fill);
  return uuid;
}

HeartbeatOptions Options(uint8_t fill, ProcessGuard* guard) {
  HeartbeatOptions options;
  options.identity.owner = MakeUuid(fill);
  options.identity.address_text = "host" + std::to_string(fill) + " pid 1";
  options.guard = guard;
  return options;
}

std::unique_ptr<Heartbeat> MakeHeartbeat(sim::SimHost& host, uint8_t fill, bool guarded = true) {
  return std::make_unique<Heartbeat>(host.executor, host.disk,
                                     Options(fill, guarded ? &host.guard : nullptr));
}

TEST(Heartbeat, ReadSlotsDecodesAllInOrder) {
  sim::SimCluster cluster(1);
  sim::SimHost& host = cluster.AddHost();
  HeartbeatSlot damaged = cluster.Slot(3);
  damaged.own_address = 1;
  cluster.PutSlot(3, damaged);
  const auto slots = cluster.Run(Heartbeat::ReadSlots(host.disk));
  ASSERT_TRUE(slots);
  ASSERT_EQ(slots->size(), kHeartbeatSlotCount);
  EXPECT_EQ(host.disk.request_count(), 4u);
  EXPECT_TRUE((*slots)[3].fault.has_value());
  EXPECT_EQ((*slots)[1023].address, HeartbeatAddress(1023));
  EXPECT_FALSE((*slots)[1023].fault.has_value());
}

TEST(Heartbeat, AcquirePulsesAndReleasesOneSlot) {
  sim::SimCluster cluster(1);
  sim::SimHost& host = cluster.AddHost();
  const auto heartbeat = MakeHeartbeat(host, 1);
  ASSERT_TRUE(cluster.Run(heartbeat->Acquire()));
  const uint32_t index = heartbeat->slot_index();
  const HeartbeatSlot acquired = cluster.Slot(index);
  EXPECT_EQ(acquired.state(), HeartbeatState::kInUse);
  EXPECT_EQ(acquired.generation, heartbeat->generation());
  EXPECT_EQ(acquired.owner, MakeUuid(1));
  ASSERT_TRUE(cluster.Run(heartbeat->SetJournal(0x47, 0x12300000)));
  cluster.RunFor(10 * kSecond);
  const HeartbeatSlot pulsed = cluster.Slot(index);
  EXPECT_GT(pulsed.stamp_us, acquired.stamp_us + 8 * kSecond);
  EXPECT_EQ(pulsed.journal_block, 0x47u);
  EXPECT_EQ(pulsed.journal_volume_address, 0x12300000u);
  const uint64_t before_us = cluster.world.NowMicroseconds();
  ASSERT_TRUE(cluster.Run(heartbeat->Release()));
  EXPECT_LT(cluster.world.NowMicroseconds() - before_us, kSecond);
  const HeartbeatSlot expected = FreedSlot(pulsed);
  const HeartbeatSlot released = cluster.Slot(index);
  EXPECT_EQ(0, std::memcmp(&expected, &released, sizeof(expected)));
  EXPECT_TRUE(cluster.guards.holders.empty());
  EXPECT_FALSE(heartbeat->MayWrite());
}

TEST(Heartbeat, ASecondMountIsRefusedAtOnceNamingTheHolder) {
  sim::SimCluster cluster(1);
  sim::SimHost& first = cluster.AddHost();
  sim::SimHost& second = cluster.AddHost();
  const auto held = MakeHeartbeat(first, 1);
  ASSERT_TRUE(cluster.Run(held->Acquire()));
  const auto refused = MakeHeartbeat(second, 2);
  const uint64_t before_us = cluster.world.NowMicroseconds();
  const base::Status status = cluster.Run(refused->Acquire());
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), base::Code::kLockHeld);
  EXPECT_NE(status.error().message().find("host1 pid 1"), std::string::npos);
  EXPECT_LT(cluster.world.NowMicroseconds() - before_us, kSecond);
  ASSERT_TRUE(cluster.Run(held->Release()));
  const auto next = MakeHeartbeat(second, 2);
  ASSERT_TRUE(cluster.Run(next->Acquire()));
  ASSERT_TRUE(cluster.Run(next->Release()));
}

TEST(Heartbeat, AStoppedProcessCountsAsAlive) {
  sim::SimCluster cluster(1);
  sim::SimHost& first = cluster.AddHost();
  sim::SimHost& second = cluster.AddHost();
  const auto held = MakeHeartbeat(first, 1);
  ASSERT_TRUE(cluster.Run(held->Acquire()));
  first.executor.Stop();
  cluster.RunFor(60 * kSecond);
  const auto refused = MakeHeartbeat(second, 2);
  const base::Status status = cluster.Run(refused->Acquire());
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), base::Code::kLockHeld);
  first.executor.Continue();
  ASSERT_TRUE(cluster.Run(held->Release()));
}

TEST(Heartbeat, WithoutAGuardALivingHostIsSeenByItsPulse) {
  sim::SimCluster cluster(1);
  sim::SimHost& first = cluster.AddHost();
  sim::SimHost& second = cluster.AddHost();
  const auto held = MakeHeartbeat(first, 1, /*guarded=*/false);
  ASSERT_TRUE(cluster.Run(held->Acquire()));
  const auto refused = MakeHeartbeat(second, 2, /*guarded=*/false);
  const uint64_t before_us = cluster.world.NowMicroseconds();
  const base::Status status = cluster.Run(refused->Acquire());
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), base::Code::kLockHeld);
  EXPECT_NE(status.error().message().find("host1 pid 1"), std::string::npos);
  EXPECT_LT(cluster.world.NowMicroseconds() - before_us, 5 * kSecond);
  ASSERT_TRUE(cluster.Run(held->Release()));
}

TEST(Heartbeat, ASlotInAStateWeDoNotKnowIsRefused) {
  sim::SimCluster cluster(1);
  sim::SimHost& host = cluster.AddHost();
  HeartbeatSlot foreign = cluster.Slot(900);
  foreign.state_value = 0xABCDEF04;
  cluster.PutSlot(900, foreign);
  const auto heartbeat = MakeHeartbeat(host, 1);
  const base::Status status = cluster.Run(heartbeat->Acquire());
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), base::Code::kCorrupt);
  EXPECT_EQ(cluster.SlotsInUse(), 1u);
}

TEST(Heartbeat, OfTwoThatStartTogetherAtMostOneGetsTheVolume) {
  int both_refused_count = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    sim::SimCluster cluster(seed);
    const bool guarded = seed % 2 == 0;
    sim::SimHost& first = cluster.AddHost();
    sim::SimHost& second = cluster.AddHost();
    const auto one = MakeHeartbeat(first, 1, guarded);
    const auto two = MakeHeartbeat(second, 2, guarded);
    base::Task<base::Status> start_one = one->Acquire();
    base::Task<base::Status> start_two = two->Acquire();
    start_one.Start();
    start_two.Start();
    while (!start_one.Done() || !start_two.Done()) cluster.world.RunOnce(true);
    const bool one_has = start_one.TakeValue().has_value();
    const bool two_has = start_two.TakeValue().has_value();
    EXPECT_FALSE(one_has && two_has) << "seed " << seed;
    if (!one_has && !two_has) ++both_refused_count;
    EXPECT_EQ(cluster.SlotsInUse(), one_has || two_has ? 1u : 0u) << "seed " << seed;
    if (one_has) {
      EXPECT_TRUE(cluster.Run(one->Release()));
    }
    if (two_has) {
      EXPECT_TRUE(cluster.Run(two->Release()));
    }
  }
  EXPECT_LT(both_refused_count, 5);
}

TEST(Heartbeat, WritingEndsTwelveSecondsAfterTheLastPulseBegan) {
  sim::SimCluster cluster(1);
  sim::SimHost& host = cluster.AddHost();
  const auto heartbeat = MakeHeartbeat(host, 1);
  ASSERT_TRUE(cluster.Run(heartbeat->Acquire()));
  EXPECT_TRUE(heartbeat->MayWrite());
  EXPECT_TRUE(heartbeat->CheckMayWrite());
  host.executor.Stop();
  cluster.RunFor(11 * kSecond);
  EXPECT_TRUE(heartbeat->MayWrite());
  cluster.RunFor(kSecond + kSecond / 2);
  EXPECT_FALSE(heartbeat->MayWrite());
  const base::Status status = heartbeat->CheckMayWrite();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), base::Code::kFenced);
  EXPECT_NE(status.error().message().find("writes stop after 12000 ms"), std::string::npos);
  host.executor.Continue();
  ASSERT_TRUE(cluster.Run(heartbeat->Release()));
}

TEST(Heartbeat, AHostStoppedForAMinuteCarriesOnIfNobodyTouchedItsSlot) {
  sim::SimCluster cluster(1);
  sim::SimHost& host = cluster.AddHost();
  const auto heartbeat = MakeHeartbeat(host, 1);
  ASSERT_TRUE(cluster.Run(heartbeat->Acquire()));
  host.executor.Stop();
  cluster.RunFor(60 * kSecond);
  EXPECT_FALSE(heartbeat->MayWrite());
  host.executor.Continue();
  ASSERT_TRUE(cluster.Run(heartbeat->WaitUntilMayWrite()));
  EXPECT_FALSE(heartbeat->fenced());
  EXPECT_TRUE(heartbeat->MayWrite());
  ASSERT_TRUE(cluster.Run(heartbeat->Release()));
}

TEST(Heartbeat, ASlotChangedBySomebodyElseFences) {
  sim::SimCluster cluster(1);
  sim::SimHost& host = cluster.AddHost();
  const auto heartbeat = MakeHeartbeat(host, 1);
  ASSERT_TRUE(cluster.Run(heartbeat->Acquire()));
  std::string reason;
  heartbeat->SetFenceListener([&](const std::string& text) { reason = text; });
  const uint32_t index = heartbeat->slot_index();
  cluster.PutSlot(index, ReplayingSlot(cluster.Slot(index), MakeUuid(9), HeartbeatAddress(9), 1));
  cluster.RunFor(4 * kSecond);
  EXPECT_TRUE(heartbeat->fenced());
  EXPECT_FALSE(heartbeat->MayWrite());
  EXPECT_NE(reason.find("changed by another host"), std::string::npos);
  EXPECT_EQ(heartbeat->CheckMayWrite().error().code(), base::Code::kFenced);
  EXPECT_EQ(cluster.Run(heartbeat->WaitUntilMayWrite()).error().code(), base::Code::kFenced);
  EXPECT_EQ(cluster.Run(heartbeat->Release()).error().code(), base::Code::kFenced);
  EXPECT_EQ(cluster.Slot(index).state(), HeartbeatState::kReplaying);
}

TEST(Heartbeat, APulseWhoseAnswerGotLostDoesNotFence) {
  sim::SimCluster cluster(1);
  sim::SimHost& host = cluster.AddHost();
  const auto heartbeat = MakeHeartbeat(host, 1);
  ASSERT_TRUE(cluster.Run(heartbeat->Acquire()));
  host.disk.FailAt(1, sim::HostDisk::Failure::kAnswerLost);
  cluster.RunFor(30 * kSecond);
  EXPECT_TRUE(host.disk.has_failed());
  EXPECT_FALSE(heartbeat->fenced());
  EXPECT_TRUE(heartbeat->MayWrite());
  ASSERT_TRUE(cluster.Run(heartbeat->Release()));
}

TEST(Heartbeat, AHostWhoseDeviceFailsStopsWritingAndComesBackWithTheDevice) {
  sim::SimCluster cluster(1);
  sim::SimHost& host = cluster.AddHost();
  const auto heartbeat = MakeHeartbeat(host, 1);
  ASSERT_TRUE(cluster.Run(heartbeat->Acquire()));
  host.disk.FailAt(1, sim::HostDisk::Failure::kNotDone, /*for_good=*/true);
  cluster.RunFor(14 * kSecond);
  EXPECT_FALSE(heartbeat->MayWrite());
  EXPECT_FALSE(heartbeat->fenced());
  host.disk.FailNever();
  cluster.RunFor(2 * kSecond);
  EXPECT_TRUE(heartbeat->MayWrite());
  ASSERT_TRUE(cluster.Run(heartbeat->Release()));
}

TEST(Heartbeat, StopEndsThePulseAtOnceAndLeavesTheSlot) {
  sim::SimCluster cluster(1);
  sim::SimHost& host = cluster.AddHost();
  const auto heartbeat = MakeHeartbeat(host, 1);
  ASSERT_TRUE(cluster.Run(heartbeat->Acquire()));
  const uint64_t before_us = cluster.world.NowMicroseconds();
  cluster.Run(heartbeat->Stop());
  EXPECT_LT(cluster.world.NowMicroseconds() - before_us, kSecond);
  EXPECT_EQ(cluster.Slot(heartbeat->slot_index()).state(), HeartbeatState::kInUse);
}

TEST(Heartbeat, AFailingDeviceNeverLeavesTwoOwners) {
  for (const auto failure :
       {sim::HostDisk::Failure::kNotDone, sim::HostDisk::Failure::kAnswerLost}) {
    for (uint64_t nth = 1;; ++nth) {
      sim::SimCluster cluster(nth);
      sim::SimHost& host = cluster.AddHost();
      bool failed = false;
      {
        const auto heartbeat = MakeHeartbeat(host, 1);
        host.disk.FailAt(nth, failure);
        base::Status status = cluster.Run(heartbeat->Acquire());
        if (status) status = cluster.Run(heartbeat->SetJournal(1, 0x1000000));
        if (heartbeat->held()) {
          const base::Status released = cluster.Run(heartbeat->Release());
          if (status) status = released;
        }
        failed = host.disk.has_failed();
        EXPECT_EQ(status.has_value(), !failed) << "request " << nth;
        if (!status) {
          EXPECT_EQ(status.error().code(), base::Code::kIo) << "request " << nth;
        }
      }
      EXPECT_LE(cluster.SlotsInUse(), 1u) << "request " << nth;
      EXPECT_TRUE(cluster.guards.holders.empty()) << "request " << nth;
      host.disk.FailNever();
      const auto next = MakeHeartbeat(host, 2);
      ASSERT_TRUE(cluster.Run(next->Acquire())) << "request " << nth;
      ASSERT_TRUE(cluster.Run(next->Release())) << "request " << nth;
      if (!failed) break;
    }
  }
}

}  // namespace
}  // namespace vmfs
