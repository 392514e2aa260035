// The two sets of directories and tables of a hosted sparse extent: which one is read, whether both
// may be written, and the `GrainFormat` that does it.
//
// A writer that ended cleanly left both sets alike; what is read then is the one every reader
// takes. A set "dirty" mark in the header says that a writer was cut: then both sets are compared
// and checked, the redundant one, which is written first, is taken where it is sound, and a writer
// makes the other like it before anything else (disklib/FORMAT.md, "Hosted sparse"). Place: below
// `OpenHostedSparse`. Thread rule: the executor of the file.
#pragma once

#include <cstdint>
#include <memory>

#include "disklib/object_backend.h"
#include "disklib/sparse/grain_format.h"
#include "disklib/sparse/hosted_format.h"
#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

struct HostedOpen {
  HostedHeader header;
  uint64_t size_bytes = 0;
  bool can_write = false;
};

struct HostedChoice {
  std::unique_ptr<GrainFormat> format;
  uint64_t used_end = 0;  // behind what either set refers to; known to writers only
};

// Errors: kCorrupt (no set is sound; for a writer: one is not, or they do not have their tables at
// the same places of the disk, which only a repair mends), kIo …
base::Task<base::Result<HostedChoice>> ChooseHostedCopies(base::Executor& executor, Object& object,
                                                          HostedOpen open);

}  // namespace disklib
