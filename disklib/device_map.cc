#include "disklib/device_map.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor_lines.h"
#include "disklib/names.h"
#include "disklib/new_disk.h"
#include "disklib/new_extents.h"
#include "fs/base/log.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

constexpr std::string_view kVirtualType = "vmfsRawDeviceMap";
constexpr std::string_view kPhysicalType = "vmfsPassthroughRawDeviceMap";
constexpr std::string_view kNodeType = "fullDevice";

// "vm.vmdk" -> "vm-rdm.vmdk".
std::string PointerName(std::string_view descriptor_name, bool is_physical) {
  descriptor_name.remove_suffix(kDescriptorSuffix.size());
  return fmt::format("{}{}{}", descriptor_name, is_physical ? "-rdmp" : "-rdm", kDescriptorSuffix);
}

// One disk in the making.
struct NewMap {
  DeviceInfo device;
  bool is_physical = false;
  ExtentLine line;
  std::string made_pointer;  // by this run; empty: it was there, or there is none
};

std::string_view CreateTypeOf(const NewMap& map) {
  if (map.line.type == ExtentType::kFlat) return kNodeType;
  return map.is_physical ? kPhysicalType : kVirtualType;
}

// What a device holds was written by somebody: the content id is drawn, not the one of fresh disks.
Descriptor DescribeMap(std::string_view path, const NewMap& map, std::string_view adapter_type,
                       base::Random& random) {
  const NewLink what{.size_bytes = map.device.size_bytes,
                     .provisioning = Provisioning::kZeroedThick,
                     .adapter_type = adapter_type,
                     .content_id = DrawContentId(random)};
  Descriptor descriptor = MakeDescriptor(path, what, random);
  descriptor.create_type = CreateTypeOf(map);
  descriptor.extents = {map.line};
  if (map.line.type == ExtentType::kFlat) {
    descriptor.disk_database.push_back({std::string(kDeviceIdKey), map.device.id});
  }
  return descriptor;
}

// Makes the pointer file, or takes over what a run that was cut left: a map of the same device.
Task<Status> MakePointer(Lib& lib, std::string_view path, NewMap& map) {
  const Result<std::string> old_id = co_await lib.backend().GetDeviceId(path);
  if (old_id && *old_id == map.device.id) {
    CO_TRY(const ObjectInfo old_info, co_await lib.backend().GetInfo(path));
    if (old_info.size_bytes == map.device.size_bytes) co_return base::Ok();
  }
  const fss::RawDevice raw{.id = map.device.id, .size_bytes = map.device.size_bytes};
  const Result<ObjectInfo> made = co_await lib.backend().MakeDeviceMap(path, raw);
  if (!made) co_return made.error();
  map.made_pointer = path;
  co_return co_await lib.backend().SyncNames();
}

// Where there are no pointer files the descriptor names the node itself.
Task<Status> NameNode(Lib& lib, NewMap& map) {
  if (map.is_physical) {
    co_return Error(Code::kUnsupported,
                    "physical mode is a property of raw device maps, which only VMFS volumes have");
  }
  map.line.type = ExtentType::kFlat;
  map.line.file_name = map.device.path;
  CO_TRY(const std::unique_ptr<Object> object,
         co_await lib.devices()->OpenByPath(map.device.path, map.device.id, /*can_write=*/false));
  co_return co_await object->Close();
}

Task<Status> MakeLine(Lib& lib, std::string_view path, NewMap& map) {
  map.line.sector_count = map.device.size_bytes / kSectorBytes;
  map.line.type = ExtentType::kVmfsRdm;
  map.line.file_name = PointerName(NameOf(path), map.is_physical);
  const std::string pointer = JoinPath(FolderOf(path), map.line.file_name);
  const Status made = co_await MakePointer(lib, pointer, map);
  if (made || made.error().code() != Code::kUnsupported) co_return made;
  co_return co_await NameNode(lib, map);
}

Task<Status> FillDevice(Lib& lib, NewMap& map, DeviceFiller* filler) {
  DeviceOpener& devices = *lib.devices();
  std::unique_ptr<Object> device;
  if (map.line.type == ExtentType::kFlat) {
    CO_TRY(device,
           co_await devices.OpenByPath(map.device.path, map.device.id, /*can_write=*/true));
  } else {
    CO_TRY(device, co_await devices.OpenById(map.device.id, /*can_write=*/true));
  }
  const Status filled = co_await filler->Fill(*device);
  const Status closed = co_await device->Close();
  co_return filled ? closed : filled;
}

Task<Status> StoreMap(Lib& lib, std::string_view path, NewMap& map, std::string_view adapter_type) {
  const Descriptor descriptor = DescribeMap(path, map, adapter_type, lib.executor().random());
  CO_TRY(const std::string text, WriteDescriptor(descriptor));
  CO_TRY_STATUS(co_await lib.backend().ReplaceContents(path, text));
  co_return base::Ok();
}

// After a failure: a pointer that no descriptor names. What cannot be removed the next run takes
// over.
Task<Status> TakeBack(Lib& lib, std::string_view path, const NewMap* map) {
  if (map->made_pointer.empty()) co_return base::Ok();
  CO_TRY(const bool is_named, co_await Exists(lib.backend(), path));
  if (is_named) co_return base::Ok();
  co_return co_await RemoveIfThere(lib.backend(), map->made_pointer);
}

Task<Result<DeviceInfo>> FindDevice(Lib& lib, std::string_view path, std::string_view device) {
  if (lib.devices() == nullptr) {
    co_return Error(Code::kUnsupported, fmt::format("{}: devices are not opened here", path));
  }
  Result<DeviceInfo> found = co_await lib.devices()->Find(device);
  co_return found;
}

// A mark of a delete that was cut would remove the new disk's files.
Task<Status> CheckNameFree(ObjectBackend& backend, std::string_view path) {
  CO_TRY(const bool exists, co_await Exists(backend, path));
  if (exists) co_return Error(Code::kExists, fmt::format("create {}: exists already", path));
  const std::string deleted_path = DeletedPath(path);
  CO_TRY(const bool is_being_deleted, co_await Exists(backend, deleted_path));
  if (!is_being_deleted) co_return base::Ok();
  co_return Error(Code::kExists,
                  fmt::format("create {}: an unfinished delete of the same name is in the way: "
                              "delete {} again first",
                              path, path));
}

// Ids are text; what other writers store may be bytes, which no terminal is to see.
std::string PrintableId(std::string id) {
  const bool is_text = std::all_of(id.begin(), id.end(), [](char c) { return c > ' ' && c < 127; });
  if (is_text) return id;
  std::string digits = "0x";
  for (const char c : id) digits += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return digits;
}

// The first extent that is a device, and what it names.
Task<Result<std::string>> DeviceOf(Lib& lib, LoadedDescriptor& loaded) {
  for (size_t i = 0; i < loaded.places.size(); ++i) {
    const std::string& node = loaded.places[i].device_path;
    if (!node.empty()) co_return node;
    if (loaded.descriptor.extents[i].type != ExtentType::kVmfsRdm) continue;
    co_return co_await ReadPointer(lib.backend(), loaded.found_paths[i]);
  }
  co_return Error(Code::kUnsupported, fmt::format("{}: is a device of another host", loaded.path));
}

}  // namespace

bool IsDeviceMap(const Descriptor& descriptor) {
  return std::any_of(descriptor.extents.begin(), descriptor.extents.end(),
                     [](const ExtentLine& line) {
                       return line.type == ExtentType::kVmfsRdm ||
                              line.type == ExtentType::kVmfsRaw || NamesDeviceNode(line);
                     });
}

bool IsPhysicalDeviceMap(const Descriptor& descriptor) {
  const std::string& type = descriptor.create_type;
  if (EqualsIgnoringCase(type, kVirtualType) || EqualsIgnoringCase(type, "vmfsRDM")) return false;
  return std::any_of(descriptor.extents.begin(), descriptor.extents.end(),
                     [](const ExtentLine& line) {
                       return line.type == ExtentType::kVmfsRdm ||
                              line.type == ExtentType::kVmfsRaw;
                     });
}

Status CheckNotPhysical(const Descriptor& descriptor, std::string_view path,
                        std::string_view verb) {
  if (!IsPhysicalDeviceMap(descriptor)) return base::Ok();
  return Error(Code::kUnsupported,
               fmt::format("{} {}: a raw device map in physical mode has no snapshots", verb,
                           path));
}

Task<Status> CreateDeviceMap(Lib& lib, std::string_view path, DeviceMapOptions options) {
  CO_TRY_STATUS(CheckDiskPath(path));
  const Result<DeviceInfo> found = co_await FindDevice(lib, path, options.device);
  if (!found) co_return found.error().Within(fmt::format("create {}", path));
  NewMap map;
  map.device = *found;
  map.is_physical = options.is_physical;
  CO_TRY_STATUS(CheckNewLink(path, {.size_bytes = map.device.size_bytes,
                                    .adapter_type = options.adapter_type}));
  CO_TRY(const Lib::PathHold hold, lib.HoldPath(path));
  CO_TRY_STATUS(co_await CheckNameFree(lib.backend(), path));
  Status made = co_await MakeLine(lib, path, map);
  if (made && options.filler != nullptr) made = co_await FillDevice(lib, map, options.filler);
  if (made) made = co_await StoreMap(lib, path, map, options.adapter_type);
  if (!made) {
    const Status taken_back = co_await TakeBack(lib, path, &map);
    static_cast<void>(taken_back);  // the first error is the one to tell
    co_return made.error().Within(fmt::format("create {}", path));
  }
  base::LogInfo("disklib", "created disk={} device={} bytes={}", path, map.device.id,
                map.device.size_bytes);
  co_return base::Ok();
}

Task<Result<DeviceMapInfo>> GetDeviceMap(Lib& lib, std::string_view path) {
  CO_TRY(LoadedDescriptor loaded, co_await lib.Load(path, /*need_extents=*/false));
  DeviceMapInfo info;
  info.is_map = IsDeviceMap(loaded.descriptor);
  info.is_physical = IsPhysicalDeviceMap(loaded.descriptor);
  if (!info.is_map) co_return info;
  const Result<std::string> device = co_await DeviceOf(lib, loaded);
  if (!device) info.trouble = device.error().message();
  if (!device) co_return info;
  info.device = *device;
  const Result<DeviceInfo> found = co_await FindDevice(lib, path, info.device);
  if (!found) info.trouble = found.error().message();
  if (found) info.device_path = found->path;
  co_return info;
}

Task<Result<std::string>> ReadPointer(ObjectBackend& backend, std::string_view path) {
  Result<std::string> id = co_await backend.GetDeviceId(path);
  const bool is_none = !id && (id.error().code() == Code::kUnsupported ||
                               id.error().code() == Code::kInvalidArgument);
  if (id) co_return PrintableId(*id);
  if (!is_none) co_return id;
  // A map cannot be opened, also where its id is not told: on VMFS-5, and through a mount.
  const Result<std::unique_ptr<Object>> object = co_await backend.Open(path, fss::OpenMode::kRead);
  if (!object && object.error().code() == Code::kUnsupported) {
    co_return Error(Code::kUnsupported,
                    fmt::format("{} is a raw device map, and which device it stands for is not "
                                "told here; strata disk clone asks its volume",
                                path));
  }
  if (!object) co_return object.error();
  CO_TRY_STATUS(co_await (*object)->Close());
  co_return Error(Code::kCorrupt,
                  fmt::format("{} is a plain file and no raw device map: it was copied off its "
                              "volume; the data is on the device that the map stood for",
                              path));
}

}  // namespace disklib
