#include "disklib/sparse/sparse_extent.h"

#include <utility>

#include <fmt/format.h>

#include "disklib/sparse/se_file.h"

namespace disklib {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

namespace {

Error NoSuchKind(const char* verb) {
  return Error(Code::kUnsupported, fmt::format("{} a sparse extent: only seSparse is known", verb));
}

// Takes the object over when it succeeds.
Task<Result<std::unique_ptr<Extent>>> OpenKind(base::Executor& executor,
                                               std::unique_ptr<Object>& object,
                                               SparseOpen options) {
  if (options.kind != SparseKind::kSeSparse) co_return NoSuchKind("open");
  co_return co_await OpenSeSparse(executor, object, options, {});
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
  if (what.kind != SparseKind::kSeSparse) co_return NoSuchKind("make");
  co_return co_await FormatSeSparse(object, what.size_bytes);
}

Task<Result<std::unique_ptr<Extent>>> OpenSparseExtent(base::Executor& executor,
                                                       std::unique_ptr<Object> object,
                                                       SparseOpen options) {
  return OpenOwned(executor, object.release(), options);
}

Task<Status> GrowSparseExtent(Object& object, SparseKind kind, uint64_t size_bytes) {
  if (kind != SparseKind::kSeSparse) co_return NoSuchKind("grow");
  co_return co_await GrowSeSparse(object, size_bytes);
}

}  // namespace disklib
