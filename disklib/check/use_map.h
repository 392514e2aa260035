// `UseMap`: which units of a file are in use, seen through a window of bounded size.
//
// A check marks every grain and table it meets; marking one twice is a grain that two entries
// share. Where the file has more units than a window holds, the check walks its tables once per
// window: memory stays bounded whatever the size of the disk. A unit is a grain or a sector.
// Thread rule: a plain value. Internal to `disklib/check`.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace disklib::check {

class UseMap {
 public:
  // Of `unit_count` units, at most `window_units` at a time.
  UseMap(uint64_t unit_count, uint64_t window_units)
      : unit_count_(unit_count),
        window_units_((std::max<uint64_t>(std::min(unit_count, window_units), 1) + 63) / 64 * 64) {
    words_.resize(window_units_ / 64);
  }

  uint64_t unit_count() const { return unit_count_; }

  // How many windows cover everything; at least one.
  uint64_t window_count() const {
    return unit_count_ == 0 ? 1 : (unit_count_ + window_units_ - 1) / window_units_;
  }

  // Empties the map and moves to window `index`.
  void MoveTo(uint64_t index) {
    start_ = index * window_units_;
    std::ranges::fill(words_, 0);
  }

  uint64_t start() const { return start_; }

  uint64_t end() const { return std::min(unit_count_, start_ + window_units_); }

  bool Covers(uint64_t unit) const { return unit >= start_ && unit < end(); }

  bool Get(uint64_t unit) const {
    return Covers(unit) && (words_[(unit - start_) / 64] >> ((unit - start_) % 64) & 1) != 0;
  }

  // The marks of 64 units from `unit`, a multiple of 64 inside the window.
  uint64_t Word(uint64_t unit) const { return words_[(unit - start_) / 64]; }

  // Marks what the window covers of a range. Answers the first unit that was marked before, or
  // kNone.
  static constexpr uint64_t kNone = ~uint64_t{0};
  uint64_t Mark(uint64_t first, uint64_t count) {
    uint64_t taken = kNone;
    const uint64_t stop = std::min(first + count, end());
    for (uint64_t unit = std::max(first, start_); unit < stop; ++unit) {
      uint64_t& word = words_[(unit - start_) / 64];
      const uint64_t bit = uint64_t{1} << ((unit - start_) % 64);
      if ((word & bit) != 0 && taken == kNone) taken = unit;
      word |= bit;
    }
    return taken;
  }

  // The next run of unmarked units at or behind `from`, inside the window; empty at its end.
  struct Run {
    uint64_t first = 0;
    uint64_t count = 0;
  };
  Run NextGap(uint64_t from) const {
    uint64_t first = std::max(from, start_);
    while (first < end() && Get(first)) ++first;
    uint64_t stop = first;
    while (stop < end() && !Get(stop)) ++stop;
    return {first, stop - first};
  }

 private:
  uint64_t unit_count_;
  uint64_t window_units_;
  uint64_t start_ = 0;
  std::vector<uint64_t> words_;
};

}  // namespace disklib::check
