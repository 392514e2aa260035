#include "disklib/vdisk.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "disklib/buffers.h"
#include "disklib/operations.h"
#include "fs/base/check.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::IoRequest;
using base::IoVec;
using base::Result;
using base::Status;
using base::Task;

constexpr uint64_t kPieceBytesMax = uint64_t{1} << 20;

uint64_t RoundDown(uint64_t bytes) {
  return bytes / kSectorBytes * kSectorBytes;
}

uint64_t RoundUp(uint64_t bytes) {
  return RoundDown(bytes + kSectorBytes - 1);
}

}  // namespace

VDisk::~VDisk() {
  CHECK(is_closed_);
}

// The way of requests that are not one range of a file: across extents, past the end, and every
// request of a sparse disk. Bytes that are no whole sectors go through a copy.
Task<Result<uint64_t>> VDisk::ReadThroughChain(IoRequest request) {
  Chain& chain = *disk_->chain;
  const uint64_t offset_bytes = request.offset_bytes;
  if (offset_bytes >= chain.size_bytes()) co_return uint64_t{0};
  const uint64_t length_bytes = std::min(request.size_bytes(), chain.size_bytes() - offset_bytes);
  BufferCursor cursor(request.buffers);
  std::vector<IoVec> pieces;
  std::vector<std::byte> copy;
  for (uint64_t done_bytes = 0; done_bytes < length_bytes;) {
    const uint64_t at = offset_bytes + done_bytes;
    uint64_t piece_bytes = std::min(length_bytes - done_bytes, kPieceBytesMax);
    if (at % kSectorBytes == 0 && piece_bytes >= kSectorBytes) {
      piece_bytes = RoundDown(piece_bytes);
      cursor.Take(piece_bytes, pieces);
      const IoRequest part{.offset_bytes = at, .buffers = pieces};
      CO_TRY_STATUS(co_await chain.Read(part));
    } else {
      const uint64_t start = RoundDown(at);
      piece_bytes = std::min(piece_bytes, start + kSectorBytes - at);
      copy.resize(kSectorBytes);
      const IoVec whole{copy.data(), kSectorBytes};
      const IoRequest sector{.offset_bytes = start, .buffers = {&whole, 1}};
      CO_TRY_STATUS(co_await chain.Read(sector));
      cursor.CopyFrom(std::span(copy).subspan(at - start, piece_bytes));
    }
    done_bytes += piece_bytes;
  }
  co_return length_bytes;
}

// Changes bytes inside one sector. A flat extent takes bytes as they are; reading and writing back
// the whole sector could undo a neighbour's direct write there.
Task<Status> VDisk::WriteEdge(uint64_t offset_bytes, std::span<const std::byte> bytes) {
  CO_TRY_STATUS(co_await disk_->chain->MarkContent());
  const FlatRange direct = disk_->chain->DirectWrite(offset_bytes, bytes.size());
  if (direct.object != nullptr) {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    CO_TRY_STATUS(co_await WriteWhole(*direct.object, direct.offset_bytes, text));
    co_return base::Ok();
  }
  const uint64_t start = RoundDown(offset_bytes);
  std::array<std::byte, kSectorBytes> sector;
  const IoVec whole{sector.data(), sector.size()};
  const IoRequest request{.offset_bytes = start, .buffers = {&whole, 1}};
  CO_TRY_STATUS(co_await disk_->chain->Read(request));
  std::copy(bytes.begin(), bytes.end(), sector.begin() + (offset_bytes - start));
  CO_TRY_STATUS(co_await disk_->chain->Write(request));
  co_return base::Ok();
}

Task<Result<uint64_t>> VDisk::WriteThroughChain(IoRequest request) {
  Chain& chain = *disk_->chain;
  const uint64_t offset_bytes = request.offset_bytes;
  if (request.size_bytes() == 0) co_return uint64_t{0};
  if (!writable_) co_return Error(Code::kReadOnly, "write: the disk was opened for reading");
  if (offset_bytes >= chain.size_bytes()) {
    co_return Error(Code::kNoSpace, fmt::format("write {} at {}: the disk has {} bytes",
                                                chain.name(), offset_bytes, chain.size_bytes()));
  }
  const uint64_t length_bytes = std::min(request.size_bytes(), chain.size_bytes() - offset_bytes);
  const uint64_t lock_start = RoundDown(offset_bytes);
  const uint64_t lock_bytes = RoundUp(offset_bytes + length_bytes) - lock_start;
  co_await disk_->edges.Acquire(lock_start, lock_bytes);
  const base::RangeGuard guard(disk_->edges, lock_start, lock_bytes);
  BufferCursor cursor(request.buffers);
  std::vector<IoVec> pieces;
  std::array<std::byte, kSectorBytes> edge;
  for (uint64_t done_bytes = 0; done_bytes < length_bytes;) {
    const uint64_t at = offset_bytes + done_bytes;
    uint64_t piece_bytes = std::min(length_bytes - done_bytes, kPieceBytesMax);
    if (at % kSectorBytes == 0 && piece_bytes >= kSectorBytes) {
      piece_bytes = RoundDown(piece_bytes);
      cursor.Take(piece_bytes, pieces);
      const IoRequest part{.offset_bytes = at, .buffers = pieces, .fua = request.fua};
      CO_TRY_STATUS(co_await chain.Write(part));
    } else {
      piece_bytes = std::min(piece_bytes, RoundDown(at) + kSectorBytes - at);
      const std::span<std::byte> bytes = std::span(edge).first(piece_bytes);
      cursor.CopyTo(bytes);
      CO_TRY_STATUS(co_await WriteEdge(at, bytes));
    }
    done_bytes += piece_bytes;
  }
  co_return length_bytes;
}

Task<Status> VDisk::Sync(bool) {
  return disk_->chain->Flush();
}

// Whole sectors by the chain, the edges by writing zeros.
Task<Status> VDisk::Zero(uint64_t offset_bytes, uint64_t length_bytes, bool may_unmap) {
  const uint64_t end_bytes = offset_bytes + length_bytes;
  const uint64_t lock_start = RoundDown(offset_bytes);
  const uint64_t lock_bytes = RoundUp(end_bytes) - lock_start;
  co_await disk_->edges.Acquire(lock_start, lock_bytes);
  const base::RangeGuard guard(disk_->edges, lock_start, lock_bytes);
  static constexpr std::array<std::byte, kSectorBytes> kZeros{};
  const uint64_t head_bytes = std::min(RoundUp(offset_bytes), end_bytes) - offset_bytes;
  if (head_bytes > 0) {
    CO_TRY_STATUS(co_await WriteEdge(offset_bytes, std::span(kZeros).first(head_bytes)));
  }
  const uint64_t middle = offset_bytes + head_bytes;
  const uint64_t tail = std::max(middle, RoundDown(end_bytes));
  if (tail > middle) {
    CO_TRY_STATUS(co_await disk_->chain->WriteZeroes(middle, tail - middle, may_unmap));
  }
  if (end_bytes > tail) {
    CO_TRY_STATUS(co_await WriteEdge(tail, std::span(kZeros).first(end_bytes - tail)));
  }
  co_return base::Ok();
}

Task<Status> VDisk::Allocate(fss::AllocateMode mode, uint64_t offset_bytes, uint64_t length_bytes) {
  using fss::AllocateMode;
  if (length_bytes == 0) co_return Error(Code::kInvalidArgument, "allocate: no length");
  if (!writable_) co_return Error(Code::kReadOnly, "allocate: the disk was opened for reading");
  const uint64_t capacity = size_bytes();
  const bool fits = offset_bytes <= capacity && length_bytes <= capacity - offset_bytes;
  const bool grows = mode == AllocateMode::kAllocate || mode == AllocateMode::kZeroRange;
  if (!fits && grows) co_return Error(Code::kNoSpace, "allocate: behind the end of the disk");
  if (offset_bytes >= capacity) co_return base::Ok();
  length_bytes = std::min(length_bytes, capacity - offset_bytes);
  // Space of a disk is its extents' matter: allocating changes nothing a guest can see.
  if (mode == AllocateMode::kAllocate || mode == AllocateMode::kAllocateKeepSize) {
    co_return base::Ok();
  }
  CO_TRY_STATUS(co_await Zero(offset_bytes, length_bytes, mode == AllocateMode::kPunchHole));
  co_return base::Ok();
}

Task<Status> VDisk::MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                              std::vector<base::MapRun>& runs) {
  const uint64_t end_bytes = offset_bytes + length_bytes;
  const uint64_t start = RoundDown(offset_bytes);
  const size_t first = runs.size();
  CO_TRY_STATUS(co_await disk_->chain->MapStatus(start, RoundUp(end_bytes) - start, runs));
  if (runs.size() == first) co_return base::Ok();
  // Back to the bytes asked for.
  runs[first].offset_bytes += offset_bytes - start;
  runs[first].length_bytes -= offset_bytes - start;
  runs.back().length_bytes = end_bytes - runs.back().offset_bytes;
  co_return base::Ok();
}

Task<Status> VDisk::Close() {
  CHECK(!std::exchange(is_closed_, true));
  return disks_.Release(*disk_);
}

VDisks::~VDisks() {
  CHECK(open_.empty());
}

// Under the disk's lock: makes sure of a chain that can do what this open wants.
Task<Status> VDisks::OpenChain(SharedDisk& disk, bool writable) {
  if (disk.chain != nullptr && (!writable || disk.chain->writable())) co_return base::Ok();
  const OpenOptions options{.writable = writable, .user = user_, .successor_of = disk.chain.get()};
  CO_TRY(std::unique_ptr<Chain> chain, co_await lib_.Open(disk.path, options));
  if (disk.chain != nullptr) disk.predecessors.push_back(std::move(disk.chain));
  disk.chain = std::move(chain);
  co_return base::Ok();
}

Task<Result<std::unique_ptr<VDisk>>> VDisks::Open(std::string_view path, bool writable) {
  std::shared_ptr<SharedDisk>& slot = open_[std::string(path)];
  if (slot == nullptr) slot = std::make_shared<SharedDisk>(lib_.executor(), path);
  const std::shared_ptr<SharedDisk> disk = slot;
  ++disk->open_count;
  co_await disk->lock.Acquire();
  base::LockGuard guard(disk->lock);
  const Status opened = co_await OpenChain(*disk, writable);
  guard.Release();
  if (opened) co_return std::unique_ptr<VDisk>(new VDisk(*this, disk, writable));
  const Status released = co_await Release(*disk);
  static_cast<void>(released);  // the first error is the one to tell
  co_return opened.error();
}

// One open less; the last one closes the chain.
Task<Status> VDisks::Release(SharedDisk& disk) {
  CHECK(disk.open_count > 0);
  if (--disk.open_count > 0) co_return base::Ok();
  const std::shared_ptr<SharedDisk> kept = open_.at(disk.path);
  co_await kept->lock.Acquire();
  base::LockGuard guard(kept->lock);
  if (kept->open_count > 0) co_return base::Ok();  // opened again while we waited
  Status first = base::Ok();
  if (kept->chain != nullptr) first = co_await kept->chain->Close();
  for (const auto& chain : kept->predecessors) {
    const Status closed = co_await chain->Close();
    if (first) first = closed;
  }
  kept->chain.reset();
  kept->predecessors.clear();
  guard.Release();
  if (kept->open_count == 0) open_.erase(kept->path);
  co_return first;
}

Task<Result<VDiskAttributes>> VDisks::GetAttributes(std::string_view path) {
  CO_TRY(const DiskInfo info, co_await lib_.GetInfo(path));
  const VDiskAttributes attributes{.size_bytes = info.capacity_bytes,
                                   .allocated_bytes = info.allocated_bytes,
                                   .modified_us = info.modified_us};
  co_return attributes;
}

Task<Status> VDisks::Resize(std::string_view path, uint64_t size_bytes) {
  if (size_bytes == 0 || size_bytes % kSectorBytes != 0) {
    co_return Error(Code::kInvalidArgument,
                    fmt::format("resize {}: {} bytes are no whole sectors", path, size_bytes));
  }
  CO_TRY(const std::unique_ptr<VDisk> disk, co_await Open(path, /*writable=*/true));
  const ExtendOptions options{
      .size_bytes = size_bytes, .provisioning = std::nullopt, .user = user_};
  const Status extended = co_await ExtendChain(lib_, *disk->disk_->chain, options, nullptr);
  const Status closed = co_await disk->Close();
  co_return extended ? closed : extended;
}

}  // namespace disklib
