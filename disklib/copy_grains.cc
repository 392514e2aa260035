#include "disklib/copy_grains.h"

#include <algorithm>

#include <fmt/format.h>

#include "fs/base/aligned_buffer.h"

namespace disklib {

using base::Code;
using base::Error;
using base::IoVec;
using base::Result;
using base::Status;
using base::Task;
using fds::GrainRun;
using fds::GrainState;

void GrainCopier::NoteError(const Status& status) {
  if (!status && !first_error_) first_error_ = status.error();
}

// What of a data run the parent's top link has no place for.
Task<Status> GrainCopier::MeasureRun(GrainRun run, GrainTotals& totals) {
  totals.data_bytes += run.length_bytes;
  const uint64_t parent_end_bytes =
      std::min(run.offset_bytes + run.length_bytes, parent_.size_bytes());
  uint64_t held_bytes = 0;
  if (run.offset_bytes < parent_end_bytes) {
    std::vector<GrainRun> below;
    const uint64_t length_bytes = parent_end_bytes - run.offset_bytes;
    if (parent_.top().is_flat()) {
      std::vector<base::MapRun> states;
      CO_TRY_STATUS(co_await parent_.top().MapStatus(run.offset_bytes, length_bytes, states));
      for (const base::MapRun& state : states) {
        if (state.state != base::MapState::kHole) held_bytes += state.length_bytes;
      }
    } else {
      CO_TRY_STATUS(co_await parent_.top().Lookup(run.offset_bytes, length_bytes, below));
      for (const GrainRun& held : below) {
        if (held.state == GrainState::kData) held_bytes += held.length_bytes;
      }
    }
  }
  if (held_bytes < run.length_bytes) {
    totals.new_bytes += base::RoundUp(run.length_bytes - held_bytes, options_.block_bytes);
  }
  co_return base::Ok();
}

Task<Result<GrainTotals>> GrainCopier::Measure() {
  GrainTotals totals;
  std::vector<GrainRun> runs;
  for (uint64_t at_bytes = 0; at_bytes < child_.size_bytes(); at_bytes += kWindowBytes) {
    runs.clear();
    const uint64_t length_bytes = std::min(kWindowBytes, child_.size_bytes() - at_bytes);
    CO_TRY_STATUS(co_await child_.Lookup(at_bytes, length_bytes, runs));
    for (const GrainRun& run : runs) {
      if (run.state == GrainState::kZero) totals.zero_bytes += run.length_bytes;
      if (run.state == GrainState::kData) CO_TRY_STATUS(co_await MeasureRun(run, totals));
    }
  }
  co_return totals;
}

Task<Status> GrainCopier::MovePiece(uint64_t offset_bytes, uint64_t length_bytes) {
  base::AlignedBuffer buffer(length_bytes);
  const IoVec piece = buffer.piece();
  const base::IoRequest request{.offset_bytes = offset_bytes, .buffers = {&piece, 1}};
  CO_TRY(const uint64_t read_bytes, co_await child_.Read(request));
  if (read_bytes != length_bytes) {
    co_return Error(Code::kIo, fmt::format("read {}: {} of {} bytes at {}", child_.path(),
                                           read_bytes, length_bytes, offset_bytes));
  }
  CO_TRY_STATUS(co_await parent_.Write(request));
  co_return base::Ok();
}

Task<void> GrainCopier::CopyPiece(uint64_t offset_bytes, uint64_t length_bytes) {
  const Status moved = co_await MovePiece(offset_bytes, length_bytes);
  NoteError(moved);
}

Task<void> GrainCopier::ZeroPiece(uint64_t offset_bytes, uint64_t length_bytes) {
  const Status zeroed = co_await parent_.WriteZeroes(offset_bytes, length_bytes,
                                                     /*may_unmap=*/true);
  NoteError(zeroed);
}

Task<Status> GrainCopier::CopyRun(GrainRun run) {
  if (run.state == GrainState::kUnallocated) co_return base::Ok();
  const uint64_t end_bytes = run.offset_bytes + run.length_bytes;
  while (run.offset_bytes < end_bytes) {
    const uint64_t length_bytes = std::min(kPieceBytes, end_bytes - run.offset_bytes);
    co_await pieces_.WaitUntilAtMost(kPiecesAtOnce - 1);
    if (first_error_) co_return *first_error_;
    pieces_.Add(run.state == GrainState::kData ? CopyPiece(run.offset_bytes, length_bytes)
                                               : ZeroPiece(run.offset_bytes, length_bytes));
    run.offset_bytes += length_bytes;
    done_bytes_ += length_bytes;
    if (progress_ != nullptr &&
        !progress_->Advance(std::min(done_bytes_, total_bytes_), total_bytes_)) {
      co_return Error(Code::kInterrupted,
                      fmt::format("commit {}: stopped; running it again goes on", child_.path()));
    }
  }
  co_return base::Ok();
}

Task<Status> GrainCopier::CopyWindow(uint64_t offset_bytes, uint64_t length_bytes) {
  std::vector<GrainRun> runs;
  CO_TRY_STATUS(co_await child_.Lookup(offset_bytes, length_bytes, runs));
  for (const GrainRun& run : runs) CO_TRY_STATUS(co_await CopyRun(run));
  co_return base::Ok();
}

// Gives back what the child holds of a range that is durable below.
Task<Status> GrainCopier::ReleaseRange(uint64_t offset_bytes, uint64_t end_bytes) {
  std::vector<GrainRun> runs;
  CO_TRY_STATUS(co_await child_.Lookup(offset_bytes, end_bytes - offset_bytes, runs));
  for (const GrainRun& run : runs) {
    if (run.state == GrainState::kUnallocated) continue;
    const Link::Piece piece = child_.PieceAt(run.offset_bytes, run.length_bytes);
    CO_TRY_STATUS(co_await piece.extent->Release(piece.offset_bytes, piece.length_bytes));
  }
  CO_TRY_STATUS(co_await child_.Sync());
  co_return base::Ok();
}

// Makes durable what was copied so far; with reclaim the child then gives it back.
Task<Status> GrainCopier::Settle(uint64_t end_bytes) {
  co_await pieces_.Join();
  if (first_error_) co_return *first_error_;
  CO_TRY_STATUS(co_await parent_.Flush());
  if (options_.reclaim && settled_bytes_ < end_bytes) {
    CO_TRY_STATUS(co_await ReleaseRange(settled_bytes_, end_bytes));
  }
  settled_bytes_ = end_bytes;
  co_return base::Ok();
}

Task<Status> GrainCopier::Run(uint64_t total_bytes) {
  total_bytes_ = total_bytes;
  uint64_t unsettled_from = 0;
  Status status = base::Ok();
  for (uint64_t at_bytes = 0; status && at_bytes < child_.size_bytes();) {
    const uint64_t length_bytes = std::min(kWindowBytes, child_.size_bytes() - at_bytes);
    status = co_await CopyWindow(at_bytes, length_bytes);
    at_bytes += length_bytes;
    if (status && options_.reclaim && done_bytes_ - unsettled_from >= kReclaimBytes) {
      status = co_await Settle(at_bytes);
      unsettled_from = done_bytes_;
    }
  }
  co_await pieces_.Join();
  if (status) status = co_await Settle(child_.size_bytes());
  co_return status;
}

}  // namespace disklib
