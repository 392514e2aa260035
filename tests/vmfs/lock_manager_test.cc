#include "vmfs/lock/lock_manager.h"

#include <memory>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "fs/base/on_disk.h"
#include "tests/support/lock_hosts.h"
#include "vmfs/lock/lock_modes.h"

namespace vmfs {
namespace {

using sim::LockHost;
using sim::LockHostOptions;
using sim::SimCluster;

std::unique_ptr<LockHost> MakeHost(SimCluster& cluster, uint8_t fill,
                                   const LockManagerOptions& locks = {}) {
  LockHostOptions options;
  options.fill = fill;
  options.locks = locks;
  auto host = std::make_unique<LockHost>(cluster, options);
  EXPECT_TRUE(cluster.Run(host->heartbeat.Acquire()));
  return host;
}

base::Task<base::Result<HeldLock>> TakeTask(LockManager& locks, uint64_t address) {
  base::Result<HeldLock> lock = co_await locks.Acquire(address);
  co_return lock;
}

base::Result<HeldLock> Take(SimCluster& cluster, LockHost& host, uint32_t index) {
  return cluster.Run(TakeTask(host.locks, SimCluster::LockAddress(index)));
}

void ReleaseEverything(SimCluster& cluster, LockHost& host) {
  ASSERT_TRUE(cluster.Run(host.locks.ReleaseAll()));
  ASSERT_TRUE(cluster.Run(host.heartbeat.Release()));
}

LockHolder HolderOf(const LockHost& host) {
  return {host.heartbeat.slot_address(), host.heartbeat.generation(),
          host.heartbeat.identity().owner};
}

TEST(LockManager, TakesALockByOneExchangeAndKeepsItAfterUse) {
  SimCluster cluster(1);
  const auto host = MakeHost(cluster, 1);
  const uint64_t before = host->sim.disk.exchange_count();
  for (int round = 0; round < 3; ++round) {
    const base::Result<HeldLock> lock = Take(cluster, *host, 7);
    ASSERT_TRUE(lock);
    EXPECT_EQ(lock->address(), SimCluster::LockAddress(7));
    EXPECT_EQ(lock->token(), 2u);
    EXPECT_EQ(host->locks.TokenOf(SimCluster::LockAddress(7)), 2u);
  }
  EXPECT_EQ(host->sim.disk.exchange_count() - before, 1u);
  EXPECT_TRUE(HeldExclusivelyBy(cluster.Lock(7), HolderOf(*host)));
  ReleaseEverything(cluster, *host);
  EXPECT_EQ(cluster.Lock(7).mode(), LockMode::kFree);
  EXPECT_EQ(cluster.Lock(7).token, 3u);
  EXPECT_TRUE(cluster.Lock(7).owner.is_zero());
  EXPECT_EQ(cluster.Lock(7).heartbeat_address, host->heartbeat.slot_address());
}

TEST(LockManager, TryUseNeverWaitsAndCountsUses) {
  SimCluster cluster(1);
  const auto host = MakeHost(cluster, 1);
  EXPECT_FALSE(host->locks.TryUse(SimCluster::LockAddress(0)));
  { const base::Result<HeldLock> lock = Take(cluster, *host, 0); }
  EXPECT_EQ(host->locks.idle_count(), 1u);
  HeldLock first = host->locks.TryUse(SimCluster::LockAddress(0));
  HeldLock second = host->locks.TryUse(SimCluster::LockAddress(0));
  EXPECT_TRUE(first && second);
  EXPECT_EQ(host->locks.idle_count(), 0u);
  first = std::move(second);
  EXPECT_EQ(host->locks.idle_count(), 0u);
  first.Reset();
  EXPECT_EQ(host->locks.idle_count(), 1u);
  ReleaseEverything(cluster, *host);
}

base::Task<void> TakeAndHold(LockHost& host, uint64_t address, uint64_t& token) {
  const base::Result<HeldLock> lock = co_await host.locks.Acquire(address);
  CHECK(lock.has_value());
  token = lock->token();
  co_await host.sim.executor.Sleep(1'000);
}

TEST(LockManager, ManyWhoWantTheSameLockShareOneExchange) {
  SimCluster cluster(3);
  const auto host = MakeHost(cluster, 1);
  const uint64_t before = host->sim.disk.exchange_count();
  std::vector<uint64_t> tokens(20);
  {
    base::TaskGroup group(cluster.world);
    for (uint64_t& token : tokens) {
      group.Add(TakeAndHold(*host, SimCluster::LockAddress(5), token));
    }
    cluster.Run(group.Join());
  }
  for (const uint64_t token : tokens) EXPECT_EQ(token, 2u);
  EXPECT_EQ(host->sim.disk.exchange_count() - before, 1u);
  ReleaseEverything(cluster, *host);
}

TEST(LockManager, ALockOfALivingHostIsRefusedNamingIt) {
  SimCluster cluster(1);
  const auto holder = MakeHost(cluster, 1);
  const auto other = MakeHost(cluster, 2);
  { ASSERT_TRUE(Take(cluster, *holder, 4)); }
  const base::Result<HeldLock> refused = Take(cluster, *other, 4);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), base::Code::kLockHeld);
  EXPECT_NE(refused.error().message().find("host1 pid 1"), std::string::npos);
  EXPECT_NE(refused.error().message().find(sim::MakeUuid(1).ToString()), std::string::npos);
  EXPECT_EQ(other->locks.cached_count(), 0u);
  ASSERT_TRUE(cluster.Run(holder->locks.ReleaseAll()));
  { ASSERT_TRUE(Take(cluster, *other, 4)); }
  ReleaseEverything(cluster, *other);
  ASSERT_TRUE(cluster.Run(holder->heartbeat.Release()));
}

TEST(LockManager, ALockWhoseHoldersHeartbeatWentOnIsBroken) {
  SimCluster cluster(1);
  const auto host = MakeHost(cluster, 1);
  HeartbeatSlot slot = cluster.Slot(40);
  slot.generation = 4;
  cluster.PutSlot(40, slot);
  const LockHolder freed_holder{HeartbeatAddress(40), 3, sim::MakeUuid(9)};
  cluster.PutLock(0, TakenLock(cluster.Lock(0), freed_holder));
  HostIdentity later;
  later.owner = sim::MakeUuid(8);
  cluster.PutSlot(41, AcquiredSlot(slot, later, 1));  // generation 5, at another slot's place
  slot = cluster.Slot(41);
  slot.own_address = HeartbeatAddress(41);
  cluster.PutSlot(41, slot);
  cluster.PutLock(1, TakenLock(cluster.Lock(1), {HeartbeatAddress(41), 3, sim::MakeUuid(9)}));
  cluster.PutLock(2, TakenLock(cluster.Lock(2), {HeartbeatAddress(41), 5, sim::MakeUuid(8)}));
  { EXPECT_TRUE(Take(cluster, *host, 0)); }
  { EXPECT_TRUE(Take(cluster, *host, 1)); }
  EXPECT_EQ(Take(cluster, *host, 2).error().code(), base::Code::kLockHeld);
  ReleaseEverything(cluster, *host);
}

TEST(LockManager, LocksOfADeadHostCanBeBrokenWhileWeReplayIt) {
  SimCluster cluster(1);
  const auto host = MakeHost(cluster, 1);
  HostIdentity dead;
  dead.owner = sim::MakeUuid(9);
  const HeartbeatSlot in_use = AcquiredSlot(cluster.Slot(40), dead, 1);
  cluster.PutLock(0, TakenLock(cluster.Lock(0), {HeartbeatAddress(40), 1, dead.owner}));
  cluster.PutSlot(40, ReplayingSlot(in_use, sim::MakeUuid(7), HeartbeatAddress(41), 1));
  EXPECT_EQ(Take(cluster, *host, 0).error().code(), base::Code::kLockHeld);
  cluster.PutSlot(40, ReplayingSlot(in_use, sim::MakeUuid(1), host->heartbeat.slot_address(),
                                    host->heartbeat.generation()));
  { EXPECT_TRUE(Take(cluster, *host, 0)); }
  ReleaseEverything(cluster, *host);
}

TEST(LockManager, SharedLocksAreBrokenOnlyWhenAllHoldersAreGone) {
  SimCluster cluster(1);
  const auto host = MakeHost(cluster, 1);
  const auto reader = MakeHost(cluster, 2);
  LockBlock shared =
      *AddHolder(cluster.Lock(0), LockMode::kReadOnly, {HeartbeatAddress(40), 1, sim::MakeUuid(9)});
  cluster.PutLock(1, shared);
  LockBlock one_dead = cluster.Lock(1);
  one_dead.own_address = SimCluster::LockAddress(1);
  cluster.PutLock(1, one_dead);
  shared = *AddHolder(shared, LockMode::kReadOnly, HolderOf(*reader));
  cluster.PutLock(0, shared);
  EXPECT_EQ(Take(cluster, *host, 0).error().code(), base::Code::kLockHeld);
  { EXPECT_TRUE(Take(cluster, *host, 1)); }
  EXPECT_EQ(cluster.Lock(1).holder_count, 0u);
  ReleaseEverything(cluster, *host);
  ASSERT_TRUE(cluster.Run(reader->heartbeat.Release()));
}

TEST(LockManager, WhatIsNoLockBlockIsRefused) {
  SimCluster cluster(1);
  const auto host = MakeHost(cluster, 1);
  LockBlock damaged = cluster.Lock(0);
  damaged.own_address = 1;
  cluster.PutLock(0, damaged);
  EXPECT_EQ(Take(cluster, *host, 0).error().code(), base::Code::kCorrupt);
  LockBlock wild = TakenLock(cluster.Lock(1), {0x12345, 1, sim::MakeUuid(9)});
  cluster.PutLock(1, wild);
  EXPECT_EQ(Take(cluster, *host, 1).error().code(), base::Code::kCorrupt);
  EXPECT_EQ(host->locks.cached_count(), 0u);
  ReleaseEverything(cluster, *host);
}

TEST(LockManager, TheOldestIdleLocksAreGivenBackAfterOneBarrier) {
  SimCluster cluster(1);
  LockManagerOptions options;
  options.idle_locks_max = 32;
  options.give_back_count = 8;
  const auto host = MakeHost(cluster, 1, options);
  for (uint32_t i = 0; i <= 32; ++i) ASSERT_TRUE(Take(cluster, *host, i));
  cluster.RunFor(1'000'000);
  EXPECT_EQ(host->barrier.call_count, 1u);
  EXPECT_EQ(host->locks.idle_count(), 24u);
  for (uint32_t i = 0; i < 33; ++i) {
    EXPECT_EQ(cluster.Lock(i).mode(), i < 9 ? LockMode::kFree : LockMode::kExclusive) << i;
  }
  ReleaseEverything(cluster, *host);
}

TEST(LockManager, LocksInUseAreNeverGivenBack) {
  SimCluster cluster(1);
  LockManagerOptions options;
  options.idle_locks_max = 4;
  const auto host = MakeHost(cluster, 1, options);
  std::vector<base::Result<HeldLock>> held;
  for (uint32_t i = 0; i < 100; ++i) held.push_back(Take(cluster, *host, i));
  cluster.RunFor(1'000'000);
  EXPECT_EQ(host->barrier.call_count, 0u);
  const base::Status busy = cluster.Run(host->locks.ReleaseAll());
  ASSERT_FALSE(busy);
  EXPECT_EQ(busy.error().code(), base::Code::kBusy);
  for (uint32_t i = 0; i < 100; ++i) EXPECT_EQ(cluster.Lock(i).mode(), LockMode::kExclusive);
  held.clear();
  ReleaseEverything(cluster, *host);
}

TEST(LockManager, ALockWantedDuringTheBarrierIsKept) {
  SimCluster cluster(1);
  LockManagerOptions options;
  options.idle_locks_max = 2;
  const auto host = MakeHost(cluster, 1, options);
  host->barrier.duration_us = 1'000'000;
  for (uint32_t i = 0; i < 3; ++i) ASSERT_TRUE(Take(cluster, *host, i));
  cluster.RunFor(500'000);
  ASSERT_EQ(host->barrier.call_count, 1u);
  {
    const HeldLock wanted = host->locks.TryUse(SimCluster::LockAddress(1));
    EXPECT_TRUE(wanted);
  }
  cluster.RunFor(2'000'000);
  EXPECT_EQ(cluster.Lock(0).mode(), LockMode::kFree);
  EXPECT_EQ(cluster.Lock(1).mode(), LockMode::kExclusive);
  EXPECT_EQ(cluster.Lock(1).token, 2u);
  EXPECT_EQ(cluster.Lock(2).mode(), LockMode::kFree);
  ReleaseEverything(cluster, *host);
}

TEST(LockManager, ALockWantedWhileItIsBeingFreedIsTakenAnew) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SimCluster cluster(seed);
    LockManagerOptions options;
    options.idle_locks_max = 0;
    const auto host = MakeHost(cluster, 1, options);
    uint64_t token = 0;
    for (int round = 0; round < 20; ++round) {
      cluster.Run(TakeAndHold(*host, SimCluster::LockAddress(0), token));
      cluster.RunFor(cluster.world.random().Below(60'000));
    }
    EXPECT_GE(token, 2u) << "seed " << seed;
    ReleaseEverything(cluster, *host);
    EXPECT_EQ(cluster.Lock(0).mode(), LockMode::kFree) << "seed " << seed;
  }
}

TEST(LockManager, AFailedBarrierKeepsTheLocks) {
  SimCluster cluster(1);
  const auto host = MakeHost(cluster, 1);
  ASSERT_TRUE(Take(cluster, *host, 0));
  host->barrier.result = base::Error(base::Code::kIo, "checkpoint: device gone");
  const base::Status status = cluster.Run(host->locks.ReleaseAll());
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message().find("device gone"), std::string::npos);
  EXPECT_TRUE(host->locks.TryUse(SimCluster::LockAddress(0)));
  EXPECT_EQ(cluster.Lock(0).mode(), LockMode::kExclusive);
  host->barrier.result = base::Ok();
  ReleaseEverything(cluster, *host);
}

TEST(LockManager, ReleaseAllOfManyLocksRunsExchangesSideBySide) {
  SimCluster cluster(1);
  const auto host = MakeHost(cluster, 1);
  for (uint32_t i = 0; i < 256; ++i) ASSERT_TRUE(Take(cluster, *host, i));
  const uint64_t before_us = cluster.world.NowMicroseconds();
  ASSERT_TRUE(cluster.Run(host->locks.ReleaseAll()));
  EXPECT_LT(cluster.world.NowMicroseconds() - before_us, 600'000u);  // one by one: 5 s
  EXPECT_EQ(host->barrier.call_count, 1u);
  EXPECT_EQ(host->locks.cached_count(), 0u);
  ASSERT_TRUE(cluster.Run(host->heartbeat.Release()));
}

TEST(LockManager, ANewItemIsBornLockedWithoutAnExchange) {
  SimCluster cluster(1);
  const auto host = MakeHost(cluster, 1);
  cluster.PutLock(3, LockBlock{});
  const uint64_t before = host->sim.disk.exchange_count();
  {
    const auto lock =
        cluster.Run(host->locks.CreateLocked(SimCluster::LockAddress(3), LockType::kFd));
    ASSERT_TRUE(lock) << lock.error().message();
    EXPECT_EQ(lock->token(), 1u);
  }
  EXPECT_EQ(host->sim.disk.exchange_count(), before);
  EXPECT_TRUE(HeldExclusivelyBy(cluster.Lock(3), HolderOf(*host)));
  EXPECT_EQ(cluster.Lock(3).type(), LockType::kFd);
  EXPECT_EQ(cluster.Lock(3).own_address, SimCluster::LockAddress(3));
  ReleaseEverything(cluster, *host);
}

TEST(LockManager, AReusedItemKeepsCountingItsToken) {
  SimCluster cluster(1);
  const auto host = MakeHost(cluster, 1);
  LockBlock old = cluster.Lock(3);
  old.token = 41;
  cluster.PutLock(3, old);
  const uint64_t address = SimCluster::LockAddress(3);
  { EXPECT_EQ(cluster.Run(host->locks.CreateLocked(address, LockType::kFd))->token(), 42u); }
  EXPECT_EQ(host->locks.idle_count(), 1u);
  { EXPECT_EQ(cluster.Run(host->locks.CreateLocked(address, LockType::kFd))->token(), 43u); }
  EXPECT_EQ(cluster.Lock(3).token, 43u);
  EXPECT_EQ(host->locks.TokenOf(address), 43u);
  ReleaseEverything(cluster, *host);
  EXPECT_EQ(cluster.Lock(3).token, 44u);
}

TEST(LockManager, CreatingOverALivingHostsLockIsRefused) {
  SimCluster cluster(1);
  const auto host = MakeHost(cluster, 1);
  const auto other = MakeHost(cluster, 2);
  { ASSERT_TRUE(Take(cluster, *other, 3)); }
  const uint64_t address = SimCluster::LockAddress(3);
  EXPECT_EQ(cluster.Run(host->locks.CreateLocked(address, LockType::kFd)).error().code(),
            base::Code::kLockHeld);
  LockBlock damaged = cluster.Lock(4);
  damaged.type_value = 7;
  cluster.PutLock(4, damaged);
  EXPECT_EQ(cluster.Run(host->locks.CreateLocked(SimCluster::LockAddress(4), LockType::kFd))
                .error()
                .code(),
            base::Code::kCorrupt);
  EXPECT_EQ(host->locks.cached_count(), 0u);
  ReleaseEverything(cluster, *other);
  ReleaseEverything(cluster, *host);
}

TEST(LockManager, DisksWithFourKibibyteBlocksExchangeWholeBlocks) {
  SimCluster cluster(1);
  cluster.medium.block_bytes = 4096;
  const auto host = MakeHost(cluster, 1);
  { EXPECT_TRUE(Take(cluster, *host, 0)); }
  const auto created =
      cluster.Run(host->locks.CreateLocked(SimCluster::LockAddress(1), LockType::kFd));
  EXPECT_TRUE(created);
  EXPECT_TRUE(HeldExclusivelyBy(cluster.Lock(0), HolderOf(*host)));
  EXPECT_TRUE(HeldExclusivelyBy(cluster.Lock(1), HolderOf(*host)));
  EXPECT_EQ(cluster.Run(host->locks.ReleaseAll()).error().code(), base::Code::kBusy);
  EXPECT_EQ(cluster.Lock(0).mode(), LockMode::kFree);
  cluster.Run(host->heartbeat.Stop());
}

TEST(LockManager, AbandonDoesNotWaitForALostDevice) {
  SimCluster cluster(1);
  LockManagerOptions options;
  options.idle_locks_max = 0;
  const auto host = MakeHost(cluster, 1, options);
  { ASSERT_TRUE(Take(cluster, *host, 0)); }
  host->barrier.duration_us = 60'000'000;
  host->sim.disk.FailAt(1, sim::HostDisk::Failure::kNotDone, /*for_good=*/true);
  cluster.RunFor(90'000'000);  // the lease has lapsed, a batch waits for it
  EXPECT_FALSE(host->heartbeat.MayWrite());
  cluster.Run(host->locks.Abandon());
  EXPECT_EQ(host->locks.cached_count(), 0u);
}

TEST(LockManager, AfterFencingEverythingFails) {
  SimCluster cluster(1);
  const auto host = MakeHost(cluster, 1);
  { ASSERT_TRUE(Take(cluster, *host, 0)); }
  const uint32_t slot = host->heartbeat.slot_index();
  cluster.PutSlot(slot, FreedSlot(cluster.Slot(slot)));
  cluster.RunFor(4'000'000);
  ASSERT_TRUE(host->heartbeat.fenced());
  EXPECT_FALSE(host->locks.TryUse(SimCluster::LockAddress(0)));
  EXPECT_EQ(Take(cluster, *host, 0).error().code(), base::Code::kFenced);
  EXPECT_EQ(Take(cluster, *host, 1).error().code(), base::Code::kFenced);
  EXPECT_EQ(cluster.Run(host->locks.CreateLocked(SimCluster::LockAddress(2), LockType::kFd))
                .error()
                .code(),
            base::Code::kFenced);
  EXPECT_EQ(cluster.Run(host->locks.ReleaseAll()).error().code(), base::Code::kFenced);
  cluster.Run(host->locks.Abandon());
  EXPECT_EQ(cluster.Lock(0).mode(), LockMode::kExclusive);
  EXPECT_FALSE(cluster.Run(host->heartbeat.Release()));
}

}  // namespace
}  // namespace vmfs
