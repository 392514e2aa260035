// `CallCounter`: lets `Close` wait for the calls in flight.
//
//   const CallCounter::Scope scope(calls_);   // in each call that is a coroutine
//   co_await calls_.Drain();                  // in Close
//
// Thread rule: one executor.
#pragma once

#include <cstdint>

#include "fs/base/check.h"
#include "fs/base/sync.h"
#include "fs/base/task.h"

namespace base {

class CallCounter {
 public:
  explicit CallCounter(Executor& executor) : drained_(executor) {}

  CallCounter(const CallCounter&) = delete;
  CallCounter& operator=(const CallCounter&) = delete;

  ~CallCounter() { CHECK(count_ == 0); }

  // Counts one call for as long as it lives.
  class Scope {
   public:
    explicit Scope(CallCounter& counter) : counter_(counter) { ++counter_.count_; }

    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

    ~Scope() {
      if (--counter_.count_ == 0) counter_.drained_.NotifyAll();
    }

   private:
    CallCounter& counter_;
  };

  uint64_t count() const { return count_; }

  // Forgets calls that will never be resumed, after a simulated crash.
  void Abandon() { count_ = 0; }

  // Waits until no call is in flight.
  Task<void> Drain() {
    while (count_ > 0) co_await drained_.Wait();
  }

 private:
  AsyncCondition drained_;
  uint64_t count_ = 0;
};

}  // namespace base
