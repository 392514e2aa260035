// `Alarm`: a sleep of one coroutine that another can cut short.
//
// For periodic tasks that must end at once when they are told: `co_await alarm.SleepUntil(when);`
// in the loop, `alarm.Ring();` from whoever stops it. Thread rule: one executor; one sleeper at a
// time. The alarm outlives the sleep.
#pragma once

#include <coroutine>
#include <cstdint>

#include "fs/base/check.h"
#include "fs/base/executor.h"

namespace base {

class Alarm {
 public:
  explicit Alarm(Executor& executor) : executor_(executor) {}

  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;

  ~Alarm() { CHECK(!sleeper_); }

  struct Awaiter {
    Alarm& alarm;
    uint64_t deadline_us;

    bool await_ready() const noexcept { return false; }

    void await_suspend(std::coroutine_handle<> handle) const {
      CHECK(!alarm.sleeper_);
      alarm.sleeper_ = handle;
      alarm.deadline_us_ = deadline_us;
      alarm.executor_.PostAt(deadline_us, handle);
    }

    void await_resume() const noexcept { alarm.sleeper_ = nullptr; }
  };

  // Resumes when the executor's clock has reached `deadline_us`, or after `Ring`.
  Awaiter SleepUntil(uint64_t deadline_us) { return Awaiter{*this, deadline_us}; }

  // Wakes the sleeper, if there is one. A sleep that begins later is not affected.
  void Ring() {
    if (sleeper_ && executor_.CancelAt(deadline_us_, sleeper_)) executor_.Post(sleeper_);
  }

 private:
  Executor& executor_;
  std::coroutine_handle<> sleeper_;
  uint64_t deadline_us_ = 0;
};

}  // namespace base
