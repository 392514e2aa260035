// `SlotQueue`: the device queue depth. A bounded number of commands in flight, the rest waits.
//
// ESX words: SCSIStartDevice and the device's maximum queue depth. First come, first served: a slot
// that falls free goes to the one who has waited longest, so nobody starves. Waiters are linked
// through their own coroutine frames; nothing is allocated. Thread rule: one executor.
#pragma once

#include <coroutine>
#include <cstdint>

#include "fs/base/check.h"
#include "fs/base/executor.h"

namespace psa {

class SlotQueue {
 public:
  SlotQueue(base::Executor& executor, uint32_t depth) : executor_(executor), depth_(depth) {
    CHECK(depth > 0);
  }

  SlotQueue(const SlotQueue&) = delete;
  SlotQueue& operator=(const SlotQueue&) = delete;

  ~SlotQueue() { CHECK(used_ == 0 && first_ == nullptr && drain_ == nullptr); }

  uint32_t depth() const { return depth_; }

  uint32_t used_count() const { return used_; }

  uint64_t waiting_count() const { return waiting_; }

  // Awaits a slot. Lives in the frame of the waiting coroutine.
  class Acquirer {
   public:
    explicit Acquirer(SlotQueue& queue) : queue_(queue) {}

    Acquirer(const Acquirer&) = delete;
    Acquirer& operator=(const Acquirer&) = delete;

    bool await_ready() const {
      if (queue_.first_ != nullptr || queue_.used_ >= queue_.depth_) return false;
      ++queue_.used_;
      return true;
    }

    void await_suspend(std::coroutine_handle<> handle) {
      handle_ = handle;
      (queue_.last_ ? queue_.last_->next_ : queue_.first_) = this;
      queue_.last_ = this;
      ++queue_.waiting_;
    }

    void await_resume() const noexcept {}

   private:
    friend class SlotQueue;
    SlotQueue& queue_;
    std::coroutine_handle<> handle_;
    Acquirer* next_ = nullptr;
  };

  // `co_await queue.Acquire(); SlotGuard slot(queue);`
  Acquirer Acquire() { return Acquirer(*this); }

  void Release() {
    DCHECK(used_ > 0);
    if (first_ != nullptr) return PassOn();
    --used_;
    if (used_ == 0 && drain_) {
      executor_.Post(drain_);
      drain_ = nullptr;
    }
  }

  struct Drainer {
    SlotQueue& queue;

    bool await_ready() const { return queue.used_ == 0; }

    void await_suspend(std::coroutine_handle<> handle) const {
      CHECK(queue.drain_ == nullptr);
      queue.drain_ = handle;
    }

    void await_resume() const noexcept {}
  };

  // Awaits that nothing is in flight or waiting. One at a time.
  Drainer Drain() { return Drainer{*this}; }

 private:
  // The slot stays taken and changes hands.
  void PassOn() {
    Acquirer* next = first_;
    first_ = next->next_;
    if (first_ == nullptr) last_ = nullptr;
    --waiting_;
    executor_.Post(next->handle_);
  }

  base::Executor& executor_;
  uint32_t depth_;
  uint32_t used_ = 0;
  uint64_t waiting_ = 0;
  Acquirer* first_ = nullptr;
  Acquirer* last_ = nullptr;
  std::coroutine_handle<> drain_;
};

// Gives a slot back at the end of the scope.
class SlotGuard {
 public:
  explicit SlotGuard(SlotQueue& queue) : queue_(queue) {}

  SlotGuard(const SlotGuard&) = delete;
  SlotGuard& operator=(const SlotGuard&) = delete;

  ~SlotGuard() { queue_.Release(); }

 private:
  SlotQueue& queue_;
};

}  // namespace psa
