// `DiskService`: everything about the virtual disks of one volume, put together.
//
// The session that shows files goes through `files()`; disklib works through a side door that tells
// the kernel of changes; `tree()` shows the disks; `Handle` runs the operations of `strata disk`.
// Thread rule: the volume's executor. Place in the stack: wiring between a datastore, disklib and
// the sessions.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "disklib/file_backend.h"
#include "disklib/lib.h"
#include "disklib/new_extents.h"
#include "disklib/open_disks.h"
#include "disklib/vdisk.h"
#include "disklib/volumes.h"
#include "fs/base/executor.h"
#include "fs/base/sync.h"
#include "fs/daemon/disk_guard.h"
#include "fs/daemon/json.h"
#include "fs/daemon/side_door.h"
#include "fs/daemon/vdisk_tree.h"

namespace stratad {

class DiskService {
 public:
  // `volume`, `listener` and `volumes`, on which parents may lie, outlive the service; without the
  // last there is no other volume. New files belong to `owner`.
  DiskService(base::Executor& executor, fss::FileSystem& volume, ChangeListener& listener,
              disklib::Volumes* volumes, fss::NewInode owner);

  fss::FileSystem& files() { return guard_; }

  fss::FileSystem& tree() { return tree_; }

  disklib::Lib& lib() { return lib_; }

  // This volume as the disks of others see it, which have parents here.
  const disklib::Volume& as_volume() const { return as_volume_; }

  // Runs a request (`disk_actions.h`); `other` has the second disk it names, and may be this one.
  // Errors: those of RunDiskAction; kInterrupted also when a volume is being closed.
  base::Task<base::Result<Json>> Handle(Json& request, DiskService& other,
                                        disklib::Progress* progress);

  // An operation that is under way: "disk create vm/vm.vmdk"; empty: none.
  std::string running() const { return running_.empty() ? std::string() : *running_.begin(); }

  // [{"disk": PATH, "user": WHO, "writes": FLAG}, …]; "stands_on" for a disk on another volume that
  // has parents here.
  Json DescribeOpenDisks() const;

  // Stops what is under way, waits for it, and gives back what the tree holds on the volume, before
  // that is unmounted. Every disk that was opened through the tree has been closed.
  base::Task<base::Status> Close();

 private:
  class Stoppable;

  base::Executor& executor_;
  base::AsyncCondition running_changed_;
  std::multiset<std::string> running_;
  bool closing_ = false;
  SideDoor door_;
  disklib::FileBackend backend_;
  disklib::OpenDisks open_disks_;
  const disklib::Volume as_volume_;
  disklib::Lib lib_;
  disklib::VDisks disks_;
  VdiskTree tree_;
  DiskGuard guard_;
};

}  // namespace stratad
