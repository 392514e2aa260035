#include "vmfs/fsck/overlay_device.h"

#include <algorithm>
#include <cstring>

#include "fs/base/aligned_buffer.h"
#include "fs/base/check.h"

namespace vmfs::fsck {

using base::Status;
using base::Task;

Task<Status> OverlayDevice::Refuse(bool is_nothing_to_do) {
  if (is_nothing_to_do) co_return base::Ok();
  co_return base::Code::kUnsupported;
}

Task<Status> OverlayDevice::ReadVolume(uint64_t address, std::span<std::byte> target) {
  const base::IoVec piece{target.data(), target.size()};
  const base::IoRequest request{address, std::span<const base::IoVec>(&piece, 1)};
  Status status = co_await child().Read(request);
  if (!status && !failure_) failure_ = status.error();
  co_return status;
}

// What lies below the changed blocks: the volume, or what was copied there.
Task<Status> OverlayDevice::ReadBelow(uint64_t address, std::span<std::byte> target) {
  CO_TRY_STATUS(co_await ReadVolume(address, target));
  for (const Copy& copy : copies_) {
    const uint64_t begin = std::max(address, copy.to);
    const uint64_t end = std::min(address + target.size(), copy.to + copy.length_bytes);
    if (begin >= end) continue;
    CO_TRY_STATUS(co_await ReadVolume(copy.from + (begin - copy.to),
                                      target.subspan(begin - address, end - begin)));
  }
  co_return base::Ok();
}

Task<Status> OverlayDevice::Read(base::IoRequest request) {
  uint64_t address = request.offset_bytes;
  for (const base::IoVec& buffer : request.buffers) {
    const std::span<std::byte> target(buffer.data, buffer.size_bytes);
    CHECK(address % kMetadataBlockBytes == 0 && target.size() % kMetadataBlockBytes == 0);
    CO_TRY_STATUS(co_await ReadBelow(address, target));
    auto block = blocks_.lower_bound(address);
    for (; block != blocks_.end() && block->first < address + target.size(); ++block) {
      std::memcpy(target.data() + (block->first - address), block->second->data(),
                  kMetadataBlockBytes);
    }
    address += target.size();
  }
  co_return base::Ok();
}

Task<Status> OverlayDevice::Write(base::IoRequest request) {
  uint64_t address = request.offset_bytes;
  base::AlignedBuffer now(kMetadataBlockBytes);
  const base::IoVec piece = now.piece();
  for (const base::IoVec& buffer : request.buffers) {
    CHECK(address % kMetadataBlockBytes == 0 && buffer.size_bytes % kMetadataBlockBytes == 0);
    for (uint64_t done = 0; done < buffer.size_bytes; done += kMetadataBlockBytes) {
      const base::IoRequest before{address, std::span<const base::IoVec>(&piece, 1)};
      const Status read = co_await Read(before);
      const std::span<const std::byte> bytes(buffer.data + done, kMetadataBlockBytes);
      // A block that cannot be read may well be written.
      const bool is_same = read && std::ranges::equal(now.span(), bytes);
      if (!is_same) Put(address, bytes.first<kMetadataBlockBytes>());
      address += kMetadataBlockBytes;
    }
  }
  co_return base::Ok();
}

void OverlayDevice::Put(uint64_t address, ConstMetadataSpan bytes) {
  std::unique_ptr<MetadataBytes>& block = blocks_[address];
  if (!block) block = std::make_unique<MetadataBytes>();
  std::ranges::copy(bytes, block->begin());
  ++change_count_;
}

void OverlayDevice::AddCopy(const Copy& copy) {
  std::map<uint64_t, std::unique_ptr<MetadataBytes>> changed;
  for (auto block = blocks_.lower_bound(copy.from);
       block != blocks_.end() && block->first < copy.from + copy.length_bytes; ++block) {
    changed[block->first - copy.from + copy.to] =
        std::make_unique<MetadataBytes>(*block->second);
  }
  // A copy of a copy leads to where the bytes really are.
  Copy resolved = copy;
  for (const Copy& earlier : copies_) {
    if (copy.from == earlier.to && copy.length_bytes == earlier.length_bytes) {
      resolved.from = earlier.from;
    }
  }
  copies_.push_back(resolved);
  for (auto& [address, bytes] : changed) Put(address, *bytes);
  ++change_count_;
}

}  // namespace vmfs::fsck
