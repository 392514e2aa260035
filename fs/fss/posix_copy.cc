#include "fs/fss/posix_copy.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fs/base/aligned_buffer.h"
#include "fs/base/block_device.h"
#include "fs/base/check.h"

namespace fss {
namespace posix {
namespace {

// How far ahead of a range that is copied its source is read.
constexpr uint64_t kReadAheadBytes = uint64_t{16} << 20;

}  // namespace

bool ShareRange(const CopiedRange& range) {
  file_clone_range shared{};
  shared.src_fd = range.source;
  shared.src_offset = range.source_offset_bytes;
  shared.src_length = range.length_bytes;
  shared.dest_offset = range.target_offset_bytes;
  return ioctl(range.target, FICLONERANGE, &shared) == 0;
}

base::Result<uint64_t> CopyRange(const CopiedRange& range) {
  auto from = static_cast<off64_t>(range.source_offset_bytes);
  auto to = static_cast<off64_t>(range.target_offset_bytes);
  const off64_t target_start = to;
  // The next ranges come in while this one is copied; a hint, whose failure changes nothing.
  posix_fadvise(range.source, from + static_cast<off64_t>(kReadAheadBytes),
                static_cast<off64_t>(range.length_bytes), POSIX_FADV_WILLNEED);
  uint64_t done_bytes = 0;
  while (done_bytes < range.length_bytes) {
    const ssize_t copied = copy_file_range(range.source, &from, range.target, &to,
                                           range.length_bytes - done_bytes, /*flags=*/0);
    if (copied == 0) break;
    if (copied > 0) {
      done_bytes += static_cast<uint64_t>(copied);
      continue;
    }
    if (errno == EINTR) continue;
    const bool is_refusal = errno == EXDEV || errno == EINVAL || errno == ENOSYS ||
                            errno == EOPNOTSUPP || errno == EBADF;
    if (is_refusal && done_bytes == 0) {
      return base::Error(base::Code::kUnsupported, "copy_file_range: not between these files");
    }
    return base::ErrnoError(errno, "posix driver: copy a range");
  }
  // Under way to the disk while the next is copied, so that the sync at the end finds little left.
  sync_file_range(range.target, target_start, static_cast<off64_t>(done_bytes),
                  SYNC_FILE_RANGE_WRITE);
  return done_bytes;
}

bool IsCached(int descriptor, uint64_t offset_bytes, uint64_t length_bytes) {
  const uint64_t start_bytes = base::RoundDown(offset_bytes, base::kPageBytes);
  const size_t size_bytes = offset_bytes + length_bytes - start_bytes;
  void* const mapped =
      mmap(nullptr, size_bytes, PROT_READ, MAP_SHARED, descriptor, static_cast<off_t>(start_bytes));
  if (mapped == MAP_FAILED) return false;
  std::vector<unsigned char> pages(base::RoundUp(size_bytes, base::kPageBytes) / base::kPageBytes);
  const bool is_told = mincore(mapped, size_bytes, pages.data()) == 0;
  munmap(mapped, size_bytes);
  return is_told && std::all_of(pages.begin(), pages.end(),
                                [](unsigned char page) { return (page & 1) != 0; });
}

}  // namespace posix

namespace {

// What direct transfers must be multiples of, with every block size there is.
constexpr uint64_t kDirectUnitBytes = 4096;

constexpr uint64_t kHugePageBytes = uint64_t{2} << 20;

bool IsDirectRange(const posix::CopiedRange& range) {
  const uint64_t bits = range.source_offset_bytes | range.target_offset_bytes | range.length_bytes;
  return range.length_bytes > 0 && range.length_bytes <= CopyBuffers::kPieceBytes &&
         bits % kDirectUnitBytes == 0;
}

// File systems in memory and behind a network have no block device; they copy best by themselves.
bool IsOnDisk(int descriptor) {
  struct stat status {};

  return fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode) && major(status.st_dev) != 0;
}

}  // namespace

std::byte* CopyBuffers::Take() {
  if (free_.empty()) {
    void* const page = std::aligned_alloc(kHugePageBytes, kHugePageBytes);
    CHECK(page != nullptr);
    madvise(page, kHugePageBytes, MADV_HUGEPAGE);  // a hint, whose failure changes nothing
    pages_.emplace_back(static_cast<std::byte*>(page));
    for (uint64_t at = 0; at < kHugePageBytes; at += kPieceBytes) {
      free_.push_back(pages_.back().get() + at);
    }
  }
  std::byte* const piece = free_.back();
  free_.pop_back();
  return piece;
}

bool PastCache::Open(int descriptor, bool writable) {
  if (is_refused_ || descriptor_ >= 0) return !is_refused_;
  if (IsOnDisk(descriptor)) {
    const std::string path = "/proc/self/fd/" + std::to_string(descriptor);
    descriptor_ = open(path.c_str(), (writable ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);
  }
  is_refused_ = descriptor_ < 0;
  return !is_refused_;
}

void PastCache::Close() {
  if (descriptor_ >= 0) close(std::exchange(descriptor_, -1));
  buffers_ = {};
}

base::Task<bool> CopyPastCache(base::UringExecutor& executor, posix::CopiedRange range,
                               PastCache& source, PastCache& target) {
  if (!IsDirectRange(range) || !target.Open(range.target, /*writable=*/true)) co_return false;
  const bool is_cached =
      !source.Open(range.source, /*writable=*/false) ||
      posix::IsCached(range.source, range.source_offset_bytes, range.length_bytes);
  std::byte* const buffer = target.buffers().Take();
  const base::IoVec piece{buffer, range.length_bytes};
  const auto whole = static_cast<int>(range.length_bytes);
  const int read_bytes = co_await executor.Readv(is_cached ? range.source : source.descriptor(),
                                                 {&piece, 1}, range.source_offset_bytes);
  if (read_bytes == -EINVAL && !is_cached) source.Refuse();
  int written_bytes = 0;
  if (read_bytes == whole) {
    written_bytes =
        co_await executor.Writev(target.descriptor(), {&piece, 1}, range.target_offset_bytes);
    if (written_bytes == -EINVAL) target.Refuse();
  }
  target.buffers().GiveBack(buffer);
  co_return written_bytes == whole;
}

}  // namespace fss
