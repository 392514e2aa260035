// Every request of the device fails in turn, without effect or with its answer lost.

#include <memory>

#include <gtest/gtest.h>

#include "tests/support/lock_hosts.h"
#include "vmfs/lock/lock_modes.h"

namespace vmfs {
namespace {

using sim::HostDisk;
using sim::LockHost;
using sim::LockHostOptions;
using sim::SimCluster;

std::unique_ptr<LockHost> MakeHost(SimCluster& cluster, uint8_t fill) {
  LockHostOptions options;
  options.fill = fill;
  auto host = std::make_unique<LockHost>(cluster, options);
  EXPECT_TRUE(cluster.Run(host->heartbeat.Acquire()));
  return host;
}

base::Task<base::Status> TakeOnce(LockManager& locks, uint64_t address) {
  CO_TRY(const HeldLock lock, co_await locks.Acquire(address));
  co_return base::Ok();
}

base::Task<base::Status> CreateOnce(LockManager& locks, uint64_t address) {
  CO_TRY(const HeldLock lock, co_await locks.CreateLocked(address, LockType::kFd));
  co_return base::Ok();
}

using Step = base::Status (*)(SimCluster& cluster, LockHost& host);

// Runs `step` with its nth request failing, for n = 1, 2, ... until none fails. Afterwards another
// host is refused or gets the lock, never both of them; and the first comes clean.
void Sweep(Step prepare, Step step) {
  for (const auto failure : {HostDisk::Failure::kNotDone, HostDisk::Failure::kAnswerLost}) {
    for (uint64_t nth = 1;; ++nth) {
      SCOPED_TRACE(testing::Message()
                   << "request " << nth << " failure " << static_cast<int>(failure));
      SimCluster cluster(nth);
      const auto host = MakeHost(cluster, 1);
      const auto other = MakeHost(cluster, 2);
      ASSERT_TRUE(prepare(cluster, *host));
      host->sim.disk.FailAt(nth, failure);
      const base::Status status = step(cluster, *host);
      const bool failed = host->sim.disk.has_failed();
      host->sim.disk.FailNever();
      EXPECT_EQ(status.has_value(), !failed);
      if (!status) {
        EXPECT_EQ(status.error().code(), base::Code::kIo);
      }
      const base::Status others = cluster.Run(TakeOnce(other->locks, SimCluster::LockAddress(0)));
      const bool ours = static_cast<bool>(host->locks.TryUse(SimCluster::LockAddress(0)));
      EXPECT_FALSE(others.has_value() && ours);
      EXPECT_TRUE(cluster.Run(other->locks.ReleaseAll()));
      EXPECT_TRUE(cluster.Run(TakeOnce(host->locks, SimCluster::LockAddress(0))));
      EXPECT_TRUE(cluster.Run(host->locks.ReleaseAll()));
      for (uint32_t i = 0; i < 3; ++i) {
        EXPECT_NE(cluster.Lock(i).owner, sim::MakeUuid(1));
        EXPECT_NE(cluster.Lock(i).owner, sim::MakeUuid(2));
      }
      EXPECT_TRUE(cluster.Run(host->heartbeat.Release()));
      EXPECT_TRUE(cluster.Run(other->heartbeat.Release()));
      if (!failed) break;
    }
  }
}

base::Status Nothing(SimCluster&, LockHost&) {
  return base::Ok();
}

base::Status TakeThree(SimCluster& cluster, LockHost& host) {
  for (uint32_t i = 0; i < 3; ++i) {
    TRY_STATUS(cluster.Run(TakeOnce(host.locks, SimCluster::LockAddress(i))));
  }
  return base::Ok();
}

base::Status Create(SimCluster& cluster, LockHost& host) {
  return cluster.Run(CreateOnce(host.locks, SimCluster::LockAddress(0)));
}

base::Status ReleaseAll(SimCluster& cluster, LockHost& host) {
  return cluster.Run(host.locks.ReleaseAll());
}

// The locks of a host that is gone: its slot is free.
base::Status LeaveStaleLocks(SimCluster& cluster, LockHost&) {
  const LockHolder gone{HeartbeatAddress(40), 1, sim::MakeUuid(9)};
  for (uint32_t i = 0; i < 3; ++i) cluster.PutLock(i, TakenLock(cluster.Lock(i), gone));
  return base::Ok();
}

TEST(LockFailure, TakingNeverLeavesTwoOwners) {
  Sweep(Nothing, TakeThree);
}

TEST(LockFailure, GivingBackNeverLeavesTwoOwners) {
  Sweep(TakeThree, ReleaseAll);
}

TEST(LockFailure, BreakingNeverLeavesTwoOwners) {
  Sweep(LeaveStaleLocks, TakeThree);
}

TEST(LockFailure, CreatingNeverLeavesTwoOwners) {
  Sweep(Nothing, Create);
}

TEST(LockFailure, CreatingAgainNeverLeavesTwoOwners) {
  Sweep(TakeThree, Create);
}

}  // namespace
}  // namespace vmfs
