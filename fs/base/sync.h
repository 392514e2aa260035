// Ordering between coroutines of one executor: locks, events, groups. No mutex, no thread.
//
// Thread rule: all objects belong to one executor. Waiters are resumed through `Executor::Post`,
// in the order in which they came (first in, first out; a waiting writer stops later readers).
#pragma once

#include <coroutine>
#include <cstdint>
#include <deque>
#include <utility>

#include "fs/base/check.h"
#include "fs/base/executor.h"
#include "fs/base/task.h"

namespace base {

// An asynchronous read-write lock. `co_await lock.AcquireShared()` / `AcquireExclusive()`, then
// `ReleaseShared()` / `ReleaseExclusive()`, or the guards below. Not recursive.
class AsyncSharedLock {
 public:
  explicit AsyncSharedLock(Executor& executor) : executor_(executor) {}
  AsyncSharedLock(const AsyncSharedLock&) = delete;
  AsyncSharedLock& operator=(const AsyncSharedLock&) = delete;
  ~AsyncSharedLock() { CHECK(waiters_.empty() && readers_ == 0 && !writer_); }

  struct Awaiter {
    AsyncSharedLock& lock;
    bool exclusive;
    bool await_ready() const { return lock.TryAcquire(exclusive); }
    void await_suspend(std::coroutine_handle<> handle) const {
      lock.waiters_.push_back({handle, exclusive});
    }
    void await_resume() const noexcept {}
  };

  Awaiter AcquireShared() { return Awaiter{*this, false}; }
  Awaiter AcquireExclusive() { return Awaiter{*this, true}; }

  bool TryAcquire(bool exclusive) {
    if (!waiters_.empty() || !Fits(exclusive)) return false;
    Take(exclusive);
    return true;
  }

  void ReleaseShared() {
    DCHECK(readers_ > 0);
    --readers_;
    Wake();
  }
  void ReleaseExclusive() {
    DCHECK(writer_);
    writer_ = false;
    Wake();
  }

  bool held() const { return writer_ || readers_ > 0; }
  bool held_exclusively() const { return writer_; }
  bool idle() const { return !held() && waiters_.empty(); }

 private:
  struct Waiter {
    std::coroutine_handle<> handle;
    bool exclusive;
  };
  bool Fits(bool exclusive) const { return !writer_ && (!exclusive || readers_ == 0); }
  void Take(bool exclusive) {
    if (exclusive) {
      writer_ = true;
    } else {
      ++readers_;
    }
  }
  void Wake() {
    while (!waiters_.empty() && Fits(waiters_.front().exclusive)) {
      Take(waiters_.front().exclusive);
      executor_.Post(waiters_.front().handle);
      waiters_.pop_front();
    }
  }

  Executor& executor_;
  std::deque<Waiter> waiters_;
  uint32_t readers_ = 0;
  bool writer_ = false;
};

// An asynchronous mutex: the exclusive half of the lock above.
class AsyncLock {
 public:
  explicit AsyncLock(Executor& executor) : lock_(executor) {}
  auto Acquire() { return lock_.AcquireExclusive(); }
  bool TryAcquire() { return lock_.TryAcquire(true); }
  void Release() { lock_.ReleaseExclusive(); }
  bool held() const { return lock_.held(); }
  bool idle() const { return lock_.idle(); }

 private:
  AsyncSharedLock lock_;
};

// Releases an acquired lock at the end of the scope: `co_await lock.Acquire(); LockGuard g(lock);`
class LockGuard {
 public:
  explicit LockGuard(AsyncLock& lock) : lock_(&lock) {}
  LockGuard(const LockGuard&) = delete;
  LockGuard& operator=(const LockGuard&) = delete;
  ~LockGuard() { Release(); }
  void Release() {
    if (lock_) std::exchange(lock_, nullptr)->Release();
  }

 private:
  AsyncLock* lock_;
};

class SharedGuard {
 public:
  explicit SharedGuard(AsyncSharedLock& lock) : lock_(&lock) {}
  SharedGuard(const SharedGuard&) = delete;
  SharedGuard& operator=(const SharedGuard&) = delete;
  ~SharedGuard() { Release(); }
  void Release() {
    if (lock_) std::exchange(lock_, nullptr)->ReleaseShared();
  }

 private:
  AsyncSharedLock* lock_;
};

class ExclusiveGuard {
 public:
  explicit ExclusiveGuard(AsyncSharedLock& lock) : lock_(&lock) {}
  ExclusiveGuard(const ExclusiveGuard&) = delete;
  ExclusiveGuard& operator=(const ExclusiveGuard&) = delete;
  ~ExclusiveGuard() { Release(); }
  void Release() {
    if (lock_) std::exchange(lock_, nullptr)->ReleaseExclusive();
  }

 private:
  AsyncSharedLock* lock_;
};

// A condition to wait for: `while (!ready) co_await changed.Wait();` then somebody `NotifyAll()`s.
class AsyncCondition {
 public:
  explicit AsyncCondition(Executor& executor) : executor_(executor) {}
  AsyncCondition(const AsyncCondition&) = delete;
  AsyncCondition& operator=(const AsyncCondition&) = delete;

  struct Awaiter {
    AsyncCondition& condition;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) const {
      condition.waiters_.push_back(handle);
    }
    void await_resume() const noexcept {}
  };

  Awaiter Wait() { return Awaiter{*this}; }

  void NotifyAll() {
    for (std::coroutine_handle<> handle : waiters_) executor_.Post(handle);
    waiters_.clear();
  }

  bool has_waiters() const { return !waiters_.empty(); }

 private:
  Executor& executor_;
  std::deque<std::coroutine_handle<>> waiters_;
};

// Tasks that run side by side; `co_await group.Join()` waits for all. Destroying a group with
// running tasks fails a CHECK: what they refer to would go away under them.
class TaskGroup {
 public:
  explicit TaskGroup(Executor& executor) : executor_(executor), changed_(executor) {}
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;
  ~TaskGroup() { CHECK(running_count_ == 0); }

  // Starts `task`; it runs at once until its first wait.
  void Add(Task<void> task) {
    ++running_count_;
    executor_.Spawn(Run(*this, task));
    // Run() has moved the task into its own frame before Spawn returned.
  }

  uint64_t running_count() const { return running_count_; }

  // Waits until no more than `count_max` tasks run: back-pressure for producers.
  Task<void> WaitUntilAtMost(uint64_t count_max) {
    while (running_count_ > count_max) co_await changed_.Wait();
  }

  Task<void> Join() { return WaitUntilAtMost(0); }

 private:
  static Task<void> Run(TaskGroup& group, Task<void>& source) {
    Task<void> task = std::move(source);
    co_await task;
    --group.running_count_;
    group.changed_.NotifyAll();
  }

  Executor& executor_;
  AsyncCondition changed_;
  uint64_t running_count_ = 0;
};

}  // namespace base
