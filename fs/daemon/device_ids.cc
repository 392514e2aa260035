#include "fs/daemon/device_ids.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <vector>

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "fs/base/digest.h"

namespace stratad {
namespace {

namespace filesystem = std::filesystem;

constexpr const char* kByIdFolder = "/dev/disk/by-id";
constexpr const char* kBlockClass = "/sys/class/block";
constexpr size_t kDigestDigits = 32;

std::string DigestDigits(std::string_view text) {
  return base::DigestOf(base::DigestKind::kSha256, text).substr(0, kDigestDigits);
}

// The first line of a file of sysfs; empty when there is none.
std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// A source of ids in sysfs, and what is put in front of what it says.
struct IdSource {
  const char* file;
  const char* prefix;
};

constexpr std::array kIdSources = {
    IdSource{"device/wwid", ""}, IdSource{"wwid", ""},      IdSource{"dm/uuid", "dm."},
    IdSource{"md/uuid", "md."},  IdSource{"serial", "serial."},
};

std::string SysfsId(const std::string& folder) {
  for (const IdSource& source : kIdSources) {
    const std::string said = FirstLine(folder + "/" + source.file);
    if (!said.empty()) return source.prefix + said;
  }
  const std::string backing = FirstLine(folder + "/loop/backing_file");
  if (backing.empty()) return {};
  const std::string offset = FirstLine(folder + "/loop/offset");
  return "loop." + DigestDigits(offset == "0" ? backing : backing + "@" + offset);
}

// Names in /dev/disk/by-id that lead to a device, in order.
std::vector<std::string> ByIdNames(dev_t device) {
  std::vector<std::string> names;
  std::error_code error;
  for (filesystem::directory_iterator entry(kByIdFolder, error), end; !error && entry != end;
       entry.increment(error)) {
    struct stat status {};

    const bool is_it = stat(entry->path().c_str(), &status) == 0 && S_ISBLK(status.st_mode) &&
                       status.st_rdev == device;
    if (is_it) names.push_back(entry->path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// What is not stored yet; empty: nothing names the device.
std::string RawIdOf(dev_t device) {
  const std::string folder = fmt::format("/sys/dev/block/{}:{}", major(device), minor(device));
  const std::string partition = FirstLine(folder + "/partition");
  const std::string id = SysfsId(partition.empty() ? folder : folder + "/..");
  if (!id.empty()) return partition.empty() ? id : fmt::format("{}-part{}", id, partition);
  const std::vector<std::string> names = ByIdNames(device);
  return names.empty() ? std::string() : "by-id." + names.front();
}

base::Result<dev_t> BlockDeviceAt(const std::string& path) {
  struct stat status {};

  if (stat(path.c_str(), &status) != 0) return base::ErrnoError(errno, path);
  if (S_ISBLK(status.st_mode)) return status.st_rdev;
  return base::Error(base::Code::kInvalidArgument, path + ": is no block device");
}

}  // namespace

base::Status CheckBlockNode(const std::string& path) {
  TRY(const dev_t device, BlockDeviceAt(path));
  static_cast<void>(device);
  return base::Ok();
}

std::string StoredDeviceId(std::string_view id) {
  std::string stored;
  for (const char c : id) {
    const bool is_blank = c == ' ' || c == '\t' || c == '\n';
    if (!is_blank) stored.push_back(c);
    if (is_blank && !stored.empty() && stored.back() != '_') stored.push_back('_');
  }
  while (stored.ends_with('_')) stored.pop_back();
  return stored.size() <= kDeviceIdBytesMax ? stored : "sha256." + DigestDigits(stored);
}

base::Result<std::string> DeviceIdOf(const std::string& path) {
  TRY(const dev_t device, BlockDeviceAt(path));
  std::string id = StoredDeviceId(RawIdOf(device));
  if (!id.empty()) return id;
  return base::Error(base::Code::kUnsupported,
                     path + ": nothing names this device after a restart: no SCSI or NVMe name, "
                            "UUID, serial number or udev name");
}

std::optional<std::string> FindDeviceNode(std::string_view id) {
  std::vector<std::string> nodes;
  std::error_code error;
  for (filesystem::directory_iterator entry(kBlockClass, error), end; !error && entry != end;
       entry.increment(error)) {
    std::string name = entry->path().filename();
    std::replace(name.begin(), name.end(), '!', '/');
    const std::string node = "/dev/" + name;
    const base::Result<std::string> found = DeviceIdOf(node);
    if (found && *found == id) nodes.push_back(node);
  }
  if (nodes.empty()) return std::nullopt;
  return *std::min_element(nodes.begin(), nodes.end());
}

std::string LastingNodePath(const std::string& path) {
  if (path.starts_with("/dev/disk/")) return path;
  const base::Result<dev_t> device = BlockDeviceAt(path);
  if (!device) return path;
  const std::vector<std::string> names = ByIdNames(*device);
  if (!names.empty()) return fmt::format("{}/{}", kByIdFolder, names.front());
  std::error_code error;
  const filesystem::path canonical = filesystem::canonical(path, error);
  return error ? path : canonical.string();
}

}  // namespace stratad
