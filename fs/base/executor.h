// `Executor`: the loop that resumes coroutines, keeps the clock and gives randomness.
//
// Thread rule: everything but `PostFromAnyThread` is called on the executor's own thread. An open
// disk, its file and its device belong to one executor from front to path. Two implementations:
// `UringExecutor` (production, `uring_executor.h`) and `SimExecutor` (a seeded scheduler with a
// virtual clock, `sim_executor.h`). Code takes an `Executor&` and never asks which one it is.
#pragma once

#include <coroutine>
#include <cstdint>
#include <memory>
#include <optional>

#include "fs/base/random.h"
#include "fs/base/task.h"

namespace base {

class Executor {
 public:
  virtual ~Executor() = default;
  Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Monotonic clock, microseconds since an arbitrary start. Virtual in simulation.
  virtual uint64_t NowMicroseconds() const = 0;

  // Wall clock, microseconds since 1970. Virtual in simulation.
  virtual uint64_t WallMicroseconds() const = 0;

  virtual Random& random() = 0;

  // Makes `handle` ready to run; it is resumed later from the loop, never from within this call.
  virtual void Post(std::coroutine_handle<> handle) = 0;

  // Resumes `handle` once `NowMicroseconds() >= deadline_us`.
  virtual void PostAt(uint64_t deadline_us, std::coroutine_handle<> handle) = 0;

  // Takes back a `PostAt` with these arguments that has neither run nor become ready. Returns
  // whether there was one; an executor that cannot take back answers false, and it runs in its
  // time.
  virtual bool CancelAt(uint64_t deadline_us, std::coroutine_handle<> handle) {
    static_cast<void>(deadline_us);
    static_cast<void>(handle);
    return false;
  }

  // Runs one round of the loop: ready coroutines, completions, timers. `may_wait` allows it to
  // block until something happens. Returns false when nothing is left that could ever happen.
  virtual bool RunOnce(bool may_wait) = 0;

  // Starts a task that nobody awaits; it runs until it ends. The executor owns its frame.
  // Whoever spawns makes sure (TaskGroup, `sync.h`) that what the task refers to outlives it.
  void Spawn(Task<void> task);

  // Number of spawned tasks that have not ended.
  uint64_t spawned_count() const { return spawned_count_; }

  struct SleepAwaiter {
    Executor& executor;
    uint64_t deadline_us;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) const {
      executor.PostAt(deadline_us, handle);
    }
    void await_resume() const noexcept {}
  };

  // `co_await executor.Sleep(us)`: resumes after at least `duration_us`.
  SleepAwaiter Sleep(uint64_t duration_us) {
    return SleepAwaiter{*this, NowMicroseconds() + duration_us};
  }

  struct YieldAwaiter {
    Executor& executor;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) const { executor.Post(handle); }
    void await_resume() const noexcept {}
  };

  // `co_await executor.Yield()`: lets everything else that is ready run first.
  YieldAwaiter Yield() { return YieldAwaiter{*this}; }

 private:
  friend struct SpawnedFrame;
  uint64_t spawned_count_ = 0;
};

// Runs `executor` until `task` has ended and returns its value. For programs and tests.
// A task that can never finish (nothing left to run) fails a CHECK.
template <typename T>
T RunSync(Executor& executor, Task<T> task) {
  task.Start();
  while (!task.Done()) CHECK(executor.RunOnce(/*may_wait=*/true) || task.Done());
  return task.TakeValue();
}

}  // namespace base
