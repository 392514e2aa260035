// `InFlight`: waits for the transfers that began before, and for no later ones.
//
// A transfer to a place that may be given back enters before it starts and leaves when it has
// ended. Whoever gives a place back first makes it unfindable, then drains: afterwards nobody
// touches it. Thread rule: one executor.
#pragma once

#include <array>
#include <cstdint>

#include "fs/base/check.h"
#include "fs/base/executor.h"
#include "fs/base/sync.h"
#include "fs/base/task.h"

namespace disklib {

class InFlight {
 public:
  explicit InFlight(base::Executor& executor) : turn_(executor), left_(executor) {}

  ~InFlight() { CHECK(counts_[0] == 0 && counts_[1] == 0); }

  // One transfer; destroying it means that it has ended.
  class Use {
   public:
    explicit Use(InFlight& in_flight) : in_flight_(in_flight), side_(in_flight.side_) {
      ++in_flight_.counts_[side_];
    }

    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

    ~Use() {
      if (--in_flight_.counts_[side_] == 0) in_flight_.left_.NotifyAll();
    }

   private:
    InFlight& in_flight_;
    const uint32_t side_;
  };

  // Returns when every transfer that has entered by now has left.
  base::Task<void> Drain() {
    co_await turn_.Acquire();
    const base::LockGuard guard(turn_);
    const uint32_t old_side = side_;
    side_ = 1 - side_;
    while (counts_[old_side] > 0) co_await left_.Wait();
  }

 private:
  base::AsyncLock turn_;
  base::AsyncCondition left_;
  std::array<uint64_t, 2> counts_ = {0, 0};
  uint32_t side_ = 0;
};

}  // namespace disklib
