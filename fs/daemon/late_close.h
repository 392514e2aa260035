// `LateClose`: the patience that a holder deserves whose close is still on its way.
//
// close(2) returns before the kernel tells a FUSE daemon of it, so whoever comes next may meet a
// holder that is gone already. Refusals are therefore given only after a few milliseconds:
//
//   LateClose late_close(executor);
//   while (is_held && late_close.may_wait()) co_await late_close.Wait();
//
// Thread rule: the executor's thread. Place in the stack: beside the guards of open disks.
#pragma once

#include <cstdint>

#include "fs/base/executor.h"

namespace stratad {

class LateClose {
 public:
  explicit LateClose(base::Executor& executor) : executor_(executor) {}

  bool may_wait() const { return waits_ < kWaitsMax; }

  base::Executor::SleepAwaiter Wait() {
    ++waits_;
    return executor_.Sleep(kWaitMicroseconds);
  }

 private:
  static constexpr int kWaitsMax = 10;
  static constexpr uint64_t kWaitMicroseconds = 2'000;

  base::Executor& executor_;
  int waits_ = 0;
};

}  // namespace stratad
