// A block device in memory that answers at once, for tests and benchmarks of the SCSI layers.
//
// Keeps count of calls, fails them on request, knows which granules were ever written, and can
// grow. Thread rule: one executor.
#pragma once

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fs/base/block_device.h"

namespace scsi_test {

class MemoryDevice : public base::BlockDevice {
 public:
  static constexpr uint64_t kGranuleBytes = 4096;

  explicit MemoryDevice(uint64_t size_bytes, uint32_t block_size_bytes = 512)
      : bytes_(size_bytes), states_(size_bytes / kGranuleBytes + 1, base::MapState::kHole) {
    limits_.block_size_bytes = block_size_bytes;
    limits_.can_unmap = limits_.can_write_zeroes = true;
    limits_.can_compare_and_write = limits_.can_map_status = true;
  }

  const base::Limits& limits() const override { return limits_; }

  uint64_t size_bytes() const override { return bytes_.size(); }

  const std::string& name() const override { return name_; }

  base::Task<base::Status> Read(base::IoRequest request) override {
    ++read_count;
    if (failure) co_return *failure;
    if (!Inside(request.offset_bytes, request.size_bytes())) co_return base::Code::kOutOfRange;
    uint64_t at = request.offset_bytes;
    for (const base::IoVec& piece : request.buffers) {
      std::memcpy(piece.data, bytes_.data() + at, piece.size_bytes);
      at += piece.size_bytes;
    }
    co_return base::Ok();
  }

  base::Task<base::Status> Write(base::IoRequest request) override {
    ++write_count;
    last_fua = request.fua;
    if (failure) co_return *failure;
    if (!Inside(request.offset_bytes, request.size_bytes())) co_return base::Code::kOutOfRange;
    Mark(request.offset_bytes, request.size_bytes(), base::MapState::kData);
    uint64_t at = request.offset_bytes;
    for (const base::IoVec& piece : request.buffers) {
      std::memcpy(bytes_.data() + at, piece.data, piece.size_bytes);
      at += piece.size_bytes;
    }
    co_return base::Ok();
  }

  base::Task<base::Status> Flush() override {
    ++flush_count;
    if (failure) co_return *failure;
    co_return base::Ok();
  }

  base::Task<base::Status> Unmap(uint64_t offset_bytes, uint64_t length_bytes) override {
    return Zero(offset_bytes, length_bytes, base::MapState::kHole);
  }

  base::Task<base::Status> WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes,
                                       bool may_unmap) override {
    return Zero(offset_bytes, length_bytes,
                may_unmap ? base::MapState::kHole : base::MapState::kZero);
  }

  base::Task<base::Status> CompareAndWrite(uint64_t offset_bytes,
                                           std::span<const std::byte> expected,
                                           std::span<const std::byte> replacement) override {
    if (failure) co_return *failure;
    if (!Inside(offset_bytes, expected.size())) co_return base::Code::kOutOfRange;
    std::byte* at = bytes_.data() + offset_bytes;
    if (std::memcmp(at, expected.data(), expected.size()) != 0) co_return base::Code::kMiscompare;
    std::memcpy(at, replacement.data(), replacement.size());
    Mark(offset_bytes, expected.size(), base::MapState::kData);
    co_return base::Ok();
  }

  base::Task<base::Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                     std::vector<base::MapRun>& runs) override {
    if (failure) co_return *failure;
    if (!Inside(offset_bytes, length_bytes)) co_return base::Code::kOutOfRange;
    const size_t first = runs.size();
    const uint64_t end = offset_bytes + length_bytes;
    for (uint64_t at = offset_bytes; at < end;) {
      const uint64_t next = std::min(end, (at / kGranuleBytes + 1) * kGranuleBytes);
      const base::MapState state = states_[at / kGranuleBytes];
      if (runs.size() > first && runs.back().state == state) {
        runs.back().length_bytes += next - at;
      } else {
        runs.push_back({at, next - at, state});
      }
      at = next;
    }
    co_return base::Ok();
  }

  base::Task<base::Status> Close() override {
    closed = true;
    co_return base::Ok();
  }

  void Grow(uint64_t size_bytes) {
    bytes_.resize(size_bytes);
    states_.resize(size_bytes / kGranuleBytes + 1, base::MapState::kHole);
  }

  base::Limits& mutable_limits() { return limits_; }

  std::vector<std::byte>& bytes() { return bytes_; }

  std::optional<base::Code> failure;  // what every call answers
  int read_count = 0, write_count = 0, flush_count = 0;
  int outside_count = 0;  // calls beyond the device or between blocks
  bool last_fua = false;
  bool closed = false;

 private:
  bool Inside(uint64_t offset_bytes, uint64_t length_bytes) {
    const bool inside =
        offset_bytes <= bytes_.size() && length_bytes <= bytes_.size() - offset_bytes;
    const bool aligned = (offset_bytes | length_bytes) % limits_.block_size_bytes == 0;
    if (inside && aligned) return true;
    ++outside_count;
    return false;
  }

  void Mark(uint64_t offset_bytes, uint64_t length_bytes, base::MapState state) {
    if (length_bytes == 0) return;
    const uint64_t last = (offset_bytes + length_bytes - 1) / kGranuleBytes;
    for (uint64_t i = offset_bytes / kGranuleBytes; i <= last; ++i) states_[i] = state;
  }

  // Granules that are cleared only in part keep their state.
  base::Task<base::Status> Zero(uint64_t offset_bytes, uint64_t length_bytes,
                                base::MapState state) {
    if (failure) co_return *failure;
    if (!Inside(offset_bytes, length_bytes)) co_return base::Code::kOutOfRange;
    std::memset(bytes_.data() + offset_bytes, 0, length_bytes);
    const uint64_t first = (offset_bytes + kGranuleBytes - 1) / kGranuleBytes * kGranuleBytes;
    const uint64_t end = (offset_bytes + length_bytes) / kGranuleBytes * kGranuleBytes;
    if (end > first) Mark(first, end - first, state);
    co_return base::Ok();
  }

  base::Limits limits_;
  std::string name_ = "memory";
  std::vector<std::byte> bytes_;
  std::vector<base::MapState> states_;
};

}  // namespace scsi_test
