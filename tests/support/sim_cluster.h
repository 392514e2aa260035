// Hosts that share one simulated medium: each can be stopped, continued and killed at any moment.
//
// Fault model. A *stopped* host runs no code; its clock goes on, and requests it had issued are
// carried out. A *killed* host never runs again; requests in flight are carried out all the same.
// Requests take a random time, take effect at one instant within it, in any order. The Nth request
// of a host can fail, either without effect or with its effect done and the answer lost. The guard
// bytes of a killed host are free once its last request has been carried out. Recovery is possible
// because compare-and-write is atomic and no request takes longer than `latency_us_max`.
// Thread rule: one thread, one `SimExecutor` for the world. Tests only.
#pragma once

#include <coroutine>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/base/sim_executor.h"
#include "vmfs/format/lock_block.h"
#include "vmfs/lock/heartbeat.h"

namespace sim {

class SimHost;

// The executor of one host: the world's, as long as the host runs.
class HostExecutor : public base::Executor {
 public:
  explicit HostExecutor(base::SimExecutor& world) : world_(world) {}

  uint64_t NowMicroseconds() const override { return world_.NowMicroseconds(); }

  uint64_t WallMicroseconds() const override { return world_.WallMicroseconds(); }

  base::Random& random() override { return world_.random(); }

  void Post(std::coroutine_handle<> handle) override { PostAt(0, handle); }

  void PostAt(uint64_t deadline_us, std::coroutine_handle<> handle) override;
  bool CancelAt(uint64_t deadline_us, std::coroutine_handle<> handle) override;

  bool RunOnce(bool may_wait) override { return world_.RunOnce(may_wait); }

  void Stop() { stopped_ = true; }

  void Continue();

  void Kill() { killed_ = true; }

  bool stopped() const { return stopped_; }

  bool killed() const { return killed_; }

 private:
  struct Detached;

  struct Timer {
    uint64_t deadline_us;
    std::coroutine_handle<> handle;
  };

  static Detached Deliver(HostExecutor& host, uint64_t id, uint64_t deadline_us);
  void Arrive(uint64_t id);

  base::SimExecutor& world_;
  bool stopped_ = false;
  bool killed_ = false;
  uint64_t next_id_ = 1;
  std::map<uint64_t, Timer> timers_;
  std::vector<std::coroutine_handle<>> held_back_;
};

// The bytes all hosts share, and faults of the medium itself.
struct SimMedium {
  SimMedium(base::SimExecutor& world_executor, uint64_t size)
      : world(world_executor), bytes(size) {}

  base::SimExecutor& world;
  std::vector<std::byte> bytes;
  uint32_t block_bytes = 512;
  uint64_t latency_us_max = 20'000;
  bool skip_compare = false;  // planted bug: compare-and-write does not compare

  // Sees each plain write at the moment it takes effect.
  std::function<void(const SimHost& host, uint64_t offset_bytes)> on_write;
};

// Guard bytes of the medium's backing file: byte -> host.
struct SimGuardTable {
  std::map<uint64_t, const SimHost*> holders;
};

class SimGuard : public vmfs::ProcessGuard {
 public:
  SimGuard(SimGuardTable& table, const SimHost& host) : table_(table), host_(host) {}

  base::Result<bool> TryLock(uint64_t byte_offset) override;

  void Unlock(uint64_t byte_offset) override { table_.holders.erase(byte_offset); }

  bool covers_every_writer() const override { return covers_every_writer_; }

  void set_covers_every_writer(bool covers) { covers_every_writer_ = covers; }

  void ReleaseAll();

 private:
  SimGuardTable& table_;
  const SimHost& host_;
  bool covers_every_writer_ = true;
};

// One host's way to the medium.
class HostDisk : public base::BlockDevice {
 public:
  HostDisk(SimMedium& medium, SimHost& host);

  const base::Limits& limits() const override { return limits_; }

  uint64_t size_bytes() const override { return medium_.bytes.size(); }

  const std::string& name() const override { return name_; }

  base::Task<base::Status> Read(base::IoRequest request) override;
  base::Task<base::Status> Write(base::IoRequest request) override;
  base::Task<base::Status> Flush() override;
  base::Task<base::Status> Unmap(uint64_t, uint64_t) override;
  base::Task<base::Status> WriteZeroes(uint64_t, uint64_t, bool) override;
  base::Task<base::Status> CompareAndWrite(uint64_t offset_bytes,
                                           std::span<const std::byte> expected,
                                           std::span<const std::byte> replacement) override;
  base::Task<base::Status> MapStatus(uint64_t, uint64_t, std::vector<base::MapRun>&) override;
  base::Task<base::Status> Close() override;

  enum class Failure : uint8_t { kNotDone, kAnswerLost };

  // From now on the `nth` request (1 is the next) fails; with `for_good` all later ones, too.
  void FailAt(uint64_t nth, Failure failure, bool for_good = false);

  void FailNever() { fail_at_ = 0; }

  bool has_failed() const { return has_failed_; }

  uint64_t request_count() const { return request_count_; }

  uint64_t exchange_count() const { return exchange_count_; }

 private:
  struct Operation;
  base::Task<base::Status> Submit(Operation operation);
  static base::Task<void> Perform(HostDisk& disk, Operation* operation);
  base::Status Apply(Operation& operation);

  SimMedium& medium_;
  SimHost& host_;
  base::Limits limits_;
  std::string name_ = "sim";
  uint64_t request_count_ = 0;
  uint64_t exchange_count_ = 0;
  uint64_t fail_at_ = 0;  // number of the request; 0: never
  Failure failure_ = Failure::kNotDone;
  bool fail_for_good_ = false;
  bool has_failed_ = false;
};

// One host: its executor, its disk, its guard.
class SimHost {
 public:
  SimHost(SimMedium& medium, SimGuardTable& guards)
      : executor(medium.world), disk(medium, *this), guard(guards, *this) {}

  void Kill() {
    executor.Kill();
    OnRequestDone();
  }

  void OnRequestDone();

  HostExecutor executor;
  HostDisk disk;
  SimGuard guard;
  uint64_t requests_in_flight = 0;
};

// A small formatted medium, its hosts, and what tests look at: 1,024 free heartbeat slots at their
// place and `lock_count` free locks behind them, each with a counter block.
class SimCluster {
 public:
  explicit SimCluster(uint64_t seed, uint32_t lock_count = 512);
  // Lets everything in flight end. Heartbeats of hosts that still run have been stopped.
  ~SimCluster();

  // A host with a free way to the medium. Lives until the end of the process if it was killed.
  SimHost& AddHost();

  static uint64_t LockAddress(uint32_t index) { return 0x700000 + uint64_t{index} * 0x2000; }

  static uint64_t CounterAddress(uint32_t index) { return LockAddress(index) + 0x1000; }

  // What lies on the medium now.
  vmfs::HeartbeatSlot Slot(uint32_t index) const;
  vmfs::LockBlock Lock(uint32_t index) const;
  uint64_t Counter(uint32_t index) const;
  uint32_t SlotsInUse() const;

  // Changes the medium behind everybody's back.
  void PutSlot(uint32_t index, const vmfs::HeartbeatSlot& slot);
  void PutLock(uint32_t index, const vmfs::LockBlock& lock);

  // Runs `task` to its end, with everything else that happens meanwhile.
  template <typename T>
  T Run(base::Task<T> task) {
    return base::RunSync(world, std::move(task));
  }

  void RunFor(uint64_t duration_us);

  base::SimExecutor world;
  SimMedium medium;
  SimGuardTable guards;

 private:
  std::vector<std::unique_ptr<SimHost>> hosts_;
};

}  // namespace sim
