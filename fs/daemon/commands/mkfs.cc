// `strata mkfs`.
#include "vmfs/mkfs/mkfs.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "fs/base/file_device.h"
#include "fs/base/uring_executor.h"
#include "fs/daemon/commands/command_line.h"
#include "fs/daemon/commands/progress.h"
#include "fs/daemon/commands/size.h"
#include "fs/daemon/host_paths.h"
#include "vmfs/lock/heartbeat.h"
#include "vmfs/mkfs/existing.h"

namespace stratad {
namespace {

struct MkfsArguments {
  std::vector<std::string> targets;
  std::string label;
  std::string size;
  bool force = false;
  bool keep = false;
  bool as_json = false;
};

// All heartbeat guard bytes: who holds them holds the volume against every daemon.
constexpr uint64_t kGuardByteCount = 1024;

struct Target {
  std::string path;
  std::unique_ptr<base::FileDevice> device;
  bool created = false;
};

class Mkfs {
 public:
  Mkfs(base::UringExecutor& executor, const MkfsArguments& arguments)
      : executor_(executor), arguments_(arguments) {}

  base::Task<base::Result<vmfs::MkfsReport>> Run() {
    base::Result<vmfs::MkfsReport> report = base::Code::kInternal;
    const base::Status opened = co_await OpenAll();
    if (opened) {
      report = co_await Format();
    } else {
      report = opened.error();
    }
    for (const Target& target : targets_) {
      const base::Status closed = co_await target.device->Close();
      if (report && !closed) report = closed.error();
      // What this run created and could not finish is of no use to anybody.
      if (!report && target.created) unlink(target.path.c_str());
    }
    co_return report;
  }

 private:
  base::Task<base::Status> OpenAll() {
    if (!arguments_.size.empty()) {
      CO_TRY(const uint64_t bytes, ParseSize(arguments_.size));
      volume_bytes_ = bytes;
    }
    for (const std::string& path : arguments_.targets) {
      CO_TRY_STATUS(OpenOne(path));
      if (arguments_.force || targets_.back().created) continue;
      CO_TRY(const std::optional<std::string> content,
             co_await vmfs::ProbeExistingContent(*targets_.back().device));
      if (content) {
        co_return base::Error(base::Code::kExists,
                              path + ": holds " + *content + "; --force overwrites it");
      }
    }
    co_return base::Ok();
  }

  // A file that does not exist is created, large enough for its share of the volume.
  base::Status OpenOne(const std::string& path) {
    base::FileDeviceOptions options;
    Target target;
    target.path = path;
    if (!std::filesystem::exists(path)) {
      if (!volume_bytes_ || arguments_.targets.size() > 1) {
        return base::Error(base::Code::kNotFound,
                           path + ": does not exist; a single image is created with --size");
      }
      options.create_size_bytes = vmfs::ImageBytesFor(*volume_bytes_);
      target.created = true;
    }
    TRY(target.device, base::OpenFileDevice(executor_, path, options));
    TRY_STATUS(HoldAgainstDaemons(*target.device, path));
    targets_.push_back(std::move(target));
    return base::Ok();
  }

  // A mounted volume is never formatted, not even with --force.
  static base::Status HoldAgainstDaemons(base::FileDevice& device, const std::string& path) {
    for (uint64_t slot = 0; slot < kGuardByteCount; ++slot) {
      TRY(const bool locked, device.TryLockByte(vmfs::kGuardByteOffset + slot));
      if (!locked) {
        return base::Error(base::Code::kBusy, path + ": a daemon has this volume mounted");
      }
    }
    return base::Ok();
  }

  base::Task<base::Result<vmfs::MkfsReport>> Format() {
    std::vector<base::BlockDevice*> devices;
    for (const Target& target : targets_) devices.push_back(target.device.get());
    CO_TRY(options_.host, HostIdentity());
    options_.label = arguments_.label;
    options_.volume_bytes = volume_bytes_;
    options_.uid = geteuid();
    options_.gid = getegid();
    options_.discard = !arguments_.keep;
    options_.progress = [this](uint64_t done, uint64_t total) { bar_.Advance(done, total); };
    options_.is_canceled = Interrupted;
    base::Result<vmfs::MkfsReport> report =
        co_await vmfs::MakeFileSystem(executor_, devices, options_);
    co_return report;
  }

  base::UringExecutor& executor_;
  const MkfsArguments& arguments_;
  std::optional<uint64_t> volume_bytes_;
  std::vector<Target> targets_;
  vmfs::MkfsOptions options_;
  ProgressBar bar_{"formatting"};
};

void Print(const vmfs::MkfsReport& report, bool as_json) {
  if (as_json) {
    Json json = Json::object();
    json["label"] = report.label;
    json["uuid"] = report.uuid.ToString();
    json["size_bytes"] = report.volume_bytes;
    json["free_bytes"] = report.free_bytes;
    json["metadata_bytes"] = report.metadata_bytes;
    json["written_bytes"] = report.written_bytes;
    fmt::print("{}\n", ToPrettyText(json));
    return;
  }
  fmt::print("volume {} made: {}, {} free, UUID {}\n", report.label,
             FormatBytes(report.volume_bytes), FormatBytes(report.free_bytes),
             report.uuid.ToString());
}

int MakeVolume(const MkfsArguments& arguments) {
  CatchInterrupts();
  base::Result<std::unique_ptr<base::UringExecutor>> executor = base::UringExecutor::Create();
  if (!executor) return PrintError("mkfs", executor.error());
  base::Result<vmfs::MkfsReport> report = base::Code::kInternal;
  {
    Mkfs mkfs(**executor, arguments);
    report = base::RunSync(**executor, mkfs.Run());
  }
  if (!report) return PrintError("mkfs", report.error());
  Print(*report, arguments.as_json);
  return kExitOk;
}

}  // namespace

void AddMkfsCommand(CommandLine& line) {
  CLI::App* command = line.app.add_subcommand("mkfs", "Make a VMFS-6 volume");
  auto arguments = std::make_shared<MkfsArguments>();
  command
      ->add_option("targets", arguments->targets,
                   "Image files or block devices, the volume's extents in order (up to 32)")
      ->required()
      ->expected(1, 32)
      ->type_name("TARGET...");
  command->add_option("--label", arguments->label, "The volume's name")->required();
  command->add_option("--size", arguments->size,
                      "Size of the volume (256M to 64T, rounded up to 256M); an image that does "
                      "not exist is created. Left out: all of the devices");
  command->add_flag("--force", arguments->force, "Overwrite what the target holds");
  command->add_flag("--no-discard", arguments->keep,
                    "Do not give the old contents of the target back first");
  command->add_flag("--json", arguments->as_json, "For programs");
  command->callback([&line, arguments] { line.exit_code = MakeVolume(*arguments); });
}

}  // namespace stratad
