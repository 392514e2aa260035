#include "disklib/sparse/file_sectors.h"

#include <algorithm>
#include <string_view>

namespace disklib {

using base::IoRequest;
using base::IoVec;
using base::Status;
using base::Task;

Task<Status> ReadSectors(Object& object, uint64_t sector, std::span<std::byte> bytes) {
  uint64_t offset_bytes = sector * kSectorBytes;
  while (!bytes.empty()) {
    const IoVec piece{bytes.data(), bytes.size()};
    const IoRequest request{.offset_bytes = offset_bytes, .buffers = {&piece, 1}};
    CO_TRY(const uint64_t read_bytes, co_await object.Read(request));
    if (read_bytes == 0) break;
    offset_bytes += read_bytes;
    bytes = bytes.subspan(read_bytes);
  }
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  co_return base::Ok();
}

Task<Status> WriteSectors(Object& object, uint64_t sector, std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return WriteWhole(object, sector * kSectorBytes, text);
}

}  // namespace disklib
