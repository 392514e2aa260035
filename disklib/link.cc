#include "disklib/link.h"

#include <algorithm>
#include <utility>

#include "disklib/buffers.h"
#include "fs/base/check.h"

namespace disklib {
using base::IoRequest;
using base::IoVec;
using base::MapRun;
using base::Result;
using base::Status;
using base::Task;
using fds::GrainRun;
using fds::GrainState;

namespace {

// A piece of an extent without a map as one run of the link.
GrainRun WholeRun(const Link::Piece& piece, uint64_t offset_bytes) {
  GrainRun run{.offset_bytes = offset_bytes, .length_bytes = piece.length_bytes};
  run.state = piece.extent->is_zero() ? GrainState::kZero : GrainState::kData;
  const FlatRange range = piece.extent->flat_range();
  if (range.object != nullptr) run.file_offset_bytes = range.offset_bytes + piece.offset_bytes;
  return run;
}

}  // namespace

Link::Link(std::string path, uint64_t object_id, Descriptor descriptor,
           std::vector<std::unique_ptr<Extent>> extents)
    : path_(std::move(path)),
      object_id_(object_id),
      descriptor_(std::move(descriptor)),
      extents_(std::move(extents)) {
  CHECK(!extents_.empty());
  PlaceExtents();
}

void Link::PlaceExtents() {
  starts_bytes_.clear();
  size_bytes_ = 0;
  for (const auto& extent : extents_) {
    starts_bytes_.push_back(size_bytes_);
    size_bytes_ += extent->size_bytes();
  }
}

void Link::SetDescriptor(uint64_t object_id, Descriptor descriptor) {
  object_id_ = object_id;
  descriptor_ = std::move(descriptor);
}

void Link::Grow(uint64_t last_extent_bytes, std::vector<std::unique_ptr<Extent>> added) {
  extents_.back()->GrowTo(last_extent_bytes);
  for (auto& extent : added) extents_.push_back(std::move(extent));
  PlaceExtents();
}

Link::Piece Link::PieceAt(uint64_t offset_bytes, uint64_t length_bytes) const {
  DCHECK(offset_bytes < size_bytes_);
  const auto behind = std::upper_bound(starts_bytes_.begin(), starts_bytes_.end(), offset_bytes);
  const auto index = static_cast<size_t>(behind - starts_bytes_.begin() - 1);
  Extent& extent = *extents_[index];
  const uint64_t start_bytes = starts_bytes_[index];
  return {.extent = &extent,
          .index = index,
          .start_bytes = start_bytes,
          .offset_bytes = offset_bytes - start_bytes,
          .length_bytes = std::min(length_bytes, start_bytes + extent.size_bytes() - offset_bytes)};
}

FlatRange Link::FlatRangeOf(uint64_t offset_bytes, uint64_t length_bytes) const {
  const Piece piece = PieceAt(offset_bytes, length_bytes);
  if (piece.length_bytes != length_bytes) return {};
  FlatRange range = piece.extent->flat_range();
  range.offset_bytes += piece.offset_bytes;
  return range;
}

Task<Result<uint64_t>> Link::Read(IoRequest request) {
  const uint64_t size_bytes = request.size_bytes();
  const Piece piece = PieceAt(request.offset_bytes, size_bytes);
  if (piece.length_bytes != size_bytes) return Transfer(request, Direction::kRead);
  request.offset_bytes = piece.offset_bytes;
  return piece.extent->Read(request);
}

Task<Result<uint64_t>> Link::Write(IoRequest request) {
  const uint64_t size_bytes = request.size_bytes();
  const Piece piece = PieceAt(request.offset_bytes, size_bytes);
  if (piece.length_bytes != size_bytes) return Transfer(request, Direction::kWrite);
  request.offset_bytes = piece.offset_bytes;
  return piece.extent->Write(request);
}

Task<Result<uint64_t>> Link::Transfer(IoRequest request, Direction direction) {
  const uint64_t size_bytes = request.size_bytes();
  BufferCursor cursor(request.buffers);
  std::vector<IoVec> buffers;
  uint64_t done_bytes = 0;
  while (done_bytes < size_bytes) {
    const Piece piece = PieceAt(request.offset_bytes + done_bytes, size_bytes - done_bytes);
    cursor.Take(piece.length_bytes, buffers);
    const IoRequest part{
        .offset_bytes = piece.offset_bytes, .buffers = buffers, .fua = request.fua};
    Task<Result<uint64_t>> task =
        direction == Direction::kRead ? piece.extent->Read(part) : piece.extent->Write(part);
    const Result<uint64_t> moved = co_await task;
    if (!moved) co_return moved.error();
    done_bytes += *moved;
    if (*moved < piece.length_bytes) break;
  }
  co_return done_bytes;
}

Task<Status> Link::WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes, bool may_unmap) {
  while (length_bytes > 0) {
    const Piece piece = PieceAt(offset_bytes, length_bytes);
    CO_TRY_STATUS(
        co_await piece.extent->WriteZeroes(piece.offset_bytes, piece.length_bytes, may_unmap));
    offset_bytes += piece.length_bytes;
    length_bytes -= piece.length_bytes;
  }
  co_return base::Ok();
}

Task<Result<uint64_t>> Link::Seek(fss::SeekKind kind, uint64_t offset_bytes) {
  while (offset_bytes < size_bytes_) {
    const Piece piece = PieceAt(offset_bytes, 1);
    CO_TRY(const uint64_t found_bytes, co_await piece.extent->Seek(kind, piece.offset_bytes));
    offset_bytes = piece.start_bytes + found_bytes;
    // At the end of an extent the file's own end may have been meant: the next one decides.
    if (found_bytes < piece.extent->size_bytes()) co_return offset_bytes;
  }
  co_return size_bytes_;
}

Task<Status> Link::MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                             std::vector<MapRun>& runs) {
  const size_t first = runs.size();
  while (length_bytes > 0) {
    const Piece piece = PieceAt(offset_bytes, length_bytes);
    std::vector<MapRun> part;
    CO_TRY_STATUS(co_await piece.extent->MapStatus(piece.offset_bytes, piece.length_bytes, part));
    for (MapRun run : part) {
      run.offset_bytes += piece.start_bytes;
      if (runs.size() > first && runs.back().state == run.state) {
        runs.back().length_bytes += run.length_bytes;
      } else {
        runs.push_back(run);
      }
    }
    offset_bytes += piece.length_bytes;
    length_bytes -= piece.length_bytes;
  }
  co_return base::Ok();
}

bool Link::is_flat() const {
  return std::none_of(extents_.begin(), extents_.end(),
                      [](const auto& extent) { return extent->grain_map() != nullptr; });
}

Task<Status> Link::Lookup(uint64_t offset_bytes, uint64_t length_bytes,
                          std::vector<GrainRun>& runs) {
  while (length_bytes > 0) {
    const Piece piece = PieceAt(offset_bytes, length_bytes);
    fds::GrainMap* const map = piece.extent->grain_map();
    if (map != nullptr) {
      const size_t first = runs.size();
      CO_TRY_STATUS(co_await map->Lookup(piece.offset_bytes, piece.length_bytes, runs));
      for (size_t i = first; i < runs.size(); ++i) runs[i].offset_bytes += piece.start_bytes;
    } else {
      runs.push_back(WholeRun(piece, offset_bytes));
    }
    offset_bytes += piece.length_bytes;
    length_bytes -= piece.length_bytes;
  }
  co_return base::Ok();
}

Task<Status> Link::Sync() {
  for (const auto& extent : extents_) CO_TRY_STATUS(co_await extent->Sync());
  co_return base::Ok();
}

Task<Status> Link::Close() {
  Status first = base::Ok();
  for (const auto& extent : extents_) {
    const Status closed = co_await extent->Close();
    if (first) first = closed;
  }
  co_return first;
}

}  // namespace disklib
