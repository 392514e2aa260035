// `BufferCursor`: walks a list of buffers and cuts pieces off its front. Pure.
//
// Used where one request becomes several: at extent borders and at sector edges. Thread rule: none.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "fs/base/block_device.h"

namespace disklib {

class BufferCursor {
 public:
  explicit BufferCursor(std::span<const base::IoVec> buffers) : buffers_(buffers) {}

  // Fills `pieces` with the next `length_bytes`; the buffers hold at least that many.
  void Take(uint64_t length_bytes, std::vector<base::IoVec>& pieces) {
    pieces.clear();
    while (length_bytes > 0) {
      const base::IoVec piece = TakePiece(length_bytes);
      if (piece.size_bytes > 0) pieces.push_back(piece);
      length_bytes -= piece.size_bytes;
    }
  }

  // Copies the next bytes out of the buffers, or into them.
  void CopyTo(std::span<std::byte> target) {
    while (!target.empty()) {
      const base::IoVec piece = TakePiece(target.size());
      std::memcpy(target.data(), piece.data, piece.size_bytes);
      target = target.subspan(piece.size_bytes);
    }
  }

  void CopyFrom(std::span<const std::byte> source) {
    while (!source.empty()) {
      const base::IoVec piece = TakePiece(source.size());
      std::memcpy(piece.data, source.data(), piece.size_bytes);
      source = source.subspan(piece.size_bytes);
    }
  }

 private:
  // What is left of the first buffer, at most `length_bytes`.
  base::IoVec TakePiece(uint64_t length_bytes) {
    const base::IoVec& buffer = buffers_.front();
    const uint64_t taken_bytes = std::min<uint64_t>(length_bytes, buffer.size_bytes - used_bytes_);
    const base::IoVec piece{buffer.data + used_bytes_, taken_bytes};
    used_bytes_ += taken_bytes;
    if (used_bytes_ == buffer.size_bytes) {
      buffers_ = buffers_.subspan(1);
      used_bytes_ = 0;
    }
    return piece;
  }

  std::span<const base::IoVec> buffers_;
  uint64_t used_bytes_ = 0;  // of the first buffer
};

}  // namespace disklib
