// seSparse files: made, opened and grown. See `sparse_extent.h` for the contracts. Place: below
// sparse_extent. Thread rule: the executor of the file.
#pragma once

#include <cstdint>
#include <memory>

#include "disklib/sparse/se_format.h"
#include "disklib/sparse/sparse_extent.h"
#include "disklib/sparse/sparse_file.h"

namespace disklib {

base::Task<base::Status> FormatSeSparse(Object& object, uint64_t size_bytes);

// Takes the object over when it succeeds. `faults`: of tests.
base::Task<base::Result<std::unique_ptr<Extent>>> OpenSeSparse(base::Executor& executor,
                                                               std::unique_ptr<Object>& object,
                                                               SparseOpen options,
                                                               SparseFaults faults);

base::Task<base::Status> GrowSeSparse(Object& object, uint64_t size_bytes);

}  // namespace disklib
