#include "disklib/compare.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "disklib/copy.h"
#include "fs/base/aligned_buffer.h"
#include "fs/base/digest.h"

namespace disklib {
namespace {

using base::AlignedBuffer;
using base::Code;
using base::Error;
using base::IoRequest;
using base::IoVec;
using base::MapRun;
using base::MapState;
using base::Result;
using base::Status;
using base::Task;

constexpr uint64_t kPieceBytes = uint64_t{1} << 20;
constexpr uint64_t kMapStepBytes = uint64_t{1} << 30;

// Sets the content of the first, longer disk against the second.
class Comparer : public CopyTarget {
 public:
  Comparer(base::BlockDevice& second, bool stops_at_first)
      : second_(second), stops_at_first_(stops_at_first) {}

  bool wants_zeros() const override { return true; }

  Task<Status> Store(IoRequest request) override {
    const IoVec& ours = request.buffers.front();
    AlignedBuffer theirs(ours.size_bytes);
    std::memset(theirs.data(), 0, theirs.size());
    const uint64_t end_bytes = std::min(request.offset_bytes + ours.size_bytes, size_bytes());
    if (end_bytes > request.offset_bytes) {
      const IoVec piece{theirs.data(), end_bytes - request.offset_bytes};
      CO_TRY_STATUS(
          co_await second_.Read({.offset_bytes = request.offset_bytes, .buffers = {&piece, 1}}));
    }
    co_return Count(request.offset_bytes, {ours.data, ours.size_bytes}, theirs.span());
  }

  // Only what the other one does not know to be zeros is read.
  Task<Status> StoreZeros(uint64_t offset_bytes, uint64_t length_bytes) override {
    const uint64_t end_bytes = std::min(offset_bytes + length_bytes, size_bytes());
    while (offset_bytes < end_bytes) {
      const uint64_t step_bytes = std::min(kMapStepBytes, end_bytes - offset_bytes);
      std::vector<MapRun> runs;
      CO_TRY_STATUS(co_await second_.MapStatus(offset_bytes, step_bytes, runs));
      for (const MapRun& run : runs) {
        if (run.state != MapState::kData) continue;
        CO_TRY_STATUS(co_await CompareWithZeros(run.offset_bytes, run.length_bytes));
      }
      offset_bytes += step_bytes;
    }
    co_return base::Ok();
  }

  const CompareResult& result() const { return result_; }

  bool has_stopped() const { return has_stopped_; }

 private:
  uint64_t size_bytes() const { return second_.size_bytes(); }

  Task<Status> CompareWithZeros(uint64_t offset_bytes, uint64_t length_bytes) {
    AlignedBuffer theirs(std::min(kPieceBytes, length_bytes));
    while (length_bytes > 0) {
      const uint64_t piece_bytes = std::min<uint64_t>(theirs.size(), length_bytes);
      const IoVec piece{theirs.data(), piece_bytes};
      CO_TRY_STATUS(co_await second_.Read({.offset_bytes = offset_bytes, .buffers = {&piece, 1}}));
      const auto bytes = theirs.span().first(piece_bytes);
      if (!IsZero(bytes)) {
        const std::vector<std::byte> zeros(piece_bytes);
        CO_TRY_STATUS(Count(offset_bytes, zeros, bytes));
      }
      offset_bytes += piece_bytes;
      length_bytes -= piece_bytes;
    }
    co_return base::Ok();
  }

  Status Count(uint64_t offset_bytes, std::span<const std::byte> ours,
               std::span<const std::byte> theirs) {
    if (std::memcmp(ours.data(), theirs.data(), ours.size()) == 0) return base::Ok();
    for (size_t at = 0; at < ours.size(); at += kSectorBytes) {
      const size_t length = std::min<size_t>(kSectorBytes, ours.size() - at);
      const auto our_sector = ours.subspan(at, length);
      const auto pair =
          std::mismatch(our_sector.begin(), our_sector.end(), theirs.subspan(at, length).begin());
      if (pair.first == our_sector.end()) continue;
      const auto place = static_cast<uint64_t>(pair.first - our_sector.begin());
      Note(offset_bytes + at + place);
    }
    if (!stops_at_first_) return base::Ok();
    has_stopped_ = true;
    return Error(Code::kMiscompare, "compare: the disks differ");
  }

  void Note(uint64_t offset_bytes) {
    ++result_.differing_sectors;
    auto& first = result_.first_difference_bytes;
    first = std::min(first.value_or(offset_bytes), offset_bytes);
  }

  base::BlockDevice& second_;
  bool stops_at_first_;
  bool has_stopped_ = false;
  CompareResult result_;
};

// Puts the content through a digest, in order.
class Hasher : public CopyTarget {
 public:
  explicit Hasher(base::Executor& executor) : executor_(executor) {}

  bool in_order() const override { return true; }

  bool wants_zeros() const override { return true; }

  Task<Status> Store(IoRequest request) override {
    for (const IoVec& piece : request.buffers) digest_.Add({piece.data, piece.size_bytes});
    co_return base::Ok();
  }

  // Others have their turn in between: a terabyte of zeros takes minutes, too.
  Task<Status> StoreZeros(uint64_t, uint64_t length_bytes) override {
    while (length_bytes > 0) {
      const uint64_t step_bytes = std::min(kPieceBytes, length_bytes);
      digest_.AddZeros(step_bytes);
      length_bytes -= step_bytes;
      co_await executor_.Yield();
    }
    co_return base::Ok();
  }

  std::string Finish() { return digest_.Finish(); }

 private:
  base::Executor& executor_;
  base::Digest digest_{base::DigestKind::kSha256};
};

}  // namespace

Task<Result<CompareResult>> CompareContent(base::Executor& executor, base::BlockDevice& first,
                                           base::BlockDevice& second, CompareOptions options,
                                           Progress* progress) {
  const bool is_swapped = first.size_bytes() < second.size_bytes();
  base::BlockDevice& longer = is_swapped ? second : first;
  base::BlockDevice& shorter = is_swapped ? first : second;
  Comparer comparer(shorter, options.stops_at_first);
  const CopyOptions copy_options{.direct = nullptr, .progress = progress};
  const Result<CopyCounts> walked = co_await CopyContent(executor, longer, comparer, copy_options);
  if (!walked && !comparer.has_stopped()) co_return walked.error();
  CompareResult result = comparer.result();
  result.first_size_bytes = first.size_bytes();
  result.second_size_bytes = second.size_bytes();
  co_return result;
}

Task<Result<CompareResult>> CompareDisks(Lib& first_lib, std::string_view first, Lib& second_lib,
                                         std::string_view second, CompareOptions options,
                                         Progress* progress) {
  const OpenOptions open_options{.writable = false, .user = options.user};
  CO_TRY(const std::unique_ptr<Chain> first_chain, co_await first_lib.Open(first, open_options));
  Result<std::unique_ptr<Chain>> second_chain = co_await second_lib.Open(second, open_options);
  Result<CompareResult> result(Code::kIo);
  if (second_chain) {
    result = co_await CompareContent(first_lib.executor(), *first_chain, **second_chain, options,
                                     progress);
    const Status closed = co_await (*second_chain)->Close();
    if (!closed) result = closed.error();
  } else {
    result = second_chain.error();
  }
  const Status closed = co_await first_chain->Close();
  if (!closed) co_return closed.error();
  co_return result;
}

Task<Result<HashResult>> HashContent(base::Executor& executor, base::BlockDevice& device,
                                     Progress* progress) {
  Hasher hasher(executor);
  const CopyOptions options{.direct = nullptr, .progress = progress};
  CO_TRY(const CopyCounts counts, co_await CopyContent(executor, device, hasher, options));
  co_return HashResult{.sha256 = hasher.Finish(),
                       .size_bytes = device.size_bytes(),
                       .read_bytes = counts.data_bytes};
}

Task<Result<HashResult>> HashDisk(Lib& lib, std::string_view path, Progress* progress) {
  const OpenOptions options{.writable = false, .user = "strata disk hash"};
  CO_TRY(const std::unique_ptr<Chain> chain, co_await lib.Open(path, options));
  const Result<HashResult> hash = co_await HashContent(lib.executor(), *chain, progress);
  const Status closed = co_await chain->Close();
  if (!closed) co_return closed.error();
  co_return hash;
}

}  // namespace disklib
