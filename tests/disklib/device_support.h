// Devices for tests of disks that are whole devices: files in memory that stand in for them.
//
// Thread rule: one thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "disklib/device_map.h"
#include "disklib/device_opener.h"
#include "fs/base/sim_executor.h"
#include "tests/disklib/snapshot_support.h"
#include "tests/support/memory_file_system.h"

namespace disklib {

inline constexpr std::string_view kDeviceId = "naa.600508b1001c4d41000000000000a001";
inline constexpr std::string_view kDeviceNode = "/dev/disk/by-id/wwn-0x600508b1001c4d41";
inline constexpr uint64_t kDeviceBytes = uint64_t{2} << 20;

// One device at a time, which can be taken away, replaced and resized.
class FakeDevices final : public DeviceOpener {
 public:
  explicit FakeDevices(base::SimExecutor& executor) : executor_(executor) {
    EXPECT_TRUE(base::RunSync(executor_, backend_.Create("device")));
    Resize(kDeviceBytes);
    Fill(Pattern(77, kDeviceBytes));
  }

  void Resize(uint64_t size_bytes) {
    EXPECT_TRUE(base::RunSync(executor_, backend_.Resize("device", size_bytes)));
  }

  void Fill(Content bytes) {
    auto object = base::RunSync(executor_, backend_.Open("device", fss::OpenMode::kWrite));
    const base::IoVec piece{bytes.data(), bytes.size()};
    ASSERT_TRUE(
        base::RunSync(executor_, (*object)->Write({.offset_bytes = 0, .buffers = {&piece, 1}})));
    ASSERT_TRUE(base::RunSync(executor_, (*object)->Close()));
  }

  Content Bytes() {
    const auto text = base::RunSync(executor_, ReadObject(backend_, "device", 1 << 30));
    const auto bytes = std::as_bytes(std::span<const char>(*text));
    return {bytes.begin(), bytes.end()};
  }

  std::string id{kDeviceId};   // empty: the device is gone
  bool paths_allowed = false;
  int opened_to_write = 0;  // how often

  base::Task<base::Result<DeviceInfo>> Find(std::string_view device) override {
    if (id.empty() || (device != id && device != kDeviceNode)) co_return Missing(device);
    CO_TRY(const ObjectInfo info, co_await backend_.GetInfo("device"));
    DeviceInfo found;
    found.id = id;
    found.path = kDeviceNode;
    found.size_bytes = info.size_bytes;
    co_return found;
  }

  base::Task<base::Result<std::unique_ptr<Object>>> OpenById(std::string_view wanted,
                                                             bool can_write) override {
    if (wanted != id) co_return Missing(wanted);
    opened_to_write += can_write ? 1 : 0;
    const fss::OpenMode mode = can_write ? fss::OpenMode::kWrite : fss::OpenMode::kRead;
    co_return co_await backend_.Open("device", mode);
  }

  base::Task<base::Result<std::unique_ptr<Object>>> OpenByPath(std::string_view path,
                                                               std::string_view known_id,
                                                               bool can_write) override {
    if (!paths_allowed) co_return base::Error(base::Code::kNotPermitted, std::string(path));
    if (path != kDeviceNode || id.empty()) co_return Missing(path);
    if (!known_id.empty() && known_id != id) {
      co_return base::Error(base::Code::kStale, std::string(path));
    }
    co_return co_await OpenById(id, can_write);
  }

 private:
  static base::Error Missing(std::string_view device) {
    return {base::Code::kNotFound, "device " + std::string(device) + " is not here"};
  }

  base::SimExecutor& executor_;
  fss::MemoryFileSystem files_;
  FileBackend backend_{files_};
};

// Disks of one file system that can be devices.
class DeviceStand {
 public:
  DeviceStand(base::SimExecutor& executor, fss::FileSystem& files, FakeDevices& devices)
      : backend_(files), stand_(executor, backend_), devices_(devices) {
    stand_.lib().UseDevices(devices);
  }

  SnapshotStand& stand() { return stand_; }

  Lib& lib() { return stand_.lib(); }

  FakeDevices& devices() { return devices_; }

  template <typename T>
  T Run(base::Task<T> task) {
    return stand_.Run(std::move(task));
  }

  base::Status Make(std::string_view path, bool is_physical = false) {
    const DeviceMapOptions options{.device = kDeviceNode, .is_physical = is_physical};
    return Run(CreateDeviceMap(lib(), path, options));
  }

 private:
  FileBackend backend_;
  SnapshotStand stand_;
  FakeDevices& devices_;
};

}  // namespace disklib
