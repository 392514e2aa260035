// Disks whose data is a whole device: raw device maps on a volume, a device node in a host folder.
//
// On VMFS the pointer file is an inode that carries the device's id (vmfs/FORMAT.md, "Raw device
// maps"); in a host folder the descriptor names the node (disklib/FORMAT.md, "Devices"). Thread
// rule: the executor of the Lib.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "disklib/lib.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

// The descriptor's key for what the device of a node called itself when the disk was made.
inline constexpr std::string_view kDeviceIdKey = "ddb.strata.deviceId";

// What writes a device before the disk appears that maps it.
class DeviceFiller {
 public:
  virtual ~DeviceFiller() = default;

  // Everything is durable when answered.
  virtual base::Task<base::Status> Fill(Object& device) = 0;
};

struct DeviceMapOptions {
  std::string_view device;  // id, or absolute path of the node
  bool is_physical = false;
  std::string_view adapter_type = "lsilogic";
  DeviceFiller* filler = nullptr;  // null: the device stays as it is, and is opened to read only
};

// Whether a descriptor's data is a device; and whether its commands go to the device as they are,
// which is why nothing can be put over it.
bool IsDeviceMap(const Descriptor& descriptor);
bool IsPhysicalDeviceMap(const Descriptor& descriptor);

// Refuses what would freeze a physical-mode map: snapshots and linked clones. `verb`: "snapshot".
// Error: kUnsupported.
base::Status CheckNotPhysical(const Descriptor& descriptor, std::string_view path,
                              std::string_view verb);

// Makes a disk of the whole device at `path`. A cut leaves nothing under the final name, at most a
// pointer file without a disk, which the next run for the same device takes over. Errors: kExists,
// kNotFound (no such device), kUnsupported (no devices here; physical mode outside of a volume; a
// device without a lasting name), kNotPermitted (a node, in a folder where that was not allowed),
// kInvalidArgument, kNoSpace, kReadOnly, those of the filler.
base::Task<base::Status> CreateDeviceMap(Lib& lib, std::string_view path, DeviceMapOptions options);

struct DeviceMapInfo {
  bool is_map = false;
  bool is_physical = false;
  std::string device;       // id, or the node's path; empty: the pointer file does not say
  std::string device_path;  // its node here; empty: the device is not here
  std::string trouble;      // why the device is not reached; empty: it is
};

// What a disk maps to; also where the device is not here, or the pointer file is none.
// Errors: those of Lib::Load.
base::Task<base::Result<DeviceMapInfo>> GetDeviceMap(Lib& lib, std::string_view path);

// What the pointer file at `path` stands for, in printable characters. Errors: kCorrupt (a plain
// file: it was copied off its volume), kUnsupported (a map whose id is not told here: VMFS-5), and
// those of ObjectBackend::GetDeviceId.
base::Task<base::Result<std::string>> ReadPointer(ObjectBackend& backend, std::string_view path);

}  // namespace disklib
