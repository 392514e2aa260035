#include "fs/base/mailbox.h"

#include <cerrno>
#include <cstdint>

#include <sys/eventfd.h>
#include <unistd.h>

#include "fs/base/check.h"

namespace base {

Result<std::unique_ptr<Mailbox>> Mailbox::Create() {
  const int descriptor = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (descriptor < 0) return ErrnoError(errno, "create an eventfd for an executor");
  return std::unique_ptr<Mailbox>(new Mailbox(descriptor));
}

Mailbox::~Mailbox() {
  close(descriptor_);
}

void Mailbox::Post(std::coroutine_handle<> handle) {
  // The signal is sent under the lock: an owner that has seen the post may destroy the box.
  const std::lock_guard guard(mutex_);
  posted_.push_back(handle);
  filled_.store(true, std::memory_order_release);
  if (!owner_sleeps_) return;
  owner_sleeps_ = false;
  const uint64_t one = 1;
  CHECK(write(descriptor_, &one, sizeof(one)) == sizeof(one));
}

size_t Mailbox::TakeAll(std::vector<std::coroutine_handle<>>& ready) {
  if (!filled_.load(std::memory_order_acquire)) return 0;
  const std::lock_guard guard(mutex_);
  const size_t count = posted_.size();
  ready.insert(ready.end(), posted_.begin(), posted_.end());
  posted_.clear();
  filled_.store(false, std::memory_order_relaxed);
  return count;
}

bool Mailbox::PrepareToSleep() {
  const std::lock_guard guard(mutex_);
  owner_sleeps_ = posted_.empty();
  return owner_sleeps_;
}

void Mailbox::Awake() {
  const std::lock_guard guard(mutex_);
  owner_sleeps_ = false;
}

void Mailbox::ClearSignal() {
  uint64_t count = 0;
  const ssize_t got = read(descriptor_, &count, sizeof(count));
  CHECK(got == sizeof(count) || errno == EAGAIN);
}

}  // namespace base
