// Sectors of a sparse file on their way to it: runs of neighbours are one write. And
// `MetadataWriter`, which changes bytes inside sectors and keeps the others.
//
// Place: below SparseFile. Thread rule: the executor of the file below.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "disklib/object_backend.h"
#include "disklib/sparse/grain_format.h"
#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

using Sector = std::array<std::byte, kSectorBytes>;

// By sector number.
using SectorMap = std::map<uint64_t, Sector>;

// Reads a range of the file; what lies behind its end reads as zeros. Errors: as File::Read.
base::Task<base::Status> ReadRange(Object& object, uint64_t offset_bytes,
                                   std::span<std::byte> bytes);

// Writes all of them, several runs at a time. Answers the first error when all have ended.
base::Task<base::Status> WriteSectors(base::Executor& executor, Object& object, SectorMap& sectors);

// Adds the sectors that a change touches, zeroed, where they are not in the map.
void AddTouched(const MetadataChange& change, SectorMap& sectors);

// Makes the change; its sectors are in the map.
void ApplyChange(const MetadataChange& change, SectorMap& sectors);

class MetadataWriter {
 public:
  MetadataWriter(base::Executor& executor, Object& object) : executor_(executor), object_(object) {}

  // Makes the changes in their order. One call at a time. After an error any part of them may be in
  // the file; making them again is safe. Errors: as File.
  base::Task<base::Status> Write(std::vector<MetadataChange>& changes);

 private:
  static constexpr size_t kKeptSectorCountMax = 256;

  base::Task<base::Status> LoadMissing(SectorMap& touched);

  base::Executor& executor_;
  Object& object_;
  SectorMap kept_;  // as they are in the file: what was changed last is changed next
};

}  // namespace disklib
