// Work on the devices of a volume past its driver: check, repair, info, dump.
//
// The devices are opened down the same stack as for a mount, for reading unless asked otherwise.
// Thread rule: the main thread. Place in the stack: the program.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "fs/base/uring_executor.h"

namespace stratad {

class DeviceTask {
 public:
  virtual ~DeviceTask() = default;
  virtual base::Task<base::Status> Run(base::UringExecutor& executor,
                                       std::span<base::BlockDevice* const> devices) = 0;
};

// Opens the targets, runs the task, closes. Errors: those of opening, the task and closing.
base::Status RunOnDevices(const std::vector<std::string>& targets, DeviceTask& task,
                          bool read_only = true);

}  // namespace stratad
