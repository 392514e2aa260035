#include "fs/fss/posix_file.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/fss/host_call.h"
#include "fs/fss/posix_calls.h"

namespace fss {
namespace {

// What is left of `pieces` behind the first `count` bytes.
std::vector<base::IoVec> Behind(std::span<const base::IoVec> pieces, uint64_t count) {
  std::vector<base::IoVec> rest;
  for (const base::IoVec& piece : pieces) {
    const uint64_t skip = std::min<uint64_t>(count, piece.size_bytes);
    count -= skip;
    if (skip < piece.size_bytes) rest.push_back({piece.data + skip, piece.size_bytes - skip});
  }
  return rest;
}

void AppendRun(std::vector<base::MapRun>& runs, uint64_t offset_bytes, uint64_t length_bytes,
               base::MapState state) {
  if (length_bytes > 0) runs.push_back({offset_bytes, length_bytes, state});
}

// The runs of a range; behind the end of the file everything is a hole. May block.
base::Status MapRange(int descriptor, uint64_t offset_bytes, uint64_t length_bytes,
                      std::vector<base::MapRun>& runs) {
  const uint64_t end = offset_bytes + length_bytes;
  uint64_t at = offset_bytes;
  while (at < end) {
    const base::Result<uint64_t> data = posix::Seek(descriptor, SeekKind::kData, at);
    if (!data && data.error().code() != base::Code::kNoData) return data.error();
    const uint64_t data_start = data ? std::min(*data, end) : end;
    AppendRun(runs, at, data_start - at, base::MapState::kHole);
    at = data_start;
    if (at == end) break;
    TRY(const uint64_t hole, posix::Seek(descriptor, SeekKind::kHole, at));
    AppendRun(runs, at, std::min(hole, end) - at, base::MapState::kData);
    at = std::min(hole, end);
  }
  return base::Ok();
}

}  // namespace

PosixFile::~PosixFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

uint64_t PosixFile::size_bytes() const {
  struct stat status {};

  if (fstat(descriptor_, &status) != 0) return 0;
  return static_cast<uint64_t>(status.st_size);
}

base::Task<base::Result<uint64_t>> PosixFile::Transfer(base::IoRequest request,
                                                       Direction direction) {
  const uint64_t size = request.size_bytes();
  uint64_t done = 0;
  std::vector<base::IoVec> rest;  // only used after a short transfer
  std::span<const base::IoVec> pieces = request.buffers;
  while (done < size) {
    const uint64_t at = request.offset_bytes + done;
    int count = 0;
    if (direction == Direction::kRead) {
      count = co_await executor_.Readv(descriptor_, pieces, at);
    } else {
      count = co_await executor_.Writev(descriptor_, pieces, at, request.fua);
    }
    if (count == -EINTR) continue;
    if (count < 0 && done > 0) break;
    if (count < 0) co_return base::ErrnoError(-count, "posix driver: transfer");
    if (count == 0) break;
    done += static_cast<uint64_t>(count);
    if (done < size) {
      rest = Behind(request.buffers, done);
      pieces = rest;
    }
  }
  co_return done;
}

base::Task<base::Result<uint64_t>> PosixFile::Read(base::IoRequest request) {
  return Transfer(request, Direction::kRead);
}

base::Task<base::Result<uint64_t>> PosixFile::Write(base::IoRequest request) {
  return Transfer(request, Direction::kWrite);
}

base::Task<base::Status> PosixFile::Sync(bool data_only) {
  const int result = co_await executor_.Fsync(descriptor_, data_only);
  if (result < 0) co_return base::ErrnoError(-result, "posix driver: sync");
  co_return base::Ok();
}

base::Task<base::Status> PosixFile::Allocate(AllocateMode mode, uint64_t offset_bytes,
                                             uint64_t length_bytes) {
  if (mode == AllocateMode::kZeroRange || mode == AllocateMode::kZeroRangeKeepSize) {
    const bool keep_size = mode == AllocateMode::kZeroRangeKeepSize;
    HostCall call([this, offset_bytes, length_bytes, keep_size] {
      return posix::ZeroRange(descriptor_, offset_bytes, length_bytes, keep_size);
    });
    co_await executor_.RunBlocking(call);
    co_return call.TakeResult();
  }
  int flags = 0;
  if (mode == AllocateMode::kAllocateKeepSize) flags = FALLOC_FL_KEEP_SIZE;
  if (mode == AllocateMode::kPunchHole) flags = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;
  const int result = co_await executor_.Fallocate(descriptor_, flags, offset_bytes, length_bytes);
  if (result < 0) co_return base::ErrnoError(-result, "posix driver: allocate");
  co_return base::Ok();
}

base::Task<base::Result<uint64_t>> PosixFile::Seek(SeekKind kind, uint64_t offset_bytes) {
  HostCall call(
      [this, kind, offset_bytes] { return posix::Seek(descriptor_, kind, offset_bytes); });
  co_await executor_.RunBlocking(call);
  co_return call.TakeResult();
}

base::Task<base::Status> PosixFile::MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                              std::vector<base::MapRun>& runs) {
  HostCall call([this, offset_bytes, length_bytes, &runs] {
    return MapRange(descriptor_, offset_bytes, length_bytes, runs);
  });
  co_await executor_.RunBlocking(call);
  co_return call.TakeResult();
}

base::Task<base::Result<uint64_t>> PosixFile::CopyFrom(File& source, uint64_t source_offset_bytes,
                                                       uint64_t offset_bytes,
                                                       uint64_t length_bytes) {
  auto* const from = dynamic_cast<PosixFile*>(&source.driver_file());
  if (from == nullptr) co_return base::Error(base::Code::kUnsupported, "copy: not a host file");
  const posix::CopiedRange range{.source = from->descriptor_,
                                 .source_offset_bytes = source_offset_bytes,
                                 .target = descriptor_,
                                 .target_offset_bytes = offset_bytes,
                                 .length_bytes = length_bytes};
  if (shares_blocks_) {
    HostCall share([&range] { return posix::ShareRange(range); });
    co_await executor_.RunBlocking(share);
    if (share.TakeResult()) co_return length_bytes;
    shares_blocks_ = false;
  }
  const bool is_copied = co_await CopyPastCache(executor_, range, from->past_cache_, past_cache_);
  if (is_copied) co_return length_bytes;
  HostCall copy([&range] { return posix::CopyRange(range); });
  co_await executor_.RunBlocking(copy);
  co_return copy.TakeResult();
}

base::Task<base::Status> PosixFile::Close() {
  lock_.reset();
  past_cache_.Close();
  const int result = close(std::exchange(descriptor_, -1));
  if (result != 0) co_return base::ErrnoError(errno, "posix driver: close");
  co_return base::Ok();
}

}  // namespace fss
