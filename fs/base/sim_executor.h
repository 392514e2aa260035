// `SimExecutor`: a seeded scheduler with a virtual clock. One seed gives one schedule.
//
// Among the coroutines that are ready, which one runs next is drawn from the seed; time jumps to
// the next deadline when nothing is ready. Thread rule: one thread. No I/O of its own: simulated
// disks wait on `Sleep`.
#pragma once

#include <coroutine>
#include <cstdint>
#include <map>
#include <vector>

#include "fs/base/executor.h"
#include "fs/base/random.h"

namespace base {

class SimExecutor : public Executor {
 public:
  // `in_order` runs ready coroutines first in, first out: for tests that count steps.
  explicit SimExecutor(uint64_t seed, bool in_order = false)
      : random_(seed), in_order_(in_order) {}
  ~SimExecutor() override { CHECK(spawned_count() == 0 || abandoned_); }

  uint64_t NowMicroseconds() const override { return now_us_; }
  uint64_t WallMicroseconds() const override { return kWallStartMicroseconds + now_us_; }
  Random& random() override { return random_; }
  void Post(std::coroutine_handle<> handle) override { ready_.push_back(handle); }
  void PostAt(uint64_t deadline_us, std::coroutine_handle<> handle) override {
    timers_.emplace(deadline_us, handle);
  }
  bool CancelAt(uint64_t deadline_us, std::coroutine_handle<> handle) override;
  bool RunOnce(bool may_wait) override;

  // Runs until nothing is ready and no timer is left, or the clock passes `until_us`.
  void RunUntil(uint64_t until_us);

  // For simulated crashes: everything that waits is forgotten, never resumed. Frames leak on
  // purpose; the test's process is short.
  void AbandonAll() {
    ready_.clear();
    timers_.clear();
    abandoned_ = true;
  }

 private:
  static constexpr uint64_t kWallStartMicroseconds = 1'700'000'000'000'000;

  Random random_;
  bool in_order_;
  bool abandoned_ = false;
  uint64_t now_us_ = 1'000'000;
  std::vector<std::coroutine_handle<>> ready_;
  std::multimap<uint64_t, std::coroutine_handle<>> timers_;
};

}  // namespace base
