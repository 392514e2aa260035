#include "fs/daemon/background.h"

#include <cerrno>
#include <cstdlib>

#include <fcntl.h>
#include <unistd.h>

#include "fs/daemon/json.h"

namespace stratad {
namespace {

void WriteAll(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = write(descriptor, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

std::string ReadAll(int descriptor) {
  std::string text;
  char bytes[4096];
  while (true) {
    const ssize_t count = read(descriptor, bytes, sizeof(bytes));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return text;
    text.append(bytes, static_cast<size_t>(count));
  }
}

// Points the standard streams away from the terminal.
void LeaveTerminal() {
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return;
  for (const int stream : {0, 1, 2}) dup2(null, stream);
  close(null);
}

// Reports through the pipe on which the parent waits.
class PipeListener final : public StartListener {
 public:
  explicit PipeListener(int pipe) : pipe_(pipe) {}

  void Started(const base::Status& status) override {
    Json report = Json::object();
    report["ok"] = status.has_value();
    if (!status) {
      report["code"] = static_cast<uint64_t>(status.error().code());
      report["error"] = status.error().message();
    }
    WriteAll(pipe_, ToLine(report));
    close(pipe_);
    LeaveTerminal();
  }

 private:
  const int pipe_;
};

base::Status ToStatus(const std::string& text) {
  const base::Result<Json> report = ParseJson(text);
  if (!report) return base::Error(base::Code::kIo, "the daemon ended without a word; see its log");
  if (FlagOf(*report, "ok")) return base::Ok();
  const uint64_t code = NumberOf(*report, "code").value_or(0);
  const bool known = code >= 1 && code <= static_cast<uint64_t>(base::Code::kMedium);
  return base::Error(known ? static_cast<base::Code>(code) : base::Code::kIo,
                     StringOf(*report, "error").value_or("the daemon failed"));
}

}  // namespace

base::Status RunInBackground(DaemonMain& daemon) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return base::ErrnoError(errno, "make a pipe");
  const pid_t child = fork();
  if (child < 0) return base::ErrnoError(errno, "fork");
  if (child == 0) {
    close(ends[0]);
    setsid();
    if (chdir("/") != 0) _exit(EXIT_FAILURE);
    PipeListener listener(ends[1]);
    std::exit(daemon.Run(listener));
  }
  close(ends[1]);
  const std::string report = ReadAll(ends[0]);
  close(ends[0]);
  return ToStatus(report);
}

}  // namespace stratad
