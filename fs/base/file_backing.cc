#include "fs/base/file_backing.h"

#include <cerrno>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace base {
namespace {

struct FileSystemRow {
  uint32_t magic;
  const char* name;
  bool is_network;
  bool is_fuse;
};

// statfs(2), "Filesystem types"; the kernel's include/uapi/linux/magic.h.
constexpr FileSystemRow kFileSystems[] = {
    {0xEF53, "ext4", false, false},         {0x58465342, "xfs", false, false},
    {0x9123683E, "btrfs", false, false},    {0x01021994, "tmpfs", false, false},
    {0x858458F6, "ramfs", false, false},    {0xF2F52010, "f2fs", false, false},
    {0x794C7630, "overlay", false, false},  {0x2FC12FC1, "zfs", false, false},
    {0xCA451A4E, "bcachefs", false, false}, {0x4D44, "vfat", false, false},
    {0x2011BAB0, "exfat", false, false},    {0x6969, "nfs", true, false},
    {0x517B, "smb", true, false},           {0xFF534D42, "cifs", true, false},
    {0xFE534D42, "smb2", true, false},      {0x00C36400, "ceph", true, false},
    {0x01021997, "9p", true, false},        {0x5346414F, "afs", true, false},
    {0x73757245, "coda", true, false},      {0x01161970, "gfs2", true, false},
    {0x7461636F, "ocfs2", true, false},     {0x0BD00BD0, "lustre", true, false},
    {0x47504653, "gpfs", true, false},      {0x65735546, "fuse", false, true},
};

void NameFileSystem(uint32_t magic, FileBacking& backing) {
  for (const FileSystemRow& row : kFileSystems) {
    if (row.magic != magic) continue;
    backing.file_system = row.name;
    backing.is_network = row.is_network;
    backing.is_fuse = row.is_fuse;
    return;
  }
  backing.file_system = fmt::format("0x{:x}", magic);
}

}  // namespace

Result<FileBacking> DescribeDescriptor(int descriptor, const std::string& path) {
  struct stat status {};

  if (fstat(descriptor, &status) != 0) return ErrnoError(errno, "examine " + path);
  FileBacking backing;
  if (S_ISBLK(status.st_mode)) {
    backing.kind = FileBacking::Kind::kBlockNode;
    return backing;
  }
  if (!S_ISREG(status.st_mode)) {
    return Error(Code::kInvalidArgument,
                 "examine " + path + ": neither a regular file nor a block node");
  }

  struct statfs file_system {};

  if (fstatfs(descriptor, &file_system) != 0) {
    return ErrnoError(errno, "examine the file system of " + path);
  }
  NameFileSystem(static_cast<uint32_t>(file_system.f_type), backing);
  return backing;
}

Result<FileBacking> DescribeBacking(const std::string& path) {
  const int descriptor = open(path.c_str(), O_PATH | O_CLOEXEC);
  if (descriptor < 0) return ErrnoError(errno, "examine " + path);
  Result<FileBacking> backing = DescribeDescriptor(descriptor, path);
  close(descriptor);
  return backing;
}

}  // namespace base
