#include "fs/base/file_device.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/falloc.h>
#include <unistd.h>

#include "fs/base/align_filter.h"
#include "fs/base/aligned_buffer.h"
#include "fs/base/call_counter.h"
#include "fs/base/device_range.h"
#include "fs/base/file_target.h"
#include "fs/base/range_lock.h"

namespace base {
namespace {

constexpr uint32_t kBlockBytes = 512;
// A copy this long takes longer than handing it to another thread.
constexpr uint64_t kWorkerBytesMin = 256 * 1024;
constexpr uint64_t kZeroChunkBytes = 1 << 20;
constexpr uint64_t kLockRetryUsMin = 20;
constexpr uint64_t kLockRetryUsMax = 2000;
constexpr uint64_t kLockPatienceUs = 10'000'000;

// Written from, never to; pieces of requests have no const form.
constexpr size_t kZeroPieceBytes = 64 * 1024;
alignas(kPageBytes) std::byte zero_piece[kZeroPieceBytes];

// A device error from errno: ENXIO means a vanished device here, not the end of the data.
Error TransferError(int errno_value, const char* verb, const std::string& name, uint64_t offset,
                    uint64_t length) {
  const std::string what = fmt::format("{} {} at {}, {} bytes", verb, name, offset, length);
  if (errno_value == ENXIO) return Error(Code::kDeviceLost, what + ": device gone");
  if (errno_value == ENODATA || errno_value == EUCLEAN) {
    return Error(Code::kMedium, what + ": " + std::strerror(errno_value));
  }
  return ErrnoError(errno_value, what);
}

bool MeansUnsupported(int result) {
  return result == -EOPNOTSUPP || result == -ENOSYS || result == -ENOTTY;
}

// Sets or removes an exclusive lock of the open file description on one byte. Answers 0 or errno.
int SetByteLock(int descriptor, uint64_t offset_bytes, int type) {
  struct flock lock {};

  lock.l_type = static_cast<short>(type);
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(offset_bytes);
  lock.l_len = 1;
  return fcntl(descriptor, F_OFD_SETLK, &lock) == 0 ? 0 : errno;
}

bool MeansHeldElsewhere(int errno_value) {
  return errno_value == EAGAIN || errno_value == EACCES;
}

// Walks data and holes of a file by lseek(2), whose cold extent trees may block.
class MapCall final : public BlockingCall {
 public:
  MapCall(int descriptor, uint64_t begin, uint64_t end, std::vector<MapRun>& runs)
      : descriptor_(descriptor), begin_(begin), end_(end), runs_(runs) {}

  void Run() override {
    uint64_t at = begin_;
    while (at < end_ && errno_value_ == 0) {
      const uint64_t data = std::min(Seek(at, SEEK_DATA), end_);
      if (data > at) runs_.push_back({at, data - at, MapState::kHole});
      if (data == end_ || errno_value_ != 0) return;
      const uint64_t hole = std::clamp(Seek(data, SEEK_HOLE), data + 1, end_);
      runs_.push_back({data, hole - data, MapState::kData});
      at = hole;
    }
  }

  int errno_value() const { return errno_value_; }

 private:
  // Behind the last data or hole lseek answers ENXIO: the range ends there.
  uint64_t Seek(uint64_t from, int whence) {
    const off_t found = lseek(descriptor_, static_cast<off_t>(from), whence);
    if (found >= 0) return static_cast<uint64_t>(found);
    if (errno != ENXIO) errno_value_ = errno;
    return end_;
  }

  int descriptor_;
  uint64_t begin_;
  uint64_t end_;
  std::vector<MapRun>& runs_;
  int errno_value_ = 0;
};

class TruncateCall final : public BlockingCall {
 public:
  TruncateCall(int descriptor, uint64_t size_bytes)
      : descriptor_(descriptor), size_bytes_(size_bytes) {}

  void Run() override {
    if (ftruncate(descriptor_, static_cast<off_t>(size_bytes_)) != 0) errno_value_ = errno;
  }

  int errno_value() const { return errno_value_; }

 private:
  int descriptor_;
  uint64_t size_bytes_;
  int errno_value_ = 0;
};

// The file with the alignment it really has; `AlignFilter` stands in front where that is needed.
class RawFile final : public BlockDevice {
 public:
  RawFile(UringExecutor& executor, std::string name, FileTarget target, bool read_only,
          bool compare_and_write_durable)
      : executor_(executor),
        name_(std::move(name)),
        target_(std::move(target)),
        read_only_(read_only),
        compare_and_write_durable_(compare_and_write_durable),
        calls_(executor),
        comparing_(executor) {}

  ~RawFile() override {
    if (target_.descriptor >= 0) close(target_.descriptor);
  }

  const Limits& limits() const override { return target_.limits; }

  uint64_t size_bytes() const override { return target_.size_bytes; }

  const std::string& name() const override { return name_; }

  Task<Status> Read(IoRequest request) override;
  Task<Status> Write(IoRequest request) override;
  Task<Status> Flush() override;
  Task<Status> Unmap(uint64_t offset_bytes, uint64_t length_bytes) override;
  Task<Status> WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes, bool may_unmap) override;
  Task<Status> CompareAndWrite(uint64_t offset_bytes, std::span<const std::byte> expected,
                               std::span<const std::byte> replacement) override;
  Task<Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                         std::vector<MapRun>& runs) override;
  Task<Status> Close() override;

  Task<Status> GrowTo(uint64_t size_bytes);
  Result<bool> TryLockByte(uint64_t offset_bytes);
  Status UnlockByte(uint64_t offset_bytes);

  const FileBacking& backing() const { return target_.backing; }

  bool is_direct() const { return target_.is_direct; }

 private:
  // Without direct I/O the kernel copies, in the thread that asks. While others wait for it, long
  // copies are better made beside it.
  UringExecutor::Runner RunnerOf(uint64_t size_bytes) const {
    const bool apart = !target_.is_direct && size_bytes >= kWorkerBytesMin && calls_.count() > 1;
    return apart ? UringExecutor::Runner::kWorker : UringExecutor::Runner::kSubmitter;
  }

  Status CheckChange(const char* verb, uint64_t offset_bytes, uint64_t length_bytes) const;
  Status CheckCompare(uint64_t offset_bytes, uint64_t expected_bytes,
                      uint64_t replacement_bytes) const;
  Task<Status> Finish(IoRequest request, bool is_write, int result);
  Task<Status> Zero(uint64_t offset_bytes, uint64_t length_bytes, bool may_unmap);
  Task<Status> WriteZeroPieces(uint64_t offset_bytes, uint64_t length_bytes);
  Task<Status> LockPage(uint64_t page_offset_bytes);
  Task<Status> CompareLocked(uint64_t offset_bytes, std::span<const std::byte> expected,
                             std::span<const std::byte> replacement);

  UringExecutor& executor_;
  const std::string name_;
  FileTarget target_;
  const bool read_only_;
  const bool compare_and_write_durable_;
  bool can_punch_ = true;       // until the kernel says otherwise
  bool can_zero_range_ = true;  // likewise
  CallCounter calls_;
  RangeLock comparing_;  // one open file description never conflicts with itself
};

Status RawFile::CheckChange(const char* verb, uint64_t offset_bytes, uint64_t length_bytes) const {
  if (read_only_) {
    return Error(Code::kReadOnly, fmt::format("{} {}: opened read-only", verb, name_));
  }
  return CheckDeviceRange(*this, verb, offset_bytes, length_bytes);
}

Status RawFile::CheckCompare(uint64_t offset_bytes, uint64_t expected_bytes,
                             uint64_t replacement_bytes) const {
  TRY_STATUS(CheckChange("compare and write", offset_bytes, expected_bytes));
  if (expected_bytes == 0 || expected_bytes != replacement_bytes ||
      offset_bytes % kPageBytes + expected_bytes > kPageBytes) {
    return Error(Code::kInvalidArgument,
                 fmt::format("compare and write {} at {}: {} and {} bytes, not one range of a page",
                             name_, offset_bytes, expected_bytes, replacement_bytes));
  }
  return Ok();
}

Task<Status> RawFile::Read(IoRequest request) {
  const uint64_t size = request.size_bytes();
  CO_TRY_STATUS(CheckDeviceRange(*this, "read", request.offset_bytes, size));
  const CallCounter::Scope scope(calls_);
  const int result = co_await executor_.Readv(target_.descriptor, request.buffers,
                                              request.offset_bytes, RunnerOf(size));
  if (result >= 0 && static_cast<uint64_t>(result) == size) co_return Ok();
  const Status status = co_await Finish(request, /*is_write=*/false, result);
  co_return status;
}

Task<Status> RawFile::Write(IoRequest request) {
  const uint64_t size = request.size_bytes();
  CO_TRY_STATUS(CheckChange("write", request.offset_bytes, size));
  const CallCounter::Scope scope(calls_);
  const int result = co_await executor_.Writev(target_.descriptor, request.buffers,
                                               request.offset_bytes, request.fua, RunnerOf(size));
  if (result >= 0 && static_cast<uint64_t>(result) == size) co_return Ok();
  const Status status = co_await Finish(request, /*is_write=*/true, result);
  co_return status;
}

// Goes on after a short transfer, which the kernel allows and rarely does.
Task<Status> RawFile::Finish(IoRequest request, bool is_write, int result) {
  const char* verb = is_write ? "write" : "read";
  const uint64_t end = request.offset_bytes + request.size_bytes();
  std::vector<IoVec> rest(request.buffers.begin(), request.buffers.end());
  uint64_t at = request.offset_bytes;
  while (true) {
    if (result < 0 && result != -EINTR && result != -EAGAIN) {
      co_return TransferError(-result, verb, name_, at, end - at);
    }
    if (result == 0) {
      co_return Error(Code::kIo, fmt::format("{} {} at {}, {} bytes: the file ends here", verb,
                                             name_, at, end - at));
    }
    uint64_t done = result > 0 ? static_cast<uint64_t>(result) : 0;
    at += done;
    if (at == end) co_return Ok();
    auto piece = rest.begin();
    for (; done >= piece->size_bytes; ++piece) done -= piece->size_bytes;
    rest.erase(rest.begin(), piece);
    rest.front().data += done;
    rest.front().size_bytes -= done;
    if (is_write) {
      result = co_await executor_.Writev(target_.descriptor, rest, at, request.fua);
    } else {
      result = co_await executor_.Readv(target_.descriptor, rest, at);
    }
  }
}

Task<Status> RawFile::Flush() {
  if (read_only_) co_return Ok();
  const CallCounter::Scope scope(calls_);
  const int result = co_await executor_.Fsync(target_.descriptor, /*data_only=*/true);
  if (result < 0) co_return ErrnoError(-result, "flush " + name_);
  co_return Ok();
}

Task<Status> RawFile::Unmap(uint64_t offset_bytes, uint64_t length_bytes) {
  CO_TRY_STATUS(CheckChange("unmap", offset_bytes, length_bytes));
  const Status status = co_await Zero(offset_bytes, length_bytes, /*may_unmap=*/true);
  co_return status;
}

Task<Status> RawFile::WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes, bool may_unmap) {
  CO_TRY_STATUS(CheckChange("write zeros to", offset_bytes, length_bytes));
  const Status status = co_await Zero(offset_bytes, length_bytes, may_unmap);
  co_return status;
}

// fallocate(2) gives zeros on files and on block nodes alike, and keeps the page cache right. A
// refusal is remembered; zeros are written then.
Task<Status> RawFile::Zero(uint64_t offset_bytes, uint64_t length_bytes, bool may_unmap) {
  if (length_bytes == 0) co_return Ok();
  const CallCounter::Scope scope(calls_);
  while (can_zero_range_ || (may_unmap && can_punch_)) {
    const bool punch = may_unmap && can_punch_;
    const int mode = FALLOC_FL_KEEP_SIZE | (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
    const int result =
        co_await executor_.Fallocate(target_.descriptor, mode, offset_bytes, length_bytes);
    if (result == 0) co_return Ok();
    if (result == -EINTR || result == -EAGAIN) continue;
    if (!MeansUnsupported(result)) {
      co_return TransferError(-result, "zero", name_, offset_bytes, length_bytes);
    }
    (punch ? can_punch_ : can_zero_range_) = false;
  }
  const Status status = co_await WriteZeroPieces(offset_bytes, length_bytes);
  co_return status;
}

Task<Status> RawFile::WriteZeroPieces(uint64_t offset_bytes, uint64_t length_bytes) {
  std::array<IoVec, kZeroChunkBytes / kZeroPieceBytes> pieces;
  const uint64_t end = offset_bytes + length_bytes;
  while (offset_bytes < end) {
    const uint64_t chunk = std::min(end - offset_bytes, kZeroChunkBytes);
    size_t count = 0;
    for (uint64_t left = chunk; left > 0; left -= pieces[count++].size_bytes) {
      pieces[count] = {zero_piece, std::min<uint64_t>(left, kZeroPieceBytes)};
    }
    IoRequest request;
    request.offset_bytes = offset_bytes;
    request.buffers = std::span(pieces).first(count);
    CO_TRY_STATUS(co_await Write(request));
    offset_bytes += chunk;
  }
  co_return Ok();
}

Task<Status> RawFile::CompareAndWrite(uint64_t offset_bytes, std::span<const std::byte> expected,
                                      std::span<const std::byte> replacement) {
  CO_TRY_STATUS(CheckCompare(offset_bytes, expected.size(), replacement.size()));
  const CallCounter::Scope scope(calls_);
  const uint64_t page = RoundDown(offset_bytes, kPageBytes);
  co_await comparing_.Acquire(page, kPageBytes);
  const RangeGuard page_guard(comparing_, page, kPageBytes);
  CO_TRY_STATUS(co_await LockPage(page));
  const Status status = co_await CompareLocked(offset_bytes, expected, replacement);
  const int errno_value = SetByteLock(target_.descriptor, page, F_UNLCK);
  if (errno_value != 0) co_return ErrnoError(errno_value, "unlock a page of " + name_);
  co_return status;
}

// Another process holds such a lock for one read and one write. Waiting in the kernel would stop
// the executor, so we come again, at times that do not beat in step with the other's.
Task<Status> RawFile::LockPage(uint64_t page_offset_bytes) {
  const uint64_t deadline_us = executor_.NowMicroseconds() + kLockPatienceUs;
  uint64_t wait_us = kLockRetryUsMin;
  while (true) {
    const int errno_value = SetByteLock(target_.descriptor, page_offset_bytes, F_WRLCK);
    if (errno_value == 0) co_return Ok();
    if (!MeansHeldElsewhere(errno_value)) {
      co_return ErrnoError(errno_value, fmt::format("lock a page of {}", name_));
    }
    if (executor_.NowMicroseconds() >= deadline_us) {
      co_return Error(Code::kTimedOut,
                      fmt::format("compare and write {}: page {} stayed locked by another process",
                                  name_, page_offset_bytes));
    }
    co_await executor_.Sleep(wait_us + executor_.random().Below(wait_us));
    wait_us = std::min(2 * wait_us, kLockRetryUsMax);
  }
}

Task<Status> RawFile::CompareLocked(uint64_t offset_bytes, std::span<const std::byte> expected,
                                    std::span<const std::byte> replacement) {
  AlignedBuffer buffer(expected.size());
  const IoVec piece = buffer.piece();
  IoRequest request;
  request.offset_bytes = offset_bytes;
  request.buffers = std::span(&piece, 1);
  CO_TRY_STATUS(co_await Read(request));
  if (std::memcmp(buffer.data(), expected.data(), expected.size()) != 0) {
    co_return Code::kMiscompare;
  }
  std::memcpy(buffer.data(), replacement.data(), replacement.size());
  request.fua = compare_and_write_durable_;
  const Status status = co_await Write(request);
  co_return status;
}

Task<Status> RawFile::MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                std::vector<MapRun>& runs) {
  CO_TRY_STATUS(CheckDeviceRange(*this, "map", offset_bytes, length_bytes));
  if (length_bytes == 0) co_return Ok();
  if (!target_.limits.can_map_status) {
    runs.push_back({offset_bytes, length_bytes, MapState::kData});
    co_return Ok();
  }
  const CallCounter::Scope scope(calls_);
  std::vector<MapRun> found;
  MapCall call(target_.descriptor, offset_bytes, offset_bytes + length_bytes, found);
  co_await executor_.RunBlocking(call);
  if (call.errno_value() != 0) co_return ErrnoError(call.errno_value(), "map " + name_);
  runs.insert(runs.end(), found.begin(), found.end());
  co_return Ok();
}

Task<Status> RawFile::Close() {
  co_await calls_.Drain();
  const int descriptor = std::exchange(target_.descriptor, -1);
  if (close(descriptor) != 0) co_return ErrnoError(errno, "close " + name_);
  co_return Ok();
}

Task<Status> RawFile::GrowTo(uint64_t size_bytes) {
  if (target_.backing.kind != FileBacking::Kind::kRegularFile) {
    co_return Error(Code::kUnsupported, "grow " + name_ + ": a block node has its size");
  }
  CO_TRY_STATUS(CheckChange("grow", 0, 0));
  if (size_bytes % target_.limits.block_size_bytes != 0) {
    co_return Error(Code::kMisaligned, fmt::format("grow {} to {}: blocks are {} bytes", name_,
                                                   size_bytes, target_.limits.block_size_bytes));
  }
  if (size_bytes <= target_.size_bytes) co_return Ok();
  const CallCounter::Scope scope(calls_);
  TruncateCall call(target_.descriptor, size_bytes);
  co_await executor_.RunBlocking(call);
  if (call.errno_value() != 0) co_return ErrnoError(call.errno_value(), "grow " + name_);
  target_.size_bytes = std::max(target_.size_bytes, size_bytes);
  co_return Ok();
}

Result<bool> RawFile::TryLockByte(uint64_t offset_bytes) {
  if (offset_bytes % kPageBytes == 0) return Code::kInvalidArgument;
  // fcntl(2) gives exclusive locks only to descriptors that can write.
  const int type = read_only_ ? F_RDLCK : F_WRLCK;
  const int errno_value = SetByteLock(target_.descriptor, offset_bytes, type);
  if (errno_value == 0) return true;
  if (MeansHeldElsewhere(errno_value)) return false;
  return ErrnoError(errno_value, fmt::format("lock byte {} of {}", offset_bytes, name_));
}

Status RawFile::UnlockByte(uint64_t offset_bytes) {
  if (offset_bytes % kPageBytes == 0) return Code::kInvalidArgument;
  const int errno_value = SetByteLock(target_.descriptor, offset_bytes, F_UNLCK);
  if (errno_value == 0) return Ok();
  return ErrnoError(errno_value, fmt::format("unlock byte {} of {}", offset_bytes, name_));
}

// What callers hold: the file, with the alignment filter in front where it needs one.
class OpenedFile final : public FileDevice {
 public:
  OpenedFile(UringExecutor& executor, std::unique_ptr<RawFile> file) : file_(std::move(file)) {
    const Limits& limits = file_->limits();
    if (limits.memory_alignment_bytes > 1 || limits.block_size_bytes > kBlockBytes) {
      align_ = std::make_unique<AlignFilter>(executor, *file_);
    }
    top_ = align_ ? static_cast<BlockDevice*>(align_.get()) : file_.get();
  }

  const Limits& limits() const override { return top_->limits(); }

  uint64_t size_bytes() const override { return file_->size_bytes(); }

  const std::string& name() const override { return file_->name(); }

  Task<Status> Read(IoRequest request) override { return top_->Read(request); }

  Task<Status> Write(IoRequest request) override { return top_->Write(request); }

  Task<Status> Flush() override { return file_->Flush(); }

  Task<Status> Unmap(uint64_t offset_bytes, uint64_t length_bytes) override {
    return top_->Unmap(offset_bytes, length_bytes);
  }

  Task<Status> WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes, bool may_unmap) override {
    return top_->WriteZeroes(offset_bytes, length_bytes, may_unmap);
  }

  Task<Status> CompareAndWrite(uint64_t offset_bytes, std::span<const std::byte> expected,
                               std::span<const std::byte> replacement) override {
    return top_->CompareAndWrite(offset_bytes, expected, replacement);
  }

  Task<Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                         std::vector<MapRun>& runs) override {
    return top_->MapStatus(offset_bytes, length_bytes, runs);
  }

  Task<Status> Close() override { return top_->Close(); }

  Result<bool> TryLockByte(uint64_t offset) override { return file_->TryLockByte(offset); }

  Status UnlockByte(uint64_t offset) override { return file_->UnlockByte(offset); }

  Task<Status> GrowTo(uint64_t size_bytes) override { return file_->GrowTo(size_bytes); }

  const FileBacking& backing() const override { return file_->backing(); }

  bool is_direct() const override { return file_->is_direct(); }

 private:
  std::unique_ptr<RawFile> file_;
  std::unique_ptr<AlignFilter> align_;
  BlockDevice* top_;
};

}  // namespace

Result<std::unique_ptr<FileDevice>> OpenFileDevice(UringExecutor& executor, const std::string& path,
                                                   const FileDeviceOptions& options) {
  TRY(FileTarget target, OpenFileTarget(path, options));
  auto file = std::make_unique<RawFile>(executor, path, std::move(target), options.read_only,
                                        options.compare_and_write_durable);
  return std::unique_ptr<FileDevice>(std::make_unique<OpenedFile>(executor, std::move(file)));
}

}  // namespace base
