// Defragment: the grains of a sparse leaf put in the order of the disk, in files without gaps.
//
// Each extent is written anew beside the old one and takes its name when it is complete: a rename
// that a crash cannot divide. Content and content id stay. A cut leaves the old file and an
// unfinished one, which the next run makes anew (disklib/FORMAT.md, "Defragment"). Place: beside
// `operations.h`. Thread rule: the executor of the Lib.
#pragma once

#include <cstdint>
#include <string_view>

#include "disklib/lib.h"
#include "disklib/new_extents.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

struct DefragmentResult {
  uint64_t moved_bytes = 0;  // of grains with data
  uint64_t allocated_before_bytes = 0;
  uint64_t allocated_after_bytes = 0;
};

// Rewrites the link at `path`; its parents are not touched. Errors: kUnsupported (a flat disk, a
// file that holds its own descriptor), kBusy naming the holder, kNoSpace (both files are there for
// a while), kInterrupted.
base::Task<base::Result<DefragmentResult>> DefragmentLink(Lib& lib, std::string_view path,
                                                          Progress* progress);

}  // namespace disklib
