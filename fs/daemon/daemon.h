// `Daemon`: one mount from opening its volumes to their clean end.
//
// It opens the datastores, shows them through two FUSE sessions (`volumes`, and `devices` mounted
// over the first one's directory of that name), answers the control socket, and ends when the
// kernel has let go of both mounts, by `strata umount`, a signal or umount(8). Then everything is
// made durable and closed.
// Thread rule: the executor's thread. Place in the stack: the top; wires the floors together.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "disklib/volumes.h"
#include "fs/base/result.h"
#include "fs/base/sync.h"
#include "fs/base/uring_executor.h"
#include "fs/daemon/connection_guard.h"
#include "fs/daemon/control_server.h"
#include "fs/daemon/datastore.h"
#include "fs/daemon/disk_service.h"
#include "fs/daemon/fuse_session.h"
#include "fs/daemon/host_devices.h"
#include "fs/daemon/kernel_cache.h"
#include "fs/daemon/mount_point.h"
#include "fs/daemon/mount_tree.h"
#include "fs/daemon/termination.h"

namespace stratad {

struct MountOptions {
  std::vector<std::string> targets;
  std::string mount_point;  // canonical
  bool read_only = false;
  bool adopt = false;          // takes over volumes that belong to another machine
  bool allow_outside = false;  // descriptors in host folders may name device nodes
  bool writeback_cache = true;
  bool fuse_ring = true;  // requests over io_uring where the kernel offers that
  std::string log_path;   // for listings; empty in the foreground
};

// Is told once whether the mount is up.
class StartListener {
 public:
  virtual ~StartListener() = default;
  virtual void Started(const base::Status& status) = 0;
};

class Daemon final : public ControlHandler, private disklib::Volumes {
 public:
  // `guard`: watches the connections; nullptr: nobody does.
  Daemon(base::UringExecutor& executor, const MountOptions& options, ConnectionGuard* guard);
  ~Daemon() override;

  // Runs to the end. Errors: what kept the mount from coming up, or volumes from closing cleanly.
  base::Task<base::Status> Run(StartListener& listener);

  base::Task<base::Result<Json>> Handle(Json& request, disklib::Progress& caller) override;

 private:
  base::Task<base::Status> Start();
  base::Status BuildTree();
  base::Result<std::unique_ptr<FuseSession>> MakeSession(bool devices);
  base::Task<base::Status> MountSession(FuseSession& session);
  base::Task<base::Status> StartControl();
  base::Task<void> WaitForSessions();
  base::Task<base::Status> CloseDatastores();

  base::Task<base::Result<Json>> HandleStatus();
  base::Task<base::Result<Json>> HandleDisk(Json& request, disklib::Progress& caller);
  base::Task<base::Result<Json>> HandleUnmount(bool lazily);
  base::Task<base::Status> Unmount(Detach detach);
  base::Task<base::Status> MountDevicesAgain();
  base::Task<void> Terminate();
  void OnSignal();

  // Error kBusy: work on a disk, which it names, is not done yet.
  base::Status CheckNoDiskWork() const;

  // A datastore as it is shown: its folder's name, its disks, and what the kernel is told.
  struct Shown;
  base::Task<base::Result<Json>> DescribeVolume(Shown& shown);
  Shown* FindShown(std::string_view name);

  // For disks whose parents lie on another volume of the mount.
  const disklib::Volume* Find(std::string_view name) override;
  const disklib::Volume* FindOwn(const disklib::ObjectBackend& backend) override;

  base::UringExecutor& executor_;
  const MountOptions options_;
  ConnectionGuard* const guard_;
  const uint64_t started_us_;

  // An ordinary user cannot mount in a FUSE mount: fusermount3 runs as root, which the kernel keeps
  // out of it. One session then shows everything, without writeback caching.
  const bool one_session_;
  KernelCache kernel_cache_;
  HostDevices host_devices_;    // of volumes: by id
  HostDevices folder_devices_;  // of host folders: also by path, where that is allowed
  DatastoreList datastores_;
  std::vector<std::unique_ptr<Shown>> shown_;  // in the order of the datastores
  std::unique_ptr<MountTree> tree_;
  std::unique_ptr<FuseSession> volumes_session_;
  std::unique_ptr<FuseSession> devices_session_;
  std::unique_ptr<ControlServer> control_;
  std::unique_ptr<TerminationSource> termination_;
  base::TaskGroup tasks_;
  base::AsyncCondition closed_changed_;
  base::AsyncLock unmount_lock_;
  bool unmounted_ = false;
  bool closing_ = false;  // the volumes are being closed, and then gone
  bool closed_ = false;
  base::Status closing_status_;
  uint32_t signal_count_ = 0;
};

}  // namespace stratad
