// `DiskGuard`: keeps the files of open disks from being changed as plain files.
//
// It stands between a volume and the session that shows its files. While a virtual disk is open,
// its files are not truncated, replaced, removed or opened for writing (kBusy, naming the holder;
// the refusal is logged). The files of a leaf that is open for writing are not opened to read
// either, and what was opened before is not read on: a copy of a live disk is none. Frozen links
// stay readable. The kernel reports a close late, so an open is refused only after a short wait.
// Thread rule: the volume's executor. Place in the stack: a filter of the file-system switch, on
// top of a volume.
#pragma once

#include <memory>
#include <string_view>

#include "disklib/open_disks.h"
#include "fs/base/executor.h"
#include "fs/fss/forwarding.h"

namespace stratad {

class DiskGuard final : public fss::ForwardingFileSystem {
 public:
  // All outlive the filter.
  DiskGuard(base::Executor& executor, fss::FileSystem& volume, disklib::OpenDisks& open_disks)
      : ForwardingFileSystem(volume), executor_(executor), open_disks_(open_disks) {}

  base::Task<base::Result<fss::Attributes>> SetAttributes(fss::InodeNumber inode,
                                                          fss::AttributeChange change) override;
  base::Task<base::Status> Unlink(fss::InodeNumber parent, std::string_view name) override;
  base::Task<base::Status> Rename(fss::InodeNumber from_parent, std::string_view from_name,
                                  fss::InodeNumber to_parent, std::string_view to_name,
                                  bool no_replace) override;
  base::Task<base::Result<std::unique_ptr<fss::File>>> Open(fss::InodeNumber inode,
                                                            fss::OpenMode mode) override;

 private:
  // Ok, or kBusy with the disk that holds the inode. `what` is the change asked for.
  base::Task<base::Status> CheckFree(fss::InodeNumber inode, std::string_view what);

  // The same for what stands at a name; a missing name is free.
  base::Task<base::Status> CheckNameFree(fss::InodeNumber parent, std::string_view name,
                                         std::string_view what);

  // Reports an open of a plain file.
  base::Task<base::Status> NoteOpen(fss::InodeNumber inode, bool writes);

  base::Executor& executor_;
  disklib::OpenDisks& open_disks_;
};

}  // namespace stratad
