#include "disklib/copy.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "fs/base/aligned_buffer.h"
#include "fs/base/check.h"
#include "fs/base/sync.h"

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
using base::RoundDown;
using base::RoundUp;
using base::Status;
using base::Task;

constexpr uint64_t kPieceBytes = uint64_t{1} << 20;
constexpr int kPiecesInFlight = 16;
constexpr uint64_t kWindowBytes = uint64_t{1} << 30;  // of the source's map at a time

struct Piece {
  uint64_t offset_bytes = 0;
  uint64_t length_bytes = 0;
  bool is_zero = false;
  uint64_t number = 0;

  uint64_t end_bytes() const { return offset_bytes + length_bytes; }
};

// Cuts a window's runs into pieces: data in whole granules, zeros as long as they are.
class WindowPlan {
 public:
  WindowPlan(uint64_t start_bytes, uint64_t end_bytes, uint64_t granule_bytes)
      : at_bytes_(start_bytes), end_bytes_(end_bytes), granule_bytes_(granule_bytes) {}

  void AddRun(const MapRun& run) {
    if (run.state != MapState::kData) return;
    // A granule that holds any data is data; the one before may reach in here.
    const uint64_t from = std::max(RoundDown(run.offset_bytes, granule_bytes_), at_bytes_);
    const uint64_t to =
        std::min(RoundUp(run.offset_bytes + run.length_bytes, granule_bytes_), end_bytes_);
    if (to <= from) return;
    AddZeros(from);
    while (at_bytes_ < to) {
      const uint64_t piece_end = std::min(RoundDown(at_bytes_, kPieceBytes) + kPieceBytes, to);
      pieces_.push_back({.offset_bytes = at_bytes_, .length_bytes = piece_end - at_bytes_});
      at_bytes_ = piece_end;
    }
  }

  std::deque<Piece> Finish() {
    AddZeros(end_bytes_);
    return std::move(pieces_);
  }

 private:
  void AddZeros(uint64_t to) {
    if (to > at_bytes_) {
      pieces_.push_back(
          {.offset_bytes = at_bytes_, .length_bytes = to - at_bytes_, .is_zero = true});
    }
    at_bytes_ = to;
  }

  std::deque<Piece> pieces_;
  uint64_t at_bytes_;
  uint64_t end_bytes_;
  uint64_t granule_bytes_;
};

// What the workers of one copy share.
class Copy {
 public:
  Copy(base::Executor& executor, base::BlockDevice& source, CopyTarget& target, CopyOptions options)
      : source_(source),
        target_(target),
        options_(options),
        plan_lock_(executor),
        stored_(executor),
        in_order_(target.in_order()) {
    CHECK(target.granule_bytes() <= kPieceBytes);
  }

  bool is_over() const { return error_.has_value(); }

  Result<CopyCounts> Outcome() const {
    if (error_) return *error_;
    return counts_;
  }

  void Fail(Error error) {
    if (!error_) error_ = std::move(error);
    stored_.NotifyAll();
  }

  // The next piece; nothing when all are taken.
  Task<Result<std::optional<Piece>>> Next() {
    co_await plan_lock_.Acquire();
    const base::LockGuard guard(plan_lock_);
    while (pieces_.empty() && planned_bytes_ < source_.size_bytes()) {
      CO_TRY_STATUS(co_await PlanWindow());
    }
    if (pieces_.empty()) co_return std::nullopt;
    Piece piece = pieces_.front();
    pieces_.pop_front();
    piece.number = next_number_++;
    co_return piece;
  }

  Task<Status> Do(const Piece* piece, AlignedBuffer& buffer) {
    if (piece->is_zero) {
      co_await AwaitTurn(piece->number);
      CO_TRY_STATUS(co_await PassZeros(piece->offset_bytes, piece->length_bytes));
      co_return Finished(*piece);
    }
    CO_TRY(const uint64_t taken_bytes, co_await TryTake(piece));
    if (taken_bytes < piece->length_bytes) {
      const IoVec rest{buffer.data(), piece->length_bytes - taken_bytes};
      const uint64_t from_bytes = piece->offset_bytes + taken_bytes;
      CO_TRY_STATUS(co_await source_.Read({.offset_bytes = from_bytes, .buffers = {&rest, 1}}));
      co_await AwaitTurn(piece->number);
      if (!is_over()) CO_TRY_STATUS(co_await Pass(from_bytes, {rest.data, rest.size_bytes}));
    }
    co_return Finished(*piece);
  }

 private:
  Task<Status> PlanWindow() {
    const uint64_t start_bytes = planned_bytes_;
    const uint64_t end_bytes = std::min(start_bytes + kWindowBytes, source_.size_bytes());
    std::vector<MapRun> runs;
    CO_TRY_STATUS(co_await source_.MapStatus(start_bytes, end_bytes - start_bytes, runs));
    WindowPlan plan(start_bytes, end_bytes, target_.granule_bytes());
    for (const MapRun& run : runs) plan.AddRun(run);
    pieces_ = plan.Finish();
    planned_bytes_ = end_bytes;
    co_return base::Ok();
  }

  Task<Result<uint64_t>> TryTake(const Piece* piece) {
    if (options_.direct == nullptr) co_return uint64_t{0};
    const FlatRange range = options_.direct->DirectRange(piece->offset_bytes, piece->length_bytes);
    if (range.object == nullptr) co_return uint64_t{0};
    CO_TRY(const uint64_t taken_bytes,
           co_await target_.TakeFrom(range, piece->offset_bytes, piece->length_bytes));
    counts_.data_bytes += taken_bytes;
    co_return taken_bytes;
  }

  Task<void> AwaitTurn(uint64_t number) {
    while (in_order_ && finished_count_ != number && !is_over()) co_await stored_.Wait();
  }

  // Hands a piece over, units of zeros apart from data.
  Task<Status> Pass(uint64_t offset_bytes, std::span<std::byte> bytes) {
    const uint64_t unit_bytes = target_.zero_unit_bytes();
    if (unit_bytes == 0) {
      CO_TRY_STATUS(co_await PassData(offset_bytes, bytes));
      co_return base::Ok();
    }
    while (!bytes.empty()) {
      const bool is_zero = IsZero(bytes.first(std::min<uint64_t>(unit_bytes, bytes.size())));
      uint64_t length_bytes = 0;
      while (length_bytes < bytes.size()) {
        const auto rest = bytes.subspan(length_bytes);
        const uint64_t piece_bytes = std::min<uint64_t>(unit_bytes, rest.size());
        if (IsZero(rest.first(piece_bytes)) != is_zero) break;
        length_bytes += piece_bytes;
      }
      if (is_zero) {
        CO_TRY_STATUS(co_await PassZeros(offset_bytes, length_bytes));
      } else {
        CO_TRY_STATUS(co_await PassData(offset_bytes, bytes.first(length_bytes)));
      }
      offset_bytes += length_bytes;
      bytes = bytes.subspan(length_bytes);
    }
    co_return base::Ok();
  }

  Task<Status> PassData(uint64_t offset_bytes, std::span<std::byte> bytes) {
    const IoVec piece{bytes.data(), bytes.size()};
    counts_.data_bytes += bytes.size();
    CO_TRY_STATUS(co_await target_.Store({.offset_bytes = offset_bytes, .buffers = {&piece, 1}}));
    co_return base::Ok();
  }

  Task<Status> PassZeros(uint64_t offset_bytes, uint64_t length_bytes) {
    counts_.zero_bytes += length_bytes;
    if (!target_.wants_zeros() || is_over()) co_return base::Ok();
    CO_TRY_STATUS(co_await target_.StoreZeros(offset_bytes, length_bytes));
    co_return base::Ok();
  }

  Status Finished(const Piece& piece) {
    ++finished_count_;
    passed_bytes_ += piece.length_bytes;
    stored_.NotifyAll();
    if (options_.progress == nullptr || is_over() ||
        options_.progress->Advance(passed_bytes_, source_.size_bytes())) {
      return base::Ok();
    }
    return Error(Code::kInterrupted, "copy: stopped");
  }

  base::BlockDevice& source_;
  CopyTarget& target_;
  CopyOptions options_;
  base::AsyncLock plan_lock_;
  base::AsyncCondition stored_;
  bool in_order_;
  std::deque<Piece> pieces_;
  uint64_t planned_bytes_ = 0;
  uint64_t next_number_ = 0;
  uint64_t finished_count_ = 0;
  uint64_t passed_bytes_ = 0;
  CopyCounts counts_;
  std::optional<Error> error_;
};

Task<void> Work(Copy& copy) {
  AlignedBuffer buffer(kPieceBytes);
  while (!copy.is_over()) {
    const Result<std::optional<Piece>> piece = co_await copy.Next();
    if (!piece) copy.Fail(piece.error());
    if (!piece || !piece->has_value()) co_return;
    const Status done = co_await copy.Do(&**piece, buffer);
    if (!done) copy.Fail(done.error());
  }
}

}  // namespace

Task<Status> CopyTarget::StoreZeros(uint64_t, uint64_t) {
  co_return base::Ok();
}

Task<Result<uint64_t>> CopyTarget::TakeFrom(FlatRange, uint64_t, uint64_t) {
  co_return uint64_t{0};
}

Task<Result<CopyCounts>> CopyContent(base::Executor& executor, base::BlockDevice& source,
                                     CopyTarget& target, CopyOptions options) {
  Copy copy(executor, source, target, options);
  base::TaskGroup workers(executor);
  for (int i = 0; i < kPiecesInFlight; ++i) workers.Add(Work(copy));
  co_await workers.Join();
  co_return copy.Outcome();
}

bool IsZero(std::span<const std::byte> bytes) {
  if (bytes.empty()) return true;
  if (bytes.front() != std::byte{0}) return false;
  // Equal to itself moved by one, beginning with zero: the fastest comparison there is does it.
  return std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

}  // namespace disklib
