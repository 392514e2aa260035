#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "disklib/check/chain_state.h"
#include "fs/base/on_disk.h"

namespace disklib::check {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

// Where a hosted extent's header says that its descriptor is.
constexpr size_t kDescriptorOffsetAt = 28;

// How many sectors two texts of one length differ in.
size_t ChangedSectors(std::string_view before, std::string_view after) {
  size_t count = 0;
  for (size_t at = 0; at < after.size(); at += kSectorBytes) {
    if (before.substr(at, kSectorBytes) != after.substr(at, kSectorBytes)) ++count;
  }
  return count;
}

// A text of several sectors cannot be replaced in one step where it lies: it goes behind the end,
// and one sector, the header, then names the new place.
Task<Status> MoveEmbedded(Object& object, std::string_view padded) {
  std::array<std::byte, kSectorBytes> header{};
  const base::IoVec piece{header.data(), header.size()};
  CO_TRY(const uint64_t count,
         co_await object.Read(base::IoRequest{.offset_bytes = 0, .buffers = {&piece, 1}}));
  if (count != header.size()) co_return Error(Code::kCorrupt, "the header is cut");
  const uint64_t place_sectors = (object.size_bytes() + kSectorBytes - 1) / kSectorBytes;
  CO_TRY_STATUS(co_await WriteWhole(object, place_sectors * kSectorBytes, padded));
  CO_TRY_STATUS(co_await object.Sync(/*data_only=*/false));
  base::StoreAs(std::span<std::byte>(header), kDescriptorOffsetAt, base::Le64(place_sectors));
  CO_TRY_STATUS(co_await WriteAt(object, 0, header));
  co_return co_await object.Sync(/*data_only=*/true);
}

Task<Status> WriteEmbedded(ChainLink& link, Object& object) {
  const FolderFile& file = *link.file;
  std::string before = file.descriptor.text;
  std::string after = link.wanted;
  if (after.size() > file.embedded_bytes) {
    co_return Error(Code::kTooLarge, fmt::format("repair {}: no room for the descriptor",
                                                 file.path));
  }
  before.resize(file.embedded_bytes);
  after.resize(file.embedded_bytes);
  if (ChangedSectors(before, after) > 1) co_return co_await MoveEmbedded(object, after);
  CO_TRY_STATUS(co_await WriteWhole(object, file.embedded_offset_bytes, after));
  co_return co_await object.Sync(/*data_only=*/true);
}

Task<Status> StoreEmbedded(CheckRun& run, ChainLink& link) {
  CO_TRY(const std::unique_ptr<Object> object,
         co_await run.lib().backend().Open(link.file->path, fss::OpenMode::kExclusiveDisk));
  const Status written = co_await WriteEmbedded(link, *object);
  const Status closed = co_await object->Close();
  CO_TRY_STATUS(written);
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
