// The posix driver: a folder of the host as an `fss::FileSystem`.
//
// Metadata calls run on the executor's helper thread, data through its ring. Every looked-up inode
// holds one O_PATH descriptor, so the number of inodes in use is bounded by RLIMIT_NOFILE; the
// driver stays within the file system the folder lies on. Inode numbers are the host's where they
// fit in 32 bits (so that several volumes share one mount), else numbers of our own. Opens for
// disks take QEMU's locks (`disk_locks.h`), other opens none.
// Thread rule: the executor's thread. Place in the stack: a driver of the file-system switch.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "fs/base/result.h"
#include "fs/base/uring_executor.h"
#include "fs/fss/disk_locks.h"
#include "fs/fss/file_system.h"
#include "fs/fss/posix_calls.h"

namespace fss {

class PosixFileSystem final : public FileSystem {
 public:
  struct Options {
    std::string folder_path;
    std::string label;  // how the mount shows it; the folder's own name where empty
    bool read_only = false;
  };

  // Blocks. Errors: those of opening a directory.
  static base::Result<std::unique_ptr<PosixFileSystem>> Create(base::UringExecutor& executor,
                                                               const Options& options);
  ~PosixFileSystem() override;

  InodeNumber root() const override { return root_; }

  const std::string& label() const override { return label_; }

  const std::string& uuid() const override { return uuid_; }

  bool read_only() const override { return read_only_; }

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
  base::Task<base::Status> Rename(InodeNumber from_parent, std::string_view from_name,
                                  InodeNumber to_parent, std::string_view to_name,
                                  bool no_replace) override;
  base::Task<base::Result<std::unique_ptr<File>>> Open(InodeNumber inode, OpenMode mode) override;
  base::Task<base::Status> ReadDirectory(InodeNumber inode, uint64_t cursor,
                                         DirectorySink& sink) override;
  base::Task<base::Result<StatFs>> GetStatFs() override;
  base::Task<base::Status> SyncAll() override;
  base::Task<base::Status> Unmount() override;

 private:
  struct Node {
    int descriptor = -1;
    uint64_t host_inode = 0;
    uint64_t generation = 0;
    uint64_t lookup_count = 0;
    FileType type = FileType::kRegular;
  };

  PosixFileSystem(base::UringExecutor& executor, const Options& options);

  // The descriptor of a known inode. Errors: kStale.
  base::Result<int> DescriptorOf(InodeNumber inode) const;
  base::Status RefuseWriting() const;

  // Takes over what was found, counts the lookup and answers its attributes.
  Attributes Adopt(const posix::Found& found);
  Attributes AttributesOf(InodeNumber inode, const struct stat& status) const;

  // The number a host inode has, or would get.
  InodeNumber NumberFor(uint64_t host_inode) const;

  base::Task<base::Result<Attributes>> Make(InodeNumber parent, std::string_view name,
                                            std::string_view target, NewInode attributes,
                                            FileType type);
  base::Task<base::Status> Remove(InodeNumber parent, std::string_view name, bool directory);

  base::UringExecutor& executor_;
  const bool read_only_;
  std::string label_;
  std::string uuid_;
  InodeNumber root_ = 0;
  uint64_t next_generation_ = 1;
  std::unordered_map<InodeNumber, Node> nodes_;
  std::unordered_map<uint64_t, InodeNumber> numbers_;  // by the host's inode number
  DiskLocks locks_;
};

}  // namespace fss
