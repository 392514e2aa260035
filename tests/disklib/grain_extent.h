// `GrainExtent`: a sparse extent in memory for tests of chains, as strict as the contract allows.
//
// Every transfer waits at random, so that requests interleave. Grains that were given back are used
// again at once, the last one first. It records a breach of `Extent::Write`: a part of a grain that
// holds nothing, or a grain that is allocated twice at a time.
#pragma once

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "disklib/buffers.h"
#include "disklib/extent.h"
#include "fs/base/check.h"
#include "fs/base/executor.h"

namespace disklib {

// Waits a random time, or not at all.
inline base::Task<void> Dawdle(base::Executor& executor) {
  const uint64_t steps = executor.random().Below(4);
  for (uint64_t i = 0; i < steps; ++i) co_await executor.Sleep(1 + executor.random().Below(20));
}

// A file in memory whose transfers take a while. A write is done piece by piece.
class SlowObject : public Object {
 public:
  explicit SlowObject(base::Executor& executor, size_t size_bytes = 0)
      : executor_(executor), bytes(size_bytes) {}

  fss::InodeNumber inode() const override { return 1; }

  uint64_t size_bytes() const override { return bytes.size(); }

  base::Task<base::Result<uint64_t>> Read(base::IoRequest request) override {
    co_await Dawdle(executor_);
    ++read_count;
    BufferCursor cursor(request.buffers);
    const uint64_t end =
        std::min<uint64_t>(request.offset_bytes + request.size_bytes(), bytes.size());
    const uint64_t length = end - std::min(end, request.offset_bytes);
    if (length > 0) cursor.CopyFrom(std::span(bytes).subspan(request.offset_bytes, length));
    co_await Dawdle(executor_);
    co_return length;
  }

  base::Task<base::Result<uint64_t>> Write(base::IoRequest request) override {
    co_await Dawdle(executor_);
    const uint64_t end = request.offset_bytes + request.size_bytes();
    if (bytes.size() < end) bytes.resize(end);
    BufferCursor cursor(request.buffers);
    cursor.CopyTo(std::span(bytes).subspan(request.offset_bytes, request.size_bytes()));
    co_await Dawdle(executor_);
    co_return request.size_bytes();
  }

  base::Task<base::Status> Sync(bool) override { co_return base::Ok(); }

  base::Task<base::Status> Allocate(fss::AllocateMode, uint64_t offset_bytes,
                                    uint64_t length_bytes) override {
    co_await Dawdle(executor_);
    std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(offset_bytes), length_bytes, std::byte{0});
    co_return base::Ok();
  }

  base::Task<base::Result<uint64_t>> Seek(fss::SeekKind kind, uint64_t offset_bytes) override {
    co_return kind == fss::SeekKind::kData ? offset_bytes : size_bytes();
  }

  base::Task<base::Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                     std::vector<base::MapRun>& runs) override {
    runs.push_back({offset_bytes, length_bytes, base::MapState::kData});
    co_return base::Ok();
  }

  base::Task<base::Status> Close() override { co_return base::Ok(); }

 private:
  base::Executor& executor_;

 public:
  std::vector<std::byte> bytes;
  uint64_t read_count = 0;
};

struct GrainExtentOptions {
  uint64_t size_bytes = 0;
  uint64_t grain_bytes = 4096;
  bool has_zero_state = true;
  bool in_file = true;  // false: data is read through the extent
};

class GrainExtent : public Extent, public fds::GrainMap {
 public:
  GrainExtent(base::Executor& executor, GrainExtentOptions options)
      : executor_(executor), options_(options), object_(executor, kStartBytes) {}

  // What broke the contract; empty: nothing.
  const std::string& breach() const { return breach_; }

  uint64_t lookup_count() const { return lookup_count_; }

  // The next allocation or zeroing fails half way.
  void FailOnce() { fails_ = true; }

  uint64_t size_bytes() const override { return options_.size_bytes; }

  void GrowTo(uint64_t size_bytes) override { options_.size_bytes = size_bytes; }

  fds::GrainMap* grain_map() override { return this; }

  Object* grain_object() override { return options_.in_file ? &object_ : nullptr; }

  uint64_t grain_bytes() const override { return options_.grain_bytes; }

  bool has_zero_state() const override { return options_.has_zero_state; }

  base::Task<base::Status> Lookup(uint64_t offset_bytes, uint64_t length_bytes,
                                  std::vector<fds::GrainRun>& runs) override {
    ++lookup_count_;
    co_await Dawdle(executor_);
    CHECK(offset_bytes + length_bytes <= options_.size_bytes);
    const uint64_t end = offset_bytes + length_bytes;
    while (offset_bytes < end) {
      const uint64_t index = offset_bytes / options_.grain_bytes;
      const uint64_t until = std::min(end, (index + 1) * options_.grain_bytes);
      fds::GrainRun run{.offset_bytes = offset_bytes, .length_bytes = until - offset_bytes};
      const auto found = grains_.find(index);
      if (found != grains_.end() && found->second == kZeroGrain) {
        run.state = fds::GrainState::kZero;
      } else if (found != grains_.end()) {
        run.state = fds::GrainState::kData;
        if (options_.in_file) {
          run.file_offset_bytes = found->second + offset_bytes % options_.grain_bytes;
        }
      }
      runs.push_back(run);
      offset_bytes = until;
    }
    co_await Dawdle(executor_);
    co_return base::Ok();
  }

  base::Task<base::Result<uint64_t>> Read(base::IoRequest request) override {
    const uint64_t end = request.offset_bytes + request.size_bytes();
    BufferCursor cursor(request.buffers);
    for (uint64_t at = request.offset_bytes; at < end;) {
      const uint64_t index = at / options_.grain_bytes;
      const uint64_t until = std::min(end, (index + 1) * options_.grain_bytes);
      const auto found = grains_.find(index);
      std::vector<std::byte> piece(until - at);
      if (found != grains_.end() && found->second != kZeroGrain) {
        const uint64_t from = found->second + at % options_.grain_bytes;
        std::copy_n(object_.bytes.begin() + static_cast<ptrdiff_t>(from), piece.size(),
                    piece.begin());
      }
      cursor.CopyFrom(piece);
      at = until;
    }
    co_return request.size_bytes();
  }

  base::Task<base::Result<uint64_t>> Write(base::IoRequest request) override {
    BufferCursor cursor(request.buffers);
    const uint64_t end = request.offset_bytes + request.size_bytes();
    std::vector<base::IoVec> buffers;
    uint64_t done_bytes = 0;
    for (uint64_t at = request.offset_bytes; at < end;) {
      const uint64_t index = at / options_.grain_bytes;
      const uint64_t grain_start = index * options_.grain_bytes;
      const uint64_t grain_end = std::min(grain_start + options_.grain_bytes, options_.size_bytes);
      const uint64_t until = std::min(end, grain_end);
      cursor.Take(until - at, buffers);
      const auto found = grains_.find(index);
      const bool is_new = found == grains_.end() || found->second == kZeroGrain;
      if (is_new && (at != grain_start || until != grain_end)) breach_ = "a part of a new grain";
      if (is_new && !busy_.insert(index).second) breach_ = "a grain allocated twice at a time";
      if (is_new && std::exchange(fails_, false)) {
        busy_.erase(index);
        if (done_bytes > 0) co_return done_bytes;
        co_return base::Error(base::Code::kNoSpace, "planted");
      }
      const uint64_t place = is_new ? TakePlace() : found->second;
      const base::IoRequest part{.offset_bytes = place + at - grain_start, .buffers = buffers};
      const base::Result<uint64_t> written = co_await object_.Write(part);
      CHECK(written.has_value());
      if (is_new) {
        busy_.erase(index);
        grains_[index] = place;
      }
      done_bytes += until - at;
      at = until;
    }
    co_return done_bytes;
  }

  base::Task<base::Status> WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes,
                                       bool) override {
    const uint64_t end = offset_bytes + length_bytes;
    if (offset_bytes % options_.grain_bytes != 0 ||
        (end % options_.grain_bytes != 0 && end != options_.size_bytes)) {
      breach_ = "a part of a grain is zeroed";
    }
    for (uint64_t at = offset_bytes; at < end; at += options_.grain_bytes) {
      co_await Dawdle(executor_);
      if (std::exchange(fails_, false)) co_return base::Error(base::Code::kIo, "planted");
      const uint64_t index = at / options_.grain_bytes;
      const auto found = grains_.find(index);
      const bool has_place = found != grains_.end() && found->second != kZeroGrain;
      if (options_.has_zero_state) {
        if (has_place) free_places_.push_back(found->second);
        grains_[index] = kZeroGrain;
        continue;
      }
      const uint64_t place = has_place ? found->second : TakePlace();
      object_.bytes.resize(std::max<uint64_t>(object_.bytes.size(), place + options_.grain_bytes));
      std::fill_n(object_.bytes.begin() + static_cast<ptrdiff_t>(place), options_.grain_bytes,
                  std::byte{0});
      grains_[index] = place;
    }
    co_return base::Ok();
  }

  base::Task<base::Result<uint64_t>> Seek(fss::SeekKind, uint64_t offset_bytes) override {
    const auto next = grains_.lower_bound(offset_bytes / options_.grain_bytes);
    const uint64_t found =
        next == grains_.end() ? options_.size_bytes : next->first * options_.grain_bytes;
    co_return std::max(found, offset_bytes);
  }

  base::Task<base::Status> MapStatus(uint64_t, uint64_t, std::vector<base::MapRun>&) override {
    co_return base::Error(base::Code::kInternal, "a chain maps its sparse links by Lookup");
  }

  base::Task<base::Status> Sync() override {
    ++sync_count;
    co_return base::Ok();
  }

  base::Task<base::Status> Close() override { co_return base::Ok(); }

  uint64_t sync_count = 0;

 private:
  static constexpr uint64_t kZeroGrain = 0;
  static constexpr uint64_t kStartBytes = 1024;

  uint64_t TakePlace() {
    if (free_places_.empty()) {
      const uint64_t place = next_place_;
      next_place_ += options_.grain_bytes;
      return place;
    }
    const uint64_t place = free_places_.back();
    free_places_.pop_back();
    return place;
  }

  base::Executor& executor_;
  GrainExtentOptions options_;
  SlowObject object_;
  std::map<uint64_t, uint64_t> grains_;  // by index: the place, or kZeroGrain
  std::vector<uint64_t> free_places_;
  uint64_t next_place_ = kStartBytes;
  std::set<uint64_t> busy_;
  std::string breach_;
  uint64_t lookup_count_ = 0;
  bool fails_ = false;
};

}  // namespace disklib
