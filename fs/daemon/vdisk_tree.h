// `VdiskTree`: the virtual disks of one volume as a file system, `devices/vdisks/LABEL`.
//
// It has the volume's directories, and in each the disks whose base descriptors lie there, as raw
// images of their capacity. A disk shows its current leaf, whichever link that is; its other links
// are frozen and lie, read-only, in a folder beside it, NAME.vmdk.snapshots. Nothing can be
// created, renamed or removed here (kNotPermitted): that is done to the volume's files or by
// `strata disk`. A disk's inode number follows from its folder and name, so that it stays the same
// while descriptors are rewritten; it fits in 32 bits. Thread rule: the volume's executor. Place in
// the stack: a driver of the file-system switch, over disklib.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "disklib/disk_list.h"
#include "disklib/vdisk.h"
#include "fs/base/executor.h"
#include "fs/fss/file_system.h"

namespace stratad {

class VdiskTree final : public fss::FileSystem {
 public:
  // All outlive the tree, the volume at least until `Unmount`.
  VdiskTree(base::Executor& executor, fss::FileSystem& volume, disklib::VDisks& disks);

  fss::InodeNumber root() const override { return volume_.root(); }

  const std::string& label() const override { return volume_.label(); }

  const std::string& uuid() const override { return volume_.uuid(); }

  bool read_only() const override { return volume_.read_only(); }

  base::Task<base::Result<fss::Attributes>> Lookup(fss::InodeNumber parent,
                                                   std::string_view name) override;
  void Forget(fss::InodeNumber inode, uint64_t count) override;
  base::Task<base::Result<fss::Attributes>> GetAttributes(fss::InodeNumber inode) override;

  // A new length extends the disk; mode, owner and times belong to the descriptor (kNotPermitted).
  base::Task<base::Result<fss::Attributes>> SetAttributes(fss::InodeNumber inode,
                                                          fss::AttributeChange change) override;
  base::Task<base::Result<fss::Attributes>> CreateFile(fss::InodeNumber, std::string_view,
                                                       fss::NewInode) override;
  base::Task<base::Result<fss::Attributes>> MakeDirectory(fss::InodeNumber, std::string_view,
                                                          fss::NewInode) override;
  base::Task<base::Result<fss::Attributes>> MakeSymlink(fss::InodeNumber, std::string_view,
                                                        std::string_view, fss::NewInode) override;
  base::Task<base::Result<std::string>> ReadSymlink(fss::InodeNumber) override;
  base::Task<base::Status> Unlink(fss::InodeNumber, std::string_view) override;
  base::Task<base::Status> RemoveDirectory(fss::InodeNumber, std::string_view) override;
  base::Task<base::Status> Rename(fss::InodeNumber, std::string_view, fss::InodeNumber,
                                  std::string_view, bool) override;

  // Errors, which are logged: kBusy (a file of the disk is open for writing, by the holder named),
  // kUnsupported (nothing says which link is the current one; the links are named), kReadOnly (a
  // frozen link, for writing).
  base::Task<base::Result<std::unique_ptr<fss::File>>> Open(fss::InodeNumber inode,
                                                            fss::OpenMode mode) override;
  base::Task<base::Status> ReadDirectory(fss::InodeNumber inode, uint64_t cursor,
                                         fss::DirectorySink& sink) override;

  base::Task<base::Result<fss::StatFs>> GetStatFs() override { return volume_.GetStatFs(); }

  base::Task<base::Status> SyncAll() override { return volume_.SyncAll(); }

  base::Task<base::Status> Unmount() override;

 private:
  enum class Kind : uint8_t {
    kFolder,     // of the volume
    kDisk,       // named after its base
    kSnapshots,  // the folder of a disk's frozen links
    kFrozen,     // one of them
  };

  struct Node {
    fss::InodeNumber parent = 0;
    std::string name;
    fss::InodeNumber volume_inode = 0;  // of a folder of the volume
    Kind kind = Kind::kFolder;
    uint64_t lookup_count = 0;

    bool is_file() const { return kind == Kind::kDisk || kind == Kind::kFrozen; }
  };

  // A link of a disk: where its descriptor lies.
  struct Place {
    fss::InodeNumber folder = 0;  // on the volume
    std::string folder_path;
    std::string name;
    std::string trouble;  // why it cannot be opened

    std::string path() const;
  };

  base::Task<base::Result<fss::Attributes>> LookupFolder(fss::InodeNumber parent,
                                                         std::string* name);
  base::Task<base::Result<fss::Attributes>> LookupDisk(fss::InodeNumber parent, std::string* name);
  base::Task<base::Result<fss::Attributes>> AttributesOf(fss::InodeNumber inode);
  base::Task<base::Status> ListSnapshots(fss::InodeNumber inode, uint64_t cursor,
                                         fss::DirectorySink& sink);

  // The disk called `name` in a folder of the tree. Errors: kNotFound.
  base::Task<base::Result<disklib::FolderDisk>> FindDisk(fss::InodeNumber folder,
                                                         std::string_view name);

  // The link a file of the tree shows now. Errors: kStale, kNotFound.
  base::Task<base::Result<Place>> FindPlace(fss::InodeNumber inode);

  // The number of a name: wanted, or the next one that nothing else has.
  fss::InodeNumber NumberFor(fss::InodeNumber wanted, fss::InodeNumber parent,
                             std::string_view name) const;
  fss::InodeNumber NumberOfDisk(fss::InodeNumber parent, std::string_view name) const;
  fss::InodeNumber Adopt(Node node, fss::InodeNumber number);

  // The directory's inode on the volume. Errors: kStale, kNotDirectory.
  base::Result<fss::InodeNumber> DirectoryOf(fss::InodeNumber inode) const;

  // The path from the volume's root: "vm/disk.vmdk".
  base::Result<std::string> PathOf(fss::InodeNumber inode) const;

  base::Executor& executor_;
  fss::FileSystem& volume_;
  disklib::VDisks& disks_;
  disklib::DiskLister lister_;
  std::unordered_map<fss::InodeNumber, Node> nodes_;
};

}  // namespace stratad
