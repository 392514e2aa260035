#include "disklib/sparse/sparse_extent.h"

#include <utility>

#include "disklib/sparse/se_file.h"
#include "disklib/sparse/sector_files.h"

namespace disklib {

using base::Result;
using base::Status;
using base::Task;

namespace {

// Takes the object over when it succeeds.
Task<Result<std::unique_ptr<Extent>>> OpenKind(base::Executor& executor,
                                               std::unique_ptr<Object>& object,
                                               SparseOpen options) {
  switch (options.kind) {
    case SparseKind::kHosted: return OpenHostedSparse(executor, object, options, {});
    case SparseKind::kVmfsSparse: return OpenVmfsSparse(executor, object, options, {});
    case SparseKind::kSeSparse: break;
  }
  return OpenSeSparse(executor, object, options, {});
}

// Owns the object from its first step on.
Task<Result<std::unique_ptr<Extent>>> OpenOwned(base::Executor& executor, Object* given,
                                                SparseOpen options) {
  std::unique_ptr<Object> object(given);
  Result<std::unique_ptr<Extent>> opened = co_await OpenKind(executor, object, options);
  if (object != nullptr) {
    // The error that is answered is the one that ended the opening.
    static_cast<void>(co_await object->Close());
  }
  co_return opened;
}

}  // namespace

Task<Status> FormatSparseExtent(Object& object, NewSparseExtent what) {
  switch (what.kind) {
    case SparseKind::kHosted: return FormatHostedSparse(object, what);
    case SparseKind::kVmfsSparse: return FormatVmfsSparse(object, what);
    case SparseKind::kSeSparse: break;
  }
  return FormatSeSparse(object, what.size_bytes);
}

Task<Result<std::unique_ptr<Extent>>> OpenSparseExtent(base::Executor& executor,
                                                       std::unique_ptr<Object> object,
                                                       SparseOpen options) {
  return OpenOwned(executor, object.release(), options);
}

Task<Status> GrowSparseExtent(Object& object, SparseKind kind, uint64_t size_bytes) {
  switch (kind) {
    case SparseKind::kHosted: return GrowHostedSparse(object, size_bytes);
    case SparseKind::kVmfsSparse: return GrowVmfsSparse(object, size_bytes);
    case SparseKind::kSeSparse: break;
  }
  return GrowSeSparse(object, size_bytes);
}

}  // namespace disklib
