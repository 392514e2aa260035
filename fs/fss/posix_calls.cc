#include "fs/fss/posix_calls.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace fss::posix {
namespace {

constexpr uint64_t kMicrosecondsPerSecond = 1'000'000;

base::Error Failed(std::string_view call, std::string_view name) {
  return base::ErrnoError(errno, "posix driver: " + std::string(call) + " " + std::string(name));
}

uint64_t ToMicroseconds(const timespec& time) {
  const int64_t seconds = std::max<int64_t>(time.tv_sec, 0);
  return static_cast<uint64_t>(seconds) * kMicrosecondsPerSecond +
         static_cast<uint64_t>(time.tv_nsec) / 1000;
}

timespec ToTimespec(const std::optional<uint64_t>& time_us) {
  if (!time_us) return {0, UTIME_OMIT};
  return {static_cast<time_t>(*time_us / kMicrosecondsPerSecond),
          static_cast<long>(*time_us % kMicrosecondsPerSecond * 1000)};
}

// The path that reopens what an O_PATH descriptor names (proc(5), /proc/self/fd).
std::string ReopenPath(int descriptor) {
  return "/proc/self/fd/" + std::to_string(descriptor);
}

FileType TypeOf(mode_t mode) {
  if (S_ISDIR(mode)) return FileType::kDirectory;
  if (S_ISLNK(mode)) return FileType::kSymlink;
  if (S_ISBLK(mode)) return FileType::kBlockDevice;
  return FileType::kRegular;
}

base::Result<Found> WithStatus(int descriptor, const std::string& name) {
  Found found;
  found.descriptor = descriptor;
  if (fstatat(descriptor, "", &found.status, AT_EMPTY_PATH) != 0) {
    const base::Error error = Failed("stat", name);
    close(descriptor);
    return error;
  }
  return found;
}

// Gives a new object its owner; only root may give objects away, and only then is it asked to.
int SetOwner(int descriptor, const NewInode& attributes) {
  if (geteuid() != 0) return 0;
  return fchownat(descriptor, "", attributes.uid, attributes.gid,
                  AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
}

// Owner first: a change of owner clears setuid and setgid.
base::Result<Found> Finish(int parent, const std::string& name, const NewInode& attributes,
                           bool set_mode) {
  TRY(Found found, Lookup(parent, name));
  const bool failed =
      SetOwner(found.descriptor, attributes) != 0 ||
      (set_mode && chmod(ReopenPath(found.descriptor).c_str(), attributes.mode) != 0);
  if (failed) {
    const base::Error error = Failed("set the owner of", name);
    close(found.descriptor);
    return error;
  }
  return WithStatus(found.descriptor, name);
}

}  // namespace

Attributes FromStat(const struct stat& status) {
  Attributes attributes;
  attributes.type = TypeOf(status.st_mode);
  attributes.mode = status.st_mode & 07777;
  attributes.link_count = static_cast<uint32_t>(status.st_nlink);
  attributes.uid = status.st_uid;
  attributes.gid = status.st_gid;
  attributes.size_bytes = static_cast<uint64_t>(status.st_size);
  attributes.allocated_bytes = static_cast<uint64_t>(status.st_blocks) * 512;
  attributes.block_size_bytes = static_cast<uint32_t>(status.st_blksize);
  attributes.modified_us = ToMicroseconds(status.st_mtim);
  attributes.changed_us = ToMicroseconds(status.st_ctim);
  attributes.accessed_us = ToMicroseconds(status.st_atim);
  return attributes;
}

base::Result<Found> OpenFolder(const std::string& folder_path) {
  const int descriptor = open(folder_path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return Failed("open folder", folder_path);
  return WithStatus(descriptor, folder_path);
}

base::Result<Found> Lookup(int parent, const std::string& name) {
  open_how how{};
  how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS;
  const long descriptor = syscall(SYS_openat2, parent, name.c_str(), &how, sizeof(how));
  if (descriptor < 0) return Failed("look up", name);
  return WithStatus(static_cast<int>(descriptor), name);
}

base::Result<struct stat> Stat(int descriptor) {
  struct stat status {};

  if (fstatat(descriptor, "", &status, AT_EMPTY_PATH) != 0) return Failed("stat", "an inode");
  return status;
}

base::Result<Found> CreateFile(int parent, const std::string& name, const NewInode& attributes) {
  const int descriptor =
      openat(parent, name.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (descriptor < 0) return Failed("create", name);
  close(descriptor);
  return Finish(parent, name, attributes, /*set_mode=*/true);
}

base::Result<Found> MakeDirectory(int parent, const std::string& name, const NewInode& attributes) {
  if (mkdirat(parent, name.c_str(), 0700) != 0) return Failed("make directory", name);
  return Finish(parent, name, attributes, /*set_mode=*/true);
}

base::Result<Found> MakeSymlink(int parent, const std::string& name, const std::string& target,
                                const NewInode& attributes) {
  if (symlinkat(target.c_str(), parent, name.c_str()) != 0) return Failed("make symlink", name);
  return Finish(parent, name, attributes, /*set_mode=*/false);
}

base::Result<std::string> ReadSymlink(int descriptor) {
  std::string target(PATH_MAX, '\0');
  const ssize_t length = readlinkat(descriptor, "", target.data(), target.size());
  if (length < 0) return Failed("read", "a symlink");
  target.resize(static_cast<size_t>(length));
  return target;
}

base::Status Change(int descriptor, const AttributeChange& change) {
  const std::string path = ReopenPath(descriptor);
  if (change.size_bytes && truncate(path.c_str(), static_cast<off_t>(*change.size_bytes)) != 0) {
    return Failed("truncate", "an inode");
  }
  if (change.uid || change.gid) {
    const uid_t uid = change.uid ? *change.uid : static_cast<uid_t>(-1);
    const gid_t gid = change.gid ? *change.gid : static_cast<gid_t>(-1);
    if (fchownat(descriptor, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0) {
      return Failed("change the owner of", "an inode");
    }
  }
  if (change.mode && chmod(path.c_str(), *change.mode) != 0) {
    return Failed("change the mode of", "an inode");
  }
  if (change.modified_us || change.accessed_us) {
    const timespec times[] = {ToTimespec(change.accessed_us), ToTimespec(change.modified_us)};
    if (utimensat(descriptor, "", times, AT_EMPTY_PATH) != 0) {
      return Failed("change the times of", "an inode");
    }
  }
  return base::Ok();
}

base::Status Remove(int parent, const std::string& name, bool directory) {
  if (unlinkat(parent, name.c_str(), directory ? AT_REMOVEDIR : 0) != 0) {
    return Failed("remove", name);
  }
  return base::Ok();
}

base::Status Rename(int from_parent, const std::string& from_name, int to_parent,
                    const std::string& to_name, bool no_replace) {
  const unsigned flags = no_replace ? RENAME_NOREPLACE : 0;
  if (renameat2(from_parent, from_name.c_str(), to_parent, to_name.c_str(), flags) != 0) {
    return Failed("rename", from_name);
  }
  return base::Ok();
}

base::Result<int> OpenForIo(int descriptor, bool writable) {
  const std::string path = ReopenPath(descriptor);
  int opened = open(path.c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
  if (opened < 0 && errno == EACCES && writable) opened = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (opened < 0) return Failed("open", "an inode");
  return opened;
}

base::Result<size_t> ReadRecords(int directory, uint64_t cursor, std::string& buffer) {
  const int opened = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (opened < 0) return Failed("open", "a directory");
  base::Result<size_t> count = size_t{0};
  if (lseek(opened, static_cast<off_t>(cursor), SEEK_SET) < 0) {
    count = Failed("seek in", "a directory");
  } else {
    const ssize_t read = getdents64(opened, buffer.data(), buffer.size());
    count = read < 0 ? base::Result<size_t>(Failed("read", "a directory"))
                     : base::Result<size_t>(static_cast<size_t>(read));
  }
  close(opened);
  return count;
}

base::Result<StatFs> GetStatFs(int descriptor) {
  struct statfs host {};

  if (fstatfs(descriptor, &host) != 0) return Failed("statfs", "the folder");
  StatFs figures;
  figures.block_size_bytes = static_cast<uint64_t>(host.f_frsize ? host.f_frsize : host.f_bsize);
  figures.blocks_total = host.f_blocks;
  figures.blocks_free = geteuid() == 0 ? host.f_bfree : host.f_bavail;
  figures.files_total = host.f_files;
  figures.files_free = host.f_ffree;
  figures.name_bytes_max = static_cast<uint32_t>(host.f_namelen);
  return figures;
}

base::Status SyncFileSystem(int descriptor) {
  const int opened = openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (opened < 0) return Failed("open", "the folder");
  const int result = syncfs(opened);
  const base::Error error = Failed("sync", "the folder");
  close(opened);
  if (result != 0) return error;
  return base::Ok();
}

base::Result<uint64_t> Seek(int descriptor, SeekKind kind, uint64_t offset_bytes) {
  const int whence = kind == SeekKind::kData ? SEEK_DATA : SEEK_HOLE;
  const off_t found = lseek(descriptor, static_cast<off_t>(offset_bytes), whence);
  if (found < 0) return Failed("seek in", "a file");
  return static_cast<uint64_t>(found);
}

base::Status ZeroRange(int descriptor, uint64_t offset_bytes, uint64_t length_bytes,
                       bool keep_size) {
  const auto offset = static_cast<off_t>(offset_bytes);
  const auto length = static_cast<off_t>(length_bytes);
  const int mode = FALLOC_FL_ZERO_RANGE | (keep_size ? FALLOC_FL_KEEP_SIZE : 0);
  if (fallocate(descriptor, mode, offset, length) == 0) return base::Ok();
  if (errno != EOPNOTSUPP) return Failed("zero", "a range");
  // tmpfs has no zero range: a hole there reads the same.
  if (fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) != 0) {
    return Failed("zero", "a range");
  }
  if (!keep_size && fallocate(descriptor, 0, offset, length) != 0) return Failed("zero", "a range");
  return base::Ok();
}

}  // namespace fss::posix
