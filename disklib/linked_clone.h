// Linked clone: a new disk that stands on a frozen one, possibly in another folder; and attach and
// detach, which change what a link stands on.
//
// A linked clone takes no space of its own at first. Its parent is frozen from then on: it is
// registered there (`children.h`), and opening the parent for writing, deleting it and committing
// into it are refused while the clone lives. Each is safe to cut and to run again
// (disklib/FORMAT.md, "Linked clones"). Place: over `new_link.h` and `children.h`. Thread rule: the
// executor of the Lib.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "disklib/lib.h"
#include "disklib/new_link.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

struct LinkedCloneOptions {
  DiskLayout layout = DiskLayout::kSeSparse;
  uint64_t grain_bytes = 0;  // 0: the format's default
  bool all_tables = false;   // vmfsSparse
  std::string_view user = "strata disk clone --linked";
};

struct LinkedCloneResult {
  std::string path;
  std::string parent_path;
  std::string content_id;  // of both
  uint64_t size_bytes = 0;
};

// Makes `path` a child of the disk or frozen link at `parent_path`, in the same datastore. Errors:
// kBusy naming who writes to the parent, kExists, kTooLarge and others of CreateLink.
base::Task<base::Result<LinkedCloneResult>> CreateLinkedClone(Lib& lib,
                                                              std::string_view parent_path,
                                                              std::string_view path,
                                                              LinkedCloneOptions options);

}  // namespace disklib
