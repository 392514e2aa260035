// Work on a volume without a mount: what `strata ls TARGET:/path` and its like run on.
//
// Thread rule: the main thread. Place in the stack: the program.
#pragma once

#include <string>
#include <string_view>

#include "fs/base/result.h"
#include "fs/base/task.h"
#include "fs/base/uring_executor.h"
#include "fs/daemon/datastore.h"

namespace stratad {

class VolumeTask {
 public:
  virtual ~VolumeTask() = default;
  virtual base::Task<base::Status> Run(base::UringExecutor& executor, Datastore& datastore) = 0;
};

enum class Access : bool { kRead, kWrite };

// Opens the volume on `targets` (one volume), runs the task, closes. Errors: those of opening, the
// task and closing; kLockHeld when a daemon has the volume mounted and `access` is kWrite.
base::Status RunOnVolume(const std::vector<std::string>& targets, Access access, VolumeTask& task);

// "store.img:/vm/a" -> "store.img" and "/vm/a"; without ":/" the path is "/".
struct TargetPath {
  std::string target;
  std::string path;
};

TargetPath ParseTargetPath(const std::string& text);

}  // namespace stratad
