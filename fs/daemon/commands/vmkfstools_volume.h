// What vmkfstools asks of a mounted volume: its daemon, and the devices below it.
//
// Thread rule: the main thread. Place in the stack: shared by `-P`, `-D` and `--activehosts`.
#pragma once

#include <string>
#include <vector>

#include "fs/base/result.h"
#include "fs/daemon/json.h"
#include "vmfs/info.h"

namespace stratad {

// The status of the mounted volume that `path` lies on, as `strata status --json` has it. Errors:
// kNotFound.
base::Result<Json> VmkVolumeAt(const std::string& path);

// The devices of such a volume, as the daemon was given them. Errors: kUnsupported (a host folder).
base::Result<std::vector<std::string>> VmkDevicesOf(const Json& volume);

// Read past the daemon. Errors: those of opening the devices and of ReadVolumeInfo.
base::Result<vmfs::VolumeInfo> VmkReadInfo(const std::vector<std::string>& devices);

}  // namespace stratad
