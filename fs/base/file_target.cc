#include "fs/base/file_target.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fs/base/aligned_buffer.h"

namespace base {
namespace {

constexpr uint32_t kBlockBytes = 512;
constexpr uint32_t kTransferBytesMax = 4 << 20;

struct DirectAlignment {
  uint32_t memory_bytes = 0;  // 0: no direct I/O
  uint32_t offset_bytes = 0;
};

// What the kernel says (statx(2), STATX_DIOALIGN; Linux 6.1). Silence is answered by a page, which
// suits every device; a misfit then shows as an error of the first transfer, never as bad data.
DirectAlignment QueryDirectAlignment(int descriptor) {
  struct statx status {};

  const int result = statx(descriptor, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status);
  if (result != 0 || (status.stx_mask & STATX_DIOALIGN) == 0) return {kPageBytes, kPageBytes};
  if (!std::has_single_bit(status.stx_dio_mem_align) ||
      !std::has_single_bit(status.stx_dio_offset_align)) {
    return {};
  }
  return {status.stx_dio_mem_align, status.stx_dio_offset_align};
}

// Whether a hole can be punched, asked behind the end of the file, where it changes nothing.
bool CanPunch(int descriptor, uint64_t size_bytes) {
  const auto behind = static_cast<off_t>(RoundUp(size_bytes, kPageBytes));
  return fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, behind, kPageBytes) == 0;
}

// Reads one number of a block node's queue in sysfs; a partition's queue is its disk's. 0: unknown.
uint64_t ReadQueueNumber(dev_t device, std::string_view name) {
  for (const char* step : {"", "../"}) {
    const std::string path =
        fmt::format("/sys/dev/block/{}:{}/{}queue/{}", major(device), minor(device), step, name);
    std::FILE* file = std::fopen(path.c_str(), "re");
    if (!file) continue;
    unsigned long long value = 0;
    if (std::fscanf(file, "%llu", &value) != 1) value = 0;
    std::fclose(file);
    return value;
  }
  return 0;
}

Status ExamineFile(const std::string& path, FileTarget& target, bool read_only) {
  struct stat status {};

  if (fstat(target.descriptor, &status) != 0) return ErrnoError(errno, "examine " + path);
  target.size_bytes = RoundDown(static_cast<uint64_t>(status.st_size), kBlockBytes);
  target.limits.can_unmap = !read_only && CanPunch(target.descriptor, target.size_bytes);
  target.limits.can_write_zeroes = target.limits.can_unmap;
  target.limits.can_map_status = true;
  return Ok();
}

Status ExamineNode(const std::string& path, FileTarget& target, bool read_only) {
  struct stat status {};

  uint64_t size_bytes = 0;
  int logical_bytes = 0;
  int node_read_only = 0;
  if (fstat(target.descriptor, &status) != 0 ||
      ioctl(target.descriptor, BLKGETSIZE64, &size_bytes) != 0 ||
      ioctl(target.descriptor, BLKSSZGET, &logical_bytes) != 0 ||
      ioctl(target.descriptor, BLKROGET, &node_read_only) != 0) {
    return ErrnoError(errno, "examine the block node " + path);
  }
  if (!read_only && node_read_only != 0) {
    return Error(Code::kReadOnly, "open " + path + ": the block node is read-only");
  }
  Limits& limits = target.limits;
  limits.block_size_bytes = static_cast<uint32_t>(logical_bytes);
  limits.physical_block_bytes = std::max<uint32_t>(kPageBytes, limits.block_size_bytes);
  target.size_bytes = RoundDown(size_bytes, limits.block_size_bytes);
  const bool zeroes = ReadQueueNumber(status.st_rdev, "write_zeroes_max_bytes") > 0;
  const uint64_t granularity = ReadQueueNumber(status.st_rdev, "discard_granularity");
  limits.can_write_zeroes = !read_only && zeroes;
  limits.can_unmap = limits.can_write_zeroes && granularity > 0;
  limits.unmap_granularity_bytes = std::max<uint64_t>(granularity, limits.block_size_bytes);
  return Ok();
}

// Switches to direct I/O where that can be used.
void TryDirect(FileTarget& target) {
  const bool is_file = target.backing.kind == FileBacking::Kind::kRegularFile;
  const int flags = fcntl(target.descriptor, F_GETFL);
  if (is_file && target.backing.file_system == "tmpfs") {
    // A RAM file system takes any alignment and copies all the same. But without these two flags
    // io_uring believes that it might block, and hands every transfer to a kernel thread.
    (void)fcntl(target.descriptor, F_SETFL, flags | O_DIRECT | O_NONBLOCK);
    return;
  }
  const DirectAlignment alignment = QueryDirectAlignment(target.descriptor);
  if (alignment.memory_bytes == 0 || alignment.offset_bytes > kPageBytes) return;
  if (target.size_bytes % alignment.offset_bytes != 0) return;
  if (fcntl(target.descriptor, F_SETFL, flags | O_DIRECT) != 0) return;
  target.is_direct = true;
  target.limits.memory_alignment_bytes = alignment.memory_bytes;
  target.limits.block_size_bytes = std::max(target.limits.block_size_bytes, alignment.offset_bytes);
}

Status Examine(const std::string& path, const FileDeviceOptions& options, FileTarget& target) {
  TRY(target.backing, DescribeDescriptor(target.descriptor, path));
  if (options.create_size_bytes &&
      ftruncate(target.descriptor, static_cast<off_t>(*options.create_size_bytes)) != 0) {
    return ErrnoError(errno, fmt::format("give {} {} bytes", path, *options.create_size_bytes));
  }
  target.limits.transfer_bytes_max = kTransferBytesMax;
  target.limits.physical_block_bytes = kPageBytes;
  target.limits.can_write = !options.read_only;
  target.limits.can_compare_and_write = !options.read_only;
  if (target.backing.kind == FileBacking::Kind::kRegularFile) {
    TRY_STATUS(ExamineFile(path, target, options.read_only));
  } else {
    TRY_STATUS(ExamineNode(path, target, options.read_only));
  }
  if (options.direct == FileDeviceOptions::Direct::kAuto) TryDirect(target);
  return Ok();
}

}  // namespace

Result<FileTarget> OpenFileTarget(const std::string& path, const FileDeviceOptions& options) {
  const bool create = options.create_size_bytes.has_value();
  if (create && options.read_only) {
    return Error(Code::kInvalidArgument, "create " + path + ": read-only");
  }
  if (create && *options.create_size_bytes % kBlockBytes != 0) {
    return Error(Code::kMisaligned, fmt::format("create {} with {} bytes: blocks are {} bytes",
                                                path, *options.create_size_bytes, kBlockBytes));
  }
  const int access = options.read_only ? O_RDONLY : O_RDWR;
  FileTarget target;
  target.descriptor =
      open(path.c_str(), access | O_CLOEXEC | (create ? O_CREAT | O_EXCL : 0), 0666);
  if (target.descriptor < 0) return ErrnoError(errno, "open " + path);
  const Status status = Examine(path, options, target);
  if (status.has_value()) return target;
  close(target.descriptor);
  if (create) unlink(path.c_str());
  return status.error();
}

}  // namespace base
