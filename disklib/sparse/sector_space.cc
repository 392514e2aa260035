#include "disklib/sparse/sector_space.h"

#include <fmt/format.h>

namespace disklib {

using base::Code;
using base::Error;
using base::Status;

Status CheckSectorFormatCapacity(std::string_view format, uint64_t size_bytes) {
  if (size_bytes == 0 || size_bytes % kSectorBytes != 0) {
    return Error(Code::kInvalidArgument,
                 fmt::format("{}: a capacity of {} bytes is no whole sectors", format, size_bytes));
  }
  if (size_bytes <= kSectorFormatBytesMax) return base::Ok();
  return Error(Code::kTooLarge,
               fmt::format("{}: a capacity of {} bytes is over 2032 GiB, the most this format "
                           "holds; seSparse goes up to 62 TiB",
                           format, size_bytes));
}

Status CheckSectorAddresses(std::string_view format, uint64_t sector, uint64_t sector_count) {
  if (sector <= kSectorAddressCount && sector_count <= kSectorAddressCount - sector) {
    return base::Ok();
  }
  return Error(Code::kNoSpace,
               fmt::format("{}: allocate {} sectors at sector {}: addresses end at sector {}; a "
                           "seSparse link has no such limit",
                           format, sector_count, sector, kSectorAddressCount));
}

}  // namespace disklib
