#include "vscsi/scsi/buffers.h"

#include <algorithm>
#include <cstring>

namespace scsi {

std::vector<base::IoVec> Slice(std::span<const base::IoVec> buffers, uint64_t offset_bytes,
                               uint64_t size_bytes) {
  std::vector<base::IoVec> slice;
  for (const base::IoVec& piece : buffers) {
    if (size_bytes == 0) break;
    if (offset_bytes >= piece.size_bytes) {
      offset_bytes -= piece.size_bytes;
      continue;
    }
    const auto skip = static_cast<size_t>(offset_bytes);
    const auto take = static_cast<size_t>(std::min<uint64_t>(piece.size_bytes - skip, size_bytes));
    slice.push_back({piece.data + skip, take});
    offset_bytes = 0;
    size_bytes -= take;
  }
  return slice;
}

size_t Gather(std::span<const base::IoVec> buffers, uint64_t offset_bytes,
              std::span<std::byte> target) {
  size_t done = 0;
  for (const base::IoVec& piece : Slice(buffers, offset_bytes, target.size())) {
    std::memcpy(target.data() + done, piece.data, piece.size_bytes);
    done += piece.size_bytes;
  }
  return done;
}

size_t Scatter(std::span<const std::byte> source, std::span<const base::IoVec> buffers,
               uint64_t offset_bytes) {
  size_t done = 0;
  for (const base::IoVec& piece : Slice(buffers, offset_bytes, source.size())) {
    std::memcpy(piece.data, source.data() + done, piece.size_bytes);
    done += piece.size_bytes;
  }
  return done;
}

}  // namespace scsi
