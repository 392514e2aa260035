// Rebuilding one directory on the volume, with changes to its names.
//
// Internal to `vmfs/fsck`. Thread rule: the volume's executor.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "vmfs/fsck/directory_build.h"
#include "vmfs/fsck/repair_work.h"

namespace vmfs::fsck {

// What becomes of a directory's names besides what its own damage demands.
struct DirectoryEdit {
  std::set<uint64_t> removed;  // by the file offset of the record
  // New generation and type of a record's target.
  struct Target {
    uint32_t generation = 0, type = 0;
  };
  std::map<uint64_t, Target> changed;
  std::vector<BuiltName> added;  // a name that is taken gets its descriptor's address appended
};

// Reads what can be read, and writes the directory anew; it grows when it must. Errors: kNoSpace,
// kCorrupt (no directory's descriptor), those of the device.
base::Task<base::Status> RebuildDirectory(RepairWork& work, FdAddress fd, DirectoryEdit& edit);

// "#02400004": the name of what has lost its own.
std::string LostName(FdAddress fd);

}  // namespace vmfs::fsck
