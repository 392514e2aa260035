// The trees of a mount: `volumes` for the first FUSE session, `devices` for the second.
//
//   MNT/volumes/LABEL/…              files of the datastore; MNT/volumes/UUID is a link to it
//   MNT/devices/disks/NAME           the device under a volume, as one raw image, read-only
//   MNT/devices/vdisks/LABEL/….vmdk  every virtual disk as one raw image
//   MNT/devices/{deltadisks,cbt,svm}
//
// Thread rule: the executor of the volumes. Place in the stack: between drivers and sessions.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "fs/base/block_device.h"
#include "fs/fss/devfs.h"
#include "fs/fss/file_system.h"
#include "fs/fss/switch.h"

namespace stratad {

class MountTree {
 public:
  struct Options {
    uint32_t uid = 0, gid = 0;  // who owns the upper levels
    uint64_t created_us = 0;
    bool one_session = false;  // `devices` lies in the tree of `volumes`, for one session alone
  };

  explicit MountTree(const Options& options);
  MountTree(const MountTree&) = delete;
  MountTree& operator=(const MountTree&) = delete;

  // Shows a volume under its label, or the label with a number behind it where that is taken, or
  // its UUID where it has none. Answers the name. `file_system` outlives the tree.
  std::string AddVolume(fss::FileSystem& file_system);

  // Shows the virtual disks of a volume under the name that AddVolume gave it.
  void AddVirtualDisks(std::string_view volume_name, fss::FileSystem& disks);

  // Shows a device, which outlives the tree.
  void AddDevice(std::string_view name, base::BlockDevice& device);

  fss::Switch& volumes() { return volumes_; }

  // With one session: the same tree.
  fss::Switch& devices() { return devices_; }

 private:
  fss::DevFs outer_;
  fss::DevFs separate_;  // the upper levels of `devices` for a session of their own
  fss::DevFs& inner_;    // one of the two above
  fss::Switch volumes_;
  fss::Switch separate_devices_;
  fss::Switch& devices_;  // likewise
  fss::InodeNumber volumes_folder_;
  fss::InodeNumber disks_folder_ = 0;
  fss::InodeNumber virtual_disks_folder_ = 0;
};

// What a volume's directory in the mount is called: its label without '/', control bytes, and the
// names "." and ".."; its UUID where nothing is left.
std::string FolderNameOf(std::string_view label, std::string_view uuid);

}  // namespace stratad
