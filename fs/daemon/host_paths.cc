#include "fs/daemon/host_paths.h"

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace stratad {
namespace {

namespace stdfs = std::filesystem;

constexpr uintmax_t kLogBytesMax = 1 << 20;
constexpr std::string_view kSocketSuffix = ".sock";

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string StatePath() {
  if (geteuid() == 0) return "/var/lib/strata";
  const std::string chosen = Environment("XDG_STATE_HOME");
  return chosen.empty() ? Environment("HOME") + "/.local/state/strata" : chosen + "/strata";
}

std::string RuntimePath() {
  if (geteuid() == 0) return "/run/strata";
  const std::string chosen = Environment("XDG_RUNTIME_DIR");
  return chosen.empty() ? fmt::format("/tmp/strata-{}", geteuid()) : chosen + "/strata";
}

base::Result<std::string> MakePrivateFolder(const std::string& path) {
  std::error_code error;
  stdfs::create_directories(stdfs::path(path).parent_path(), error);
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return base::ErrnoError(errno, "make folder " + path);
  }

  struct stat status {};

  if (lstat(path.c_str(), &status) != 0) return base::ErrnoError(errno, "look at " + path);
  if (!S_ISDIR(status.st_mode) || status.st_uid != geteuid()) {
    return base::Error(base::Code::kPermission, "folder " + path + ": belongs to somebody else");
  }
  return path;
}

// A short name that follows from the mount point: a socket's path has 107 bytes at most.
std::string NameOfMount(const std::string& mount_point) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, 64 bits
  for (const char c : mount_point) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return fmt::format("mount-{:016x}", hash);
}

uint64_t WallMicroseconds() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

}  // namespace

base::Result<std::string> StateFolder() {
  return MakePrivateFolder(StatePath());
}

base::Result<std::string> RuntimeFolder() {
  return MakePrivateFolder(RuntimePath());
}

base::Result<std::string> ControlSocketPath(const std::string& mount_point) {
  TRY(const std::string folder, RuntimeFolder());
  return folder + "/" + NameOfMount(mount_point) + std::string(kSocketSuffix);
}

base::Result<std::vector<std::string>> ControlSocketPaths() {
  TRY(const std::string folder, RuntimeFolder());
  std::vector<std::string> paths;
  std::error_code error;
  for (const stdfs::directory_entry& entry : stdfs::directory_iterator(folder, error)) {
    if (entry.path().extension() == kSocketSuffix) paths.push_back(entry.path());
  }
  return paths;
}

base::Result<std::string> PrepareLogFile(const std::string& mount_point) {
  TRY(const std::string folder, StateFolder());
  const std::string path = folder + "/" + NameOfMount(mount_point) + ".log";
  std::error_code error;
  const uintmax_t size = stdfs::file_size(path, error);
  if (!error && size > kLogBytesMax) stdfs::rename(path, path + ".old", error);
  return path;
}

base::Result<base::Uuid> HostIdentity() {
  TRY(const std::string folder, StateFolder());
  const std::string path = folder + "/host-uuid";
  std::string text;
  if (std::ifstream(path) >> text) return base::ParseUuid(text);
  const base::Uuid made = base::NewUuid(WallMicroseconds());
  const std::string part = fmt::format("{}.{}", path, getpid());
  std::ofstream(part) << made.ToString() << '\n';
  // link(2) keeps the identity that another process may have stored meanwhile.
  const bool linked = link(part.c_str(), path.c_str()) == 0;
  unlink(part.c_str());
  if (linked) return made;
  if (errno != EEXIST || !(std::ifstream(path) >> text)) {
    return base::ErrnoError(errno, "store the host's identity in " + path);
  }
  return base::ParseUuid(text);
}

}  // namespace stratad
