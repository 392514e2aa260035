// Runs a disk request (`fs/daemon/disk_actions.h`) where its disks are: on a mount, through the
// daemon; on an unmounted volume or in a host folder, here.
//
// Thread rule: the main thread. Place in the stack: shared by the disk commands of `strata` and by
// `vmkfstools`.
#pragma once

#include <string>

#include "disklib/new_extents.h"
#include "fs/base/result.h"
#include "fs/daemon/json.h"

namespace stratad {

// Where a disk is.
struct DiskPlace {
  std::string mount_point;  // its daemon is asked; empty: the disk is on no mount
  std::string target;       // this volume is opened here; empty: the disk is in a host folder
  std::string path;         // from the mount point, from the volume's root, or absolute

  bool in_host_folder() const { return mount_point.empty() && target.empty(); }
};

// What a word of the command line means: a path on a mount or in a host folder, or TARGET:/PATH.
// Errors: of errno, when the folder is not there.
base::Result<DiskPlace> FindDiskPlace(const std::string& text);

// What a command line says beside the verb's own options.
struct DiskRequestOptions {
  std::string datastore;  // host folders: names resolve inside this one; empty: the disks' folder
  bool allow_outside = false;  // host folders: descriptors may name device nodes
  std::string title = "disk";             // of the progress bar
  disklib::Progress* progress = nullptr;  // shown instead of a bar
};

// Translates the paths of `request` (`kDiskPathKeys`, as the user typed them), runs it with a
// progress bar and answers what the operation said. A refusal because the disk is in use names the
// processes. Errors: kCrossDevice (the paths lie on different volumes), those of the operation.
base::Result<Json> RunDiskRequest(Json request, const DiskRequestOptions& options = {});

}  // namespace stratad
