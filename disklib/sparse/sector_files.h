// Files whose tables and grains are appended under 32-bit sector addresses: hosted sparse and
// vmfsSparse, made, opened and grown. See `sparse_extent.h` for the contracts.
//
// Place: below sparse_extent, beside `se_file.h`. Thread rule: the executor of the file.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "disklib/sparse/grain_format.h"
#include "disklib/sparse/sparse_extent.h"
#include "disklib/sparse/sparse_file.h"

namespace disklib {

base::Task<base::Status> FormatVmfsSparse(Object& object, NewSparseExtent what);
base::Task<base::Status> FormatHostedSparse(Object& object, NewSparseExtent what);

// Take the object over when they succeed. `faults`: of tests.
base::Task<base::Result<std::unique_ptr<Extent>>> OpenVmfsSparse(base::Executor& executor,
                                                                 std::unique_ptr<Object>& object,
                                                                 SparseOpen options,
                                                                 SparseFaults faults);
base::Task<base::Result<std::unique_ptr<Extent>>> OpenHostedSparse(base::Executor& executor,
                                                                   std::unique_ptr<Object>& object,
                                                                   SparseOpen options,
                                                                   SparseFaults faults);

base::Task<base::Status> GrowVmfsSparse(Object& object, uint64_t size_bytes);
base::Task<base::Status> GrowHostedSparse(Object& object, uint64_t size_bytes);

// The first sector behind every table and every grain that a format's directories refer to, in all
// copies. Reads every table once and keeps none: foreign writers do not say where they stopped, and
// files reach further than what is in use. Errors: kCorrupt (a table that cannot be), kIo …
base::Task<base::Result<uint64_t>> FindUsedEnd(base::Executor& executor, Object& object,
                                               GrainFormat& format);

// Whether the descriptor's line agrees with a capacity: an extent that was grown may be longer.
// Error kCorrupt names both.
base::Status CheckExtentSize(const SparseOpen& options, uint64_t capacity_bytes);

// Whether an extent of `old_bytes` may become `size_bytes` long. Errors: kInvalidArgument
// (shorter), and those of CheckSectorFormatCapacity.
base::Status CheckGrowth(std::string_view format, uint64_t old_bytes, uint64_t size_bytes);

// Makes the file reach to a sector, as a hole where it does not yet.
base::Task<base::Status> ExtendTo(Object& object, uint64_t end_sector);

}  // namespace disklib
