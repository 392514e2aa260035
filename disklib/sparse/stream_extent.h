// streamOptimized: extents of compressed grains, read in every form and written once.
//
// Reading: a read-only `Extent` whose `GrainMap` says what is there without a place in the file, so
// that data is read through the extent. Writing: `StreamWriter` takes grains in ascending order and
// leaves what VMware's importers accept (disklib/FORMAT.md, "streamOptimized"): version 3, tables
// in front where the sink can seek, nothing behind the end-of-stream sector. Thread rule: the
// executor of the files.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "disklib/extent.h"
#include "disklib/object_backend.h"
#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

// Opens a compressed extent and takes the object over; when it fails, the object is closed.
// `size_bytes` is what the descriptor's line says. Errors: as OpenSparseExtent.
base::Task<base::Result<std::unique_ptr<Extent>>> OpenStreamExtent(base::Executor& executor,
                                                                   std::unique_ptr<Object> object,
                                                                   uint64_t size_bytes,
                                                                   std::string_view path);

}  // namespace disklib
