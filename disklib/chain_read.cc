#include <algorithm>
#include <cstring>
#include <utility>

#include "disklib/chain.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::IoRequest;
using base::IoVec;
using base::MapRun;
using base::MapState;
using base::Result;
using base::SharedGuard;
using base::Status;
using base::Task;

void AppendMapRun(std::vector<MapRun>& runs, size_t first, const MapRun& run) {
  if (runs.size() > first && runs.back().state == run.state) {
    runs.back().length_bytes += run.length_bytes;
  } else {
    runs.push_back(run);
  }
}

MapState StateOf(ChainState state) {
  switch (state) {
    case ChainState::kHole: return MapState::kHole;
    case ChainState::kZero: return MapState::kZero;
    case ChainState::kData: return MapState::kData;
  }
  return MapState::kData;
}

uint64_t WindowEnd(uint64_t offset_bytes, uint64_t end_bytes) {
  return std::min(end_bytes, (offset_bytes / kWindowBytes + 1) * kWindowBytes);
}

}  // namespace

Task<Status> Chain::ReadBytes(IoRequest request) {
  const uint64_t length_bytes = request.size_bytes();
  if (length_bytes == 0) co_return base::Ok();
  co_await drain_.AcquireShared();
  const SharedGuard held(drain_);
  const uint64_t offset_bytes = request.offset_bytes;
  Result<uint64_t> read_bytes = uint64_t{0};
  ChainRun run;
  if (top_is_flat_) {
    read_bytes = co_await top().Read(request);
  } else if (places_.Probe(offset_bytes, offset_bytes + length_bytes, run) && run.in_file() &&
             run.length_bytes == length_bytes) {
    const InFlight::Use use(in_flight_);
    request.offset_bytes = run.file_offset_bytes;
    read_bytes = co_await places_.source(run.source).object->Read(request);
  } else {
    const Status read = co_await ReadPieces(request);
    co_return read;
  }
  if (!read_bytes) co_return read_bytes.error();
  if (*read_bytes == length_bytes) co_return base::Ok();
  co_return ShortRead(offset_bytes, length_bytes, *read_bytes);
}

// Window by window, so that what was found cannot change its meaning before it is read.
Task<Status> Chain::ReadPieces(IoRequest request) {
  const uint64_t end_bytes = request.offset_bytes + request.size_bytes();
  BufferCursor cursor(request.buffers);
  std::vector<IoVec> buffers;
  std::vector<ChainRun> runs;
  for (uint64_t at = request.offset_bytes; at < end_bytes;) {
    const uint64_t until = WindowEnd(at, end_bytes);
    runs.clear();
    CO_TRY_STATUS(co_await places_.Resolve(at, until, runs));
    const InFlight::Use use(in_flight_);
    for (const ChainRun& run : runs) {
      cursor.Take(run.length_bytes, buffers);
      CO_TRY_STATUS(co_await ReadRun(run, buffers));
    }
    at = until;
  }
  co_return base::Ok();
}

Task<Status> Chain::ReadRun(ChainRun run, std::span<const IoVec> buffers) {
  if (run.state != ChainState::kData) {
    for (const IoVec& piece : buffers) std::memset(piece.data, 0, piece.size_bytes);
    co_return base::Ok();
  }
  const ChainSource& source = places_.source(run.source);
  IoRequest request{.offset_bytes = run.file_offset_bytes, .buffers = buffers};
  Result<uint64_t> read_bytes = uint64_t{0};
  if (run.in_file()) {
    read_bytes = co_await source.object->Read(request);
  } else {
    request.offset_bytes = run.offset_bytes - source.start_bytes;
    read_bytes = co_await source.extent->Read(request);
  }
  if (!read_bytes) co_return read_bytes.error().Within(links_[source.link_index]->path());
  if (*read_bytes == run.length_bytes) co_return base::Ok();
  co_return ShortRead(run.offset_bytes, run.length_bytes, *read_bytes);
}

Task<Status> Chain::MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                              std::vector<MapRun>& runs) {
  CO_TRY_STATUS(CheckRange(offset_bytes, length_bytes));
  co_await drain_.AcquireShared();
  const SharedGuard held(drain_);
  if (top_is_flat_) {
    CO_TRY_STATUS(co_await top().MapStatus(offset_bytes, length_bytes, runs));
    co_return base::Ok();
  }
  const size_t first = runs.size();
  std::vector<MapRun> part;
  const uint64_t end_bytes = offset_bytes + length_bytes;
  for (uint64_t at = offset_bytes; at < end_bytes; at = WindowEnd(at, end_bytes)) {
    part.clear();
    CO_TRY_STATUS(co_await MapWindow(at, WindowEnd(at, end_bytes), part));
    for (const MapRun& run : part) AppendMapRun(runs, first, run);
  }
  co_return base::Ok();
}

// A flat extent holds all of its range, but its file has holes.
Task<Status> Chain::MapWindow(uint64_t offset_bytes, uint64_t end_bytes,
                              std::vector<MapRun>& runs) {
  std::vector<ChainRun> places;
  CO_TRY_STATUS(co_await places_.Resolve(offset_bytes, end_bytes, places));
  std::vector<MapRun> part;
  for (const ChainRun& run : places) {
    const ChainSource& source = places_.source(run.source);
    if (run.state != ChainState::kData || source.extent->grain_map() != nullptr) {
      AppendMapRun(runs, 0, {run.offset_bytes, run.length_bytes, StateOf(run.state)});
      continue;
    }
    part.clear();
    CO_TRY_STATUS(co_await source.extent->MapStatus(run.offset_bytes - source.start_bytes,
                                                    run.length_bytes, part));
    for (MapRun piece : part) {
      piece.offset_bytes += source.start_bytes;
      AppendMapRun(runs, 0, piece);
    }
  }
  co_return base::Ok();
}

// Where any link may have data next, without walking all windows of a large, empty disk.
Task<Result<uint64_t>> Chain::SeekInLinks(uint64_t offset_bytes) {
  uint64_t next_bytes = size_bytes();
  for (const auto& link : links_) {
    if (offset_bytes >= link->size_bytes()) continue;
    CO_TRY(const uint64_t found_bytes, co_await link->Seek(fss::SeekKind::kData, offset_bytes));
    if (found_bytes < link->size_bytes()) next_bytes = std::min(next_bytes, found_bytes);
  }
  co_return next_bytes;
}

Task<Result<uint64_t>> Chain::Seek(fss::SeekKind kind, uint64_t offset_bytes) {
  const uint64_t end_bytes = size_bytes();
  if (offset_bytes >= end_bytes) co_return Error(Code::kNoData);
  co_await drain_.AcquireShared();
  const SharedGuard held(drain_);
  const bool wants_data = kind == fss::SeekKind::kData;
  std::vector<MapRun> runs;
  for (uint64_t at = offset_bytes; at < end_bytes; at = WindowEnd(at, end_bytes)) {
    if (top_is_flat_) {
      CO_TRY(at, co_await top().Seek(kind, at));
      if (at < end_bytes) co_return at;
      break;
    }
    if (wants_data) {
      CO_TRY(at, co_await SeekInLinks(at));
    }
    if (at >= end_bytes) break;
    runs.clear();
    CO_TRY_STATUS(co_await MapWindow(at, WindowEnd(at, end_bytes), runs));
    for (const MapRun& run : runs) {
      if ((run.state == MapState::kData) == wants_data) co_return run.offset_bytes;
    }
  }
  if (wants_data) co_return Error(Code::kNoData);
  co_return end_bytes;
}

}  // namespace disklib
