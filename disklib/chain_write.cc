#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "disklib/chain.h"
#include "fs/base/check.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::IoRequest;
using base::IoVec;
using base::Result;
using base::SharedGuard;
using base::Status;
using base::Task;

Status CheckWritten(std::string_view disk, const Result<uint64_t>& written_bytes,
                    uint64_t length_bytes, uint64_t offset_bytes) {
  if (!written_bytes) return written_bytes.error();
  if (*written_bytes == length_bytes) return base::Ok();
  return Error(Code::kNoSpace, fmt::format("disk {}: wrote {} of {} bytes at {}", disk,
                                           *written_bytes, length_bytes, offset_bytes));
}

bool IsHeldBy(const ChainRun& run, uint32_t source) {
  return run.state == ChainState::kData && run.source == source;
}

}  // namespace

Task<Status> Chain::WriteBytes(IoRequest request) {
  if (request.size_bytes() == 0) co_return base::Ok();
  co_await drain_.AcquireShared();
  const SharedGuard held(drain_);
  CO_TRY_STATUS(co_await MarkContent());
  if (!top_is_flat_) {
    const Status written = co_await WriteParts(request);
    co_return written;
  }
  const Result<uint64_t> written_bytes = co_await top().Write(request);
  co_return CheckWritten(name(), written_bytes, request.size_bytes(), request.offset_bytes);
}

// A grain that is durable without its table entry is nothing: writing through means a sync.
Task<Status> Chain::WriteParts(IoRequest request) {
  const uint64_t end_bytes = request.offset_bytes + request.size_bytes();
  BufferCursor cursor(request.buffers);
  for (uint64_t at = request.offset_bytes; at < end_bytes;) {
    const Part part = PartAt(at, end_bytes);
    CO_TRY_STATUS(co_await WritePart(part, cursor));
    at = part.end_bytes;
  }
  if (request.fua) CO_TRY_STATUS(co_await top().Sync());
  co_return base::Ok();
}

// Alternates between what the leaf holds and what it does not; each time what is there is found
// anew, since it may have changed while the other was written.
Task<Status> Chain::WritePart(Part part, BufferCursor& cursor) {
  if (part.grain_bytes == 0) {
    const ChainRun whole{.offset_bytes = part.offset_bytes,
                         .length_bytes = part.end_bytes - part.offset_bytes,
                         .state = ChainState::kData,
                         .source = part.source};
    CO_TRY_STATUS(co_await WriteInPlace(whole, cursor));
    co_return base::Ok();
  }
  std::vector<ChainRun> runs;
  while (part.offset_bytes < part.end_bytes) {
    runs.clear();
    CO_TRY_STATUS(co_await places_.Resolve(part.offset_bytes, part.end_bytes, runs));
    auto run = runs.begin();
    if (IsHeldBy(*run, part.source)) {
      const InFlight::Use use(in_flight_);
      for (; run != runs.end() && IsHeldBy(*run, part.source); ++run) {
        CO_TRY_STATUS(co_await WriteInPlace(*run, cursor));
        part.offset_bytes = run->end_bytes();
      }
      continue;
    }
    Part missing = part;
    while (run != runs.end() && !IsHeldBy(*run, part.source)) ++run;
    missing.end_bytes = std::prev(run)->end_bytes();
    CO_TRY_STATUS(co_await WriteNewGrains(missing, cursor));
    part.offset_bytes = missing.end_bytes;
  }
  co_return base::Ok();
}

// Overwrites what the leaf holds: no table changes, nobody waits.
Task<Status> Chain::WriteInPlace(ChainRun run, BufferCursor& cursor) {
  const ChainSource& source = places_.source(run.source);
  std::vector<IoVec> buffers;
  cursor.Take(run.length_bytes, buffers);
  IoRequest request{.offset_bytes = run.file_offset_bytes, .buffers = buffers};
  Result<uint64_t> written_bytes = uint64_t{0};
  if (run.in_file()) {
    written_bytes = co_await source.object->Write(request);
  } else {
    request.offset_bytes = run.offset_bytes - source.start_bytes;
    written_bytes = co_await source.extent->Write(request);
  }
  co_return CheckWritten(name(), written_bytes, run.length_bytes, run.offset_bytes);
}

// Allocates grains of the leaf. Who had the turn before may have allocated some of them.
Task<Status> Chain::WriteNewGrains(Part part, BufferCursor& cursor) {
  const uint64_t first_bytes = part.GrainStart(part.offset_bytes);
  const uint64_t last_bytes = part.GrainEnd(part.end_bytes);
  std::optional<base::RangeGuard> turn;
  if (!options_.without_turns) {
    co_await grain_turns_.Acquire(first_bytes, last_bytes - first_bytes);
    turn.emplace(grain_turns_, first_bytes, last_bytes - first_bytes);
  }
  std::vector<ChainRun> runs;
  for (uint64_t at = first_bytes; at < last_bytes;) {
    const uint64_t until = std::min(last_bytes, (at / kWindowBytes + 1) * kWindowBytes);
    CO_TRY_STATUS(co_await places_.Resolve(at, until, runs));
    at = until;
  }
  for (size_t i = 0; i < runs.size();) {
    if (IsHeldBy(runs[i], part.source)) {
      const ChainRun mine = CutRun(runs[i], part.offset_bytes, part.end_bytes);
      const InFlight::Use use(in_flight_);
      CO_TRY_STATUS(co_await WriteInPlace(mine, cursor));
      ++i;
      continue;
    }
    ChainRun missing{.offset_bytes = runs[i].offset_bytes};
    for (; i < runs.size() && !IsHeldBy(runs[i], part.source); ++i) {
      missing.length_bytes += runs[i].length_bytes;
    }
    CO_TRY_STATUS(co_await MergeGrains(part, missing, cursor));
  }
  co_return base::Ok();
}

// Writes whole grains: the bytes of the request, and round them what can be read there now.
Task<Status> Chain::MergeGrains(Part part, ChainRun whole, BufferCursor& cursor) {
  const uint64_t begin = std::max(whole.offset_bytes, part.offset_bytes);
  const uint64_t end = std::min(whole.end_bytes(), part.end_bytes);
  const uint64_t head_bytes = begin - whole.offset_bytes;
  const uint64_t tail_bytes = whole.end_bytes() - end;
  std::vector<std::byte> edges(head_bytes + tail_bytes);
  const IoVec head{edges.data(), head_bytes};
  const IoVec tail{edges.data() + head_bytes, tail_bytes};
  if (head_bytes > 0) {
    const IoRequest request{.offset_bytes = whole.offset_bytes, .buffers = {&head, 1}};
    CO_TRY_STATUS(co_await ReadPieces(request));
  }
  if (tail_bytes > 0) {
    const IoRequest request{.offset_bytes = end, .buffers = {&tail, 1}};
    CO_TRY_STATUS(co_await ReadPieces(request));
  }
  std::vector<IoVec> buffers;
  cursor.Take(end - begin, buffers);
  if (head_bytes > 0) buffers.insert(buffers.begin(), head);
  if (tail_bytes > 0) buffers.push_back(tail);
  const IoRequest request{.offset_bytes = whole.offset_bytes - part.start_bytes,
                          .buffers = buffers};
  const Result<uint64_t> written_bytes = co_await part.extent->Write(request);
  const Status written =
      CheckWritten(name(), written_bytes, whole.length_bytes, whole.offset_bytes);
  if (!written) places_.Forget(whole.offset_bytes, whole.end_bytes());
  if (!written) co_return written;
  CO_TRY_STATUS(co_await NoteWritten(part, whole.offset_bytes, whole.end_bytes()));
  co_return base::Ok();
}

// Takes over where the leaf has put a range.
Task<Status> Chain::NoteWritten(Part part, uint64_t offset_bytes, uint64_t end_bytes) {
  std::vector<fds::GrainRun> grains;
  const Status found = co_await part.extent->grain_map()->Lookup(offset_bytes - part.start_bytes,
                                                                 end_bytes - offset_bytes, grains);
  if (!found) places_.Forget(offset_bytes, end_bytes);
  if (!found) co_return found;
  for (const fds::GrainRun& grain : grains) {
    if (grain.state != fds::GrainState::kData) {
      places_.Forget(offset_bytes, end_bytes);
      co_return Error(Code::kInternal,
                      fmt::format("disk {}: a grain at {} was written and is not there", name(),
                                  grain.offset_bytes + part.start_bytes));
    }
    places_.Update({.offset_bytes = grain.offset_bytes + part.start_bytes,
                    .length_bytes = grain.length_bytes,
                    .state = ChainState::kData,
                    .source = part.source,
                    .file_offset_bytes = grain.file_offset_bytes});
  }
  co_return base::Ok();
}

}  // namespace disklib
