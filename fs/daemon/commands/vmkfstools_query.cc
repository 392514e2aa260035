#include <algorithm>
#include <sstream>
#include <utility>

#include <fmt/format.h>
#include <sys/stat.h>

#include "fs/daemon/commands/command_line.h"
#include "fs/daemon/commands/raw_volume_task.h"
#include "fs/daemon/commands/vmkfstools.h"
#include "fs/daemon/commands/vmkfstools_volume.h"
#include "fs/daemon/control_client.h"
#include "fs/daemon/host_paths.h"
#include "fs/daemon/mount_point.h"

namespace stratad {
namespace {

constexpr uint64_t kFileBytesMax = uint64_t{64} << 40;

class InfoTask final : public DeviceTask {
 public:
  base::Task<base::Status> Run(base::UringExecutor&,
                               std::span<base::BlockDevice* const> devices) override {
    CO_TRY(info_, co_await vmfs::ReadVolumeInfo(devices));
    co_return base::Ok();
  }

  vmfs::VolumeInfo Take() { return std::move(info_); }

 private:
  vmfs::VolumeInfo info_;
};

void PrintCapacity(uint64_t size, uint64_t free, uint64_t block, bool human_readable) {
  if (human_readable) {
    fmt::print("Capacity {}, {} available, file block size {}, max supported file size {}\n",
               FormatBytes(size), FormatBytes(free), FormatBytes(block),
               FormatBytes(kFileBytesMax));
    return;
  }
  fmt::print(
      "Capacity {} ({} file blocks * {}), {} ({} blocks) avail, max supported file size {}\n", size,
      size / block, block, free, free / block, kFileBytesMax);
}

base::Status Print(const std::string& path, bool human_readable) {
  TRY(const Json volume, VmkVolumeAt(path));
  TRY(const std::vector<std::string> devices, VmkDevicesOf(volume));
  TRY(const vmfs::VolumeInfo info, VmkReadInfo(devices));
  fmt::print("VMFS-{}.{} (Raw Major Version: {}) file system spanning {} partitions.\n",
             info.major == vmfs::kVmfs6Major ? 6 : 5, info.minor, info.major, devices.size());
  fmt::print("File system label (if any): {}\n", info.label);
  fmt::print("Mode: public{}\n", FlagOf(volume, "read_only") ? " read-only" : "");
  PrintCapacity(NumberOf(volume, "size_bytes").value_or(0),
                NumberOf(volume, "free_bytes").value_or(0),
                std::max<uint64_t>(info.file_block_bytes, 1), human_readable);
  fmt::print("UUID: {}\nPartitions spanned (on \"lvm\"):\n", StringOf(volume, "uuid").value_or(""));
  for (const std::string& device : devices) fmt::print("\t{}\n", device);
  return base::Ok();
}

}  // namespace

base::Result<Json> VmkVolumeAt(const std::string& path) {
  TRY(const std::string canonical, CanonicalMountPoint(path));
  TRY(const std::vector<MountEntry> table, ReadMountTable());
  const std::string mount = MountContaining(table, canonical);
  if (mount.empty()) {
    return base::Error(base::Code::kNotFound, path + ": lies on no mounted volume");
  }
  TRY(ControlClient client, ControlClient::ConnectToMount(mount));
  Json request = Json::object();
  request["command"] = "status";
  TRY(const Json status, client.Ask(request));
  for (const Json& volume : status.value("volumes", Json::array())) {
    const std::string folder = StringOf(volume, "folder").value_or("/");
    if (canonical == folder || canonical.starts_with(folder + "/")) return volume;
  }
  return base::Error(base::Code::kNotFound, path + ": lies on no mounted volume");
}

base::Result<std::vector<std::string>> VmkDevicesOf(const Json& volume) {
  if (StringOf(volume, "kind").value_or("") != "vmfs") {
    return base::Error(base::Code::kUnsupported,
                       "it lies in a host folder, where no host has locks or heartbeats; "
                       "strata status lists the disks that are open");
  }
  const std::string source = StringOf(volume, "source").value_or("");

  struct stat found {};

  if (stat(source.c_str(), &found) == 0) return std::vector<std::string>{source};
  std::istringstream words(source);
  std::vector<std::string> devices;
  for (std::string word; words >> word;) devices.push_back(word);
  return devices;
}

base::Result<vmfs::VolumeInfo> VmkReadInfo(const std::vector<std::string>& devices) {
  InfoTask task;
  TRY_STATUS(RunOnDevices(devices, task));
  return task.Take();
}

int PrintFileSystem(const std::string& path, bool human_readable) {
  const base::Status printed = Print(path, human_readable);
  return printed ? kExitOk : VmkFail("query file system", printed.error());
}

}  // namespace stratad
