// Hosts fight over a few locks while they are stopped for longer than their lease, killed and
// replaced, and while their devices fail.
//
// Strategy: each host raises counters; one counter per lock, read, then written a while later,
// under the lock and only while the heartbeat allows writing. A host that meets a lock of a silent
// host takes it over. Invariants: (1) at the moment a counter write takes effect, the lock on the
// medium names the writer; (2) a counter's value is at least the number of answered raises and at
// most that of begun ones; (3) each generation of a slot is replayed at most once to its end; (4)
// in the end, with faults switched off, every lock can be taken. `SEED=n` replays one seed.

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "fs/base/log.h"
#include "fs/base/on_disk.h"
#include "tests/support/lock_hosts.h"
#include "vmfs/lock/lock_modes.h"

namespace vmfs {
namespace {

using sim::LockHost;
using sim::LockHostOptions;
using sim::SimCluster;

constexpr uint64_t kSecond = 1'000'000;
constexpr uint32_t kLockCount = 3;
constexpr uint64_t kRunMicroseconds = 400 * kSecond;

// Deliberate faults; each must break an invariant under some seed.
enum class Planted { kNothing, kBreakWithoutAsking, kSkipCompare, kIgnoreLease };

class Fight {
 public:
  Fight(uint64_t seed, Planted planted) : cluster_(seed, kLockCount), planted_(planted) {
    cluster_.medium.skip_compare = planted == Planted::kSkipCompare;
    cluster_.medium.on_write = [this](const sim::SimHost& host, uint64_t offset_bytes) {
      CheckWrite(host, offset_bytes);
    };
  }

  // Returns what was violated; empty: nothing.
  std::string Run() {
    for (int i = 0; i < 3; ++i) StartHost();
    const uint64_t end_us = cluster_.world.NowMicroseconds() + kRunMicroseconds;
    while (cluster_.world.NowMicroseconds() < end_us && violation_.empty()) {
      cluster_.RunFor(cluster_.world.random().Below(8 * kSecond));
      Disturb();
    }
    Finish();
    return violation_;
  }

  uint64_t raised_count() const { return raised_count_; }

  uint64_t takeover_count() const { return takeover_count_; }

 private:
  void StartHost() {
    LockHostOptions options;
    options.fill = ++last_fill_;
    options.locks.idle_locks_max = 1;
    options.locks.give_back_count = 1;
    options.locks.faults.break_without_asking = planted_ == Planted::kBreakWithoutAsking;
    hosts_.push_back(std::make_unique<LockHost>(cluster_, options));
    LockHost& host = *hosts_.back();
    by_sim_[&host.sim] = &host;
    host.sim.executor.Spawn(Live(*this, host));
  }

  // One random thing happens to one random host.
  void Disturb() {
    base::Random& random = cluster_.world.random();
    const size_t index = random.Below(hosts_.size());
    LockHost& host = *hosts_[index];
    switch (random.Below(8)) {
      case 0:
        if (last_fill_ > 200) break;
        host.sim.Kill();
        buried_.push_back(std::move(hosts_[index]));
        hosts_.erase(hosts_.begin() + static_cast<std::ptrdiff_t>(index));
        StartHost();
        break;
      case 1:
      case 2: host.sim.executor.Stop(); break;
      case 3:
      case 4:
      case 5: host.sim.executor.Continue(); break;
      default:
        host.sim.disk.FailAt(random.Below(20) + 1, random.OneIn(2)
                                                       ? sim::HostDisk::Failure::kNotDone
                                                       : sim::HostDisk::Failure::kAnswerLost);
    }
  }

  void Finish() {
    finishing_ = true;
    for (auto& host : hosts_) {
      host->sim.disk.FailNever();
      host->sim.executor.Continue();
    }
    cluster_.RunFor(120 * kSecond);
    for (auto& host : hosts_) buried_.push_back(std::move(host));
    hosts_.clear();
    for (auto& host : buried_) sim::Bury(std::move(host));
    if (violation_.empty()) CheckEnd();
  }

  // The life of a host: a heartbeat, then raises, until it is fenced; then a new host.
  static base::Task<void> Live(Fight& fight, LockHost& host) {
    const base::Status acquired = co_await host.heartbeat.Acquire();
    while (acquired && !fight.finishing_ && !host.heartbeat.fenced()) {
      const auto index = static_cast<uint32_t>(host.sim.executor.random().Below(kLockCount));
      const base::Status raised = co_await Raise(fight, host, index);
      if (!raised && raised.error().code() == base::Code::kLockHeld) {
        co_await AskHolder(fight, host, index);
      }
      co_await host.sim.executor.Sleep(host.sim.executor.random().Below(kSecond));
    }
    if (host.heartbeat.fenced() || !acquired) {
      if (!fight.finishing_) fight.StartHost();
      co_return;
    }
    const base::Status released = co_await host.locks.ReleaseAll();
    if (released) {
      const base::Status freed = co_await host.heartbeat.Release();
      static_cast<void>(freed);
    }
  }

  static base::Task<base::Status> Raise(Fight& fight, LockHost& host, uint32_t index) {
    CO_TRY(const HeldLock lock, co_await host.locks.Acquire(SimCluster::LockAddress(index)));
    std::vector<std::byte> bytes;
    const uint64_t address = SimCluster::CounterAddress(index);
    CO_TRY_STATUS(co_await ReadRange(host.sim.disk, address, 512, bytes));
    base::Le64 value = base::LoadAs<base::Le64>(bytes);
    co_await host.sim.executor.Sleep(host.sim.executor.random().Below(kSecond));
    value = value + 1;
    base::StoreAs(std::span(bytes), 0, value);
    if (fight.planted_ != Planted::kIgnoreLease) {
      CO_TRY_STATUS(host.heartbeat.CheckMayWrite());
    }
    ++fight.begun_[index];
    CO_TRY_STATUS(co_await WriteRange(host.sim.disk, address, bytes));
    ++fight.answered_[index];
    ++fight.raised_count_;
    co_return base::Ok();
  }

  // Takes over from the holder of the lock if it is silent.
  static base::Task<void> AskHolder(Fight& fight, LockHost& host, uint32_t index) {
    std::vector<std::byte> bytes;
    const base::Status read =
        co_await ReadRange(host.sim.disk, SimCluster::LockAddress(index), 512, bytes);
    if (!read) co_return;
    const LockBlock lock = base::LoadAs<LockBlock>(bytes);
    const uint64_t address = lock.heartbeat_address;
    if (lock.mode() != LockMode::kExclusive || address == host.heartbeat.slot_address()) co_return;
    const size_t replayed_before = host.takeover.replayed.size();
    const base::Result<bool> freed =
        co_await host.heartbeat.TakeOverIfDead(HeartbeatIndex(address), host.takeover);
    if (!freed || !*freed || host.takeover.replayed.size() == replayed_before) co_return;
    const DeadSlot& dead = host.takeover.replayed.back();
    ++fight.takeover_count_;
    if (!fight.finished_replays_.emplace(std::pair(dead.index, dead.generation), 1).second) {
      fight.Violate("a generation of a slot was taken over twice");
    }
  }

  void CheckWrite(const sim::SimHost& sim_host, uint64_t offset_bytes) {
    for (uint32_t i = 0; i < kLockCount; ++i) {
      if (offset_bytes != SimCluster::CounterAddress(i)) continue;
      const Heartbeat& heartbeat = by_sim_.at(&sim_host)->heartbeat;
      const LockHolder writer{heartbeat.slot_address(), heartbeat.generation(),
                              heartbeat.identity().owner};
      if (!HeldExclusivelyBy(cluster_.Lock(i), writer)) {
        Violate("a counter was written by a host that did not hold its lock");
      }
    }
  }

  void CheckEnd() {
    for (uint32_t i = 0; i < kLockCount; ++i) {
      const uint64_t value = cluster_.Counter(i);
      if (value < answered_[i] || value > begun_[i]) Violate("a counter lost an update");
    }
    LockHostOptions options;
    options.fill = 0xEE;
    LockHost last(cluster_, options);
    last.sim.disk.FailNever();
    if (!cluster_.Run(last.heartbeat.Acquire())) return Violate("no slot to be had at the end");
    for (uint32_t i = 0; i < kLockCount; ++i) {
      base::Status taken = cluster_.Run(TakeAtTheEnd(*this, last, i));
      if (!taken) Violate("a lock cannot be taken at the end: " + taken.error().message());
    }
    if (!cluster_.Run(last.locks.ReleaseAll())) Violate("locks cannot be given back at the end");
    if (!cluster_.Run(last.heartbeat.Release())) Violate("the last heartbeat was lost");
  }

  static base::Task<base::Status> TakeAtTheEnd(Fight& fight, LockHost& host, uint32_t index) {
    for (int attempt = 0; attempt < 3; ++attempt) {
      const base::Result<HeldLock> lock =
          co_await host.locks.Acquire(SimCluster::LockAddress(index));
      if (lock) co_return base::Ok();
      if (lock.error().code() != base::Code::kLockHeld) co_return lock.error();
      co_await AskHolder(fight, host, index);
    }
    co_return base::Error(base::Code::kLockHeld, "still held");
  }

  void Violate(const std::string& what) {
    if (violation_.empty()) violation_ = what;
  }

  SimCluster cluster_;
  const Planted planted_;
  std::vector<std::unique_ptr<LockHost>> hosts_;
  std::vector<std::unique_ptr<LockHost>> buried_;
  std::map<const sim::SimHost*, LockHost*> by_sim_;
  std::map<std::pair<uint32_t, uint64_t>, int> finished_replays_;
  uint64_t begun_[kLockCount] = {};
  uint64_t answered_[kLockCount] = {};
  uint64_t raised_count_ = 0;
  uint64_t takeover_count_ = 0;
  uint8_t last_fill_ = 0;
  bool finishing_ = false;
  std::string violation_;
};

class LockSimulation : public testing::Test {
 protected:
  void SetUp() override { base::SetLogLevel(base::LogLevel::kOff); }

  void TearDown() override { base::SetLogLevel(base::LogLevel::kWarn); }

  static uint64_t Environment(const char* name, uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text ? std::strtoull(text, nullptr, 10) : otherwise;
  }

  // Whether some seed shows that the planted bug breaks an invariant.
  static bool IsCaught(Planted planted) {
    for (uint64_t seed = 1; seed <= 60; ++seed) {
      Fight fight(seed, planted);
      if (!fight.Run().empty()) return true;
    }
    return false;
  }
};

TEST_F(LockSimulation, EachLockHasOneOwnerAndNoUpdateIsLost) {
  const uint64_t only_seed = Environment("SEED", 0);
  const uint64_t first = only_seed ? only_seed : 1;
  const uint64_t last = only_seed ? only_seed : Environment("ROUNDS", 60);
  uint64_t raised_count = 0;
  uint64_t takeover_count = 0;
  for (uint64_t seed = first; seed <= last; ++seed) {
    Fight fight(seed, Planted::kNothing);
    ASSERT_EQ(fight.Run(), "") << "replay: SEED=" << seed
                               << " vmfs_lock_test --gtest_filter=LockSimulation.Each*";
    raised_count += fight.raised_count();
    takeover_count += fight.takeover_count();
  }
  // A simulation in which nothing happens proves nothing.
  EXPECT_GT(raised_count, (last - first + 1) * 50);
  if (!only_seed) {
    EXPECT_GT(takeover_count, last / 2);
  }
}

TEST_F(LockSimulation, CatchesLocksBrokenWithoutAsking) {
  EXPECT_TRUE(IsCaught(Planted::kBreakWithoutAsking));
}

TEST_F(LockSimulation, CatchesAnExchangeThatDoesNotCompare) {
  EXPECT_TRUE(IsCaught(Planted::kSkipCompare));
}

TEST_F(LockSimulation, CatchesAHostThatIgnoresItsLease) {
  EXPECT_TRUE(IsCaught(Planted::kIgnoreLease));
}

}  // namespace
}  // namespace vmfs
