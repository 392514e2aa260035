// Replay by another host: which images of a dead host's journal come home, and which must not
// because their lock was in other hands since they were logged.

#include <gtest/gtest.h>

#include <array>

#include "fs/base/log.h"
#include "tests/support/lock_hosts.h"
#include "vmfs/journal/journal.h"
#include "vmfs/journal/replay.h"

namespace vmfs {
namespace {

using sim::LockHost;
using sim::LockHostOptions;
using sim::SimCluster;

constexpr uint32_t kLockCount = 1024;
constexpr uint32_t kLock = 3;

// Each host's ring lies where the last locks would be.
uint64_t RingAddress(uint8_t fill) { return SimCluster::LockAddress(kLockCount - 256 * fill); }

// A host with a journal, whose locks are given back only when its metadata are home.
struct JournalHost : JournalClient, ReleaseBarrier {
  JournalHost(SimCluster& the_cluster, uint8_t the_fill)
      : cluster(the_cluster),
        fill(the_fill),
        host(std::make_unique<LockHost>(cluster, MakeOptions(fill))),
        locks(host->sim.executor, host->sim.disk, host->heartbeat, *this),
        cache(host->sim.executor, host->sim.disk, 64) {
    EXPECT_TRUE(cluster.Run(host->heartbeat.Acquire()));
    JournalOptions options;
    options.ring_address = RingAddress(fill);
    options.owner_uuid = sim::MakeUuid(fill);
    options.heartbeat_address = host->heartbeat.slot_address();
    options.heartbeat_generation = host->heartbeat.generation();
    journal = std::make_unique<Journal>(host->sim.executor, cache, *this, options);
    EXPECT_TRUE(cluster.Run(journal->Initialize()));
  }

  uint64_t TokenOfLock(uint64_t lock_address) override { return locks.TokenOf(lock_address); }
  void OnFreedItems(std::span<const FreedItem>) override {}
  void OnJournalStopped(const base::Error&) override {}
  base::Task<base::Status> MakeHome() override { return journal->Checkpoint(); }

  JournalOwner AsOwner() const {
    JournalOwner owner;
    owner.journal_address = RingAddress(fill);
    owner.heartbeat_address = host->heartbeat.slot_address();
    owner.heartbeat_generation = host->heartbeat.generation();
    return owner;
  }

  static base::Task<base::Status> Log(JournalHost& self, uint64_t value) {
    const uint64_t lock_address = SimCluster::LockAddress(kLock);
    CO_TRY(HeldLock lock, co_await self.locks.Acquire(lock_address));
    CO_TRY(BlockRef block, co_await self.cache.Get(SimCluster::CounterAddress(kLock)));
    CO_TRY(Transaction transaction, co_await self.journal->Begin(1));
    base::StoreAs(std::span<std::byte>(transaction.Modify(*block, lock_address)), 0,
                  base::Le64(value));
    // While the set of orphans is not empty, the newest transaction stays in the ring.
    self.journal->AddOrphan({4, 1});
    transaction.End();
    co_return co_await self.journal->Commit();
  }

  static base::Task<base::Status> TakeLock(JournalHost& self) {
    CO_TRY(HeldLock lock, co_await self.locks.Acquire(SimCluster::LockAddress(kLock)));
    co_return base::Ok();
  }

  static base::Task<base::Status> WriteAtHome(JournalHost& self, uint64_t value) {
    CO_TRY(HeldLock lock, co_await self.locks.Acquire(SimCluster::LockAddress(kLock)));
    std::vector<std::byte> bytes(kMetadataBlockBytes);
    base::StoreAs(std::span(bytes), 0, base::Le64(value));
    co_return co_await WriteRange(self.host->sim.disk, SimCluster::CounterAddress(kLock), bytes);
  }

  SimCluster& cluster;
  const uint8_t fill;
  std::unique_ptr<LockHost> host;
  LockManager locks;
  MetadataCache cache;
  std::unique_ptr<Journal> journal;

 private:
  static LockHostOptions MakeOptions(uint8_t fill) {
    LockHostOptions options;
    options.fill = fill;
    return options;
  }
};

class Replay : public testing::Test {
 protected:
  Replay() { base::SetLogLevel(base::LogLevel::kOff); }

  JournalHost& AddHost(uint8_t fill) {
    hosts_.push_back(std::make_unique<JournalHost>(cluster_, fill));
    return *hosts_.back();
  }

  void GiveLocksBack(JournalHost& host) { ASSERT_TRUE(cluster_.Run(host.locks.ReleaseAll())); }

  // What `by` finds in the dead host's ring, brought home.
  JournalContents ReplayFor(const JournalHost& dead, JournalHost& by) {
    const JournalOwner owner = dead.AsOwner();
    auto contents = cluster_.Run(ReadJournal(by.host->sim.disk, &owner));
    EXPECT_TRUE(contents.has_value());
    EXPECT_TRUE(cluster_.Run(WriteImagesHome(by.host->sim.disk, *contents)));
    return *std::move(contents);
  }

  void TearDown() override {
    for (auto& host : hosts_) {
      if (!host->host->sim.executor.killed()) cluster_.Run(host->host->heartbeat.Stop());
      // What was killed, or was left in the middle, is never destroyed.
      static auto* const graveyard = new std::vector<std::unique_ptr<JournalHost>>;
      graveyard->push_back(std::move(host));
    }
  }

  SimCluster cluster_{1, kLockCount};
  std::vector<std::unique_ptr<JournalHost>> hosts_;
};

TEST_F(Replay, BringsHomeWhatTheDeadHostLoggedUnderLocksItStillHolds) {
  JournalHost& dead = AddHost(1);
  JournalHost& other = AddHost(2);
  ASSERT_TRUE(cluster_.Run(JournalHost::Log(dead, 7)));
  EXPECT_EQ(cluster_.Counter(kLock), 0u);
  dead.host->sim.Kill();
  const JournalContents contents = ReplayFor(dead, other);
  EXPECT_EQ(contents.transaction_count, 1u);
  EXPECT_EQ(contents.skipped_image_count, 0u);
  EXPECT_EQ(contents.orphans.size(), 1u);
  EXPECT_EQ(cluster_.Counter(kLock), 7u);
}

TEST_F(Replay, LeavesABlockAloneWhoseLockAnotherHostHasNow) {
  JournalHost& dead = AddHost(1);
  JournalHost& other = AddHost(2);
  ASSERT_TRUE(cluster_.Run(JournalHost::Log(dead, 7)));
  GiveLocksBack(dead);
  EXPECT_EQ(cluster_.Counter(kLock), 7u);
  ASSERT_TRUE(cluster_.Run(JournalHost::WriteAtHome(other, 8)));
  dead.host->sim.Kill();
  EXPECT_EQ(ReplayFor(dead, other).skipped_image_count, 1u);
  EXPECT_EQ(cluster_.Counter(kLock), 8u);
}

TEST_F(Replay, LeavesABlockAloneWhoseLockWasInOtherHandsMeanwhile) {
  JournalHost& dead = AddHost(1);
  JournalHost& other = AddHost(2);
  ASSERT_TRUE(cluster_.Run(JournalHost::Log(dead, 7)));
  GiveLocksBack(dead);
  ASSERT_TRUE(cluster_.Run(JournalHost::WriteAtHome(other, 8)));
  GiveLocksBack(other);
  // The lock names the dead host again, in the same generation; only its token tells.
  ASSERT_TRUE(cluster_.Run(JournalHost::TakeLock(dead)));
  dead.host->sim.Kill();
  EXPECT_EQ(ReplayFor(dead, other).skipped_image_count, 1u);
  EXPECT_EQ(cluster_.Counter(kLock), 8u);
}

TEST_F(Replay, FindsNothingInARingOfAnotherLife) {
  JournalHost& dead = AddHost(1);
  JournalHost& other = AddHost(2);
  ASSERT_TRUE(cluster_.Run(JournalHost::Log(dead, 7)));
  dead.host->sim.Kill();
  for (const bool other_slot : {false, true}) {
    JournalOwner owner = dead.AsOwner();
    owner.heartbeat_generation += other_slot ? 0 : 2;
    owner.heartbeat_address += other_slot ? kMetadataBlockBytes : 0;
    const auto contents = cluster_.Run(ReadJournal(other.host->sim.disk, &owner));
    ASSERT_TRUE(contents.has_value());
    EXPECT_EQ(contents->transaction_count, 0u);
  }
}

}  // namespace
}  // namespace vmfs
