// Clone to a device: the content of a whole chain written over a device, and a disk that maps it.
//
// What the device held is gone. The device is filled before the disk appears under its name: a cut
// leaves no disk, and the next run fills it again. Place: over `copy.h` and `device_map.h`. Thread
// rule: the executor of both Libs, which is one.
#pragma once

#include <string_view>

#include "disklib/clone.h"
#include "disklib/device_map.h"
#include "disklib/lib.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

// Copies the disk at `source` onto the device of `map`, and makes the disk `target` of that. What
// the device has behind the disk's end stays. Errors: those of Lib::Open and CreateDeviceMap;
// kNoSpace (the device is smaller than the disk), kInvalidArgument (the source lies on this
// device), kBusy (somebody else has the device), kInterrupted.
base::Task<base::Result<CloneResult>> CloneToDevice(Lib& source_lib, std::string_view source,
                                                    Lib& target_lib, std::string_view target,
                                                    DeviceMapOptions map, Progress* progress);

}  // namespace disklib
