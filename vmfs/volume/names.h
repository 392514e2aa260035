// Names: create, unlink and rename, as transactions over directories, descriptors and orphans.
//
// Every operation prepares all its parts first (names, descriptors, space, on-disk locks) and then
// modifies them in one transaction. Order of locks: `many_directories_` for whoever locks more than
// one directory, then directories, then files. Thread rule: the volume's executor.
#pragma once

#include <cstdint>
#include <string_view>

#include "fs/base/result.h"
#include "fs/base/sync.h"
#include "fs/base/task.h"
#include "fs/fss/file_system.h"
#include "vmfs/directory/directory.h"
#include "vmfs/inode/inode_table.h"
#include "vmfs/volume/core.h"

namespace vmfs {

// What Create makes.
struct NewName {
  InodeType type = InodeType::kFile;
  std::string_view inline_data;  // the target of a symbolic link, the id of a raw device
  fss::NewInode attributes;
  std::optional<uint64_t> length_bytes = {};  // where it is not that of the inline data
};

class Names {
 public:
  Names(VolumeCore& core, InodeTable& inodes)
      : core_(core), inodes_(inodes), many_directories_(core.executor) {}

  // Errors: kExists, kNoSpace, kNameTooLong, kNameInvalid, kNotPermitted, kReadOnly …
  base::Task<base::Result<InodeRef>> Create(FdAddress parent, std::string_view name, NewName what);

  // `directory`: rmdir, else unlink. What is open lives on until its last close.
  base::Task<base::Status> Remove(FdAddress parent, std::string_view name, bool directory);

  base::Task<base::Status> Rename(FdAddress from_parent, std::string_view from_name,
                                  FdAddress to_parent, std::string_view to_name, bool no_replace);

  // Frees an inode without a name: its blocks, then its descriptor. For orphans that nobody has
  // open. Errors: kCorrupt, kIo; the orphan stays on record.
  base::Task<base::Status> Delete(Inode& inode);

  // Deletes what earlier mounts left behind. With `scan`, looks through all descriptors.
  base::Task<base::Status> DeleteOrphans(const std::vector<Orphan>* orphans, bool scan);

 private:
  struct Created;  // what Create has prepared
  struct Move;     // what Rename has prepared

  base::Task<base::Status> CheckParent(Inode& parent);
  base::Task<base::Status> PrepareDescriptor(Inode& parent, Created& created);
  base::Task<void> PrepareLocks(Reservation& descriptor);
  base::Task<base::Status> PrepareDirectory(Created& created);
  uint32_t MakeDescriptor(Transaction& transaction, Inode& parent, const NewName& what,
                          Created& created);
  base::Task<base::Status> RemoveLocked(Inode& parent, std::string_view name, bool directory,
                                        InodeRef& removed);
  base::Task<base::Status> DeleteUnlessOpen(Inode& inode);
  base::Task<base::Status> RenameLocked(Inode& from, std::string_view from_name, Inode& to,
                                        std::string_view to_name, bool no_replace,
                                        InodeRef& replaced);
  base::Task<base::Status> PrepareReplaced(Inode& from, Move& move, bool no_replace);
  base::Task<base::Status> CheckNotBelow(FdAddress directory, FdAddress moved);
  base::Task<base::Status> ApplyMove(Inode& from, Inode& to, Move& move);
  void DropLink(Transaction& transaction, Inode& inode);

  VolumeCore& core_;
  InodeTable& inodes_;
  base::AsyncLock many_directories_;
  ResourceIndex last_created_;  // the descriptor that was taken last
  uint32_t prepared_run_ = 1;   // how many lock blocks were made together
  uint32_t prepared_left_ = 0;  // of those, how many are still to be used
};

}  // namespace vmfs
