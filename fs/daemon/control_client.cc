#include "fs/daemon/control_client.h"

#include <cerrno>
#include <cstring>

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "fs/daemon/host_paths.h"

namespace stratad {
namespace {

int OpenProcess(int connection) {
  ucred peer{};
  socklen_t length = sizeof(peer);
  if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return -1;
  return static_cast<int>(syscall(SYS_pidfd_open, peer.pid, 0));
}

bool SendAll(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = send(descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

// The code whose name the daemon sent.
base::Code CodeNamed(const std::string& name) {
  for (int value = 1; value <= static_cast<int>(base::Code::kMedium); ++value) {
    const auto code = static_cast<base::Code>(value);
    if (base::InfoOf(code).name == name) return code;
  }
  return base::Code::kIo;
}

base::Result<Json> ToResult(Json answer) {
  if (FlagOf(answer, "ok")) return answer;
  return base::Error(CodeNamed(StringOf(answer, "code").value_or("")),
                     StringOf(answer, "error").value_or("the daemon refused"));
}

}  // namespace

base::Result<ControlClient> ControlClient::Connect(const std::string& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof(address.sun_path)) return base::Code::kNameTooLong;
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size() + 1);
  const int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return base::ErrnoError(errno, "make a socket");
  if (connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    const int error_number = errno == ECONNREFUSED ? ENOENT : errno;
    close(descriptor);
    return base::ErrnoError(error_number, "reach the daemon at " + socket_path);
  }
  return ControlClient(descriptor, OpenProcess(descriptor));
}

base::Result<ControlClient> ControlClient::ConnectToMount(const std::string& mount_point) {
  TRY(const std::string socket_path, ControlSocketPath(mount_point));
  base::Result<ControlClient> client = Connect(socket_path);
  if (!client && client.error().code() == base::Code::kNotFound) {
    return base::Error(base::Code::kNotFound, mount_point + ": no daemon of this user serves it");
  }
  return client;
}

ControlClient::~ControlClient() {
  if (descriptor_ >= 0) close(descriptor_);
  if (process_descriptor_ >= 0) close(process_descriptor_);
}

base::Result<std::string> ControlClient::ReadLine() {
  size_t end = received_.find('\n');
  while (end == std::string::npos) {
    pollfd waited{descriptor_, POLLIN, 0};
    if (poll(&waited, 1, -1) < 0 && errno == EINTR) return base::Code::kInterrupted;
    char bytes[4096];
    const ssize_t count = read(descriptor_, bytes, sizeof(bytes));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      return base::Error(base::Code::kIo, "the daemon ended without an answer; see its log");
    }
    received_.append(bytes, static_cast<size_t>(count));
    end = received_.find('\n');
  }
  std::string line = received_.substr(0, end);
  received_.erase(0, end + 1);
  return line;
}

base::Result<Json> ControlClient::Ask(const Json& request, disklib::Progress* progress) {
  if (!SendAll(descriptor_, ToLine(request) + "\n")) {
    return base::Error(base::Code::kIo, "the daemon takes no request; see its log");
  }
  uint64_t done_bytes = 0;
  uint64_t total_bytes = 1;
  bool stop_asked = false;
  while (true) {
    const base::Result<std::string> line = ReadLine();
    if (!line && line.error().code() != base::Code::kInterrupted) return line.error();
    if (line) {
      TRY(Json answer, ParseJson(*line));
      if (!answer.contains("progress")) return ToResult(std::move(answer));
      done_bytes = NumberOf(answer["progress"], "done").value_or(0);
      total_bytes = NumberOf(answer["progress"], "total").value_or(0);
    }
    if (progress && !stop_asked && !progress->Advance(done_bytes, total_bytes)) {
      stop_asked = true;
      shutdown(descriptor_, SHUT_WR);
    }
  }
}

void ControlClient::WaitForExit() {
  if (process_descriptor_ < 0) return;
  pollfd waited{process_descriptor_, POLLIN, 0};
  while (poll(&waited, 1, -1) < 0 && errno == EINTR) {
  }
}

}  // namespace stratad
