// `Mailbox`: how another thread makes a coroutine of an executor ready.
//
// The owner looks into the box once a round, which costs one atomic load while it is empty. Only an
// owner that is about to sleep pays for the descriptor: it says so first, and from then on a post
// also signals the eventfd that the owner waits for. Thread rule: `Post` from any thread, the rest
// on the owner's thread. Place in the stack: a part of `UringExecutor`.
#pragma once

#include <atomic>
#include <coroutine>
#include <memory>
#include <mutex>
#include <vector>

#include "fs/base/result.h"

namespace base {

class Mailbox {
 public:
  // Errors: kIo and others of errno when the kernel gives no descriptor.
  static Result<std::unique_ptr<Mailbox>> Create();
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Any thread. `handle` is resumed by the owner, never within this call.
  void Post(std::coroutine_handle<> handle);

  // Moves what was posted to the end of `ready`, in the order of posting. Returns how many.
  size_t TakeAll(std::vector<std::coroutine_handle<>>& ready);

  // Asks for a signal on the descriptor with the next post. Returns false, and asks for nothing,
  // when the box is not empty.
  bool PrepareToSleep();

  // Withdraws the request of `PrepareToSleep`.
  void Awake();

  // Readable after a post that met a sleeping owner, until `ClearSignal`.
  int descriptor() const { return descriptor_; }

  void ClearSignal();

 private:
  explicit Mailbox(int descriptor) : descriptor_(descriptor) {}

  const int descriptor_;
  std::atomic<bool> filled_ = false;
  std::mutex mutex_;
  bool owner_sleeps_ = false;                    // guarded by mutex_
  std::vector<std::coroutine_handle<>> posted_;  // guarded by mutex_
};

}  // namespace base
