#include "fs/base/device_range.h"

#include <fmt/format.h>

namespace base {

Status CheckDeviceRange(const BlockDevice& device, const char* verb, uint64_t offset_bytes,
                        uint64_t length_bytes) {
  const uint64_t size = device.size_bytes();
  const uint32_t block = device.limits().block_size_bytes;
  if ((offset_bytes | length_bytes) % block != 0) {
    return Error(Code::kMisaligned, fmt::format("{} {} at {}, {} bytes: blocks are {} bytes", verb,
                                                device.name(), offset_bytes, length_bytes, block));
  }
  if (offset_bytes > size || length_bytes > size - offset_bytes) {
    return Error(Code::kOutOfRange, fmt::format("{} {} at {}, {} bytes: it ends at {}", verb,
                                                device.name(), offset_bytes, length_bytes, size));
  }
  return Ok();
}

}  // namespace base
