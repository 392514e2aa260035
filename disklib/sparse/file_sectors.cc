#include "disklib/sparse/file_sectors.h"

#include <string_view>

#include "disklib/sparse/sector_io.h"

namespace disklib {

using base::Status;
using base::Task;

Task<Status> ReadSectors(Object& object, uint64_t sector, std::span<std::byte> bytes) {
  return ReadRange(object, sector * kSectorBytes, bytes);
}

Task<Status> WriteSectors(Object& object, uint64_t sector, std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return WriteWhole(object, sector * kSectorBytes, text);
}

}  // namespace disklib
