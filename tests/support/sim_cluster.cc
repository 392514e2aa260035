#include "tests/support/sim_cluster.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <span>
#include <utility>

#include "fs/base/check.h"
#include "fs/base/on_disk.h"

namespace sim {

// A coroutine that owns itself.
struct HostExecutor::Detached {
  struct promise_type {
    Detached get_return_object() const noexcept { return {}; }

    std::suspend_never initial_suspend() const noexcept { return {}; }

    std::suspend_never final_suspend() const noexcept { return {}; }

    void return_void() const noexcept {}

    void unhandled_exception() const noexcept { std::terminate(); }
  };
};

HostExecutor::Detached HostExecutor::Deliver(HostExecutor& host, uint64_t id,
                                             uint64_t deadline_us) {
  const base::Executor::SleepAwaiter due{host.world_, deadline_us};
  co_await due;
  host.Arrive(id);
}

void HostExecutor::PostAt(uint64_t deadline_us, std::coroutine_handle<> handle) {
  if (killed_) {
    held_back_.push_back(handle);  // for ever, but reachable: such frames are not leaks
    return;
  }
  const uint64_t id = next_id_++;
  timers_.emplace(id, Timer{deadline_us, handle});
  Deliver(*this, id, deadline_us);
}

bool HostExecutor::CancelAt(uint64_t deadline_us, std::coroutine_handle<> handle) {
  const auto found = std::find_if(timers_.begin(), timers_.end(), [&](const auto& entry) {
    return entry.second.deadline_us == deadline_us && entry.second.handle == handle;
  });
  if (found == timers_.end()) return false;
  timers_.erase(found);
  return true;
}

void HostExecutor::Arrive(uint64_t id) {
  const auto found = timers_.find(id);
  if (found == timers_.end() || killed_) return;
  const std::coroutine_handle<> handle = found->second.handle;
  timers_.erase(found);
  if (stopped_) {
    held_back_.push_back(handle);
  } else {
    handle.resume();
  }
}

void HostExecutor::Continue() {
  stopped_ = false;
  for (const std::coroutine_handle<> handle : std::exchange(held_back_, {})) Post(handle);
}

base::Result<bool> SimGuard::TryLock(uint64_t byte_offset) {
  return table_.holders.emplace(byte_offset, &host_).second;
}

void SimGuard::ReleaseAll() {
  std::erase_if(table_.holders, [&](const auto& entry) { return entry.second == &host_; });
}

void SimHost::OnRequestDone() {
  if (executor.killed() && requests_in_flight == 0) guard.ReleaseAll();
}

struct HostDisk::Operation {
  enum class Kind : uint8_t { kRead, kWrite, kFlush, kExchange } kind;
  uint64_t offset_bytes = 0;
  std::span<const base::IoVec> buffers{};
  std::span<const std::byte> expected{};
  std::span<const std::byte> replacement{};
  std::coroutine_handle<> waiter{};
  bool done = false;
  base::Code failed = base::Code::kInternal;
  bool ok = false;

  // Waits for `Perform`.
  struct Awaiter {
    Operation& operation;

    bool await_ready() const noexcept { return operation.done; }

    void await_suspend(std::coroutine_handle<> handle) const { operation.waiter = handle; }

    void await_resume() const noexcept {}
  };
};

HostDisk::HostDisk(SimMedium& medium, SimHost& host) : medium_(medium), host_(host) {
  limits_.block_size_bytes = medium.block_bytes;
  limits_.memory_alignment_bytes = 512;
  limits_.can_compare_and_write = true;
}

base::Task<base::Status> HostDisk::Read(base::IoRequest request) {
  return Submit({Operation::Kind::kRead, request.offset_bytes, request.buffers});
}

base::Task<base::Status> HostDisk::Write(base::IoRequest request) {
  return Submit({Operation::Kind::kWrite, request.offset_bytes, request.buffers});
}

base::Task<base::Status> HostDisk::Flush() {
  return Submit({Operation::Kind::kFlush});
}

base::Task<base::Status> HostDisk::CompareAndWrite(uint64_t offset_bytes,
                                                   std::span<const std::byte> expected,
                                                   std::span<const std::byte> replacement) {
  CHECK(expected.size() == replacement.size() && expected.size() == limits_.block_size_bytes);
  return Submit({Operation::Kind::kExchange, offset_bytes, {}, expected, replacement});
}

base::Task<base::Status> HostDisk::Unmap(uint64_t, uint64_t) {
  co_return base::Code::kUnsupported;
}

base::Task<base::Status> HostDisk::WriteZeroes(uint64_t, uint64_t, bool) {
  co_return base::Code::kUnsupported;
}

base::Task<base::Status> HostDisk::MapStatus(uint64_t, uint64_t, std::vector<base::MapRun>&) {
  co_return base::Code::kUnsupported;
}

base::Task<base::Status> HostDisk::Close() {
  co_return base::Ok();
}

void HostDisk::FailAt(uint64_t nth, Failure failure, bool for_good) {
  fail_at_ = request_count_ + nth;
  failure_ = failure;
  fail_for_good_ = for_good;
  has_failed_ = false;
}

base::Task<base::Status> HostDisk::Submit(Operation operation) {
  medium_.world.Spawn(Perform(*this, &operation));
  Operation::Awaiter answered{operation};
  co_await answered;
  if (operation.ok) co_return base::Ok();
  co_return base::Error(operation.failed, operation.failed == base::Code::kMiscompare
                                              ? "sim: compare-and-write: other bytes found"
                                              : "sim: the device failed the request");
}

// Runs in the world, whatever happens to the host. Buffers of a killed host's frames stay valid:
// such frames are never destroyed.
base::Task<void> HostDisk::Perform(HostDisk& disk, Operation* operation) {
  ++disk.host_.requests_in_flight;
  const uint64_t number = ++disk.request_count_;
  if (operation->kind == Operation::Kind::kExchange) ++disk.exchange_count_;
  const bool fails = disk.fail_at_ != 0 &&
                     (disk.fail_for_good_ ? number >= disk.fail_at_ : number == disk.fail_at_);
  base::SimExecutor& world = disk.medium_.world;
  co_await world.Sleep(world.random().Below(disk.medium_.latency_us_max));
  base::Status result = base::Code::kIo;
  if (!fails || disk.failure_ == Failure::kAnswerLost) result = disk.Apply(*operation);
  if (fails) {
    disk.has_failed_ = true;
    result = base::Code::kIo;
  }
  co_await world.Sleep(world.random().Below(disk.medium_.latency_us_max));
  --disk.host_.requests_in_flight;
  disk.host_.OnRequestDone();
  operation->ok = result.has_value();
  if (!result) operation->failed = result.error().code();
  operation->done = true;
  if (operation->waiter) disk.host_.executor.Post(operation->waiter);
}

base::Status HostDisk::Apply(Operation& operation) {
  std::byte* at = medium_.bytes.data() + operation.offset_bytes;
  CHECK(operation.offset_bytes + base::TotalBytes(operation.buffers) <= medium_.bytes.size());
  if (operation.kind == Operation::Kind::kExchange) {
    const size_t size = operation.expected.size();
    const bool equal = std::memcmp(at, operation.expected.data(), size) == 0;
    if (!equal && !medium_.skip_compare) return base::Code::kMiscompare;
    std::memcpy(at, operation.replacement.data(), size);
  }
  if (operation.kind == Operation::Kind::kWrite && medium_.on_write) {
    medium_.on_write(host_, operation.offset_bytes);
  }
  for (const base::IoVec& piece : operation.buffers) {
    if (operation.kind == Operation::Kind::kRead) std::memcpy(piece.data, at, piece.size_bytes);
    if (operation.kind == Operation::Kind::kWrite) std::memcpy(at, piece.data, piece.size_bytes);
    at += piece.size_bytes;
  }
  return base::Ok();
}

namespace {

base::Task<void> SleepFor(base::Executor& executor, uint64_t duration_us) {
  co_await executor.Sleep(duration_us);
}

// Killed hosts: their frames are never resumed and never destroyed.
std::vector<std::unique_ptr<SimHost>>& Graveyard() {
  static auto* const graveyard = new std::vector<std::unique_ptr<SimHost>>;
  return *graveyard;
}

}  // namespace

SimCluster::SimCluster(uint64_t seed, uint32_t lock_count)
    : world(seed), medium(world, LockAddress(lock_count)) {
  for (uint32_t i = 0; i < vmfs::kHeartbeatSlotCount; ++i) {
    PutSlot(i, vmfs::MakeFreeHeartbeatSlot(vmfs::HeartbeatAddress(i)));
  }
  for (uint32_t i = 0; i < lock_count; ++i) {
    PutLock(i, vmfs::MakeFreeLock(vmfs::LockType::kFd, LockAddress(i)));
  }
}

SimCluster::~SimCluster() {
  RunFor(600'000'000);
  for (std::unique_ptr<SimHost>& host : hosts_) {
    if (host->executor.killed()) Graveyard().push_back(std::move(host));
  }
}

SimHost& SimCluster::AddHost() {
  return *hosts_.emplace_back(std::make_unique<SimHost>(medium, guards));
}

vmfs::HeartbeatSlot SimCluster::Slot(uint32_t index) const {
  return base::LoadAs<vmfs::HeartbeatSlot>(medium.bytes, vmfs::HeartbeatAddress(index));
}

vmfs::LockBlock SimCluster::Lock(uint32_t index) const {
  return base::LoadAs<vmfs::LockBlock>(medium.bytes, LockAddress(index));
}

uint64_t SimCluster::Counter(uint32_t index) const {
  return base::LoadAs<base::Le64>(medium.bytes, CounterAddress(index));
}

uint32_t SimCluster::SlotsInUse() const {
  uint32_t count = 0;
  for (uint32_t i = 0; i < vmfs::kHeartbeatSlotCount; ++i) {
    if (Slot(i).state() != vmfs::HeartbeatState::kFree) ++count;
  }
  return count;
}

void SimCluster::PutSlot(uint32_t index, const vmfs::HeartbeatSlot& slot) {
  base::StoreAs(std::span(medium.bytes), vmfs::HeartbeatAddress(index), slot);
}

void SimCluster::PutLock(uint32_t index, const vmfs::LockBlock& lock) {
  base::StoreAs(std::span(medium.bytes), LockAddress(index), lock);
}

void SimCluster::RunFor(uint64_t duration_us) {
  Run(SleepFor(world, duration_us));
}

}  // namespace sim
