// A VMFS volume as a datastore, with its full height: file or block node, SCSI target, loopback
// path, PSA device, logical volume, `vmfs::Volume`.
//
// Images on network and FUSE file systems are refused: locks there do not exclude other machines,
// and a file on our own mount would wait for this very daemon. Thread rule: the executor's thread.
// Place in the stack: see `Datastore`.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fs/base/file_device.h"
#include "fs/daemon/datastore.h"
#include "vmfs/lock/heartbeat.h"
#include "vmfs/lvm_device.h"
#include "vmfs/volume/volume.h"
#include "vscsi/psa/device.h"
#include "vscsi/psa/loopback.h"

namespace stratad {

// One device of a volume: the PSA device that carries its commands, and the file at the bottom,
// which also carries the guard locks of the heartbeat.
struct VmfsExtent {
  std::string target;
  base::FileDevice* file = nullptr;  // owned by the target at the end of the path
  std::unique_ptr<psa::Device> device;
  vmfs::LvmDeviceInfo lvm;
};

// Opens one target down to its PSA device, without looking at what it holds.
// Errors: those of OpenFileDevice; kUnsupported for network and FUSE file systems.
base::Task<base::Result<VmfsExtent>> OpenExtent(base::UringExecutor& executor,
                                                psa::LoopbackAdapter& adapter,
                                                const std::string* target, bool read_only);

class VmfsDatastore final : public Datastore {
 public:
  // Mounts the volume whose extents these are; takes them over, or leaves them where it fails.
  // Errors: see `vmfs::Volume::Mount`, `vmfs::AssembleLvm`.
  static base::Task<base::Result<std::unique_ptr<Datastore>>> Open(base::UringExecutor& executor,
                                                                   std::vector<VmfsExtent>& extents,
                                                                   DatastoreOptions options);
  ~VmfsDatastore() override;

  fss::FileSystem& file_system() override { return *volume_; }

  const std::string& source() const override { return source_; }

  std::string kind() const override { return "vmfs"; }

  bool changed_by_others() const override { return false; }

  uint32_t time_step_ns() const override { return 1'000'000'000; }

  std::vector<base::BlockDevice*> devices() override;
  void Describe(Json& figures) override;
  base::Task<base::Status> Close() override;

  vmfs::Volume& volume() { return *volume_; }

 private:
  class FileGuard;

  VmfsDatastore() = default;
  base::Task<base::Status> Mount(base::UringExecutor& executor, DatastoreOptions options);
  base::Task<base::Result<std::unique_ptr<vmfs::Volume>>> MountPatiently(
      base::UringExecutor& executor);
  base::Task<bool> HoldersAreEnding();

  std::string source_;
  std::vector<VmfsExtent> extents_;
  std::unique_ptr<base::BlockDevice> logical_volume_;
  std::unique_ptr<FileGuard> guard_;
  vmfs::MountOptions mount_options_;
  std::unique_ptr<vmfs::Volume> volume_;
};

}  // namespace stratad
