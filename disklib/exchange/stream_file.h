// One disk written as a streamOptimized file, alone or inside an archive.
//
// Thread rule: the executor of the files. Place in the stack: under `export.h`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "disklib/exchange/export.h"
#include "disklib/lib.h"
#include "disklib/object_backend.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

// Where the stream goes: into `object` from `offset_bytes` on, under that name.
struct StreamPlace {
  Object* object = nullptr;
  uint64_t offset_bytes = 0;
  std::string_view file_name = {};
};

// Writes the chain at `from`; everything of the result but `target_sha256` and `file_sha256` is
// set. Errors: those of Lib::Open, of reading and of writing; kInterrupted.
base::Task<base::Result<ExportedDisk>> WriteStreamFile(Lib& source, std::string_view from,
                                                       StreamPlace place, Progress* progress);

// Reads a file that was made (it lies in `path` of the back end) and sets its own digest and, with
// `verify`, that of the disk in it. Errors: kChecksumMismatch, those of reading, kInterrupted.
base::Task<base::Status> ProveStreamFile(base::Executor& executor, ObjectBackend& backend,
                                         std::string_view path, uint64_t offset_bytes,
                                         ExportedDisk& disk, bool verify, Phases& phases);

// SHA-256 or another digest of a range of a file. Errors: those of reading; kCorrupt (it ends
// early), kInterrupted.
struct FileRange {
  std::string_view path;
  uint64_t offset_bytes = 0;
  uint64_t length_bytes = 0;
};

base::Task<base::Result<std::string>> DigestOfRange(ObjectBackend& backend, FileRange range,
                                                    base::DigestKind kind, Progress* progress);

}  // namespace disklib
