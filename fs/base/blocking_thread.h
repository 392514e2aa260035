// `BlockingThread`: one thread of low priority for system calls that may block.
//
// Opening, seeking for holes, notifying the kernel about our own mount: whatever has no
// asynchronous form runs here, one call after the other, so that the executor never stops. The
// thread starts with the first call. Thread rule: `Submit` on the owner's thread; the calls
// themselves run on the thread and touch only what their owner left to them. Place in the stack: a
// part of `UringExecutor`, reached through `UringExecutor::RunBlocking`.
#pragma once

#include <condition_variable>
#include <coroutine>
#include <deque>
#include <mutex>
#include <thread>

#include "fs/base/mailbox.h"

namespace base {

// Something to run on the helper thread. Lives in the frame of the coroutine that awaits it.
class BlockingCall {
 public:
  virtual void Run() = 0;

 protected:
  ~BlockingCall() = default;
};

class BlockingThread {
 public:
  explicit BlockingThread(Mailbox& mailbox) : mailbox_(mailbox) {}

  // Ends the thread after the calls that were submitted.
  ~BlockingThread();
  BlockingThread(const BlockingThread&) = delete;
  BlockingThread& operator=(const BlockingThread&) = delete;

  // Runs `call` after all earlier ones, then posts `waiter` to the mailbox.
  void Submit(BlockingCall& call, std::coroutine_handle<> waiter);

 private:
  struct Entry {
    BlockingCall* call;
    std::coroutine_handle<> waiter;
  };

  void Loop();

  Mailbox& mailbox_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Entry> queue_;  // guarded by mutex_
  bool ending_ = false;      // guarded by mutex_
};

}  // namespace base
