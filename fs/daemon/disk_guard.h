// `DiskGuard`: keeps the files of open disks from being changed as plain files.
//
// It stands between a volume and the session that shows its files. While a virtual disk is open,
// its descriptor and extents are not opened for writing, truncated, replaced or removed (kBusy,
// naming the holder); while it is open for writing its extents are not read either, since the
// kernel would keep what it read. Thread rule: the volume's executor. Place in the stack: a filter
// of the file-system switch, on top of a volume.
#pragma once

#include <memory>
#include <string_view>

#include "disklib/open_disks.h"
#include "fs/fss/forwarding.h"

namespace stratad {

class DiskGuard final : public fss::ForwardingFileSystem {
 public:
  // Both outlive the filter.
  DiskGuard(fss::FileSystem& volume, disklib::OpenDisks& open_disks)
      : ForwardingFileSystem(volume), open_disks_(open_disks) {}

  base::Task<base::Result<fss::Attributes>> SetAttributes(fss::InodeNumber inode,
                                                          fss::AttributeChange change) override;
  base::Task<base::Status> Unlink(fss::InodeNumber parent, std::string_view name) override;
  base::Task<base::Status> Rename(fss::InodeNumber from_parent, std::string_view from_name,
                                  fss::InodeNumber to_parent, std::string_view to_name,
                                  bool no_replace) override;
  base::Task<base::Result<std::unique_ptr<fss::File>>> Open(fss::InodeNumber inode,
                                                            fss::OpenMode mode) override;

 private:
  // Ok, or kBusy with the disk that holds the inode.
  base::Status CheckFree(fss::InodeNumber inode) const;

  // The same for what stands at a name; a missing name is free.
  base::Task<base::Status> CheckNameFree(fss::InodeNumber parent, std::string_view name);

  disklib::OpenDisks& open_disks_;
};

}  // namespace stratad
