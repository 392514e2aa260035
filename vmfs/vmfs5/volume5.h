// A mounted VMFS-5 volume: read-only, as ESXi left it.
//
// Shape and inode numbers as `Volume`; whatever would modify answers kReadOnly. Thread rule: one
// executor. Place: `Volume::Mount` chooses it by the superblock's version.
#pragma once

#include <memory>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/volume/volume.h"

namespace vmfs::vmfs5 {

// `device` outlives the volume. Errors: kReadOnly (not asked for read-only), those of Reader::Open.
base::Task<base::Result<std::unique_ptr<Volume>>> Mount(base::BlockDevice& device,
                                                        MountOptions& options);

}  // namespace vmfs::vmfs5
