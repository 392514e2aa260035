// `Switch`: several file systems as one tree, the file-system switch itself.
//
// An upper tree (devfs) has directories at which other file systems are grafted. Inode numbers are
// `graft index << 32 | the driver's number`, index 0 being the upper tree, so that two volumes
// never collide under one st_dev; every driver's numbers fit in 32 bits. The root is inode 1, as
// FUSE wants it. The switch owns none of its file systems; each must outlive it.
// Thread rule: the executor of the drivers. Place in the stack: between drivers and FUSE session.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"
#include "fs/fss/devfs.h"
#include "fs/fss/file_system.h"

namespace fss {

class Switch final : public FileSystem {
 public:
  explicit Switch(DevFs& upper);

  // Whether a kernel may keep what it was told about a member's inodes.
  enum class Caching : bool { kNone, kAllowed };

  // Shows `file_system` in place of the upper tree's directory.
  void Graft(InodeNumber upper_directory, FileSystem& file_system,
             Caching caching = Caching::kAllowed);

  // Whether attributes and names of this inode may be kept, and whether its data may: files of the
  // upper tree are devices, whose data is never kept.
  bool MayCache(InodeNumber inode) const;
  bool MayCacheData(InodeNumber inode) const;

  // The inode of the root of a grafted file system as seen through the switch; 0 if it is none.
  InodeNumber RootOf(const FileSystem& file_system) const;

  // A grafted file system's inode as seen through the switch; 0 if it is not grafted.
  InodeNumber NumberOf(const FileSystem& file_system, InodeNumber inode) const;

  // As the methods without At, for the file system an inode lies on.
  base::Task<base::Result<StatFs>> GetStatFsAt(InodeNumber inode);
  base::Task<base::Status> SyncAt(InodeNumber inode);

  InodeNumber root() const override { return upper_.root(); }

  const std::string& label() const override { return upper_.label(); }

  const std::string& uuid() const override { return upper_.uuid(); }

  bool read_only() const override { return false; }

  base::Task<base::Result<Attributes>> Lookup(InodeNumber parent, std::string_view name) override;
  void Forget(InodeNumber inode, uint64_t count) override;
  base::Task<base::Result<Attributes>> GetAttributes(InodeNumber inode) override;
  base::Task<base::Result<Attributes>> SetAttributes(InodeNumber inode,
                                                     AttributeChange change) override;
  base::Task<base::Result<Attributes>> CreateFile(InodeNumber parent, std::string_view name,
                                                  NewInode attributes) override;
  base::Task<base::Result<Attributes>> MakeDirectory(InodeNumber parent, std::string_view name,
                                                     NewInode attributes) override;
  base::Task<base::Result<Attributes>> MakeSymlink(InodeNumber parent, std::string_view name,
                                                   std::string_view target,
                                                   NewInode attributes) override;
  base::Task<base::Result<std::string>> ReadSymlink(InodeNumber inode) override;
  base::Task<base::Status> Unlink(InodeNumber parent, std::string_view name) override;
  base::Task<base::Status> RemoveDirectory(InodeNumber parent, std::string_view name) override;

  // Error kCrossDevice: the two names lie on different file systems.
  base::Task<base::Status> Rename(InodeNumber from_parent, std::string_view from_name,
                                  InodeNumber to_parent, std::string_view to_name,
                                  bool no_replace) override;
  base::Task<base::Result<std::unique_ptr<File>>> Open(InodeNumber inode, OpenMode mode) override;
  base::Task<base::Status> ReadDirectory(InodeNumber inode, uint64_t cursor,
                                         DirectorySink& sink) override;

  // Of the upper tree and of everything, respectively.
  base::Task<base::Result<StatFs>> GetStatFs() override;
  base::Task<base::Status> SyncAll() override;

  // Leaves the grafted file systems mounted: they belong to the caller.
  base::Task<base::Status> Unmount() override;

 private:
  struct Member {
    FileSystem* file_system;
    InodeNumber upper_directory;  // 0 for the upper tree itself
    Caching caching;
  };

  // Where a number of the switch leads.
  struct Place {
    FileSystem* file_system;
    uint64_t index;
    InodeNumber inode;  // the driver's
  };

  base::Result<Place> PlaceOf(InodeNumber inode) const;

  // The graft at a directory of the upper tree; 0: none.
  uint64_t GraftAt(InodeNumber upper_inode) const;

  DevFs& upper_;
  std::vector<Member> members_;
};

}  // namespace fss
