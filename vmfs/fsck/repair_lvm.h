// The LVM headers of a volume on one device, written anew from what they and the volume still say.
//
// Internal to `vmfs/fsck`. Thread rule: the device's executor.
#pragma once

#include <string>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/fsck/overlay_device.h"

namespace vmfs::fsck {

// Puts the headers that the device should have over it. The volume's size comes from the header of
// `.fbb.sf`, its UUID from the superblock; both must be there, and our mark with them. Errors:
// kUnsupported (no volume of ours can be told apart), those of Read.
base::Task<base::Status> PlanLvmRepair(base::BlockDevice& device, OverlayDevice& overlay);

// Writes what the overlay holds: tables, flush, header, flush. A cut leaves headers that the next
// repair writes again.
base::Task<base::Status> WriteLvmRepair(base::BlockDevice& device, OverlayDevice& overlay);

}  // namespace vmfs::fsck
