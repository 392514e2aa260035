// `Datastore`: a volume with everything it stands on, opened from the words of a command line.
//
// Targets: `posix:FOLDER`, or the path of an image file or block node with a VMFS volume. Several
// paths may be the extents of one volume; what belongs together is found by reading.
// Thread rule: the executor's thread. Place in the stack: where the daemon, and programs that work
// without one, wire the floors together.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/uring_executor.h"
#include "fs/daemon/json.h"
#include "fs/fss/file_system.h"

namespace stratad {

struct DatastoreOptions {
  bool read_only = false;
  bool adopt = false;  // takes over volumes that belong to another machine
};

class Datastore {
 public:
  virtual ~Datastore() = default;

  virtual fss::FileSystem& file_system() = 0;

  // What mount tables and listings call it: its targets.
  virtual const std::string& source() const = 0;

  // "vmfs" or "posix".
  virtual std::string kind() const = 0;

  // Whether anybody but this daemon may change its files.
  virtual bool changed_by_others() const = 0;

  // Granularity of its times.
  virtual uint32_t time_step_ns() const = 0;

  // The devices below, for `devices/disks`.
  virtual std::vector<base::BlockDevice*> devices() { return {}; }

  // Adds figures of its own (journal, caches, paths) for `strata status`.
  virtual void Describe(Json& figures) = 0;

  // Unmounts the file system and closes what is below; everything is durable when it succeeded.
  virtual base::Task<base::Status> Close() = 0;
};

using DatastoreList = std::vector<std::unique_ptr<Datastore>>;

// Opens what the targets name into `opened`, in their order; on failure what was opened before
// stays there and is closed by the caller. Errors: kNotFound, kPermission, kNotRecognized,
// kLockHeld and kBusy naming the holder, kUnsupported for targets on network or FUSE file systems.
base::Task<base::Status> OpenDatastores(base::UringExecutor& executor,
                                        std::span<const std::string> targets,
                                        DatastoreOptions options, DatastoreList& opened);

}  // namespace stratad
