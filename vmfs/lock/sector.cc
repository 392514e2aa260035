#include "vmfs/lock/sector.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include "fs/base/check.h"

namespace vmfs {
namespace {

constexpr uint64_t kTransferBytesMax = 1 << 20;
constexpr std::align_val_t kAlignment{4096};

struct AlignedDelete {
  void operator()(std::byte* bytes) const { ::operator delete(bytes, kAlignment); }
};

using AlignedBytes = std::unique_ptr<std::byte, AlignedDelete>;

// Memory that any device takes, also one that bypasses the page cache.
AlignedBytes AllocateAligned(uint64_t size_bytes) {
  return AlignedBytes(static_cast<std::byte*>(::operator new(size_bytes, kAlignment)));
}

uint64_t TransferBytes(const base::BlockDevice& volume, uint64_t length_bytes) {
  const base::Limits& limits = volume.limits();
  CHECK(limits.memory_alignment_bytes <= static_cast<size_t>(kAlignment));
  CHECK(length_bytes % limits.block_size_bytes == 0);
  return std::min({length_bytes, kTransferBytesMax, uint64_t{limits.transfer_bytes_max}});
}

}  // namespace

base::Task<base::Status> ReadSector(base::BlockDevice& volume, uint64_t address,
                                    SectorImage& image) {
  return ReadRange(volume, address, volume.limits().block_size_bytes, image);
}

base::Task<base::Status> ReadRange(base::BlockDevice& volume, uint64_t address,
                                   uint64_t length_bytes, std::vector<std::byte>& bytes) {
  bytes.resize(length_bytes);
  const uint64_t step_bytes = TransferBytes(volume, length_bytes);
  const AlignedBytes buffer = AllocateAligned(step_bytes);
  for (uint64_t done = 0; done < length_bytes;) {
    const uint64_t now_bytes = std::min(step_bytes, length_bytes - done);
    const base::IoVec piece{buffer.get(), now_bytes};
    base::IoRequest request;
    request.offset_bytes = address + done;
    request.buffers = std::span<const base::IoVec>(&piece, 1);
    CO_TRY_STATUS(co_await volume.Read(request));
    std::memcpy(bytes.data() + done, buffer.get(), now_bytes);
    done += now_bytes;
  }
  co_return base::Ok();
}

base::Task<base::Status> WriteRange(base::BlockDevice& volume, uint64_t address,
                                    std::vector<std::byte>& bytes) {
  const uint64_t step_bytes = TransferBytes(volume, bytes.size());
  const AlignedBytes buffer = AllocateAligned(step_bytes);
  for (uint64_t done = 0; done < bytes.size();) {
    const uint64_t now_bytes = std::min<uint64_t>(step_bytes, bytes.size() - done);
    std::memcpy(buffer.get(), bytes.data() + done, now_bytes);
    const base::IoVec piece{buffer.get(), now_bytes};
    base::IoRequest request;
    request.offset_bytes = address + done;
    request.buffers = std::span<const base::IoVec>(&piece, 1);
    CO_TRY_STATUS(co_await volume.Write(request));
    done += now_bytes;
  }
  co_return base::Ok();
}

}  // namespace vmfs
