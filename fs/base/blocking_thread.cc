#include "fs/base/blocking_thread.h"

#include <sys/resource.h>
#include <unistd.h>

namespace base {
namespace {

// Added to what the program has.
constexpr int kHelperNice = 10;

}  // namespace

BlockingThread::~BlockingThread() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard guard(mutex_);
    ending_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void BlockingThread::Submit(BlockingCall& call, std::coroutine_handle<> waiter) {
  if (!thread_.joinable()) thread_ = std::thread(&BlockingThread::Loop, this);
  {
    const std::lock_guard guard(mutex_);
    queue_.push_back({&call, waiter});
  }
  changed_.notify_one();
}

void BlockingThread::Loop() {
  // Linux keeps the nice value per thread. A refusal leaves the usual priority, which is harmless.
  const auto self = static_cast<id_t>(gettid());
  (void)setpriority(PRIO_PROCESS, self, getpriority(PRIO_PROCESS, self) + kHelperNice);
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ending_ || !queue_.empty(); });
    if (queue_.empty()) return;
    const Entry entry = queue_.front();
    queue_.pop_front();
    lock.unlock();
    entry.call->Run();
    mailbox_.Post(entry.waiter);
    lock.lock();
  }
}

}  // namespace base
