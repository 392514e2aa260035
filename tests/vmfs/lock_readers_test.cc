// Locks that several hosts read under: who is listed, who is refused, and what is left behind.

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "fs/base/random.h"
#include "tests/support/crash_sweep.h"
#include "tests/support/lock_hosts.h"
#include "vmfs/lock/lock_modes.h"

namespace vmfs {
namespace {

using base::Code;
using sim::LockHost;
using sim::LockHostOptions;
using sim::SimCluster;

constexpr uint32_t kLock = 5;

class LockReaders : public testing::Test {
 protected:
  LockHost& AddHost(const LockFaults& faults = {}) {
    LockHostOptions options;
    options.fill = static_cast<uint8_t>(hosts_.size() + 1);
    options.locks.faults = faults;
    hosts_.push_back(std::make_unique<LockHost>(cluster_, options));
    EXPECT_TRUE(cluster_.Run(hosts_.back()->heartbeat.Acquire()));
    return *hosts_.back();
  }

  ~LockReaders() override {
    for (const auto& host : hosts_) {
      EXPECT_TRUE(cluster_.Run(host->locks.ReleaseAll()));
      if (!host->heartbeat.held()) continue;
      EXPECT_TRUE(cluster_.Run(host->heartbeat.Release()));
    }
    EXPECT_EQ(Lock().mode(), LockMode::kFree);
  }

  static base::Task<base::Status> TakeAndLetGo(LockManager& locks, uint64_t address) {
    const base::Result<HeldLock> lock = co_await locks.Acquire(address);
    if (!lock) co_return lock.error();
    co_return base::Ok();
  }

  base::Status Take(LockHost& host) { return cluster_.Run(TakeAndLetGo(host.locks, Address())); }

  base::Status Join(LockHost& host) { return cluster_.Run(host.locks.JoinReaders(Address())); }

  base::Status Leave(LockHost& host) { return cluster_.Run(host.locks.LeaveReaders(Address())); }

  static uint64_t Address() { return SimCluster::LockAddress(kLock); }

  LockBlock Lock() { return cluster_.Lock(kLock); }

  SimCluster cluster_{base::SeedFromEnvironment(1)};
  std::vector<std::unique_ptr<LockHost>> hosts_;
};

TEST_F(LockReaders, AreListedSideBySide) {
  LockHost& one = AddHost();
  LockHost& two = AddHost();
  ASSERT_TRUE(Join(one));
  ASSERT_TRUE(Join(two));
  ASSERT_TRUE(Join(two));
  EXPECT_EQ(Lock().mode(), LockMode::kReadOnly);
  EXPECT_EQ(Lock().holder_count, 2u);
  EXPECT_EQ(Lock().token, 3u);
  ASSERT_TRUE(Leave(two));
  EXPECT_EQ(Lock().holder_count, 2u);
  ASSERT_TRUE(Leave(one));
  ASSERT_TRUE(Leave(two));
  EXPECT_EQ(Lock().mode(), LockMode::kFree);
}

TEST_F(LockReaders, KeepTheLockFromHostsThatWantItAlone) {
  LockHost& reader = AddHost();
  LockHost& writer = AddHost();
  ASSERT_TRUE(Join(reader));
  const base::Status refused = Take(writer);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kLockHeld);
  EXPECT_NE(refused.error().message().find("host1 pid 1"), std::string::npos);
  ASSERT_TRUE(Leave(reader));
  EXPECT_TRUE(Take(writer));
}

TEST_F(LockReaders, AreRefusedWhileAnotherHostHasTheLockAlone) {
  LockHost& writer = AddHost();
  LockHost& reader = AddHost();
  ASSERT_TRUE(Take(writer));
  const base::Status refused = Join(reader);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kLockHeld);
  EXPECT_NE(refused.error().message().find("host1 pid 1"), std::string::npos);
  ASSERT_TRUE(cluster_.Run(writer.locks.GiveBackIdle(Address())));
  EXPECT_TRUE(Join(reader));
  EXPECT_TRUE(Leave(reader));
}

TEST_F(LockReaders, MakeAReadersLockOfTheirOwnOnce) {
  LockHost& host = AddHost();
  ASSERT_TRUE(Take(host));
  EXPECT_EQ(Lock().mode(), LockMode::kExclusive);
  const uint64_t barriers = host.barrier.call_count;
  ASSERT_TRUE(Join(host));
  EXPECT_GT(host.barrier.call_count, barriers);
  EXPECT_EQ(Lock().mode(), LockMode::kReadOnly);
  EXPECT_EQ(Lock().holder_count, 1u);
  EXPECT_EQ(Lock().token, 3u);
  ASSERT_TRUE(Take(host));  // the only reader may modify
  EXPECT_EQ(Lock().mode(), LockMode::kExclusive);
  ASSERT_TRUE(cluster_.Run(host.locks.GiveBackIdle(Address())));
  EXPECT_EQ(Lock().mode(), LockMode::kReadOnly);
  ASSERT_TRUE(Leave(host));
  EXPECT_EQ(Lock().mode(), LockMode::kFree);
}

TEST_F(LockReaders, MayNotModifyBesideOthers) {
  LockHost& one = AddHost();
  LockHost& two = AddHost();
  ASSERT_TRUE(Join(one));
  ASSERT_TRUE(Join(two));
  EXPECT_EQ(Take(one).error().code(), Code::kLockHeld);
  ASSERT_TRUE(Leave(two));
  EXPECT_TRUE(Take(one));
  EXPECT_TRUE(Leave(one));
}

TEST_F(LockReaders, ThatAreGoneAreTakenOffTheList) {
  LockHost& dead = AddHost();
  LockHost& alive = AddHost();
  ASSERT_TRUE(Join(dead));
  ASSERT_TRUE(cluster_.Run(dead.heartbeat.Release()));
  ASSERT_TRUE(Join(alive));
  ASSERT_EQ(Lock().holder_count, 1u);
  EXPECT_EQ(Lock().holders[0].owner, sim::MakeUuid(2));
  ASSERT_TRUE(Leave(alive));
}

TEST_F(LockReaders, AreListedOnceWhenAnAnswerGetsLost) {
  using Failure = sim::HostDisk::Failure;
  for (const Failure failure : {Failure::kNotDone, Failure::kAnswerLost}) {
    LockHost& host = AddHost();
    for (uint64_t nth = 1;; ++nth) {
      host.sim.disk.FailAt(nth, failure);
      base::Status joined = Join(host);
      const bool reached = !joined;
      host.sim.disk.FailNever();
      if (!joined) joined = Join(host);
      ASSERT_TRUE(joined);
      EXPECT_EQ(Lock().holder_count, 1u);
      ASSERT_TRUE(Leave(host));
      EXPECT_EQ(Lock().mode(), LockMode::kFree);
      if (!reached) break;
    }
  }
}

// Who does what at this moment, as the hosts themselves see it.
struct Scene {
  uint32_t readers = 0, writers = 0;
  uint32_t reads = 0, writes = 0;
  bool broken = false;
};

base::Task<void> ReadSome(LockHost& host, uint64_t address, Scene& scene) {
  const base::Status joined = co_await host.locks.JoinReaders(address);
  if (!joined) co_return;
  ++scene.readers;
  ++scene.reads;
  scene.broken |= scene.writers > 0;
  co_await host.sim.executor.Sleep(host.sim.executor.random().Below(20'000));
  scene.broken |= scene.writers > 0;
  --scene.readers;
  const base::Status left = co_await host.locks.LeaveReaders(address);
  scene.broken |= !left;
}

base::Task<void> WriteSome(LockHost& host, uint64_t address, Scene& scene) {
  {
    const base::Result<HeldLock> lock = co_await host.locks.Acquire(address);
    if (!lock) co_return;
    scene.broken |= scene.readers > 0 || scene.writers > 0;
    ++scene.writers;
    ++scene.writes;
    co_await host.sim.executor.Sleep(host.sim.executor.random().Below(20'000));
    scene.broken |= scene.readers > 0 || scene.writers > 1;
    --scene.writers;
  }
  const base::Status given = co_await host.locks.GiveBackIdle(address);
  scene.broken |= !given;
}

base::Task<void> Live(LockHost& host, uint64_t address, Scene& scene) {
  for (int step = 0; step < 120; ++step) {
    if (host.sim.executor.random().OneIn(3)) {
      co_await WriteSome(host, address, scene);
    } else {
      co_await ReadSome(host, address, scene);
    }
    co_await host.sim.executor.Sleep(host.sim.executor.random().Below(30'000));
  }
}

base::Task<void> LiveTogether(SimCluster& cluster, std::vector<std::unique_ptr<LockHost>>& hosts,
                              uint64_t address, Scene& scene) {
  base::TaskGroup group(cluster.world);
  for (const auto& host : hosts) group.Add(Live(*host, address, scene));
  co_await group.Join();
}

class LockReadersTogether : public LockReaders {
 protected:
  Scene Go(const LockFaults& faults) {
    for (int i = 0; i < 3; ++i) AddHost(faults);
    Scene scene;
    cluster_.Run(LiveTogether(cluster_, hosts_, Address(), scene));
    return scene;
  }
};

TEST_F(LockReadersTogether, NobodyReadsWhileAnotherHostWrites) {
  const Scene scene = Go({});
  EXPECT_FALSE(scene.broken) << "replay: SEED=" << base::SeedFromEnvironment(1);
  EXPECT_GT(scene.reads, 20u);
  EXPECT_GT(scene.writes, 10u);
}

TEST_F(LockReadersTogether, CatchesAReadersLockThatIsTakenWithoutAsking) {
  LockFaults faults;
  faults.break_without_asking = true;
  EXPECT_TRUE(Go(faults).broken);
}

}  // namespace
}  // namespace vmfs
