// `strata mount` and `strata umount`.
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fs/base/log.h"
#include "fs/base/uring_executor.h"
#include "fs/daemon/background.h"
#include "fs/daemon/commands/command_line.h"
#include "fs/daemon/connection_guard.h"
#include "fs/daemon/control_client.h"
#include "fs/daemon/daemon.h"
#include "fs/daemon/host_paths.h"
#include "fs/daemon/mount_point.h"
#include "fs/daemon/termination.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

namespace stratad {
namespace {

struct MountArguments {
  std::vector<std::string> places;  // targets, then the mount point
  bool read_only = false;
  bool adopt = false;
  bool allow_outside = false;
  bool foreground = false;
  std::string cache = "writeback";
  std::string transport = "auto";
};

// Tells a person in the foreground.
class TerminalListener final : public StartListener {
 public:
  explicit TerminalListener(std::string mount_point) : mount_point_(std::move(mount_point)) {}

  void Started(const base::Status& status) override {
    if (status) fmt::print("mounted on {}; end with Ctrl-C or strata umount\n", mount_point_);
    std::fflush(stdout);
  }

 private:
  const std::string mount_point_;
};

// Every looked-up inode of a host folder takes a descriptor.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// The kernel must not wait for our own writeback while it looks for memory for us (prctl(2)).
void BecomeIoFlusher() {
  if (geteuid() == 0) prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
}

class MountMain final : public DaemonMain {
 public:
  explicit MountMain(MountOptions options) : options_(std::move(options)) {}

  int Run(StartListener& listener) override {
    base::Result<ConnectionGuard> guard = ConnectionGuard::Start();
    if (!guard) {
      listener.Started(guard.error());
      return ExitCodeOf("mount", guard.error());
    }
    BlockTerminationSignals();
    RaiseDescriptorLimit();
    BecomeIoFlusher();
    base::SetLogLevel(base::LogLevel::kInfo);
    if (!options_.log_path.empty()) base::SetLogFile(options_.log_path);
    base::Result<std::unique_ptr<base::UringExecutor>> executor = base::UringExecutor::Create();
    if (!executor) {
      listener.Started(executor.error());
      return ExitCodeOf("mount", executor.error());
    }
    Daemon daemon(**executor, options_, &*guard);
    const base::Status ended = base::RunSync<base::Status>(**executor, daemon.Run(listener));
    if (!ended) base::LogError("daemon", "{}", ended.error().message());
    return ended ? kExitOk : kExitFailed;
  }

 private:
  const MountOptions options_;
};

// Targets are given relative to the shell's folder; the daemon leaves it.
std::string AbsoluteTarget(const std::string& target) {
  constexpr std::string_view kPosix = "posix:";
  if (target.starts_with(kPosix)) {
    const std::string folder = target.substr(kPosix.size());
    return std::string(kPosix) + std::filesystem::absolute(folder).lexically_normal().string();
  }
  return std::filesystem::absolute(target).lexically_normal();
}

base::Status Mount(const MountArguments& arguments) {
  MountOptions options;
  TRY(options.mount_point, CanonicalMountPoint(arguments.places.back()));
  for (size_t i = 0; i + 1 < arguments.places.size(); ++i) {
    options.targets.push_back(AbsoluteTarget(arguments.places[i]));
  }
  options.read_only = arguments.read_only;
  options.adopt = arguments.adopt;
  options.allow_outside = arguments.allow_outside;
  options.writeback_cache = arguments.cache == "writeback";
  options.fuse_ring = arguments.transport == "auto";
  TRY_STATUS(PrepareMountPoint(options.mount_point));
  if (arguments.foreground) {
    TerminalListener listener(options.mount_point);
    const int code = MountMain(std::move(options)).Run(listener);
    if (code != kExitOk) return base::Error(base::Code::kIo, "ended with errors");
    return base::Ok();
  }
  TRY(options.log_path, PrepareLogFile(options.mount_point));
  MountMain daemon(std::move(options));
  return RunInBackground(daemon);
}

// A mount whose daemon is dead has nobody to ask, and nothing left to store.
base::Status ClearDeadMount(const std::string& mount_point) {
  if (!IsDeadMount(mount_point)) {
    return base::Error(base::Code::kNotFound,
                       mount_point + ": nothing of Strata's is mounted here");
  }
  return PrepareMountPoint(mount_point);
}

// "; disk vm/vm.vmdk is open for writing (devices/vdisks)", for each disk that is in use.
std::string OpenDisksOf(const std::string& mount_point) {
  base::Result<ControlClient> client = ControlClient::ConnectToMount(mount_point);
  if (!client) return {};
  Json request = Json::object();
  request["command"] = "status";
  const base::Result<Json> status = client->Ask(request);
  if (!status) return {};
  std::string text;
  for (const Json& volume : status->value("volumes", Json::array())) {
    for (const Json& disk : volume.value("open_disks", Json::array())) {
      text += fmt::format("; disk {}", DescribeOpenDisk(disk));
    }
  }
  return text;
}

base::Status Unmount(const std::string& path, bool lazily) {
  TRY(const std::string mount_point, CanonicalMountPoint(path));
  base::Result<ControlClient> client = ControlClient::ConnectToMount(mount_point);
  if (!client) return ClearDeadMount(mount_point);
  Json request = Json::object();
  request["command"] = "umount";
  request["lazy"] = lazily;
  const base::Result<Json> answer = client->Ask(request);
  if (!answer && answer.error().code() == base::Code::kBusy) {
    const std::string users = DescribeUsers(mount_point);
    return base::Error(
        base::Code::kBusy,
        mount_point + ": in use" +
            (users.empty() ? " (" + answer.error().message() + ")" : " by " + users) +
            OpenDisksOf(mount_point) + "; --lazy detaches it all the same");
  }
  if (!answer) return answer.error();
  if (!lazily) client->WaitForExit();
  return base::Ok();
}

void AddMount(CommandLine& line) {
  CLI::App* command = line.app.add_subcommand("mount", "Mount volumes as a directory tree");
  auto arguments = std::make_shared<MountArguments>();
  command
      ->add_option("places", arguments->places,
                   "TARGET... MNT: image files, block devices or posix:FOLDER, and where to mount")
      ->required()
      ->expected(2, -1)
      ->type_name("TARGET... MNT");
  command->add_flag("--read-only", arguments->read_only, "Allow no change");
  command
      ->add_flag("--adopt", arguments->adopt,
                 "Take over a volume that was moved or copied here from another machine")
      ->excludes("--read-only");
  command->add_flag("--allow-outside", arguments->allow_outside,
                    "posix:FOLDER: descriptors may name device nodes");
  command->add_flag("--foreground", arguments->foreground, "Stay in the foreground, log to stderr");
  command
      ->add_option(
          "--cache", arguments->cache,
          "writeback: the kernel delays buffered writes; writethrough: write() stores, and "
          "reports a full volume itself")
      ->check(CLI::IsMember({"writeback", "writethrough"}))
      ->capture_default_str();
  command
      ->add_option("--transport", arguments->transport,
                   "auto: requests over io_uring where the kernel offers that; device: /dev/fuse")
      ->check(CLI::IsMember({"auto", "device"}))
      ->capture_default_str();
  command->callback(
      [&line, arguments] { line.exit_code = ExitCodeOf("mount", Mount(*arguments)); });
}

void AddUnmount(CommandLine& line) {
  CLI::App* command = line.app.add_subcommand(
      "umount", "Unmount; returns when everything is stored and the daemon has ended");
  auto mount_point = std::make_shared<std::string>();
  auto lazily = std::make_shared<bool>(false);
  command->add_option("mnt", *mount_point, "The mount point")->required()->type_name("MNT");
  command->add_flag("--lazy", *lazily, "Detach now, end when the last user is gone");
  command->callback([&line, mount_point, lazily] {
    line.exit_code = ExitCodeOf("umount", Unmount(*mount_point, *lazily));
  });
}

}  // namespace

void AddMountCommands(CommandLine& line) {
  AddMount(line);
  AddUnmount(line);
}

}  // namespace stratad
