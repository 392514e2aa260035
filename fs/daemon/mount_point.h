// Mount points of this host: what is mounted where, and mounting's counterpart.
//
// Thread rule: any thread; everything here may block, and whatever touches one of our own mounts
// may wait for its daemon: never on the executor's thread of that daemon. Place in the stack: under
// the daemon and `strata umount`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"

namespace stratad {

// The type that mount tables show for our mounts.
inline constexpr std::string_view kMountType = "fuse.strata";

struct MountEntry {
  std::string device;  // "0:52"
  std::string mount_point;
  std::string type;
  std::string source;
};

// All mounts this process sees, outer ones first. `text` is in the form of proc_pid_mountinfo(5).
std::vector<MountEntry> ParseMountInfo(std::string_view text);
base::Result<std::vector<MountEntry>> ReadMountTable();

// An absolute path without symbolic links or dots, also for the mount point of a dead daemon, whose
// last component nobody can look at any more. Errors: kNotFound, kNotDirectory and others of errno.
base::Result<std::string> CanonicalMountPoint(const std::string& path);

// The innermost of our mounts that `path` (absolute) lies on or in; empty: none. The inner mount
// `devices` counts as its outer one.
std::string MountContaining(const std::vector<MountEntry>& table, const std::string& path);

// Whether a mount is there whose daemon is gone.
bool IsDeadMount(const std::string& mount_point);

// Makes ready for a new mount: clears away what a dead daemon left there.
// Errors: kBusy (a live mount of ours), kNotDirectory, kNotFound.
base::Status PrepareMountPoint(const std::string& mount_point);

enum class Detach : bool { kWhenUnused, kLazily };

// umount(2), or fusermount3 where this user is not root. Errors: kBusy, kPermission.
base::Status UnmountPath(const std::string& mount_point, Detach detach);

// syncfs(2) of the file system mounted there.
base::Status SyncMount(const std::string& mount_point);

// The device number of our mount there, in the form "0:52". Errors: kNotFound.
base::Result<std::string> DeviceOfMount(const std::string& mount_point);

// "1234 (bash), 1240 (qemu-system-x86)": processes that use files below `mount_point`; at most a
// few. This process is not listed.
std::string DescribeUsers(const std::string& mount_point);

}  // namespace stratad
