// fsck: a full check of a volume, independent of the code that writes it.
//
// Reads straight from the device with the decoders of `vmfs/format`; changes nothing. A valid
// journal of ours is replayed into memory first, so that the check sees what the next mount will.
// Memory: a bit or two per block, 24 bytes per descriptor, one directory at a time. Thread rule:
// the device's executor. The order of the phases is the order in which repairs have to be made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/fsck/report.h"

namespace vmfs {

struct FsckOptions {
  // Called now and then; may be empty. `phase` is a word or two: "descriptors".
  std::function<void(std::string_view phase, uint64_t done, uint64_t total)> progress;
  // Asked between pieces of work; true ends the check with kInterrupted. May be empty.
  std::function<bool()> is_canceled;
  size_t findings_max = 1000;  // further ones are counted only
};

// Checks the volume on these devices. `options` outlives the call. A damaged volume is a report,
// not an error. Errors: kNotRecognized (no VMFS volume at all), kVersionUnsupported, kNotFound (a
// device is missing), kInterrupted.
base::Task<base::Result<FsckReport>> CheckDevices(std::span<base::BlockDevice* const> devices,
                                                  FsckOptions& options);

// The same for a volume that is open already, addressed by volume offset.
base::Task<base::Result<FsckReport>> CheckVolume(base::BlockDevice& volume, FsckOptions& options);

}  // namespace vmfs
