// Replacing the whole content of several small files in one journal transaction.
//
// New bytes go into descriptors or into fresh blocks that the commit flushes first; the transaction
// switches the descriptors and frees what they named before. So a crash leaves all files as they
// were, or all with their new content (vmfs/FORMAT.md, "Crash rules"). Thread rule: the volume's
// executor.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/inode/inode.h"
#include "vmfs/volume/core.h"

namespace vmfs {

struct FileReplacement {
  Inode* inode = nullptr;  // a regular file, referred to by the caller
  std::string_view contents;
};

// Replaces and commits; takes the inodes' locks itself. `files` is put in the order of the locks.
// Errors: kInvalidArgument (a file twice), kTooLarge (over fss::kReplacementBytesMax of new bytes,
// more files or old blocks than one transaction frees, a map with pointer blocks), kStale,
// kNoSpace, kLockHeld naming the holder, kCorrupt, kFenced, the device's. Nothing has changed then,
// unless the commit itself failed.
base::Task<base::Status> ReplaceFiles(VolumeCore& core, std::vector<FileReplacement>& files);

}  // namespace vmfs
