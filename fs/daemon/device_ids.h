// What block devices of this machine call themselves, as raw device maps name them.
//
// The id is the one the device or its driver keeps over restarts and between hosts: the SCSI or
// NVMe name as ESX writes it ("naa.6000…", "eui.…", "t10.…"), else the UUID of a device mapper or
// RAID device ("dm.…", "md.…"), else a serial number ("serial.…"), else the udev name of the node
// ("by-id.…"). A loop device is named by the file it stands for: "loop." and a digest of its path
// (and of where in the file it begins).
// Partitions add "-partN". An id over 44 bytes is replaced by "sha256." and a digest of it.
// Blocks shortly (sysfs). Thread rule: any. Place in the stack: under `HostDevices`.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "fs/base/result.h"

namespace stratad {

// As many bytes as VMFS keeps of an id.
inline constexpr size_t kDeviceIdBytesMax = 44;

// The id as it is stored: blanks become one '_', what is too long a digest. Empty stays empty.
std::string StoredDeviceId(std::string_view id);

// Error kInvalidArgument: `path` is no block node; others of stat(2).
base::Status CheckBlockNode(const std::string& path);

// The id of the block node at `path`. Errors: of stat(2); kInvalidArgument (no block node),
// kUnsupported (nothing that would name it tomorrow).
base::Result<std::string> DeviceIdOf(const std::string& path);

// The node of the device with this id, the first by name where several paths lead to it.
std::optional<std::string> FindDeviceNode(std::string_view id);

// A name of the node that lasts, from /dev/disk/by-id; without one, the node's own path.
std::string LastingNodePath(const std::string& path);

}  // namespace stratad
