#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "fs/daemon/commands/command_line.h"
#include "fs/daemon/commands/vmkfstools.h"
#include "fs/daemon/control_client.h"
#include "fs/daemon/host_paths.h"
#include "fs/daemon/mount_point.h"

namespace stratad {
namespace {

constexpr uint64_t kFileBlockBytes = 1 << 20;
constexpr uint64_t kFileBytesMax = uint64_t{64} << 40;

base::Result<Json> VolumeAt(const std::string& path) {
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

}  // namespace

int PrintFileSystem(const std::string& path, bool human_readable) {
  const base::Result<Json> volume = VolumeAt(path);
  if (!volume) return VmkFail("query file system", volume.error());
  const auto text = [&volume](const char* key) { return StringOf(*volume, key).value_or(""); };
  const uint64_t size = NumberOf(*volume, "size_bytes").value_or(0);
  const uint64_t free = NumberOf(*volume, "free_bytes").value_or(0);
  fmt::print("{} file system spanning 1 partitions.\n", text("kind"));
  fmt::print("File system label (if any): {}\n", text("label"));
  fmt::print("Mode: {}\n", FlagOf(*volume, "read_only") ? "public read-only" : "public");
  if (human_readable) {
    fmt::print("Capacity {}, {} available, file block size {}, max supported file size {}\n",
               FormatBytes(size), FormatBytes(free), FormatBytes(kFileBlockBytes),
               FormatBytes(kFileBytesMax));
  } else {
    fmt::print(
        "Capacity {} ({} file blocks * {}), {} ({} blocks) avail, max supported file size "
        "{}\n",
        size, size / kFileBlockBytes, kFileBlockBytes, free, free / kFileBlockBytes, kFileBytesMax);
  }
  fmt::print("UUID: {}\nPartitions spanned:\n\t{}\n", text("uuid"), text("source"));
  return kExitOk;
}

}  // namespace stratad
