// What kind of thing a path names, for those who must refuse some kinds as a volume's backing.
//
// Locks of this project over a file exclude processes of one machine only: a file on a network or
// FUSE file system may be open elsewhere, and its locks may mean nothing. Any thread; blocks.
#pragma once

#include <cstdint>
#include <string>

#include "fs/base/result.h"

namespace base {

struct FileBacking {
  enum class Kind : uint8_t { kRegularFile, kBlockNode };

  Kind kind = Kind::kRegularFile;
  std::string file_system;  // "ext4", "tmpfs", "nfs"; in hexadecimal where unknown; empty for nodes
  bool is_network = false;  // other machines may have it open
  bool is_fuse = false;     // a program answers for it, possibly this one
};

// Follows symbolic links. Errors: kNotFound, kPermission; kInvalidArgument when the path is neither
// a regular file nor a block node; others of errno.
Result<FileBacking> DescribeBacking(const std::string& path);

// The same for an open descriptor; `path` is for messages only.
Result<FileBacking> DescribeDescriptor(int descriptor, const std::string& path);

}  // namespace base
