// `ThreadCall`: runs a plain function on a thread of its own and resumes its coroutine afterwards.
//
// For system calls on our own mount (mount, umount, syncfs, notifications): each may wait for an
// answer of this very daemon, so neither the executor nor its helper thread, which drivers need to
// answer, may make it. Rare calls only: each costs a thread.
//
//   ThreadCall call(executor, [&] { return Unmount(path); });
//   co_await call;
//   const base::Status unmounted = call.TakeResult();
//
// Thread rule: awaited on the executor's thread; the function touches only what its coroutine
// leaves to it. Place in the stack: life cycle of the daemon.
#pragma once

#include <coroutine>
#include <optional>
#include <thread>
#include <utility>

#include "fs/base/uring_executor.h"

namespace stratad {

template <typename Function>
class ThreadCall {
 public:
  using Value = decltype(std::declval<Function&>()());

  ThreadCall(base::UringExecutor& executor, Function function)
      : executor_(executor), function_(std::move(function)) {}

  ThreadCall(const ThreadCall&) = delete;
  ThreadCall& operator=(const ThreadCall&) = delete;

  struct Awaiter {
    ThreadCall& call;

    bool await_ready() const noexcept { return false; }

    void await_suspend(std::coroutine_handle<> waiter) const { call.Start(waiter); }

    void await_resume() const { call.thread_.join(); }
  };

  Awaiter operator co_await() noexcept { return Awaiter{*this}; }

  // Once, after it was awaited.
  Value TakeResult() { return *std::move(result_); }

 private:
  void Start(std::coroutine_handle<> waiter) {
    executor_.ExpectPost();
    thread_ = std::thread([this, waiter] {
      result_.emplace(function_());
      executor_.PostFromAnyThread(waiter);
    });
  }

  base::UringExecutor& executor_;
  Function function_;
  std::optional<Value> result_;
  std::thread thread_;
};

}  // namespace stratad
