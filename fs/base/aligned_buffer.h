// `AlignedBuffer`: owned memory that starts at a page boundary, for direct I/O and bounces.
//
// Thread rule: plain value, moved but not copied. Contents are undefined until written.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <span>

#include "fs/base/block_device.h"
#include "fs/base/check.h"

namespace base {

inline constexpr size_t kPageBytes = 4096;

// The multiple of `unit` at or below, or at or above, `value`. The unit is a power of two.
constexpr uint64_t RoundDown(uint64_t value, uint64_t unit) {
  return value & ~(unit - 1);
}

constexpr uint64_t RoundUp(uint64_t value, uint64_t unit) {
  return RoundDown(value + unit - 1, unit);
}

class AlignedBuffer {
 public:
  AlignedBuffer() = default;

  explicit AlignedBuffer(size_t size_bytes)
      : memory_(static_cast<std::byte*>(
            std::aligned_alloc(kPageBytes, RoundUp(size_bytes, kPageBytes)))),
        size_bytes_(size_bytes) {
    CHECK(size_bytes == 0 || memory_ != nullptr);
  }

  std::byte* data() { return memory_.get(); }

  const std::byte* data() const { return memory_.get(); }

  size_t size() const { return size_bytes_; }

  std::span<std::byte> span() { return {memory_.get(), size_bytes_}; }

  std::span<const std::byte> span() const { return {memory_.get(), size_bytes_}; }

  // The whole buffer as one piece of a request.
  IoVec piece() { return {memory_.get(), size_bytes_}; }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };

  std::unique_ptr<std::byte, Free> memory_;
  size_t size_bytes_ = 0;
};

}  // namespace base
