// A VMFS volume on a simulated disk: made, mounted, unmounted, checked.
//
// Thread rule: one thread, one `SimExecutor` of the caller.
#pragma once

#include <memory>
#include <string>

#include "fs/base/sim_executor.h"
#include "tests/support/sim_disk.h"
#include "vmfs/volume/volume.h"

namespace vmfs {

class SimVolume {
 public:
  // Makes the disk; nothing is on it yet.
  SimVolume(base::SimExecutor& executor, uint64_t volume_bytes, bool logging);
  // Stands on a disk that exists, as after a simulated crash.
  SimVolume(base::SimExecutor& executor, std::unique_ptr<base::SimDisk> disk);
  ~SimVolume();

  base::SimDisk& disk() { return *disk_; }
  Volume& volume() { return *volume_; }
  bool mounted() const { return volume_ != nullptr; }
  MountOptions& options() { return options_; }

  base::Status MakeFileSystem();
  base::Status Mount();
  base::Status Unmount();

  // After the caller has unmounted `volume()` by itself.
  void LetGo();

  // Forgets the mount without a word to the disk, as a crash does. The executor is abandoned.
  void Crash();

  // What the full check of the unmounted volume has to say; empty when it is clean.
  std::string Check();

 private:
  base::SimExecutor& executor_;
  std::unique_ptr<base::SimDisk> disk_;
  std::unique_ptr<base::BlockDevice> lvm_;
  std::unique_ptr<Volume> volume_;
  MountOptions options_;
};

}  // namespace vmfs
