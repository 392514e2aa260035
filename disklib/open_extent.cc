#include <utility>

#include <fmt/format.h>

#include "disklib/lib.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

}  // namespace

// The file of a line, opened and known to be the one that was found before.
Task<Result<std::unique_ptr<Extent>>> Lib::OpenObject(LoadedDescriptor& loaded, size_t index,
                                                      bool can_write) {
  const ExtentLine& line = loaded.descriptor.extents[index];
  const std::string_view path = loaded.found_paths[index];
  const fss::OpenMode mode = can_write ? fss::OpenMode::kExclusiveDisk : fss::OpenMode::kSharedDisk;
  CO_TRY(std::unique_ptr<Object> object, co_await backend_.Open(path, mode));
  if (object->inode() != loaded.extent_infos[index].id) {
    const Status closed = co_await object->Close();
    static_cast<void>(closed);  // the first error is the one to tell
    co_return Error(Code::kStale,
                    fmt::format("open {}: extent {} was replaced meanwhile", loaded.path, path));
  }
  const uint64_t size_bytes = line.sector_count * kSectorBytes;
  if (line.type == ExtentType::kFlat || line.type == ExtentType::kVmfs) {
    const FlatExtentOptions options{.offset_bytes = line.offset_sectors * kSectorBytes,
                                    .size_bytes = size_bytes,
                                    .can_write = can_write,
                                    .can_read = line.access != ExtentAccess::kNoAccess,
                                    .is_thin = loaded.is_thin()};
    co_return MakeFlatExtent(std::move(object), options);
  }
  const Status closed = co_await object->Close();
  static_cast<void>(closed);  // the refusal is the one to tell
  co_return Error(Code::kUnsupported, fmt::format("open {}: {} extents are not opened yet: {}",
                                                  loaded.path, NameOf(line.type), path));
}

Task<Result<std::unique_ptr<Extent>>> Lib::OpenExtent(LoadedDescriptor& loaded, size_t index,
                                                      bool writable) {
  const ExtentLine& line = loaded.descriptor.extents[index];
  if (line.type == ExtentType::kZero) co_return MakeZeroExtent(line.sector_count * kSectorBytes);
  const bool can_write = writable && line.access == ExtentAccess::kReadWrite;
  Result<std::unique_ptr<Extent>> opened = co_await OpenObject(loaded, index, can_write);
  co_return opened;
}

}  // namespace disklib
