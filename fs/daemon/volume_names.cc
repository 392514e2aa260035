#include "fs/daemon/volume_names.h"

#include "fs/base/result.h"
#include "fs/base/uuid.h"

namespace stratad {

bool HasLastingUuid(std::string_view uuid) {
  return base::ParseUuid(uuid).has_value();
}

std::optional<size_t> FindVolumeName(std::span<const VolumeName> volumes, std::string_view name) {
  const base::Result<base::Uuid> wanted = base::ParseUuid(name);
  std::optional<size_t> found;
  for (size_t i = 0; i < volumes.size(); ++i) {
    const base::Result<base::Uuid> uuid = base::ParseUuid(volumes[i].uuid);
    const bool is_meant = uuid && (wanted ? *uuid == *wanted : volumes[i].label == name);
    if (!is_meant) continue;
    if (found) return std::nullopt;
    found = i;
  }
  return found;
}

}  // namespace stratad
