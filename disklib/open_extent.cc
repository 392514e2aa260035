#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor_lines.h"
#include "disklib/lib.h"
#include "disklib/sparse/sparse_extent.h"
#include "disklib/sparse/stream_extent.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

bool IsFlat(ExtentType type) {
  return type == ExtentType::kFlat || type == ExtentType::kVmfs;
}

SparseKind KindOf(ExtentType type) {
  if (type == ExtentType::kVmfsSparse) return SparseKind::kVmfsSparse;
  return type == ExtentType::kSeSparse ? SparseKind::kSeSparse : SparseKind::kHosted;
}

bool IsStream(const Descriptor& descriptor) {
  return EqualsIgnoringCase(descriptor.create_type, "streamOptimized");
}

std::unique_ptr<Extent> OpenFlat(LoadedDescriptor& loaded, const ExtentLine& line, bool can_write,
                                 std::unique_ptr<Object> object) {
  const FlatExtentOptions options{.offset_bytes = line.offset_sectors * kSectorBytes,
                                  .size_bytes = line.sector_count * kSectorBytes,
                                  .can_write = can_write,
                                  .can_read = line.access != ExtentAccess::kNoAccess,
                                  .is_thin = loaded.is_thin()};
  return MakeFlatExtent(std::move(object), options);
}

}  // namespace

// The file of a line, opened and known to be the one that was found before.
Task<Result<std::unique_ptr<Object>>> Lib::OpenObject(LoadedDescriptor& loaded, size_t index,
                                                      bool can_write) {
  const std::string_view path = loaded.found_paths[index];
  const fss::OpenMode mode = can_write ? fss::OpenMode::kExclusiveDisk : fss::OpenMode::kSharedDisk;
  CO_TRY(std::unique_ptr<Object> object, co_await backend_.Open(path, mode));
  if (object->inode() == loaded.extent_infos[index].id) co_return object;
  const Status closed = co_await object->Close();
  static_cast<void>(closed);  // the first error is the one to tell
  co_return Error(Code::kStale,
                  fmt::format("open {}: extent {} was replaced meanwhile", loaded.path, path));
}

Task<Result<std::unique_ptr<Extent>>> Lib::OpenExtent(LoadedDescriptor& loaded, size_t index,
                                                      bool writable) {
  const ExtentLine& line = loaded.descriptor.extents[index];
  const uint64_t size_bytes = line.sector_count * kSectorBytes;
  if (line.type == ExtentType::kZero) co_return MakeZeroExtent(size_bytes);
  const bool can_write = writable && line.access == ExtentAccess::kReadWrite;
  CO_TRY(std::unique_ptr<Object> object, co_await OpenObject(loaded, index, can_write));
  if (IsFlat(line.type)) co_return OpenFlat(loaded, line, can_write, std::move(object));
  const std::string_view path = loaded.found_paths[index];
  // The callee's frame takes the object over when it starts, which it does here.
  if (IsStream(loaded.descriptor)) {
    auto opening = OpenStreamExtent(executor_, std::move(object), size_bytes, path);
    Result<std::unique_ptr<Extent>> stream = co_await opening;
    co_return stream;
  }
  const SparseOpen options{
      .kind = KindOf(line.type), .size_bytes = size_bytes, .can_write = can_write, .path = path};
  auto opening = OpenSparseExtent(executor_, std::move(object), options);
  Result<std::unique_ptr<Extent>> sparse = co_await opening;
  co_return sparse;
}

}  // namespace disklib
