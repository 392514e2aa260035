#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor_lines.h"
#include "disklib/device_map.h"
#include "disklib/lib.h"
#include "disklib/names.h"
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

bool IsOnDevice(const ExtentLine& line) {
  return line.type == ExtentType::kVmfsRdm || NamesDeviceNode(line);
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

Status Lib::CheckDevices(const LoadedDescriptor& loaded) const {
  if (devices_ != nullptr) return base::Ok();
  for (const ExtentLine& line : loaded.descriptor.extents) {
    if (!IsOnDevice(line)) continue;
    return Error(Code::kUnsupported,
                 fmt::format("open {}: its {} extent {} is a device, and this command opens files "
                             "alone: copy it with strata disk clone first",
                             loaded.path, NameOf(line.type), line.file_name));
  }
  return base::Ok();
}

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

// The device behind a map: a node by its path, a LUN by the id in the pointer file.
Task<Result<std::unique_ptr<Object>>> Lib::FindDevice(LoadedDescriptor& loaded, size_t index,
                                                      bool can_write) {
  const std::string& node = loaded.places[index].device_path;
  // Names out of a datastore are allowed to its own disks alone.
  if (!node.empty() && !VolumeOf(loaded.path).empty()) {
    co_return Error(Code::kNotPermitted, fmt::format("{} lies outside of the datastore", node));
  }
  if (!node.empty()) {
    const std::string* const known = loaded.descriptor.FindDatabase(kDeviceIdKey);
    const std::string_view id = known == nullptr ? std::string_view() : std::string_view(*known);
    co_return co_await devices_->OpenByPath(node, id, can_write);
  }
  const std::string_view pointer = loaded.found_paths[index];
  CO_TRY(const std::string id, co_await ReadPointer(backend_, pointer));
  Result<std::unique_ptr<Object>> opened = co_await devices_->OpenById(id, can_write);
  if (!opened) co_return opened.error().Within(fmt::format("raw device map {}", pointer));
  co_return opened;
}

Task<Result<std::unique_ptr<Object>>> Lib::OpenDevice(LoadedDescriptor& loaded, size_t index,
                                                      bool can_write) {
  CO_TRY_STATUS(CheckDevices(loaded));
  Result<std::unique_ptr<Object>> opened = co_await FindDevice(loaded, index, can_write);
  if (!opened) co_return opened.error().Within(fmt::format("open {}", loaded.path));
  const ExtentLine& line = loaded.descriptor.extents[index];
  const uint64_t needed_bytes = (line.offset_sectors + line.sector_count) * kSectorBytes;
  const uint64_t device_bytes = (*opened)->size_bytes();
  if (device_bytes >= needed_bytes) co_return opened;
  const Status closed = co_await (*opened)->Close();
  static_cast<void>(closed);  // the first error is the one to tell
  co_return Error(Code::kCorrupt,
                  fmt::format("open {}: the device of {} has {} bytes, its line needs {}",
                              loaded.path, line.file_name, device_bytes, needed_bytes));
}

Task<Result<std::unique_ptr<Extent>>> Lib::OpenExtent(LoadedDescriptor& loaded, size_t index,
                                                      bool writable) {
  const ExtentLine& line = loaded.descriptor.extents[index];
  const uint64_t size_bytes = line.sector_count * kSectorBytes;
  if (line.type == ExtentType::kZero) co_return MakeZeroExtent(size_bytes);
  const bool can_write = writable && line.access == ExtentAccess::kReadWrite;
  if (IsOnDevice(line)) {
    CO_TRY(std::unique_ptr<Object> device, co_await OpenDevice(loaded, index, can_write));
    co_return OpenFlat(loaded, line, can_write, std::move(device));
  }
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
