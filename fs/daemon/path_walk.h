// `PathWalk`: finds inodes by path in a file system without a mount.
//
// It holds the lookups it made until it is destroyed, before the file system is unmounted. Symbolic
// links are not followed: a path names what stands there. Thread rule: the file system's executor.
// Place in the stack: programs and disk operations, above the file-system switch.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/task.h"
#include "fs/fss/file_system.h"

namespace stratad {

class PathWalk {
 public:
  explicit PathWalk(fss::FileSystem& file_system) : file_system_(file_system) {}

  PathWalk(const PathWalk&) = delete;
  PathWalk& operator=(const PathWalk&) = delete;
  ~PathWalk();

  // What stands at `path` ("/vm/disk.vmdk"; "" and "/" are the root). Errors: kNotFound naming the
  // component, kNotDirectory, those of Lookup.
  base::Task<base::Result<fss::Attributes>> Find(std::string_view path);

  // A lookup made elsewhere (CreateFile and its like) that is to be given back as well.
  void Keep(fss::InodeNumber inode) { lookups_.push_back(inode); }

 private:
  fss::FileSystem& file_system_;
  std::vector<fss::InodeNumber> lookups_;
};

// "/a/b/c" -> "/a/b" and "c"; the last component is empty for the root.
struct SplitPath {
  std::string_view parent;
  std::string_view name;
};

SplitPath SplitLast(std::string_view path);

// Collects all entries of a directory but "." and "..".
struct ListedEntry {
  std::string name;
  fss::InodeNumber inode = 0;
  fss::FileType type = fss::FileType::kRegular;
};

base::Task<base::Status> ListDirectory(fss::FileSystem& file_system, fss::InodeNumber directory,
                                       std::vector<ListedEntry>& entries);

}  // namespace stratad
