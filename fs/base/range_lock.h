// `RangeLock`: exclusion between coroutines on byte ranges of one thing.
//
// A holder of a range keeps out every holder of an overlapping one. Meant for few ranges at a time
// (edges of misaligned writes, blocks under compare-and-write): holders are kept in a plain list.
// Thread rule: all on one executor.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "fs/base/check.h"
#include "fs/base/sync.h"
#include "fs/base/task.h"

namespace base {

class RangeLock {
 public:
  explicit RangeLock(Executor& executor) : released_(executor) {}

  ~RangeLock() { CHECK(held_.empty()); }

  // Waits until nobody holds a part of the range, then holds it.
  Task<void> Acquire(uint64_t offset_bytes, uint64_t length_bytes) {
    const Range range{offset_bytes, offset_bytes + length_bytes};
    while (Overlaps(range)) co_await released_.Wait();
    held_.push_back(range);
  }

  // Gives back exactly a range that was acquired.
  void Release(uint64_t offset_bytes, uint64_t length_bytes) {
    const auto found = std::ranges::find(held_, Range{offset_bytes, offset_bytes + length_bytes});
    CHECK(found != held_.end());
    held_.erase(found);
    released_.NotifyAll();
  }

 private:
  struct Range {
    uint64_t begin;
    uint64_t end;
    friend bool operator==(const Range&, const Range&) = default;
  };

  bool Overlaps(const Range& range) const {
    return std::ranges::any_of(held_, [&range](const Range& other) {
      return range.begin < other.end && other.begin < range.end;
    });
  }

  AsyncCondition released_;
  std::vector<Range> held_;
};

// Releases an acquired range at the end of the scope.
class RangeGuard {
 public:
  RangeGuard(RangeLock& lock, uint64_t offset_bytes, uint64_t length_bytes)
      : lock_(lock), offset_bytes_(offset_bytes), length_bytes_(length_bytes) {}

  RangeGuard(const RangeGuard&) = delete;
  RangeGuard& operator=(const RangeGuard&) = delete;

  ~RangeGuard() { lock_.Release(offset_bytes_, length_bytes_); }

 private:
  RangeLock& lock_;
  uint64_t offset_bytes_;
  uint64_t length_bytes_;
};

}  // namespace base
