// Descriptors that a repair makes: `lost+found`, and files for blocks that lost theirs.
//
// Internal to `vmfs/fsck`. Thread rule: the volume's executor.
#pragma once

#include <cstdint>
#include <vector>

#include "vmfs/fsck/repair_work.h"

namespace vmfs::fsck {

struct NewDescriptor {
  FdAddress fd;
  uint32_t generation = 0;
};

// A free descriptor and the generation it will have. Errors: kNoSpace.
base::Result<NewDescriptor> ReserveDescriptor(RepairWork& work);

// Marks a descriptor used or free in its cluster; counts follow in the last stage. `generation` is
// the last one handed out, 0 to leave that.
base::Task<base::Status> MarkDescriptor(RepairWork& work, FdAddress fd, bool is_free,
                                        uint32_t generation);

// Writes lock and descriptor and marks it used. `inode` says type, mode, links, map kind and
// length; owner and times are the root's. Errors: kCorrupt, those of the device.
base::Task<base::Status> WriteDescriptor(RepairWork& work, NewDescriptor descriptor,
                                         InodeMetadata& inode, std::vector<Address>& slots);

}  // namespace vmfs::fsck
