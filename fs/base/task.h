// `Task<T>`: a lazy coroutine with one owner, awaited exactly once.
//
// Thread rule: a task runs on the executor of whoever awaits it. `co_await task` runs the child
// inline and goes on without suspending when the child finished at once; only a child that really
// waits suspends its parent. No symmetric transfer: g++ 12 does not make it a tail call at -O0, -O1
// or under sanitizers, and a long loop of finished awaits would overflow the stack.
//
// Rules for coroutines of this project (g++ 12 destroys some temporaries twice, silently):
//  * parameters are trivially destructible values, pointers, or references to mutable or
//    non-copyable objects; the guard at the end of this file rejects the rest at compile time;
//  * no lambda is a coroutine; `co_await` stands alone: never inside braces or an argument list.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "fs/base/check.h"

namespace base {

// Recycles coroutine frames by size; one pool per thread. Frames may be freed on another thread.
void* AllocateFrame(size_t size_bytes);
void FreeFrame(void* frame, size_t size_bytes) noexcept;

template <typename T>
class Task;

namespace task_internal {

class PromiseBase {
 public:
  static void* operator new(size_t size) { return AllocateFrame(size); }
  static void operator delete(void* frame, size_t size) noexcept { FreeFrame(frame, size); }

  struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    template <typename Promise>
    void await_suspend(std::coroutine_handle<Promise> self) const noexcept {
      // Read before resuming: the continuation may destroy this frame.
      PromiseBase& promise = self.promise();
      if (promise.parent_suspended_) promise.continuation_.resume();
    }
    void await_resume() const noexcept {}
  };

  std::suspend_always initial_suspend() const noexcept { return {}; }
  FinalAwaiter final_suspend() const noexcept { return {}; }
  void unhandled_exception() const noexcept { std::terminate(); }

  std::coroutine_handle<> continuation_;
  bool parent_suspended_ = false;
};

template <typename T>
class Promise : public PromiseBase {
 public:
  Task<T> get_return_object();
  template <typename U>
  void return_value(U&& value) {
    value_.emplace(std::forward<U>(value));
  }
  T TakeValue() { return std::move(*value_); }

 private:
  std::optional<T> value_;
};

template <>
class Promise<void> : public PromiseBase {
 public:
  Task<void> get_return_object();
  void return_void() const noexcept {}
  void TakeValue() const noexcept {}
};

}  // namespace task_internal

template <typename T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = task_internal::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  explicit Task(Handle handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      Destroy();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  ~Task() { Destroy(); }

  struct Awaiter {
    Handle child;
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> parent) const {
      child.promise().continuation_ = parent;
      child.resume();
      if (child.done()) return false;
      child.promise().parent_suspended_ = true;
      return true;
    }
    T await_resume() const { return child.promise().TakeValue(); }
  };

  Awaiter operator co_await() const& noexcept {
    DCHECK(handle_);
    return Awaiter{handle_};
  }

  // For executors: starts the task without a parent.
  void Start() { handle_.resume(); }
  bool Done() const { return handle_.done(); }
  T TakeValue() { return handle_.promise().TakeValue(); }

 private:
  void Destroy() {
    if (handle_) handle_.destroy();
    handle_ = nullptr;
  }

  Handle handle_;
};

namespace task_internal {

template <typename T>
Task<T> Promise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}

inline Task<void> Promise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}

// What a coroutine may take: see the rules at the top of this file.
template <typename P>
constexpr bool kIsSafeParameter =
    std::is_reference_v<P>
        ? (std::is_lvalue_reference_v<P> &&
           (!std::is_const_v<std::remove_reference_t<P>> ||
            !std::is_copy_constructible_v<std::remove_reference_t<P>>))
        : (std::is_pointer_v<P> || std::is_trivially_destructible_v<P>);

}  // namespace task_internal
}  // namespace base

template <typename T, typename... Parameters>
struct std::coroutine_traits<base::Task<T>, Parameters...> {
  static_assert((base::task_internal::kIsSafeParameter<Parameters> && ...),
                "coroutine parameters: trivially destructible values, pointers, or references to "
                "mutable or non-copyable objects (see fs/base/task.h)");
  using promise_type = base::task_internal::Promise<T>;
};
