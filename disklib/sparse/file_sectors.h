// Whole sectors of an open file: read into memory, written from it. Shared by the sparse formats.
//
// Thread rule: the executor of the file below.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "disklib/object_backend.h"
#include "disklib/sparse/sector_space.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

// Sectors of a file; the last may be incomplete.
inline uint64_t SectorsOf(const Object& object) {
  return DivideUp(object.size_bytes(), kSectorBytes);
}

// Fills `bytes` from a sector on; what lies behind the end of the file is zeros. Errors: kIo …
base::Task<base::Status> ReadSectors(Object& object, uint64_t sector, std::span<std::byte> bytes);

// Stores all of `bytes` from a sector on. Errors: kNoSpace (also for a short write), kIo …
base::Task<base::Status> WriteSectors(Object& object, uint64_t sector,
                                      std::span<const std::byte> bytes);

}  // namespace disklib
