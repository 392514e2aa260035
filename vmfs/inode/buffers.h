// Slicing of scattered buffers: parts of an `IoVec` list, zeroing and copying. Plain functions.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "fs/base/block_device.h"

namespace vmfs {

// The pieces of `buffers` that hold bytes [offset, offset + length) of the whole. A slice owns its
// list of pieces, not their memory. The whole list is passed through without a copy.
class BufferSlice {
 public:
  BufferSlice(std::span<const base::IoVec> buffers, uint64_t offset_bytes, uint64_t length_bytes) {
    if (offset_bytes == 0 && base::TotalBytes(buffers) == length_bytes) {
      view_ = buffers;
      return;
    }
    for (const base::IoVec& piece : buffers) {
      if (length_bytes == 0) break;
      if (offset_bytes >= piece.size_bytes) {
        offset_bytes -= piece.size_bytes;
        continue;
      }
      const uint64_t size = std::min<uint64_t>(piece.size_bytes - offset_bytes, length_bytes);
      pieces_.push_back({piece.data + offset_bytes, size});
      offset_bytes = 0;
      length_bytes -= size;
    }
    view_ = pieces_;
  }

  BufferSlice(const BufferSlice&) = delete;
  BufferSlice& operator=(const BufferSlice&) = delete;

  std::span<const base::IoVec> pieces() const { return view_; }

 private:
  std::vector<base::IoVec> pieces_;
  std::span<const base::IoVec> view_;
};

inline void ZeroBuffers(std::span<const base::IoVec> buffers) {
  for (const base::IoVec& piece : buffers) std::memset(piece.data, 0, piece.size_bytes);
}

// Copies the start of `source` over the buffers, as much as both hold.
inline void CopyToBuffers(std::span<const std::byte> source, std::span<const base::IoVec> buffers) {
  for (const base::IoVec& piece : buffers) {
    const size_t size = std::min(piece.size_bytes, source.size());
    std::memcpy(piece.data, source.data(), size);
    source = source.subspan(size);
  }
}

inline void CopyFromBuffers(std::span<const base::IoVec> buffers, std::span<std::byte> target) {
  for (const base::IoVec& piece : buffers) {
    const size_t size = std::min(piece.size_bytes, target.size());
    std::memcpy(target.data(), piece.data, size);
    target = target.subspan(size);
  }
}

}  // namespace vmfs
