// `MountedVolumes`: the volumes of one mount as programs see them that work on its folders.
//
// A disk on one volume may have its parent on another one of the same mount, and a program that
// opens it through the kernel finds that one by what the daemon says of its volumes. Each is opened
// when it is first asked for, and only to read. Thread rule: the executor given. Place in the
// stack: the program, under `ExchangePlace`.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/file_backend.h"
#include "disklib/open_disks.h"
#include "disklib/volumes.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "fs/base/uring_executor.h"
#include "fs/daemon/volume_names.h"
#include "fs/fss/posix_driver.h"

namespace stratad {

class MountedVolumes final : public disklib::Volumes {
 public:
  // Asks the daemon of a mount. Errors: kNotFound, kPermission (it is another user's), kBusy.
  static base::Result<std::unique_ptr<MountedVolumes>> Ask(base::UringExecutor& executor,
                                                           const std::string& mount_point);

  MountedVolumes(const MountedVolumes&) = delete;
  MountedVolumes& operator=(const MountedVolumes&) = delete;

  // Says which volume has the disks that look for others: the one shown at `folder`. Both others
  // outlive this.
  void SetOwn(const std::string& folder, disklib::ObjectBackend& backend,
              disklib::OpenDisks& open_disks);

  // The UUID of the volume shown at `folder`, if it is shown there.
  std::optional<std::string> UuidOf(const std::string& folder) const;

  const disklib::Volume* Find(std::string_view name) override;

  const disklib::Volume* FindOwn(const disklib::ObjectBackend& backend) override {
    return own_.backend == &backend ? &own_ : nullptr;
  }

  // Lets go of what was opened. No call may follow.
  base::Task<base::Status> Close();

 private:
  // A volume that was asked for.
  struct Opened {
    std::unique_ptr<fss::PosixFileSystem> files;
    std::unique_ptr<disklib::FileBackend> backend;
    disklib::OpenDisks open_disks;
    disklib::Volume volume;
  };

  explicit MountedVolumes(base::UringExecutor& executor) : executor_(executor) {}

  std::optional<size_t> IndexOf(const std::string& folder) const;
  base::Result<std::unique_ptr<Opened>> OpenVolume(size_t index);

  base::UringExecutor& executor_;
  std::vector<VolumeName> names_;
  std::vector<std::string> folders_;             // in the order of the names
  std::vector<std::unique_ptr<Opened>> opened_;  // likewise; null: not asked for
  std::optional<size_t> own_index_;
  disklib::Volume own_;
};

}  // namespace stratad
