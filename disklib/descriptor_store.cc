#include "disklib/descriptor_store.h"

#include <array>
#include <cstddef>
#include <memory>

#include "disklib/descriptor_lines.h"
#include "disklib/names.h"
#include "disklib/sparse/embedded_descriptor.h"
#include "disklib/sparse/file_sectors.h"
#include "disklib/sparse/hosted_format.h"

namespace disklib {

using base::Result;
using base::Status;
using base::Task;

namespace {

// A stream ends with its footer, so nothing may be put behind it, not even for a moment: there,
// single sectors are changed.
Task<Status> ReplaceInside(Object& object, EmbeddedPlace place, std::string_view text) {
  std::array<std::byte, kHostedHeaderBytes> sector;
  CO_TRY_STATUS(co_await ReadSectors(object, 0, sector));
  CO_TRY(const HostedHeader header, DecodeHostedHeader(sector));
  if (header.is_compressed()) {
    CO_TRY_STATUS(co_await StoreEmbeddedDescriptor(object, place, text));
  } else {
    CO_TRY_STATUS(co_await ReplaceEmbeddedDescriptor(object, text));
  }
  co_return base::Ok();
}

// Other files with a descriptor inside name their extents: such a one holds no grains.
bool IsItsOwnExtent(const DescriptorText& read, const Descriptor& descriptor) {
  return read.embedded.room_bytes > 0 && descriptor.extents.size() == 1 &&
         (EqualsIgnoringCase(descriptor.create_type, "monolithicSparse") ||
          EqualsIgnoringCase(descriptor.create_type, "streamOptimized"));
}

}  // namespace

Result<Descriptor> ParseDescriptorText(const DescriptorText& read, std::string_view path) {
  TRY(Descriptor descriptor, ParseDescriptor(read.text));
  if (IsItsOwnExtent(read, descriptor)) descriptor.extents.front().file_name = NameOf(path);
  return descriptor;
}

Task<Result<ObjectInfo>> ReplaceDescriptor(ObjectBackend& backend, std::string_view path,
                                           std::string_view text) {
  CO_TRY(const DescriptorText old, co_await ReadDescriptorAt(backend, path));
  if (old.embedded.room_bytes == 0) {
    Result<ObjectInfo> replaced = co_await backend.ReplaceContents(path, text);
    co_return replaced;
  }
  CO_TRY(const std::unique_ptr<Object> object, co_await backend.Open(path, fss::OpenMode::kWrite));
  const uint64_t old_bytes = object->size_bytes();
  Status stored = co_await ReplaceInside(*object, old.embedded, text);
  const bool has_grown = object->size_bytes() > old_bytes;
  const Status closed = co_await object->Close();
  // What stood behind the end on its way is not needed any more.
  if (stored && has_grown) stored = co_await backend.Resize(path, old_bytes);
  if (!stored) co_return stored.error().Within(path);
  if (!closed) co_return closed.error().Within(path);
  Result<ObjectInfo> info = co_await backend.GetInfo(path);
  co_return info;
}

}  // namespace disklib
