// `LateClose`: the patience that a holder deserves whose close is still on its way.
//
// close(2) returns before the kernel tells a FUSE daemon of it, so whoever comes next may meet a
// holder that is gone already. Refusals are therefore given only after a few milliseconds; while a
// disk is being closed, which may have much to write, after some seconds:
//
//   LateClose late_close(executor, open_disks);
//   while (is_held && late_close.may_wait()) co_await late_close.Wait();
//
// Thread rule: the executor's thread. Place in the stack: beside the guards of open disks.
#pragma once

#include <cstdint>

#include "disklib/open_disks.h"
#include "fs/base/executor.h"

namespace stratad {

class LateClose {
 public:
  LateClose(base::Executor& executor, const disklib::OpenDisks& open_disks)
      : executor_(executor), open_disks_(open_disks) {}

  bool may_wait() const {
    return waits_ < (open_disks_.has_closing() ? kWaitsForClosingMax : kWaitsMax);
  }

  base::Executor::SleepAwaiter Wait() {
    ++waits_;
    return executor_.Sleep(kWaitMicroseconds);
  }

 private:
  static constexpr int kWaitsMax = 10;
  static constexpr int kWaitsForClosingMax = 5'000;
  static constexpr uint64_t kWaitMicroseconds = 2'000;

  base::Executor& executor_;
  const disklib::OpenDisks& open_disks_;
  int waits_ = 0;
};

}  // namespace stratad
