// `HostDevices`: the block devices of this machine, for disks that are whole devices.
//
// A device is opened to write only while nobody has it mounted or holds it, and never while it
// carries a VMFS volume. Opening blocks shortly. Thread rule: the executor's thread. Place in the
// stack: what the daemon and the programs give to disklib.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "disklib/device_opener.h"
#include "fs/base/uring_executor.h"

namespace stratad {

class HostDevices final : public disklib::DeviceOpener {
 public:
  // `paths_allowed`: descriptors may name nodes outside of their datastore (--allow-outside).
  HostDevices(base::UringExecutor& executor, bool paths_allowed)
      : executor_(executor), paths_allowed_(paths_allowed) {}

  base::Task<base::Result<disklib::DeviceInfo>> Find(std::string_view device) override;
  base::Task<base::Result<std::unique_ptr<disklib::Object>>> OpenById(std::string_view id,
                                                                      bool can_write) override;
  base::Task<base::Result<std::unique_ptr<disklib::Object>>> OpenByPath(std::string_view path,
                                                                        std::string_view id,
                                                                        bool can_write) override;

 private:
  base::Task<base::Result<std::unique_ptr<disklib::Object>>> Open(const std::string* path,
                                                                  bool can_write);

  base::UringExecutor& executor_;
  const bool paths_allowed_;
};

}  // namespace stratad
