#include <memory>

#include <fmt/format.h>

#include "disklib/check/chain_state.h"
#include "disklib/descriptor_store.h"

namespace disklib::check {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

// The file around it is a disk's data: nobody else has it meanwhile.
Task<Status> StoreEmbedded(CheckRun& run, ChainLink& link) {
  ObjectBackend& backend = run.lib().backend();
  CO_TRY(const std::unique_ptr<Object> hold,
         co_await backend.Open(link.file->path, fss::OpenMode::kExclusiveDisk));
  const Result<ObjectInfo> stored =
      co_await ReplaceDescriptor(backend, link.file->path, link.wanted);
  const Status closed = co_await hold->Close();
  if (!stored) co_return stored.error();
  co_return closed;
}

}  // namespace

Task<Status> StoreWanted(CheckRun& run, ChainState& chain, ChainLink& link) {
  if (!run.findings().repairs() || link.wanted == link.file->descriptor.text) {
    co_return base::Ok();
  }
  if (link.wanted.size() > kDescriptorBytesMax) {
    co_return Error(Code::kTooLarge, fmt::format("repair {}: the descriptor would have {} bytes",
                                                 link.file->path, link.wanted.size()));
  }
  if (link.file->embedded_offset_bytes != 0) co_return co_await StoreEmbedded(run, link);
  CO_TRY(const ObjectInfo stored,
         co_await run.lib().backend().ReplaceContents(link.file->path, link.wanted));
  if (chain.claim != nullptr && stored.id != link.file->info.id) {
    CO_TRY_STATUS(chain.claim->Replace(link.file->info.id, stored.id));
  }
  co_return base::Ok();
}

}  // namespace disklib::check
