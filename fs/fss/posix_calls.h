// The system calls of the posix driver: plain functions that may block, results as values.
//
// Objects of the host's file system are named by O_PATH descriptors, so that a rename on the host
// does not change what a descriptor means, and no path is ever walked twice. Thread rule: any
// thread; the driver calls them on the executor's helper thread. Place in the stack: under
// `PosixFileSystem` only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <sys/stat.h>

#include "fs/base/result.h"
#include "fs/fss/file_system.h"

namespace fss::posix {

// A found or created object: the caller owns `descriptor` (O_PATH).
struct Found {
  int descriptor = -1;

  struct stat status {};
};

// Attributes from stat(2); `inode` and `generation` are the driver's own and stay 0.
Attributes FromStat(const struct stat& status);

// Opens the folder itself. Errors: those of open(2); kNotDirectory.
base::Result<Found> OpenFolder(const std::string& folder_path);

// Finds `name` in the directory. A name that is a mount point answers kCrossDevice, so that the
// driver never leaves the file system it was given (openat2(2), RESOLVE_NO_XDEV).
base::Result<Found> Lookup(int parent, const std::string& name);

base::Result<struct stat> Stat(int descriptor);

// What each of these makes gets exactly the mode and owner asked for, whatever the umask is.
base::Result<Found> CreateFile(int parent, const std::string& name, const NewInode& attributes);
base::Result<Found> MakeDirectory(int parent, const std::string& name, const NewInode& attributes);
base::Result<Found> MakeSymlink(int parent, const std::string& name, const std::string& target,
                                const NewInode& attributes);

base::Result<std::string> ReadSymlink(int descriptor);
base::Status Change(int descriptor, const AttributeChange& change);
base::Status Remove(int parent, const std::string& name, bool directory);
base::Status Rename(int from_parent, const std::string& from_name, int to_parent,
                    const std::string& to_name, bool no_replace);

// Opens for I/O; for writing also for reading where the host allows it.
base::Result<int> OpenForIo(int descriptor, bool writable);

// Fills `buffer` with raw linux_dirent64 records behind `cursor`; 0 bytes at the end.
base::Result<size_t> ReadRecords(int directory, uint64_t cursor, std::string& buffer);

base::Result<StatFs> GetStatFs(int descriptor);
base::Status SyncFileSystem(int descriptor);
base::Result<uint64_t> Seek(int descriptor, SeekKind kind, uint64_t offset_bytes);

// The range reads as zeros afterwards; the length grows to its end unless `keep_size`.
base::Status ZeroRange(int descriptor, uint64_t offset_bytes, uint64_t length_bytes,
                       bool keep_size);

}  // namespace fss::posix
