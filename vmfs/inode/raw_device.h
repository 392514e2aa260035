// Raw device maps: descriptors that name a LUN instead of blocks (vmfs/FORMAT.md, "Raw device
// maps").
//
// The descriptor has the length of the device and, in place of inline data, the id by which the
// device names itself. Plain functions on values.
#pragma once

#include <string>
#include <string_view>

#include "fs/base/result.h"
#include "vmfs/format/address.h"
#include "vmfs/format/inode.h"
#include "vmfs/format/lvm.h"

namespace vmfs {

// The id as it is stored. Errors: kInvalidArgument when it is empty or over 44 bytes.
base::Result<DiskId> RawDeviceIdOf(std::string_view id);

// The id in the descriptor's metadata block. Errors: kCorrupt: its length is not possible.
base::Result<std::string> RawDeviceNameOf(FdAddress fd, ConstMetadataSpan block);

}  // namespace vmfs
