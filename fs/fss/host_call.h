// `HostCall`: a plain function as a `base::BlockingCall`, with its result.
//
//   HostCall call([&] { return posix::Stat(descriptor); });   // named: never inside co_await
//   co_await executor.RunBlocking(call);
//   CO_TRY(const struct stat status, call.TakeResult());
//
// Thread rule: the function runs on the helper thread while its coroutine waits; it touches what
// the coroutine owns and nothing else of the executor's. Place in the stack: glue of the posix
// driver.
#pragma once

#include <optional>
#include <utility>

#include "fs/base/blocking_thread.h"

namespace fss {

template <typename Function>
class HostCall final : public base::BlockingCall {
 public:
  using Value = decltype(std::declval<Function&>()());

  explicit HostCall(Function function) : function_(std::move(function)) {}

  void Run() override { result_.emplace(function_()); }

  // Once, after the call has run.
  Value TakeResult() { return *std::move(result_); }

 private:
  Function function_;
  std::optional<Value> result_;
};

}  // namespace fss
