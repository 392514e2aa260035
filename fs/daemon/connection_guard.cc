#include "fs/daemon/connection_guard.h"

#include <cerrno>
#include <charconv>
#include <csignal>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

namespace stratad {
namespace {

constexpr char kConnectionsFolder[] = "/sys/fs/fuse/connections";
constexpr long kFusectlMagic = 0x65735543;
constexpr int kParentDied = SIGUSR1;

// A mount of fusectl that nobody else sees; it goes with its descriptor. -1 without the right to
// it.
int MountFusectl() {
  const int context = fsopen("fusectl", FSOPEN_CLOEXEC);
  if (context < 0) return -1;
  int folder = -1;
  if (fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0) {
    folder = fsmount(context, FSMOUNT_CLOEXEC, 0);
  }
  close(context);
  return folder;
}

int OpenConnectionsFolder() {
  struct statfs kind {};

  if (statfs(kConnectionsFolder, &kind) == 0 && kind.f_type == kFusectlMagic) {
    return open(kConnectionsFolder, O_PATH | O_DIRECTORY | O_CLOEXEC);
  }
  return MountFusectl();
}

// The file stays that of this connection: a later one of the same number has another.
int OpenAbortFile(unsigned connection) {
  const int folder = OpenConnectionsFolder();
  if (folder < 0) return -1;
  const int file =
      openat(folder, (std::to_string(connection) + "/abort").c_str(), O_WRONLY | O_CLOEXEC);
  close(folder);
  return file;
}

void Abort(const std::vector<int>& connections) {
  for (const int connection : connections) {
    const ssize_t ignored = write(connection, "1", 1);  // gone already: all the better
    static_cast<void>(ignored);
  }
}

// Keeps nothing of the daemon's but the pipe, lest a connection or a lock live on with it.
void LeaveDaemon(int pipe) {
  dup2(pipe, 3);
  close_range(4, ~0U, 0);
  const int null = open("/dev/null", O_RDWR);
  for (const int stream : {0, 1, 2}) dup2(null, stream);
  close(null);
  setsid();
  prctl(PR_SET_NAME, "strata-guard");
}

[[noreturn]] void GuardForEver(int given_pipe, pid_t daemon) {
  LeaveDaemon(given_pipe);
  constexpr int kPipe = 3;
  sigset_t signals;
  sigfillset(&signals);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  sigemptyset(&signals);
  sigaddset(&signals, kParentDied);
  const int deaths = signalfd(-1, &signals, SFD_CLOEXEC);
  prctl(PR_SET_PDEATHSIG, kParentDied);
  if (deaths < 0 || getppid() != daemon) _exit(1);
  std::vector<int> connections;
  while (true) {
    pollfd events[] = {{deaths, POLLIN, 0}, {kPipe, POLLIN, 0}};
    if (poll(events, 2, -1) < 0) continue;
    if (events[0].revents != 0) {
      Abort(connections);
      _exit(0);
    }
    unsigned connection = 0;
    if (read(kPipe, &connection, sizeof(connection)) != sizeof(connection)) _exit(0);
    const int file = OpenAbortFile(connection);
    if (file >= 0) connections.push_back(file);
  }
}

}  // namespace

base::Result<ConnectionGuard> ConnectionGuard::Start() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return base::ErrnoError(errno, "make a pipe to the guard");
  const pid_t daemon = getpid();
  const pid_t child = fork();
  if (child == 0) GuardForEver(ends[0], daemon);
  const int error_number = errno;
  close(ends[0]);
  if (child < 0) {
    close(ends[1]);
    return base::ErrnoError(error_number, "fork the guard");
  }
  return ConnectionGuard(child, ends[1]);
}

ConnectionGuard::ConnectionGuard(ConnectionGuard&& other) noexcept
    : process_(other.process_), pipe_(std::exchange(other.pipe_, -1)) {}

ConnectionGuard::~ConnectionGuard() {
  if (pipe_ < 0) return;
  close(pipe_);
  while (waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

base::Status ConnectionGuard::Watch(const std::string& device) {
  unsigned connection = 0;
  const size_t colon = device.find(':');
  const char* first = device.data() + (colon == std::string::npos ? device.size() : colon + 1);
  const auto read = std::from_chars(first, device.data() + device.size(), connection);
  if (read.ec != std::errc() || read.ptr != device.data() + device.size()) {
    return base::Error(base::Code::kInvalidArgument,
                       "guard the connection of \"" + device + "\": no device number");
  }
  if (write(pipe_, &connection, sizeof(connection)) != sizeof(connection)) {
    return base::Error(base::Code::kIo,
                       "guard the connection of " + device + ": the guard is gone");
  }
  return base::Ok();
}

}  // namespace stratad
