#include "fs/daemon/host_devices.h"

#include <cerrno>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "fs/base/align_filter.h"
#include "fs/base/aligned_buffer.h"
#include "fs/base/file_device.h"
#include "fs/base/on_disk.h"
#include "fs/daemon/device_ids.h"
#include "fs/daemon/device_object.h"
#include "vmfs/format/lvm.h"

namespace stratad {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;
using disklib::DeviceInfo;
using disklib::Object;

// Keeps a device from being mounted or taken by another such hold (open(2), O_EXCL on block nodes).
Result<int> HoldDevice(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC);
  if (descriptor >= 0) return descriptor;
  if (errno != EBUSY) return base::ErrnoError(errno, path);
  return Error(Code::kBusy, path + ": is mounted, or somebody else holds it");
}

// A volume's own device as a disk on it would destroy both.
Task<Status> CheckNoVolume(DeviceObject& device, const std::string* path) {
  base::Le32 magic;
  const base::IoVec piece{reinterpret_cast<std::byte*>(&magic), sizeof(magic)};
  const base::IoRequest request{.offset_bytes = vmfs::kLvmHeaderOffset, .buffers = {&piece, 1}};
  CO_TRY(const uint64_t read_bytes, co_await device.Read(request));
  if (read_bytes < sizeof(magic) || uint32_t(magic) != vmfs::kLvmMagic) co_return base::Ok();
  co_return Error(Code::kBusy, *path + ": carries a VMFS volume");
}

}  // namespace

Task<Result<DeviceInfo>> HostDevices::Find(std::string_view device) {
  DeviceInfo info;
  if (device.starts_with('/')) {
    const std::string given(device);
    CO_TRY(info.id, DeviceIdOf(given));
    info.path = LastingNodePath(given);
  } else {
    const std::optional<std::string> node = FindDeviceNode(device);
    if (!node) {
      co_return Error(Code::kNotFound, fmt::format("device {}: is not on this machine", device));
    }
    info.id = device;
    info.path = LastingNodePath(*node);
  }
  const std::string path = info.path;
  CO_TRY(const std::unique_ptr<Object> object, co_await Open(&path, /*can_write=*/false));
  info.size_bytes = object->size_bytes();
  CO_TRY_STATUS(co_await object->Close());
  co_return info;
}

Task<Result<std::unique_ptr<Object>>> HostDevices::OpenById(std::string_view id, bool can_write) {
  const std::optional<std::string> node = FindDeviceNode(id);
  if (!node) {
    co_return Error(Code::kNotFound, fmt::format("its device {} is not on this machine", id));
  }
  const std::string path = *node;
  Result<std::unique_ptr<Object>> opened = co_await Open(&path, can_write);
  co_return opened;
}

Task<Result<std::unique_ptr<Object>>> HostDevices::OpenByPath(std::string_view path,
                                                              std::string_view id,
                                                              bool can_write) {
  if (!paths_allowed_) {
    co_return Error(Code::kNotPermitted,
                    fmt::format("{} lies outside of the datastore: --allow-outside lets a disk of "
                                "a host folder use it",
                                path));
  }
  const std::string given(path);
  if (!id.empty()) {
    CO_TRY(const std::string found_id, DeviceIdOf(given));
    if (found_id != id) {
      co_return Error(Code::kStale, fmt::format("{} is the device {} now; the disk is on {}", path,
                                                found_id, id));
    }
  }
  Result<std::unique_ptr<Object>> opened = co_await Open(&given, can_write);
  co_return opened;
}

Task<Result<std::unique_ptr<Object>>> HostDevices::Open(const std::string* path, bool can_write) {
  CO_TRY_STATUS(CheckBlockNode(*path));
  int hold = -1;
  if (can_write) {
    CO_TRY(hold, HoldDevice(*path));
  }
  base::FileDeviceOptions options;
  options.read_only = !can_write;
  Result<std::unique_ptr<base::FileDevice>> file =
      base::OpenFileDevice(executor_, *path, options);
  if (!file) {
    if (hold >= 0) close(hold);
    co_return file.error();
  }
  auto aligned = std::make_unique<base::AlignFilter>(executor_, *std::move(file));
  auto object = std::make_unique<DeviceObject>(executor_, std::move(aligned), hold);
  if (!can_write) co_return std::unique_ptr<Object>(std::move(object));
  const Status free = co_await CheckNoVolume(*object, path);
  if (free) co_return std::unique_ptr<Object>(std::move(object));
  const Status closed = co_await object->Close();
  static_cast<void>(closed);  // the first error is the one to tell
  co_return free.error();
}

}  // namespace stratad
