#include <memory>
#include <utility>

#include <gtest/gtest.h>

#include "tests/support/lock_hosts.h"

namespace vmfs {
namespace {

using sim::LockHost;
using sim::LockHostOptions;
using sim::SimCluster;

constexpr uint64_t kSecond = 1'000'000;

std::unique_ptr<LockHost> MakeHost(SimCluster& cluster, uint8_t fill, bool guarded,
                                   bool refuse_others = true) {
  LockHostOptions options;
  options.fill = fill;
  options.guarded = guarded;
  options.refuse_others = refuse_others;
  return std::make_unique<LockHost>(cluster, options);
}

// A host that had a journal and was killed; answers its slot.
uint32_t KillOne(SimCluster& cluster, uint8_t fill, bool guarded) {
  auto host = MakeHost(cluster, fill, guarded, /*refuse_others=*/false);
  EXPECT_TRUE(cluster.Run(host->heartbeat.Acquire()));
  EXPECT_TRUE(cluster.Run(host->heartbeat.SetJournal(0x47, 0x12300000)));
  const uint32_t index = host->heartbeat.slot_index();
  Bury(std::move(host));
  return index;
}

TEST(Takeover, AGuardedDeadHostIsTakenOverAtOnce) {
  SimCluster cluster(1);
  const uint32_t index = KillOne(cluster, 1, true);
  const uint64_t generation = cluster.Slot(index).generation;
  const auto host = MakeHost(cluster, 2, true);
  const uint64_t before_us = cluster.world.NowMicroseconds();
  ASSERT_TRUE(cluster.Run(host->heartbeat.Acquire()));
  ASSERT_TRUE(cluster.Run(host->heartbeat.TakeOverDead(host->takeover)));
  EXPECT_LT(cluster.world.NowMicroseconds() - before_us, kSecond);
  ASSERT_EQ(host->takeover.replayed.size(), 1u);
  const DeadSlot& dead = host->takeover.replayed[0];
  EXPECT_EQ(dead.index, index);
  EXPECT_EQ(dead.address, HeartbeatAddress(index));
  EXPECT_EQ(dead.generation, generation);
  EXPECT_EQ(dead.owner, sim::MakeUuid(1));
  EXPECT_EQ(dead.journal_block_address, 0x47u);
  EXPECT_EQ(dead.journal_volume_address, 0x12300000u);
  EXPECT_EQ(cluster.Slot(index).state(), HeartbeatState::kFree);
  EXPECT_EQ(cluster.Slot(index).generation, generation + 1);
  ASSERT_TRUE(cluster.Run(host->heartbeat.Release()));
  EXPECT_EQ(cluster.SlotsInUse(), 0u);
  EXPECT_TRUE(cluster.guards.holders.empty());
}

TEST(Takeover, WithoutAGuardADeadHostIsWatchedForLeaseAndReclaimWindow) {
  SimCluster cluster(1);
  const uint32_t index = KillOne(cluster, 1, false);
  const auto host = MakeHost(cluster, 2, false);
  const uint64_t before_us = cluster.world.NowMicroseconds();
  ASSERT_TRUE(cluster.Run(host->heartbeat.Acquire()));
  const uint64_t watched_us = cluster.world.NowMicroseconds() - before_us;
  EXPECT_GE(watched_us, 20 * kSecond);
  EXPECT_LT(watched_us, 23 * kSecond);
  ASSERT_TRUE(cluster.Run(host->heartbeat.TakeOverDead(host->takeover)));
  EXPECT_EQ(host->takeover.replayed.size(), 1u);
  EXPECT_EQ(cluster.Slot(index).state(), HeartbeatState::kFree);
  ASSERT_TRUE(cluster.Run(host->heartbeat.Release()));
}

TEST(Takeover, OnSharedMediaTheGuardAloneDoesNotProveAForeignHostDead) {
  SimCluster cluster(1);
  KillOne(cluster, 1, true);
  const auto host = MakeHost(cluster, 2, true);
  host->sim.guard.set_covers_every_writer(false);
  const uint64_t before_us = cluster.world.NowMicroseconds();
  ASSERT_TRUE(cluster.Run(host->heartbeat.Acquire()));
  EXPECT_GE(cluster.world.NowMicroseconds() - before_us, 20 * kSecond);
  ASSERT_TRUE(cluster.Run(host->heartbeat.TakeOverDead(host->takeover)));
  ASSERT_TRUE(cluster.Run(host->heartbeat.Release()));
}

TEST(Takeover, AFailedReplayLeavesTheSlotMarkedForTheNext) {
  SimCluster cluster(1);
  const uint32_t index = KillOne(cluster, 1, true);
  const uint64_t generation = cluster.Slot(index).generation;
  const auto first = MakeHost(cluster, 2, true);
  first->takeover.result = base::Error(base::Code::kIo, "journal: cannot be read");
  ASSERT_TRUE(cluster.Run(first->heartbeat.Acquire()));
  const base::Status status = cluster.Run(first->heartbeat.TakeOverDead(first->takeover));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), base::Code::kIo);
  EXPECT_NE(status.error().message().find("journal: cannot be read"), std::string::npos);
  const HeartbeatSlot marked = cluster.Slot(index);
  EXPECT_EQ(marked.state(), HeartbeatState::kReplaying);
  EXPECT_EQ(marked.generation, generation);
  EXPECT_EQ(marked.replayer, sim::MakeUuid(2));
  EXPECT_EQ(marked.replayer_heartbeat, first->heartbeat.slot_address());
  EXPECT_EQ(marked.replayer_generation, first->heartbeat.generation());
  first->takeover.result = base::Ok();
  ASSERT_TRUE(cluster.Run(first->heartbeat.TakeOverDead(first->takeover)));
  EXPECT_EQ(first->takeover.replayed.size(), 2u);
  EXPECT_EQ(cluster.Slot(index).generation, generation + 1);
  ASSERT_TRUE(cluster.Run(first->heartbeat.Release()));
}

base::Task<void> TakeOverAll(LockHost& host) {
  const base::Status taken = co_await host.heartbeat.TakeOverDead(host.takeover);
  CHECK(taken.has_value());
}

TEST(Takeover, AReplayerThatDiesIsItselfTakenOver) {
  for (const bool guarded : {true, false}) {
    SimCluster cluster(1);
    const uint32_t index = KillOne(cluster, 1, guarded);
    const uint64_t generation = cluster.Slot(index).generation;
    auto replayer = MakeHost(cluster, 2, guarded);
    replayer->takeover.duration_us = 100 * kSecond;
    ASSERT_TRUE(cluster.Run(replayer->heartbeat.Acquire()));
    replayer->sim.executor.Spawn(TakeOverAll(*replayer));
    cluster.RunFor(10 * kSecond);
    EXPECT_EQ(cluster.Slot(index).state(), HeartbeatState::kReplaying);
    Bury(std::move(replayer));
    cluster.RunFor(kSecond);
    const auto next = MakeHost(cluster, 3, guarded);
    ASSERT_TRUE(cluster.Run(next->heartbeat.Acquire()));
    ASSERT_TRUE(cluster.Run(next->heartbeat.TakeOverDead(next->takeover)));
    EXPECT_EQ(next->takeover.replayed.size(), 2u);
    EXPECT_EQ(cluster.Slot(index).generation, generation + 1);
    EXPECT_EQ(cluster.SlotsInUse(), 1u);
    ASSERT_TRUE(cluster.Run(next->heartbeat.Release()));
  }
}

TEST(Takeover, ALongReplayKeepsItsOwnLease) {
  SimCluster cluster(1);
  KillOne(cluster, 1, true);
  const auto host = MakeHost(cluster, 2, true);
  host->takeover.duration_us = 60 * kSecond;
  ASSERT_TRUE(cluster.Run(host->heartbeat.Acquire()));
  ASSERT_TRUE(cluster.Run(host->heartbeat.TakeOverDead(host->takeover)));
  EXPECT_TRUE(host->heartbeat.MayWrite());
  ASSERT_TRUE(cluster.Run(host->heartbeat.Release()));
}

base::Task<void> TakeOverOne(LockHost& host, uint32_t index, int& freed_count) {
  const base::Result<bool> freed = co_await host.heartbeat.TakeOverIfDead(index, host.takeover);
  CHECK(freed.has_value());
  if (*freed) ++freed_count;
}

TEST(Takeover, OfManyHostsThatSeeTheDeadOneExactlyOneReplays) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SimCluster cluster(seed);
    const uint32_t index = KillOne(cluster, 1, false);
    std::vector<std::unique_ptr<LockHost>> hosts;
    for (uint8_t fill = 2; fill <= 4; ++fill) {
      hosts.push_back(MakeHost(cluster, fill, false, /*refuse_others=*/false));
      ASSERT_TRUE(cluster.Run(hosts.back()->heartbeat.Acquire()));
    }
    int freed_count = 0;
    {
      base::TaskGroup group(cluster.world);
      for (const auto& host : hosts) group.Add(TakeOverOne(*host, index, freed_count));
      cluster.Run(group.Join());
    }
    size_t replay_count = 0;
    for (const auto& host : hosts) replay_count += host->takeover.replayed.size();
    EXPECT_EQ(replay_count, 1u) << "seed " << seed;
    EXPECT_GE(freed_count, 1) << "seed " << seed;
    EXPECT_EQ(cluster.Slot(index).state(), HeartbeatState::kFree) << "seed " << seed;
    for (const auto& host : hosts) ASSERT_TRUE(cluster.Run(host->heartbeat.Release()));
  }
}

TEST(Takeover, ALivingHostIsLeftAlone) {
  SimCluster cluster(1);
  const auto living = MakeHost(cluster, 1, false, false);
  const auto other = MakeHost(cluster, 2, false, false);
  ASSERT_TRUE(cluster.Run(living->heartbeat.Acquire()));
  ASSERT_TRUE(cluster.Run(other->heartbeat.Acquire()));
  const auto freed =
      cluster.Run(other->heartbeat.TakeOverIfDead(living->heartbeat.slot_index(), other->takeover));
  ASSERT_TRUE(freed);
  EXPECT_FALSE(*freed);
  ASSERT_TRUE(cluster.Run(living->heartbeat.Release()));
  ASSERT_TRUE(cluster.Run(other->heartbeat.Release()));
}

TEST(Takeover, AStoppedHostThatWasTakenOverNeverWritesAgain) {
  SimCluster cluster(1);
  const auto stopped = MakeHost(cluster, 1, false, false);
  const auto other = MakeHost(cluster, 2, false, false);
  ASSERT_TRUE(cluster.Run(stopped->heartbeat.Acquire()));
  ASSERT_TRUE(cluster.Run(other->heartbeat.Acquire()));
  stopped->sim.executor.Stop();
  const auto freed = cluster.Run(
      other->heartbeat.TakeOverIfDead(stopped->heartbeat.slot_index(), other->takeover));
  ASSERT_TRUE(freed && *freed);
  EXPECT_FALSE(stopped->heartbeat.MayWrite());
  stopped->sim.executor.Continue();
  cluster.RunFor(5 * kSecond);
  EXPECT_TRUE(stopped->heartbeat.fenced());
  EXPECT_EQ(cluster.Run(stopped->heartbeat.Release()).error().code(), base::Code::kFenced);
  ASSERT_TRUE(cluster.Run(other->heartbeat.Release()));
}

TEST(Takeover, ADeviceThatFailsOnceOnlyDelaysIt) {
  for (const auto failure :
       {sim::HostDisk::Failure::kNotDone, sim::HostDisk::Failure::kAnswerLost}) {
    for (uint64_t nth = 1;; ++nth) {
      SimCluster cluster(nth);
      const uint32_t index = KillOne(cluster, 1, true);
      const uint64_t generation = cluster.Slot(index).generation;
      const auto host = MakeHost(cluster, 2, true);
      ASSERT_TRUE(cluster.Run(host->heartbeat.Acquire()));
      host->sim.disk.FailAt(nth, failure);
      const base::Status status = cluster.Run(host->heartbeat.TakeOverDead(host->takeover));
      const bool failed = host->sim.disk.has_failed();
      EXPECT_EQ(status.has_value(), !failed) << "request " << nth;
      if (!status) {
        EXPECT_EQ(status.error().code(), base::Code::kIo) << "request " << nth;
      }
      host->sim.disk.FailNever();
      EXPECT_TRUE(cluster.Run(host->heartbeat.TakeOverDead(host->takeover))) << "request " << nth;
      EXPECT_EQ(cluster.Slot(index).state(), HeartbeatState::kFree) << "request " << nth;
      EXPECT_EQ(cluster.Slot(index).generation, generation + 1) << "request " << nth;
      ASSERT_TRUE(cluster.Run(host->heartbeat.Release()));
      if (!failed) break;
    }
  }
}

}  // namespace
}  // namespace vmfs
