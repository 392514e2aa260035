#include <algorithm>
#include <vector>

#include "disklib/chain.h"

namespace disklib {

using base::IoVec;
using base::SharedGuard;
using base::Status;
using base::Task;

Task<Status> Chain::ZeroBytes(uint64_t offset_bytes, uint64_t length_bytes, bool may_unmap) {
  if (length_bytes == 0) co_return base::Ok();
  co_await drain_.AcquireShared();
  const SharedGuard held(drain_);
  CO_TRY_STATUS(co_await MarkContent());
  if (top_is_flat_) {
    CO_TRY_STATUS(co_await top().WriteZeroes(offset_bytes, length_bytes, may_unmap));
    co_return base::Ok();
  }
  const uint64_t end_bytes = offset_bytes + length_bytes;
  while (offset_bytes < end_bytes) {
    const Part part = PartAt(offset_bytes, end_bytes);
    CO_TRY_STATUS(co_await ZeroPart(part, may_unmap));
    offset_bytes = part.end_bytes;
  }
  co_return base::Ok();
}

// Whole grains change their state, the edges are written.
Task<Status> Chain::ZeroPart(Part part, bool may_unmap) {
  if (part.grain_bytes == 0) {
    CO_TRY_STATUS(co_await part.extent->WriteZeroes(part.offset_bytes - part.start_bytes,
                                                    part.end_bytes - part.offset_bytes, may_unmap));
    co_return base::Ok();
  }
  Part head = part;
  Part middle = part;
  Part tail = part;
  middle.offset_bytes = std::min(part.GrainEnd(part.offset_bytes), part.end_bytes);
  const bool ends_whole = part.GrainEnd(part.end_bytes) == part.end_bytes;
  middle.end_bytes = ends_whole ? part.end_bytes : part.GrainStart(part.end_bytes);
  middle.end_bytes = std::max(middle.offset_bytes, middle.end_bytes);
  head.end_bytes = middle.offset_bytes;
  tail.offset_bytes = middle.end_bytes;
  CO_TRY_STATUS(co_await ZeroEdge(head));
  CO_TRY_STATUS(co_await ZeroGrains(middle, may_unmap));
  CO_TRY_STATUS(co_await ZeroEdge(tail));
  co_return base::Ok();
}

// A piece of one grain; where zeros are read already nothing is stored.
Task<Status> Chain::ZeroEdge(Part part) {
  if (part.offset_bytes == part.end_bytes) co_return base::Ok();
  std::vector<ChainRun> runs;
  CO_TRY_STATUS(co_await places_.Resolve(part.offset_bytes, part.end_bytes, runs));
  const bool has_data = std::any_of(
      runs.begin(), runs.end(), [](const ChainRun& run) { return run.state == ChainState::kData; });
  if (!has_data) co_return base::Ok();
  std::vector<std::byte> zeros(part.end_bytes - part.offset_bytes);
  const IoVec piece{zeros.data(), zeros.size()};
  BufferCursor cursor({&piece, 1});
  CO_TRY_STATUS(co_await WritePart(part, cursor));
  co_return base::Ok();
}

// Only what holds data is touched: where zeros are read already, the leaf needs no grains.
Task<Status> Chain::ZeroGrains(Part part, bool may_unmap) {
  if (part.offset_bytes == part.end_bytes) co_return base::Ok();
  const uint64_t length_bytes = part.end_bytes - part.offset_bytes;
  co_await grain_turns_.Acquire(part.offset_bytes, length_bytes);
  const base::RangeGuard turn(grain_turns_, part.offset_bytes, length_bytes);
  std::vector<ChainRun> runs;
  CO_TRY_STATUS(co_await places_.Resolve(part.offset_bytes, part.end_bytes, runs));
  Part zeroed = part;
  zeroed.end_bytes = part.offset_bytes;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (runs[i].state != ChainState::kData || runs[i].end_bytes() <= zeroed.end_bytes) continue;
    zeroed.offset_bytes = std::max(part.GrainStart(runs[i].offset_bytes), zeroed.end_bytes);
    for (; i < runs.size() && runs[i].state == ChainState::kData; ++i) {
      zeroed.end_bytes = part.GrainEnd(runs[i].end_bytes());
    }
    CO_TRY_STATUS(co_await ZeroRun(zeroed, may_unmap));
  }
  co_return base::Ok();
}

// The grains may be given back and used again by the extent: first nobody finds them any more, then
// whoever had found them is waited for.
Task<Status> Chain::ZeroRun(Part part, bool may_unmap) {
  const uint64_t length_bytes = part.end_bytes - part.offset_bytes;
  if (part.has_zero_state) {
    places_.BeginZeroing(part.offset_bytes, part.end_bytes);
    co_await in_flight_.Drain();
  }
  const Status zeroed = co_await part.extent->WriteZeroes(part.offset_bytes - part.start_bytes,
                                                          length_bytes, may_unmap);
  if (part.has_zero_state) places_.EndZeroing(part.offset_bytes, part.end_bytes);
  if (!zeroed) places_.Forget(part.offset_bytes, part.end_bytes);
  if (!zeroed) co_return zeroed;
  if (!part.has_zero_state) {
    CO_TRY_STATUS(co_await NoteWritten(part, part.offset_bytes, part.end_bytes));
  }
  co_return base::Ok();
}

}  // namespace disklib
