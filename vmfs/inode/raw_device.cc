#include "vmfs/inode/raw_device.h"

#include <algorithm>

#include <fmt/format.h>

#include "fs/base/on_disk.h"

namespace vmfs {

base::Result<DiskId> RawDeviceIdOf(std::string_view id) {
  DiskId stored;
  if (id.empty() || id.size() > stored.id.size()) {
    return base::Error(base::Code::kInvalidArgument,
                       fmt::format("raw device map: an id of {} bytes, 1 to {} are possible",
                                   id.size(), stored.id.size()));
  }
  stored.id_length = static_cast<uint8_t>(id.size());
  std::copy(id.begin(), id.end(), stored.id.begin());
  return stored;
}

base::Result<std::string> RawDeviceNameOf(FdAddress fd, ConstMetadataSpan block) {
  const auto stored = base::LoadAs<DiskId>(InlineData(block));
  if (stored.id_length == 0 || stored.id_length > stored.id.size()) {
    return base::Error(base::Code::kCorrupt,
                       fmt::format("raw device map {}: an id of {} bytes", fd.ToString(),
                                   stored.id_length));
  }
  return std::string(stored.id.data(), stored.id_length);
}

}  // namespace vmfs
