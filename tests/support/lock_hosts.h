// A simulated host with its heartbeat and its locks, for tests of many hosts on one medium.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/sim_cluster.h"
#include "vmfs/lock/heartbeat.h"
#include "vmfs/lock/lock_manager.h"

namespace sim {

inline base::Uuid MakeUuid(uint8_t fill) {
  base::Uuid uuid;
  uuid.bytes.fill(fill);
  return uuid;
}

// Replays nothing, but remembers for whom; can take its time, and fail.
class RecordingTakeover : public vmfs::TakeoverHandler {
 public:
  explicit RecordingTakeover(base::Executor& executor) : executor_(executor) {}

  base::Task<base::Status> Replay(const vmfs::DeadSlot* dead) override {
    replayed.push_back(*dead);
    co_await executor_.Sleep(duration_us);
    co_return result;
  }

  std::vector<vmfs::DeadSlot> replayed;
  base::Status result;
  uint64_t duration_us = 1'000;

 private:
  base::Executor& executor_;
};

// Counts barriers; can take its time, and fail.
class CountingBarrier : public vmfs::ReleaseBarrier {
 public:
  explicit CountingBarrier(base::Executor& executor) : executor_(executor) {}

  base::Task<base::Status> MakeHome() override {
    ++call_count;
    co_await executor_.Sleep(duration_us);
    co_return result;
  }

  uint64_t call_count = 0;
  base::Status result;
  uint64_t duration_us = 1'000;

 private:
  base::Executor& executor_;
};

struct LockHostOptions {
  uint8_t fill = 1;  // of the owner's UUID
  bool guarded = false;
  bool refuse_others = false;
  vmfs::LockManagerOptions locks;
};

struct LockHost {
  LockHost(SimCluster& cluster, const LockHostOptions& options)
      : sim(cluster.AddHost()),
        takeover(sim.executor),
        barrier(sim.executor),
        heartbeat(sim.executor, sim.disk, MakeOptions(options)),
        locks(sim.executor, sim.disk, heartbeat, barrier, options.locks) {}

  SimHost& sim;
  RecordingTakeover takeover;
  CountingBarrier barrier;
  vmfs::Heartbeat heartbeat;
  vmfs::LockManager locks;

 private:
  vmfs::HeartbeatOptions MakeOptions(const LockHostOptions& options) {
    vmfs::HeartbeatOptions made;
    made.identity.owner = MakeUuid(options.fill);
    made.identity.address_text = "host" + std::to_string(options.fill) + " pid 1";
    made.guard = options.guarded ? &sim.guard : nullptr;
    made.refuse_other_hosts = options.refuse_others;
    return made;
  }
};

// Hosts that a test killed: never destroyed, still reachable.
inline void Bury(std::unique_ptr<LockHost> host) {
  static auto* const graveyard = new std::vector<std::unique_ptr<LockHost>>;
  host->sim.Kill();
  graveyard->push_back(std::move(host));
}

}  // namespace sim
