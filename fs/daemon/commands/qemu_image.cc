#include "fs/daemon/commands/qemu_image.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/daemon/commands/progress.h"
#include "fs/daemon/json.h"

namespace stratad {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;

constexpr const char* kProgram = "qemu-img";
constexpr size_t kOutputBytesMax = size_t{4} << 20;
constexpr int kPollMilliseconds = 200;
constexpr uint64_t kPercentSteps = 10'000;

// "    (12.34/100%)" -> 1234.
std::optional<uint64_t> ParsePercent(std::string_view text) {
  const size_t open = text.rfind('(');
  if (open == text.npos || text.find("/100%)", open) == text.npos) return std::nullopt;
  const double percent = std::strtod(std::string(text.substr(open + 1)).c_str(), nullptr);
  if (percent < 0 || percent > 100) return std::nullopt;
  return static_cast<uint64_t>(percent * (kPercentSteps / 100));
}

// One run of the program, its two outputs read to the end.
class Run {
 public:
  Run() = default;
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  ~Run() {
    for (const int end : {output_[0], output_[1], error_[0], error_[1]}) {
      if (end >= 0) close(end);
    }
  }

  // Answers the exit code.
  Result<int> Execute(const std::vector<std::string>& words, const std::string& title) {
    if (pipe2(output_.data(), O_CLOEXEC) != 0 || pipe2(error_.data(), O_CLOEXEC) != 0) {
      return base::ErrnoError(errno, "pipe");
    }
    TRY_STATUS(Start(words));
    close(std::exchange(output_[1], -1));
    close(std::exchange(error_[1], -1));
    std::optional<ProgressBar> bar;
    if (!title.empty()) bar.emplace(title);
    ReadOutputs(bar ? &*bar : nullptr);
    int state = 0;
    while (waitpid(process_, &state, 0) < 0 && errno == EINTR) {
    }
    if (Interrupted()) return Error(Code::kInterrupted, "stopped");
    return WIFEXITED(state) ? WEXITSTATUS(state) : -1;
  }

  const std::string& output() const { return texts_[0]; }

  // The last line of what went wrong, without the program's name.
  std::string Complaint() const {
    std::string_view text = texts_[1];
    while (text.ends_with('\n')) text.remove_suffix(1);
    text.remove_prefix(text.rfind('\n') + 1);
    if (text.starts_with("qemu-img: ")) text.remove_prefix(10);
    return std::string(text);
  }

 private:
  Status Start(const std::vector<std::string>& words) {
    std::vector<char*> arguments{const_cast<char*>(kProgram)};
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, output_[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, error_[1], STDERR_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    const int failed =
        posix_spawnp(&process_, kProgram, &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed == ENOENT) {
      return Error(Code::kNotFound, "this format needs qemu-img (Debian package qemu-utils)");
    }
    if (failed != 0) return base::ErrnoError(failed, kProgram);
    return base::Ok();
  }

  void ReadOutputs(ProgressBar* bar) {
    uint64_t percent = 0;
    std::array<pollfd, 2> ends = {pollfd{output_[0], POLLIN, 0}, pollfd{error_[0], POLLIN, 0}};
    bool is_stopped = false;
    while (ends[0].fd >= 0 || ends[1].fd >= 0) {
      poll(ends.data(), ends.size(), kPollMilliseconds);
      for (size_t i = 0; i < ends.size(); ++i) {
        if (ends[i].fd < 0 || ends[i].revents == 0) continue;
        if (!ReadSome(ends[i].fd, texts_[i])) ends[i].fd = -1;
      }
      percent = ParsePercent(texts_[0]).value_or(percent);
      const bool goes_on = bar == nullptr ? !Interrupted() : bar->Advance(percent, kPercentSteps);
      if (goes_on || is_stopped) continue;
      kill(process_, SIGTERM);
      is_stopped = true;
    }
  }

  // False at the end.
  static bool ReadSome(int end, std::string& text) {
    std::array<char, 4096> bytes;
    const ssize_t count = read(end, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) return true;
    if (count <= 0) return false;
    if (text.size() < kOutputBytesMax) text.append(bytes.data(), static_cast<size_t>(count));
    return true;
  }

  std::array<int, 2> output_{-1, -1};
  std::array<int, 2> error_{-1, -1};
  std::array<std::string, 2> texts_;
  pid_t process_ = -1;
};

// qemu-img takes "nbd:…" and "json:…" for more than a file; a path that begins with a slash or a
// dot never is.
std::string PlainPath(const std::string& path) {
  return path.starts_with('/') ? path : "./" + path;
}

Status RefuseReferences(const std::string& image, std::string_view format) {
  Run run;
  TRY(const int code,
      run.Execute({"info", "--output=json", "-f", std::string(format), PlainPath(image)}, {}));
  if (code != 0) return Error(Code::kIo, fmt::format("{}: {}", image, run.Complaint()));
  TRY(const Json info, ParseJson(run.output()));
  const Json specific = info.value("format-specific", Json::object());
  const Json data = specific.value("data", Json::object());
  for (const auto& [object, key] :
       {std::pair(&info, "backing-filename"), std::pair(&info, "full-backing-filename"),
        std::pair(&data, "data-file")}) {
    const std::optional<std::string> other = StringOf(*object, key);
    if (!other) continue;
    return Error(Code::kNotPermitted,
                 fmt::format("{}: is not whole without {}; join them first: qemu-img convert",
                             image, *other));
  }
  if (FlagOf(info, "encrypted")) {
    return Error(Code::kUnsupported, fmt::format("{}: is encrypted", image));
  }
  return base::Ok();
}

Status Convert(const std::vector<std::string>& words, const std::string& title,
               const std::string& made) {
  Run run;
  const Result<int> code = run.Execute(words, title);
  if (code && *code == 0) return base::Ok();
  unlink(made.c_str());
  if (!code) return code.error();
  return Error(Code::kIo, fmt::format("{}: {}", title, run.Complaint()));
}

bool StartsAt(std::string_view bytes, size_t offset, std::string_view magic) {
  return bytes.size() >= offset && bytes.substr(offset).starts_with(magic);
}

}  // namespace

std::string_view ForeignFormatOf(std::string_view first_bytes, std::string_view last_bytes) {
  using namespace std::string_view_literals;

  const struct {
    size_t offset;
    std::string_view magic;
    std::string_view format;
  } known[] = {
      {0, "QFI\xfb\0\0\0\1"sv, "qcow"},
      {0, "QFI\xfb"sv, "qcow2"},
      {0, "vhdxfile"sv, "vhdx"},
      {64, "\x7f\x10\xda\xbe"sv, "vdi"},
      {0, "conectix"sv, "vpc"},
      {0, "QED\0"sv, "qed"},
      {0, "WithoutFreeSpace"sv, "parallels"},
      {0, "WithouFreSpacExt"sv, "parallels"},
  };

  for (const auto& one : known) {
    if (StartsAt(first_bytes, one.offset, one.magic)) return one.format;
  }
  return last_bytes.starts_with("conectix") ? "vpc" : "";
}

Status ConvertToRaw(const std::string& image, std::string_view format, const std::string& raw) {
  TRY_STATUS(RefuseReferences(image, format));
  return Convert(
      {"convert", "-p", "-f", std::string(format), "-O", "raw", PlainPath(image), PlainPath(raw)},
      "convert " + image, raw);
}

Status ConvertFromRaw(const std::string& raw, std::string_view format, const std::string& image) {
  return Convert(
      {"convert", "-p", "-f", "raw", "-O", std::string(format), PlainPath(raw), PlainPath(image)},
      "convert " + image, image);
}

Status CompareWithRaw(const std::string& image, std::string_view format, const std::string& raw) {
  Run run;
  TRY(const int code, run.Execute({"compare", "-p", "-f", std::string(format), "-F", "raw",
                                   PlainPath(image), PlainPath(raw)},
                                  "prove " + image));
  if (code == 0) return base::Ok();
  if (code == 1) return Error(Code::kChecksumMismatch, image + ": differs from its source");
  return Error(Code::kIo, fmt::format("compare {}: {}", image, run.Complaint()));
}

Status SyncAndRename(const std::string& from, const std::string& to) {
  const int file = open(from.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return base::ErrnoError(errno, from);
  const bool is_synced = fsync(file) == 0;
  const int failed = errno;
  close(file);
  if (!is_synced) return base::ErrnoError(failed, from);
  if (std::rename(from.c_str(), to.c_str()) != 0) return base::ErrnoError(errno, to);
  return base::Ok();
}

Result<uint64_t> SizeOf(const std::string& path) {
  struct stat status {};

  if (stat(path.c_str(), &status) != 0) return base::ErrnoError(errno, path);
  return static_cast<uint64_t>(status.st_size);
}

}  // namespace stratad
