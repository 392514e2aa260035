#include <fmt/format.h>

#include "disklib/check/chain_state.h"
#include "disklib/extend_sparse.h"

namespace disklib::check {

using base::Status;
using base::Task;

bool CanGrow(const ChainLink& link) {
  const Descriptor& descriptor = link.descriptor();
  return !descriptor.extents.empty() && EndsSparse(descriptor) &&
         link.file->embedded_offset_bytes == 0;
}

Task<Status> GrowLink(CheckRun& run, ChainState& chain, ChainLink& link) {
  if (link.wanted_sectors == 0) co_return base::Ok();
  const uint64_t size_bytes = link.wanted_sectors * kSectorBytes;
  CO_TRY(LoadedDescriptor loaded, co_await run.lib().Load(link.file->path, /*need_extents=*/true));
  CO_TRY_STATUS(co_await CheckSparseRoom(run.lib(), &loaded, size_bytes));
  CO_TRY_STATUS(co_await GrowSparse(run.lib(), loaded, size_bytes, nullptr));
  CO_TRY(const ObjectInfo stored, co_await run.lib().backend().GetInfo(link.file->path));
  if (chain.claim != nullptr && stored.id != loaded.info.id) {
    CO_TRY_STATUS(chain.claim->Replace(loaded.info.id, stored.id));
  }
  co_return base::Ok();
}

}  // namespace disklib::check
