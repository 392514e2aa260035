// Which volume of a mount a name in a descriptor means: "/vmfs/volumes/NAME/…".
//
// ESX writes UUIDs, which stay; people may have written labels, which need not be the only ones.
// Thread rule: pure. Place in the stack: under the daemon and the programs, which both look names
// up among the volumes of a mount.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace stratad {

struct VolumeName {
  std::string uuid;
  std::string label;
};

// Whether a volume keeps this UUID for ever: VMFS volumes do, "61137d5a-a2df8778-7ed5-…". That of a
// host folder follows the device numbers of this host, so no descriptor may name it.
bool HasLastingUuid(std::string_view uuid);

// The volume with this UUID, in either case of letters, else the one with this label. Nothing when
// there is none, or more than one. Volumes without a lasting UUID do not count.
std::optional<size_t> FindVolumeName(std::span<const VolumeName> volumes, std::string_view name);

}  // namespace stratad
