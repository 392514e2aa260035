#include "fs/daemon/device_file.h"

#include <algorithm>
#include <cstring>

#include "fs/base/aligned_buffer.h"

namespace stratad {
namespace {

constexpr uint64_t kBounceBytes = 256 * 1024;

// Copies `bytes` into the pieces, `skip_bytes` behind their start.
void Scatter(std::span<const base::IoVec> pieces, uint64_t skip_bytes,
             std::span<const std::byte> bytes) {
  for (const base::IoVec& piece : pieces) {
    if (skip_bytes >= piece.size_bytes) {
      skip_bytes -= piece.size_bytes;
      continue;
    }
    const size_t count = std::min<size_t>(piece.size_bytes - skip_bytes, bytes.size());
    std::memcpy(piece.data + skip_bytes, bytes.data(), count);
    bytes = bytes.subspan(count);
    skip_bytes = 0;
    if (bytes.empty()) return;
  }
}

}  // namespace

base::Task<base::Result<std::unique_ptr<fss::File>>> BlockDeviceNode::Open(fss::InodeNumber inode,
                                                                           fss::OpenMode mode) {
  if (mode != fss::OpenMode::kRead) co_return base::Code::kReadOnly;
  co_return std::unique_ptr<fss::File>(std::make_unique<BlockDeviceFile>(device_, inode));
}

base::Task<base::Result<uint64_t>> BlockDeviceFile::Read(base::IoRequest request) {
  const uint64_t block = std::max<uint64_t>(device_.limits().block_size_bytes, 1);
  if (request.offset_bytes >= size_bytes()) co_return uint64_t{0};
  const uint64_t end =
      request.offset_bytes + std::min(request.size_bytes(), size_bytes() - request.offset_bytes);
  base::AlignedBuffer bounce(kBounceBytes);
  uint64_t at = request.offset_bytes;
  while (at < end) {
    const uint64_t start = at / block * block;
    const uint64_t length = std::min(kBounceBytes, (end - start + block - 1) / block * block);
    const base::IoVec piece{bounce.data(), length};
    base::IoRequest aligned;
    aligned.offset_bytes = start;
    aligned.buffers = {&piece, 1};
    CO_TRY_STATUS(co_await device_.Read(aligned));
    const uint64_t stop = std::min(end, start + length);
    Scatter(request.buffers, at - request.offset_bytes, {bounce.data() + (at - start), stop - at});
    at = stop;
  }
  co_return end - request.offset_bytes;
}

base::Task<base::Result<uint64_t>> BlockDeviceFile::Write(base::IoRequest) {
  co_return base::Code::kReadOnly;
}

base::Task<base::Status> BlockDeviceFile::Sync(bool) {
  co_return base::Ok();
}

base::Task<base::Status> BlockDeviceFile::Allocate(fss::AllocateMode, uint64_t, uint64_t) {
  co_return base::Code::kReadOnly;
}

base::Task<base::Result<uint64_t>> BlockDeviceFile::Seek(fss::SeekKind kind,
                                                         uint64_t offset_bytes) {
  if (offset_bytes >= size_bytes()) co_return base::Code::kNoData;
  co_return kind == fss::SeekKind::kData ? offset_bytes : size_bytes();
}

base::Task<base::Status> BlockDeviceFile::MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                                    std::vector<base::MapRun>& runs) {
  runs.push_back({offset_bytes, length_bytes, base::MapState::kData});
  co_return base::Ok();
}

base::Task<base::Status> BlockDeviceFile::Close() {
  co_return base::Ok();
}

}  // namespace stratad
