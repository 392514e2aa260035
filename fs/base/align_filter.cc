#include "fs/base/align_filter.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "fs/base/aligned_buffer.h"
#include "fs/base/device_range.h"

namespace base {
namespace {

constexpr uint32_t kOurBlockBytes = 512;

Limits LimitsOver(const Limits& child) {
  Limits limits = child;
  limits.memory_alignment_bytes = 1;
  if (child.block_size_bytes > kOurBlockBytes) {
    limits.block_size_bytes = kOurBlockBytes;
    // Rounding outwards adds up to two blocks to what the device below is given.
    limits.transfer_bytes_max = child.transfer_bytes_max - 2 * child.block_size_bytes;
  }
  return limits;
}

void Scatter(const std::byte* source, std::span<const IoVec> pieces) {
  for (const IoVec& piece : pieces) {
    std::memcpy(piece.data, source, piece.size_bytes);
    source += piece.size_bytes;
  }
}

void Gather(std::span<const IoVec> pieces, std::byte* target) {
  for (const IoVec& piece : pieces) {
    std::memcpy(target, piece.data, piece.size_bytes);
    target += piece.size_bytes;
  }
}

void AppendRun(std::vector<MapRun>& runs, const MapRun& run) {
  if (!runs.empty() && runs.back().state == run.state &&
      runs.back().offset_bytes + runs.back().length_bytes == run.offset_bytes) {
    runs.back().length_bytes += run.length_bytes;
  } else {
    runs.push_back(run);
  }
}

}  // namespace

AlignFilter::AlignFilter(Executor& executor, std::unique_ptr<BlockDevice> child)
    : DeviceFilter(std::move(child)),
      block_bytes_(this->child().limits().block_size_bytes),
      coarse_(block_bytes_ > kOurBlockBytes),
      limits_(LimitsOver(this->child().limits())),
      writers_(executor),
      calls_(executor) {}

AlignFilter::AlignFilter(Executor& executor, BlockDevice& child)
    : DeviceFilter(child),
      block_bytes_(child.limits().block_size_bytes),
      coarse_(block_bytes_ > kOurBlockBytes),
      limits_(LimitsOver(child.limits())),
      writers_(executor),
      calls_(executor) {}

bool AlignFilter::FitsRange(uint64_t offset_bytes, uint64_t length_bytes) const {
  return (offset_bytes | length_bytes) % block_bytes_ == 0;
}

bool AlignFilter::FitsMemory(std::span<const IoVec> buffers) const {
  const uint64_t mask = child().limits().memory_alignment_bytes - 1;
  return mask == 0 || std::ranges::all_of(buffers, [mask](const IoVec& piece) {
           return ((reinterpret_cast<uintptr_t>(piece.data) | piece.size_bytes) & mask) == 0;
         });
}

Task<Status> AlignFilter::Read(IoRequest request) {
  const bool fits = FitsRange(request.offset_bytes, request.size_bytes());
  return fits && FitsMemory(request.buffers) ? child().Read(request) : ReadBounced(request);
}

Task<Status> AlignFilter::Write(IoRequest request) {
  if (coarse_) return WriteLocked(request);
  return FitsMemory(request.buffers) ? child().Write(request) : WriteBounced(request);
}

Task<Status> AlignFilter::ReadBounced(IoRequest request) {
  CO_TRY_STATUS(CheckDeviceRange(*this, "read", request.offset_bytes, request.size_bytes()));
  const CallCounter::Scope scope(calls_);
  const uint64_t begin = RoundDown(request.offset_bytes, block_bytes_);
  const uint64_t end = RoundUp(request.offset_bytes + request.size_bytes(), block_bytes_);
  AlignedBuffer buffer(end - begin);
  const IoVec piece = buffer.piece();
  IoRequest rounded = request;
  rounded.offset_bytes = begin;
  rounded.buffers = std::span(&piece, 1);
  CO_TRY_STATUS(co_await child().Read(rounded));
  Scatter(buffer.data() + (request.offset_bytes - begin), request.buffers);
  co_return Ok();
}

// Every write takes its blocks, also one without edges: a neighbour's edge may lie in them.
Task<Status> AlignFilter::WriteLocked(IoRequest request) {
  CO_TRY_STATUS(CheckDeviceRange(*this, "write", request.offset_bytes, request.size_bytes()));
  const CallCounter::Scope scope(calls_);
  const uint64_t begin = RoundDown(request.offset_bytes, block_bytes_);
  const uint64_t end = RoundUp(request.offset_bytes + request.size_bytes(), block_bytes_);
  co_await writers_.Acquire(begin, end - begin);
  const RangeGuard guard(writers_, begin, end - begin);
  if (FitsRange(request.offset_bytes, request.size_bytes()) && FitsMemory(request.buffers)) {
    const Status status = co_await child().Write(request);
    co_return status;
  }
  const Status status = co_await WriteBounced(request);
  co_return status;
}

Task<Status> AlignFilter::WriteBounced(IoRequest request) {
  CO_TRY_STATUS(CheckDeviceRange(*this, "write", request.offset_bytes, request.size_bytes()));
  const CallCounter::Scope scope(calls_);
  const uint64_t write_end = request.offset_bytes + request.size_bytes();
  const uint64_t begin = RoundDown(request.offset_bytes, block_bytes_);
  const uint64_t end = RoundUp(write_end, block_bytes_);
  AlignedBuffer buffer(end - begin);
  const uint64_t last_block = end - block_bytes_;
  if (request.offset_bytes != begin) CO_TRY_STATUS(co_await ReadEdge(begin, buffer.data()));
  if (write_end != end && (last_block != begin || request.offset_bytes == begin)) {
    CO_TRY_STATUS(co_await ReadEdge(last_block, buffer.data() + (last_block - begin)));
  }
  Gather(request.buffers, buffer.data() + (request.offset_bytes - begin));
  const IoVec piece = buffer.piece();
  IoRequest rounded = request;
  rounded.offset_bytes = begin;
  rounded.buffers = std::span(&piece, 1);
  const Status status = co_await child().Write(rounded);
  co_return status;
}

Task<Status> AlignFilter::ReadEdge(uint64_t offset_bytes, std::byte* target) {
  const IoVec piece{target, block_bytes_};
  IoRequest request;
  request.offset_bytes = offset_bytes;
  request.buffers = std::span(&piece, 1);
  const Status status = co_await child().Read(request);
  co_return status;
}

Task<Status> AlignFilter::Unmap(uint64_t offset_bytes, uint64_t length_bytes) {
  if (coarse_) return Clear(offset_bytes, length_bytes, Clearing::kUnmap);
  return child().Unmap(offset_bytes, length_bytes);
}

Task<Status> AlignFilter::WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes,
                                      bool may_unmap) {
  if (!coarse_) return child().WriteZeroes(offset_bytes, length_bytes, may_unmap);
  return Clear(offset_bytes, length_bytes, may_unmap ? Clearing::kZeroMayUnmap : Clearing::kZero);
}

Task<Status> AlignFilter::Clear(uint64_t offset_bytes, uint64_t length_bytes, Clearing how) {
  CO_TRY_STATUS(CheckDeviceRange(*this, "zero", offset_bytes, length_bytes));
  const CallCounter::Scope scope(calls_);
  const uint64_t end = offset_bytes + length_bytes;
  const uint64_t middle = std::min(RoundUp(offset_bytes, block_bytes_), end);
  const uint64_t middle_end = std::max(RoundDown(end, block_bytes_), middle);
  const uint64_t lock_begin = RoundDown(offset_bytes, block_bytes_);
  const uint64_t lock_bytes = RoundUp(end, block_bytes_) - lock_begin;
  co_await writers_.Acquire(lock_begin, lock_bytes);
  const RangeGuard guard(writers_, lock_begin, lock_bytes);
  if (offset_bytes < middle) CO_TRY_STATUS(co_await ClearEdge(offset_bytes, middle - offset_bytes));
  if (middle_end < end) CO_TRY_STATUS(co_await ClearEdge(middle_end, end - middle_end));
  if (middle == middle_end) co_return Ok();
  if (how == Clearing::kUnmap) {
    const Status status = co_await child().Unmap(middle, middle_end - middle);
    co_return status;
  }
  const bool may_unmap = how == Clearing::kZeroMayUnmap;
  const Status status = co_await child().WriteZeroes(middle, middle_end - middle, may_unmap);
  co_return status;
}

Task<Status> AlignFilter::ClearEdge(uint64_t offset_bytes, uint64_t length_bytes) {
  AlignedBuffer zeros(length_bytes);
  std::memset(zeros.data(), 0, zeros.size());
  const IoVec piece = zeros.piece();
  IoRequest request;
  request.offset_bytes = offset_bytes;
  request.buffers = std::span(&piece, 1);
  const Status status = co_await WriteBounced(request);
  co_return status;
}

Task<Status> AlignFilter::CompareAndWrite(uint64_t offset_bytes,
                                          std::span<const std::byte> expected,
                                          std::span<const std::byte> replacement) {
  if (!coarse_) return child().CompareAndWrite(offset_bytes, expected, replacement);
  return CompareInBlock(offset_bytes, expected, replacement);
}

// Compares and replaces the whole block around the range. A change elsewhere in the block makes the
// device's comparison fail without telling anything about ours: look again.
Task<Status> AlignFilter::CompareInBlock(uint64_t offset_bytes, std::span<const std::byte> expected,
                                         std::span<const std::byte> replacement) {
  const uint64_t begin = RoundDown(offset_bytes, block_bytes_);
  const uint64_t within = offset_bytes - begin;
  if (within + expected.size() > block_bytes_ || expected.size() != replacement.size()) {
    co_return Error(Code::kInvalidArgument,
                    fmt::format("compare and write {} at {}: {} bytes cross a block of {} bytes",
                                name(), offset_bytes, expected.size(), block_bytes_));
  }
  CO_TRY_STATUS(CheckDeviceRange(*this, "compare and write", offset_bytes, expected.size()));
  const CallCounter::Scope scope(calls_);
  co_await writers_.Acquire(begin, block_bytes_);
  const RangeGuard guard(writers_, begin, block_bytes_);
  AlignedBuffer before(block_bytes_);
  AlignedBuffer after(block_bytes_);
  while (true) {
    CO_TRY_STATUS(co_await ReadEdge(begin, before.data()));
    if (std::memcmp(before.data() + within, expected.data(), expected.size()) != 0) {
      co_return Code::kMiscompare;
    }
    std::memcpy(after.data(), before.data(), block_bytes_);
    std::memcpy(after.data() + within, replacement.data(), replacement.size());
    const Status status = co_await child().CompareAndWrite(begin, before.span(), after.span());
    if (status.has_value() || status.error().code() != Code::kMiscompare) co_return status;
  }
}

Task<Status> AlignFilter::MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                    std::vector<MapRun>& runs) {
  if (FitsRange(offset_bytes, length_bytes)) {
    return child().MapStatus(offset_bytes, length_bytes, runs);
  }
  return MapRounded(offset_bytes, length_bytes, runs);
}

Task<Status> AlignFilter::MapRounded(uint64_t offset_bytes, uint64_t length_bytes,
                                     std::vector<MapRun>& runs) {
  const uint64_t begin = RoundDown(offset_bytes, block_bytes_);
  const uint64_t end = offset_bytes + length_bytes;
  CO_TRY_STATUS(CheckDeviceRange(*this, "map", offset_bytes, length_bytes));
  const CallCounter::Scope scope(calls_);
  std::vector<MapRun> rounded;
  CO_TRY_STATUS(co_await child().MapStatus(begin, RoundUp(end, block_bytes_) - begin, rounded));
  for (const MapRun& run : rounded) {
    const uint64_t run_begin = std::max(run.offset_bytes, offset_bytes);
    const uint64_t run_end = std::min(run.offset_bytes + run.length_bytes, end);
    if (run_begin < run_end) AppendRun(runs, {run_begin, run_end - run_begin, run.state});
  }
  co_return Ok();
}

Task<Status> AlignFilter::Close() {
  co_await calls_.Drain();
  const Status status = co_await child().Close();
  co_return status;
}

}  // namespace base
