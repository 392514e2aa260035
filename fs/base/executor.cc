#include "fs/base/executor.h"

#include <array>
#include <cstdlib>
#include <new>
#include <utility>

namespace base {

namespace {

constexpr size_t kFrameStepBytes = 64;
constexpr size_t kPooledFrameBytesMax = 2048;
constexpr size_t kFramesPerSizeMax = 256;

// Free lists of frames by size class. The first bytes of a free frame link to the next.
class FramePool {
 public:
  ~FramePool() {
    for (Class& size_class : classes_) {
      while (size_class.head) ::operator delete(Pop(size_class));
    }
  }

  void* Allocate(size_t size_bytes) {
    Class* size_class = ClassOf(size_bytes);
    if (size_class && size_class->head) return Pop(*size_class);
    return ::operator new(RoundedSize(size_bytes));
  }

  void Free(void* frame, size_t size_bytes) {
    Class* size_class = ClassOf(size_bytes);
    if (!size_class || size_class->count >= kFramesPerSizeMax) return ::operator delete(frame);
    *static_cast<void**>(frame) = size_class->head;
    size_class->head = frame;
    ++size_class->count;
  }

 private:
  struct Class {
    void* head = nullptr;
    size_t count = 0;
  };

  static size_t RoundedSize(size_t size_bytes) {
    return (size_bytes + kFrameStepBytes - 1) / kFrameStepBytes * kFrameStepBytes;
  }
  Class* ClassOf(size_t size_bytes) {
    const size_t rounded = RoundedSize(size_bytes);
    return rounded > kPooledFrameBytesMax ? nullptr : &classes_[rounded / kFrameStepBytes - 1];
  }
  static void* Pop(Class& size_class) {
    void* frame = size_class.head;
    size_class.head = *static_cast<void**>(frame);
    --size_class.count;
    return frame;
  }

  std::array<Class, kPooledFrameBytesMax / kFrameStepBytes> classes_;
};

thread_local FramePool frame_pool;

}  // namespace

// Under AddressSanitizer every frame comes from the heap, so that use after free is seen. g++ tells
// by a macro, clang by a feature.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STRATA_FRAMES_FROM_HEAP
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define STRATA_FRAMES_FROM_HEAP
#endif
#if defined(STRATA_FRAMES_FROM_HEAP)
void* AllocateFrame(size_t size_bytes) { return ::operator new(size_bytes); }
void FreeFrame(void* frame, size_t) noexcept { ::operator delete(frame); }
#else
void* AllocateFrame(size_t size_bytes) { return frame_pool.Allocate(size_bytes); }
void FreeFrame(void* frame, size_t size_bytes) noexcept { frame_pool.Free(frame, size_bytes); }
#endif

// A coroutine that owns itself: it starts at once and its frame is freed when it ends.
struct SpawnedFrame {
  struct promise_type {
    static void* operator new(size_t size) { return AllocateFrame(size); }
    static void operator delete(void* frame, size_t size) noexcept { FreeFrame(frame, size); }
    SpawnedFrame get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };

  static SpawnedFrame Run(Executor& executor, Task<void>& source) {
    Task<void> task = std::move(source);
    ++executor.spawned_count_;
    co_await task;
    --executor.spawned_count_;
  }
};

void Executor::Spawn(Task<void> task) { SpawnedFrame::Run(*this, task); }

}  // namespace base
