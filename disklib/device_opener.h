// `DeviceOpener`: how disklib reaches whole devices, for raw device maps and for host folders whose
// descriptors name a device node.
//
// Disklib knows files of one datastore only; what a device is, how it names itself and whether it
// may be used is the business of whoever implements this (the daemon: `fs/daemon/host_devices.h`).
// A Lib without one refuses such disks by name. Thread rule: the executor of the Lib.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "disklib/object_backend.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

struct DeviceInfo {
  std::string id;    // what the device calls itself, on every host: "naa.6000…"
  std::string path;  // its node here, by a name that outlives a restart
  uint64_t size_bytes = 0;
};

class DeviceOpener {
 public:
  virtual ~DeviceOpener() = default;

  // Finds a device by its id or by the absolute path of its node. Errors: kNotFound (no such
  // device here), kUnsupported (the node has no name that lasts), those of opening.
  virtual base::Task<base::Result<DeviceInfo>> Find(std::string_view device) = 0;

  // Opens a device that a raw device map names by its id. Alone to write. The object cannot grow.
  // Errors: as Find, kBusy (mounted, or written by somebody else), kReadOnly.
  virtual base::Task<base::Result<std::unique_ptr<Object>>> OpenById(std::string_view id,
                                                                     bool can_write) = 0;

  // Opens the node that a descriptor names by its path, which leads out of the datastore. `id` is
  // what the device called itself when the disk was made; empty: not known. Errors: kNotPermitted
  // (that was not allowed), kStale (the node is another device now), and as OpenById.
  virtual base::Task<base::Result<std::unique_ptr<Object>>> OpenByPath(std::string_view path,
                                                                       std::string_view id,
                                                                       bool can_write) = 0;
};

}  // namespace disklib
