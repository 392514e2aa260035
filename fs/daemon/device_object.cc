#include "fs/daemon/device_object.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "fs/base/aligned_buffer.h"

namespace stratad {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

constexpr uint64_t kSectorBytes = 512;
constexpr uint64_t kWindowBytes = 256 * 1024;

}  // namespace

struct DeviceObject::Window {
  Window(uint64_t from_bytes, uint64_t to_bytes)
      : first_bytes(from_bytes),
        start_bytes(base::RoundDown(from_bytes, kSectorBytes)),
        end_bytes(std::min(to_bytes, start_bytes + kWindowBytes)),
        memory(base::RoundUp(end_bytes, kSectorBytes) - start_bytes) {}

  bool is_whole() const {
    return first_bytes == start_bytes && end_bytes == start_bytes + memory.size();
  }

  std::span<std::byte> bytes() {
    return memory.span().subspan(first_bytes - start_bytes, end_bytes - first_bytes);
  }

  uint64_t first_bytes;  // what was asked for begins here
  uint64_t start_bytes;  // of the sectors
  uint64_t end_bytes;    // of what was asked for
  base::AlignedBuffer memory;
};

DeviceObject::DeviceObject(base::Executor& executor, std::unique_ptr<base::BlockDevice> device,
                           int hold)
    : device_(std::move(device)), writers_(executor), hold_(hold) {}

DeviceObject::~DeviceObject() {
  if (hold_ >= 0) close(hold_);
}

bool DeviceObject::Suits(const base::IoRequest& request) const {
  const uint64_t size = request.size_bytes();
  return request.offset_bytes % kSectorBytes == 0 && size % kSectorBytes == 0 &&
         size <= device_->limits().transfer_bytes_max;
}

Task<Status> DeviceObject::ReadWindow(Window& window) {
  const base::IoVec piece = window.memory.piece();
  const base::IoRequest request{.offset_bytes = window.start_bytes, .buffers = {&piece, 1}};
  // The piece lives in this frame.
  co_return co_await device_->Read(request);
}

Task<Result<uint64_t>> DeviceObject::Read(base::IoRequest request) {
  const uint64_t size = size_bytes();
  if (request.offset_bytes >= size) co_return uint64_t{0};
  const uint64_t length = std::min(request.size_bytes(), size - request.offset_bytes);
  if (length == request.size_bytes() && Suits(request)) {
    CO_TRY_STATUS(co_await device_->Read(request));
    co_return length;
  }
  disklib::BufferCursor target(request.buffers);
  uint64_t done = 0;
  while (done < length) {
    Window window(request.offset_bytes + done, request.offset_bytes + length);
    CO_TRY_STATUS(co_await ReadWindow(window));
    target.CopyFrom(window.bytes());
    done += window.bytes().size();
  }
  co_return length;
}

// Edges that are not whole sectors keep their other bytes.
Task<Status> DeviceObject::WriteWindow(Window& window, disklib::BufferCursor& source, bool fua) {
  if (!window.is_whole()) {
    CO_TRY_STATUS(co_await ReadWindow(window));
  }
  source.CopyTo(window.bytes());
  const base::IoVec piece = window.memory.piece();
  const base::IoRequest part{
      .offset_bytes = window.start_bytes, .buffers = {&piece, 1}, .fua = fua};
  co_return co_await device_->Write(part);
}

Task<Result<uint64_t>> DeviceObject::Write(base::IoRequest request) {
  const uint64_t length = request.size_bytes();
  if (request.offset_bytes > size_bytes() || length > size_bytes() - request.offset_bytes) {
    co_return Error(Code::kTooLarge,
                    fmt::format("write {} bytes at {} to {}: it has {} and cannot grow", length,
                                request.offset_bytes, device_->name(), size_bytes()));
  }
  if (length == 0) co_return uint64_t{0};
  const uint64_t first_bytes = base::RoundDown(request.offset_bytes, kSectorBytes);
  const uint64_t locked_bytes =
      base::RoundUp(request.offset_bytes + length, kSectorBytes) - first_bytes;
  co_await writers_.Acquire(first_bytes, locked_bytes);
  const base::RangeGuard guard(writers_, first_bytes, locked_bytes);
  if (Suits(request)) {
    CO_TRY_STATUS(co_await device_->Write(request));
  } else {
    CO_TRY_STATUS(co_await WriteInWindows(request));
  }
  co_return length;
}

Task<Status> DeviceObject::WriteInWindows(base::IoRequest request) {
  const uint64_t length = request.size_bytes();
  disklib::BufferCursor source(request.buffers);
  uint64_t done = 0;
  while (done < length) {
    Window window(request.offset_bytes + done, request.offset_bytes + length);
    CO_TRY_STATUS(co_await WriteWindow(window, source, request.fua));
    done += window.bytes().size();
  }
  co_return base::Ok();
}

Task<Status> DeviceObject::Sync(bool) {
  return device_->Flush();
}

Task<Status> DeviceObject::Allocate(fss::AllocateMode mode, uint64_t offset_bytes,
                                    uint64_t length_bytes) {
  if (offset_bytes > size_bytes() || length_bytes > size_bytes() - offset_bytes) {
    co_return Code::kTooLarge;
  }
  if (mode == fss::AllocateMode::kAllocate || mode == fss::AllocateMode::kAllocateKeepSize) {
    co_return base::Ok();  // a device has all its space
  }
  if (offset_bytes % kSectorBytes != 0 || length_bytes % kSectorBytes != 0) {
    co_return Code::kUnsupported;
  }
  const bool may_unmap = mode == fss::AllocateMode::kPunchHole;
  CO_TRY_STATUS(co_await device_->WriteZeroes(offset_bytes, length_bytes, may_unmap));
  co_return base::Ok();
}

Task<Result<uint64_t>> DeviceObject::Seek(fss::SeekKind kind, uint64_t offset_bytes) {
  if (offset_bytes >= size_bytes()) co_return Code::kNoData;
  co_return kind == fss::SeekKind::kData ? offset_bytes : size_bytes();
}

Task<Status> DeviceObject::MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                     std::vector<base::MapRun>& runs) {
  runs.push_back({offset_bytes, length_bytes, base::MapState::kData});
  co_return base::Ok();
}

Task<Status> DeviceObject::Close() {
  const Status closed = co_await device_->Close();
  if (hold_ >= 0) close(std::exchange(hold_, -1));
  co_return closed;
}

}  // namespace stratad
