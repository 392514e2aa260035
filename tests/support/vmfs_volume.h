// A VMFS volume on a simulated disk: made, mounted, unmounted, checked.
//
// Thread rule: one thread, one `SimExecutor` of the caller.
#pragma once

#include <memory>
#include <string>

#include "fs/base/sim_executor.h"
#include "tests/support/sim_disk.h"
#include "vmfs/fsck/fsck.h"
#include "vmfs/volume/volume.h"

namespace vmfs {

// Says that every other process is dead: what a crashed host left may be taken over at once.
class DeadGuard : public ProcessGuard {
 public:
  base::Result<bool> TryLock(uint64_t) override { return true; }
  void Unlock(uint64_t) override {}
  bool covers_every_writer() const override { return true; }
};

class SimVolume {
 public:
  // Makes the disk; nothing is on it yet.
  SimVolume(base::SimExecutor& executor, uint64_t volume_bytes, bool logging);
  // Stands on a disk that exists, as after a simulated crash.
  SimVolume(base::SimExecutor& executor, std::unique_ptr<base::SimDisk> disk);
  // Borrows the disk.
  SimVolume(base::SimExecutor& executor, base::SimDisk& disk)
      : executor_(executor), disk_(&disk) {}
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

  // The full check of the unmounted volume.
  base::Result<FsckReport> Report();

  // What the full check has to say; empty when the volume is clean.
  std::string Check() { return Check(FindingSeverity::kInfo); }

  // The same without remarks, as after a crash: locks of the dead are taken over when they are met.
  std::string CheckAfterCrash() { return Check(FindingSeverity::kWarning); }

 private:
  std::string Check(FindingSeverity least);

  base::SimExecutor& executor_;
  std::unique_ptr<base::SimDisk> owned_disk_;
  base::SimDisk* disk_;
  std::unique_ptr<base::BlockDevice> lvm_;
  std::unique_ptr<Volume> volume_;
  MountOptions options_;
};

}  // namespace vmfs
