#include "fs/base/sim_executor.h"

#include <algorithm>

namespace base {

bool SimExecutor::RunOnce(bool may_wait) {
  while (!timers_.empty() && timers_.begin()->first <= now_us_) {
    ready_.push_back(timers_.begin()->second);
    timers_.erase(timers_.begin());
  }
  if (ready_.empty()) {
    if (timers_.empty()) return false;
    if (may_wait) now_us_ = std::max(now_us_, timers_.begin()->first);
    return true;
  }
  const size_t index = in_order_ ? 0 : random_.Below(ready_.size());
  const std::coroutine_handle<> handle = ready_[index];
  ready_.erase(ready_.begin() + static_cast<std::ptrdiff_t>(index));
  handle.resume();
  return true;
}

bool SimExecutor::CancelAt(uint64_t deadline_us, std::coroutine_handle<> handle) {
  const auto [first, last] = timers_.equal_range(deadline_us);
  for (auto timer = first; timer != last; ++timer) {
    if (timer->second != handle) continue;
    timers_.erase(timer);
    return true;
  }
  return false;
}

void SimExecutor::RunUntil(uint64_t until_us) {
  while (now_us_ <= until_us) {
    if (ready_.empty() && (timers_.empty() || timers_.begin()->first > until_us)) return;
    RunOnce(/*may_wait=*/true);
  }
}

}  // namespace base
