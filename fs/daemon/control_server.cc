#include "fs/daemon/control_server.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fs/base/log.h"
#include "fs/daemon/process_state.h"

namespace stratad {
namespace {

constexpr size_t kLineBytesMax = 64 * 1024;
constexpr int kBacklog = 16;

base::Result<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return base::Error(base::Code::kNameTooLong, "control socket " + path);
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

const sockaddr* Generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

// The process that listens at the address; 0: nobody.
pid_t ListenerAt(const sockaddr_un& address) {
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return 0;
  ucred peer{};
  socklen_t length = sizeof(peer);
  const bool connected = connect(probe, Generic(address), sizeof(address)) == 0 &&
                         getsockopt(probe, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0;
  close(probe);
  return connected ? peer.pid : 0;
}

bool IsTrusted(int connection) {
  ucred peer{};
  socklen_t length = sizeof(peer);
  if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return false;
  return peer.uid == 0 || peer.uid == geteuid();
}

// Sends progress to a caller, one line per percent; a line that does not fit is left out.
class Caller final : public disklib::Progress {
 public:
  explicit Caller(int connection) : connection_(connection) {}

  bool Advance(uint64_t done_bytes, uint64_t total_bytes) override {
    char byte = 0;
    if (recv(connection_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) return false;
    const double part =
        total_bytes == 0 ? 1.0 : static_cast<double>(done_bytes) / static_cast<double>(total_bytes);
    const int percent = static_cast<int>(part * 100);
    if (percent == last_percent_) return true;
    last_percent_ = percent;
    Json message = Json::object();
    message["progress"]["done"] = done_bytes;
    message["progress"]["total"] = total_bytes;
    const std::string line = ToLine(message) + "\n";
    const ssize_t sent = send(connection_, line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent >= 0 || errno == EAGAIN;
  }

 private:
  const int connection_;
  int last_percent_ = -1;
};

}  // namespace

Json ToAnswer(const base::Result<Json>& result) {
  Json answer = Json::object();
  answer["ok"] = result.has_value();
  if (result) {
    answer.update(*result);
  } else {
    answer["error"] = result.error().message();
    answer["code"] = std::string(base::InfoOf(result.error().code()).name);
    answer["errno"] = result.error().errno_value();
  }
  return answer;
}

ControlServer::ControlServer(base::UringExecutor& executor, const std::string& socket_path,
                             int listener, ControlHandler& handler)
    : executor_(executor),
      socket_path_(socket_path),
      listener_(listener),
      handler_(handler),
      tasks_(executor) {}

ControlServer::~ControlServer() {
  if (listener_ >= 0) close(listener_);
}

base::Result<std::unique_ptr<ControlServer>> ControlServer::Create(base::UringExecutor& executor,
                                                                   const std::string& socket_path,
                                                                   ControlHandler& handler) {
  TRY(const sockaddr_un address, AddressOf(socket_path));
  // A daemon that was just killed listens until it is gone, and answers nobody.
  const pid_t other = ListenerAt(address);
  if (other != 0 && !IsEnding(other)) {
    return base::Error(base::Code::kBusy, "control socket " + socket_path + ": in use by process " +
                                              std::to_string(other));
  }
  unlink(socket_path.c_str());
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener < 0) return base::ErrnoError(errno, "make a control socket");
  std::unique_ptr<ControlServer> server(
      new ControlServer(executor, socket_path, listener, handler));
  const mode_t old_mask = umask(0177);
  const int bound = bind(listener, Generic(address), sizeof(address));
  const int error_number = errno;
  umask(old_mask);
  if (bound != 0 || listen(listener, kBacklog) != 0) {
    return base::ErrnoError(bound != 0 ? error_number : errno, "control socket " + socket_path);
  }
  return server;
}

void ControlServer::Start() {
  tasks_.Add(AcceptLoop());
}

base::Task<void> ControlServer::Stop() {
  stopping_ = true;
  executor_.CancelAll(listener_);
  for (const Connection* connection : connections_) {
    if (connection->reading) executor_.CancelAll(connection->descriptor);
  }
  co_await tasks_.Join();
  unlink(socket_path_.c_str());
}

base::Task<void> ControlServer::AcceptLoop() {
  while (!stopping_) {
    const int events = co_await executor_.PollIn(listener_);
    if (events < 0) co_return;
    const int connection = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) continue;
    if (IsTrusted(connection)) {
      tasks_.Add(Serve(connection));
    } else {
      close(connection);
    }
  }
}

base::Task<void> ControlServer::Serve(int descriptor) {
  Connection connection{descriptor, false, {}};
  connections_.insert(&connection);
  std::string line;
  while (!stopping_) {
    const bool received = co_await ReadLine(connection, line);
    if (!received) break;
    base::Result<Json> request = ParseJson(line);
    base::Result<Json> result = base::Code::kParseError;
    Caller caller(descriptor);
    if (request) result = co_await handler_.Handle(*request, caller);
    line = ToLine(ToAnswer(result)) + "\n";
    const bool written = co_await WriteLine(connection, line);
    if (!written) break;
  }
  connections_.erase(&connection);
  close(descriptor);
}

base::Task<bool> ControlServer::ReadLine(Connection& connection, std::string& line) {
  std::array<char, 4096> bytes;
  while (true) {
    const size_t end = connection.received.find('\n');
    if (end != std::string::npos) {
      line = connection.received.substr(0, end);
      connection.received.erase(0, end + 1);
      co_return true;
    }
    if (connection.received.size() > kLineBytesMax) co_return false;
    const base::IoVec piece{reinterpret_cast<std::byte*>(bytes.data()), bytes.size()};
    connection.reading = true;
    const int count = co_await executor_.Readv(connection.descriptor, {&piece, 1},
                                               base::UringExecutor::kNoOffset);
    connection.reading = false;
    if (count <= 0) co_return false;
    connection.received.append(bytes.data(), static_cast<size_t>(count));
  }
}

base::Task<bool> ControlServer::WriteLine(Connection& connection, std::string& line) {
  size_t done = 0;
  while (done < line.size()) {
    const base::IoVec piece{reinterpret_cast<std::byte*>(line.data()) + done, line.size() - done};
    const int count = co_await executor_.Writev(connection.descriptor, {&piece, 1},
                                                base::UringExecutor::kNoOffset);
    if (count <= 0) co_return false;
    done += static_cast<size_t>(count);
  }
  co_return true;
}

}  // namespace stratad
