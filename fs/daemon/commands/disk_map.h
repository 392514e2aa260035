// The map of a disk, asked for part by part.
//
// Thread rule: the main thread. Place in the stack: shared by `strata disk map` and `vmkfstools`.
#pragma once

#include <string>

#include "fs/base/result.h"
#include "fs/daemon/commands/disk_request.h"
#include "fs/daemon/json.h"

namespace stratad {

// Takes an answer of the verb "map": "size_bytes", "runs", and "next_offset_bytes" where another
// part follows.
using VisitMapPart = void (*)(const Json& part, bool is_first);

// Shows the parts in order, until the disk ends. One that changes meanwhile is shown as each part
// found it. Errors: as RunDiskRequest.
base::Status VisitMap(const std::string& disk, const DiskRequestOptions& options,
                      VisitMapPart visit);

}  // namespace stratad
