#include "fs/daemon/mount_point.h"

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

namespace stratad {
namespace {

namespace stdfs = std::filesystem;

constexpr size_t kUsersNamedMax = 5;
constexpr int kDeadMountsMax = 8;
constexpr std::string_view kInnerMount = "/devices";

// Mount tables write space, tab, newline and backslash as three octal digits.
std::string Unescape(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                 (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

bool LiesIn(const std::string& path, const std::string& folder) {
  return path == folder || (path.size() > folder.size() && path.starts_with(folder) &&
                            (folder == "/" || path[folder.size()] == '/'));
}

bool IsDead(int error_number) {
  return error_number == ENOTCONN || error_number == ECONNABORTED;
}

// Runs a program to its end. Answers its exit code, or -errno.
int RunProgram(std::vector<std::string> words) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  pid_t pid = 0;
  const int failed = posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return -failed;
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

bool UsesMount(const stdfs::path& link, const std::string& mount_point) {
  std::error_code error;
  std::string target = stdfs::read_symlink(link, error).string();
  // The kernel says so also of a file whose name it was merely told to look up again.
  constexpr std::string_view kDeleted = " (deleted)";
  if (target.ends_with(kDeleted)) target.resize(target.size() - kDeleted.size());
  return !error && LiesIn(target, mount_point);
}

bool ProcessUses(const stdfs::path& process, const std::string& mount_point) {
  if (UsesMount(process / "cwd", mount_point) || UsesMount(process / "root", mount_point)) {
    return true;
  }
  std::error_code error;
  for (const stdfs::directory_entry& entry : stdfs::directory_iterator(process / "fd", error)) {
    if (UsesMount(entry.path(), mount_point)) return true;
  }
  return false;
}

}  // namespace

std::vector<MountEntry> ParseMountInfo(std::string_view text) {
  std::vector<MountEntry> entries;
  std::istringstream lines{std::string(text)};
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    MountEntry entry;
    std::string word, mount_point;
    // Mount id, parent id, device, root, mount point, then options up to a lone dash.
    words >> word >> word >> entry.device >> word >> mount_point;
    while (words >> word && word != "-") {
    }
    if (!(words >> entry.type >> entry.source)) continue;
    entry.mount_point = Unescape(mount_point);
    entry.source = Unescape(entry.source);
    entries.push_back(std::move(entry));
  }
  return entries;
}

base::Result<std::vector<MountEntry>> ReadMountTable() {
  std::ifstream file("/proc/self/mountinfo");
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return base::Error(base::Code::kIo, "read /proc/self/mountinfo");
  return ParseMountInfo(text.str());
}

base::Result<std::string> CanonicalMountPoint(const std::string& path) {
  char resolved[PATH_MAX];
  if (realpath(path.c_str(), resolved)) return std::string(resolved);
  if (!IsDead(errno)) return base::ErrnoError(errno, "mount point " + path);
  stdfs::path given = stdfs::absolute(path).lexically_normal();
  if (!given.has_filename()) given = given.parent_path();
  if (!realpath(given.parent_path().c_str(), resolved)) {
    return base::ErrnoError(errno, "mount point " + path);
  }
  return (stdfs::path(resolved) / given.filename()).string();
}

std::string MountContaining(const std::vector<MountEntry>& table, const std::string& path) {
  std::string innermost;
  for (const MountEntry& entry : table) {
    if (entry.type != kMountType || !LiesIn(path, entry.mount_point)) continue;
    const bool is_inner =
        !innermost.empty() && entry.mount_point == innermost + std::string(kInnerMount);
    if (!is_inner && entry.mount_point.size() >= innermost.size()) innermost = entry.mount_point;
  }
  return innermost;
}

bool IsDeadMount(const std::string& mount_point) {
  // The kernel may answer stat(2) from memory, but has to ask for the figures of statfs(2).
  struct statfs figures {};

  return statfs(mount_point.c_str(), &figures) != 0 && IsDead(errno);
}

base::Status PrepareMountPoint(const std::string& mount_point) {
  // A dead daemon leaves two mounts, one in the other, and may have died more than once.
  for (int attempt = 0; attempt < kDeadMountsMax && IsDeadMount(mount_point); ++attempt) {
    TRY_STATUS(UnmountPath(mount_point, Detach::kLazily));
  }

  struct stat status {};

  if (stat(mount_point.c_str(), &status) != 0) {
    return base::ErrnoError(errno, "mount point " + mount_point);
  }
  if (!S_ISDIR(status.st_mode)) {
    return base::Error(base::Code::kNotDirectory, "mount point " + mount_point);
  }
  TRY(const std::vector<MountEntry> table, ReadMountTable());
  if (MountContaining(table, mount_point) == mount_point) {
    return base::Error(base::Code::kBusy, mount_point + ": a volume is mounted here already");
  }
  return base::Ok();
}

base::Status UnmountPath(const std::string& mount_point, Detach detach) {
  const bool lazily = detach == Detach::kLazily;
  if (geteuid() == 0) {
    if (umount2(mount_point.c_str(), UMOUNT_NOFOLLOW | (lazily ? MNT_DETACH : 0)) == 0) {
      return base::Ok();
    }
    return base::ErrnoError(errno, "unmount " + mount_point);
  }
  std::vector<std::string> words{"fusermount3", "-u"};
  if (lazily) words.push_back("-z");
  words.push_back("--");
  words.push_back(mount_point);
  const int code = RunProgram(std::move(words));
  if (code < 0) return base::ErrnoError(-code, "run fusermount3");
  if (code == 0) return base::Ok();
  return base::Error(base::Code::kBusy, "unmount " + mount_point + ": fusermount3 refused");
}

base::Status SyncMount(const std::string& mount_point) {
  const int descriptor = open(mount_point.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return base::ErrnoError(errno, "open " + mount_point);
  const int result = syncfs(descriptor);
  const int error_number = errno;
  close(descriptor);
  if (result != 0) return base::ErrnoError(error_number, "sync " + mount_point);
  return base::Ok();
}

base::Result<std::string> DeviceOfMount(const std::string& mount_point) {
  TRY(const std::vector<MountEntry> table, ReadMountTable());
  std::string device;  // of the innermost
  for (const MountEntry& entry : table) {
    if (entry.mount_point == mount_point && entry.type == kMountType) device = entry.device;
  }
  if (!device.empty()) return device;
  return base::Error(base::Code::kNotFound, mount_point + ": nothing of Strata's is mounted here");
}

std::string DescribeUsers(const std::string& mount_point) {
  std::string text;
  size_t count = 0;
  std::error_code error;
  for (const stdfs::directory_entry& process : stdfs::directory_iterator("/proc", error)) {
    const std::string pid = process.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    if (pid == std::to_string(getpid())) continue;  // what we have open, we inherited
    if (!ProcessUses(process.path(), mount_point) || ++count > kUsersNamedMax) continue;
    std::string name;
    std::getline(std::ifstream(process.path() / "comm"), name);
    text += (text.empty() ? "" : ", ") + pid + " (" + name + ")";
  }
  if (count > kUsersNamedMax) text += " and others";
  return text;
}

}  // namespace stratad
