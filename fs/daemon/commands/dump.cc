// `strata dump`.
#include "vmfs/dump.h"

#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "fs/daemon/commands/command_line.h"
#include "fs/daemon/commands/raw_volume_task.h"
#include "fs/daemon/commands/volume_task.h"
#include "fs/daemon/path_walk.h"

namespace stratad {
namespace {

struct DumpArguments {
  std::vector<std::string> targets;
  bool lvm = false;
  bool superblock = false;
  bool heartbeats = false;
  std::vector<std::string> inodes;       // "/path" or a descriptor's address
  std::vector<std::string> directories;  // likewise
  std::vector<std::string> clusters;     // "fd:3"
  std::vector<std::string> locks;        // volume addresses
  std::vector<std::string> journals;     // likewise

  bool wants_system_files() const {
    return !inodes.empty() || !directories.empty() || !clusters.empty() || !locks.empty() ||
           !journals.empty();
  }

  bool wants_nothing() const { return !lvm && !superblock && !heartbeats && !wants_system_files(); }
};

// Decimal, or hexadecimal behind "0x".
std::optional<uint64_t> ParseNumber(std::string_view text) {
  const bool is_hex = text.starts_with("0x") || text.starts_with("0X");
  if (is_hex) text.remove_prefix(2);
  uint64_t number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, is_hex ? 16 : 10);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

base::Error Unclear(const std::string& text, const std::string& wanted) {
  return base::Error(base::Code::kParseError, "\"" + text + "\": expected " + wanted);
}

base::Result<uint64_t> ParseAddress(const std::string& text) {
  const std::optional<uint64_t> address = ParseNumber(text);
  if (!address) return Unclear(text, "a volume address like 0x1400000");
  return *address;
}

// Finds the descriptors of paths through the file system, before the devices are read past it.
class FindTask final : public VolumeTask {
 public:
  explicit FindTask(std::string path) : path_(std::move(path)) {}

  base::Task<base::Status> Run(base::UringExecutor&, Datastore& datastore) override {
    PathWalk walk(datastore.file_system());
    CO_TRY(const fss::Attributes found, co_await walk.Find(path_));
    fd_ = vmfs::FdAddress(static_cast<uint32_t>(found.inode));
    co_return base::Ok();
  }

  vmfs::FdAddress fd() const { return fd_; }

 private:
  const std::string path_;
  vmfs::FdAddress fd_;
};

base::Result<vmfs::FdAddress> FindInode(const DumpArguments& arguments, const std::string& place) {
  if (place.starts_with('/')) {
    FindTask task(place);
    TRY_STATUS(RunOnVolume(arguments.targets, Access::kRead, task));
    return task.fd();
  }
  const std::optional<uint64_t> number = ParseNumber(place);
  if (!number || *number > UINT32_MAX ||
      !vmfs::FdAddress(static_cast<uint32_t>(*number)).is_valid()) {
    return Unclear(place, "a path from the volume's root, or a descriptor's address like 0x4");
  }
  return vmfs::FdAddress(static_cast<uint32_t>(*number));
}

struct ClusterPlace {
  vmfs::ResourceKind kind;
  uint64_t cluster;
};

base::Result<ClusterPlace> ParseCluster(const std::string& text) {
  const size_t colon = text.rfind(':');
  const base::Error unclear = Unclear(
      text,
      "KIND:NUMBER, the kind being fd, sub-block, pb2, journal, large-block, small-block or "
      "pointer-block");
  if (colon == std::string::npos) return unclear;
  const std::optional<vmfs::ResourceKind> kind = vmfs::ParseResourceKind(text.substr(0, colon));
  const std::optional<uint64_t> cluster = ParseNumber(std::string_view(text).substr(colon + 1));
  if (!kind || !cluster) return unclear;
  return ClusterPlace{*kind, *cluster};
}

// What was asked for, understood.
struct Wanted {
  std::vector<vmfs::FdAddress> inodes, directories;
  std::vector<ClusterPlace> clusters;
  std::vector<uint64_t> locks, journals;
};

base::Result<Wanted> Understand(const DumpArguments& arguments) {
  Wanted wanted;
  for (const std::string& text : arguments.clusters) {
    TRY(const ClusterPlace place, ParseCluster(text));
    wanted.clusters.push_back(place);
  }
  for (const std::string& text : arguments.locks) {
    TRY(const uint64_t address, ParseAddress(text));
    wanted.locks.push_back(address);
  }
  for (const std::string& text : arguments.journals) {
    TRY(const uint64_t address, ParseAddress(text));
    wanted.journals.push_back(address);
  }
  for (const std::string& place : arguments.inodes) {
    TRY(const vmfs::FdAddress fd, FindInode(arguments, place));
    wanted.inodes.push_back(fd);
  }
  for (const std::string& place : arguments.directories) {
    TRY(const vmfs::FdAddress fd, FindInode(arguments, place));
    wanted.directories.push_back(fd);
  }
  return wanted;
}

class DumpTask final : public DeviceTask {
 public:
  DumpTask(const DumpArguments& arguments, Wanted wanted)
      : arguments_(arguments), wanted_(std::move(wanted)) {}

  base::Task<base::Status> Run(base::UringExecutor&,
                               std::span<base::BlockDevice* const> devices) override {
    const bool all = arguments_.wants_nothing();
    CO_TRY(const vmfs::LvmVolume lvm, co_await vmfs::ReadLvm(devices));
    if (all || arguments_.lvm) fmt::print("{}", vmfs::DumpLvm(lvm));
    CO_TRY(const std::unique_ptr<base::BlockDevice> device, co_await vmfs::OpenLvm(devices));
    CO_TRY(const std::unique_ptr<vmfs::RawVolume> volume, co_await vmfs::RawVolume::Open(*device));
    if (all || arguments_.superblock) fmt::print("{}", vmfs::DumpSuperblock(*volume));
    if (all || arguments_.heartbeats) {
      CO_TRY(const std::string text, co_await vmfs::DumpHeartbeats(*volume));
      fmt::print("{}", text);
    }
    if (!arguments_.wants_system_files()) co_return base::Ok();
    CO_TRY_STATUS(co_await volume->LoadSystemFiles());
    const base::Status dumped = co_await DumpWanted(*volume);
    co_return dumped;
  }

 private:
  base::Task<base::Status> DumpWanted(vmfs::RawVolume& volume) {
    for (const vmfs::FdAddress fd : wanted_.inodes) {
      CO_TRY(const std::string text, co_await vmfs::DumpInode(volume, fd));
      fmt::print("{}", text);
    }
    for (const vmfs::FdAddress fd : wanted_.directories) {
      CO_TRY(const std::string text, co_await vmfs::DumpDirectory(volume, fd));
      fmt::print("{}", text);
    }
    for (const ClusterPlace& place : wanted_.clusters) {
      CO_TRY(const std::string text, co_await vmfs::DumpCluster(volume, place.kind, place.cluster));
      fmt::print("{}", text);
    }
    for (const uint64_t address : wanted_.locks) {
      CO_TRY(const std::string text, co_await vmfs::DumpLock(volume, address));
      fmt::print("{}", text);
    }
    for (const uint64_t address : wanted_.journals) {
      CO_TRY(const std::string text, co_await vmfs::DumpJournal(volume, address));
      fmt::print("{}", text);
    }
    co_return base::Ok();
  }

  const DumpArguments& arguments_;
  const Wanted wanted_;
};

base::Status Dump(const DumpArguments& arguments) {
  TRY(Wanted wanted, Understand(arguments));
  DumpTask task(arguments, std::move(wanted));
  return RunOnDevices(arguments.targets, task);
}

}  // namespace

void AddDumpCommand(CommandLine& line) {
  CLI::App* command =
      line.app.add_subcommand("dump", "Put structures of a volume in words, for engineers");
  command->footer("Without an option: the LVM headers, the superblock and the heartbeats.");
  auto arguments = std::make_shared<DumpArguments>();
  command->add_option("targets", arguments->targets, "All devices of the volume")
      ->required()
      ->expected(1, 32)
      ->type_name("TARGET...");
  command->add_flag("--lvm", arguments->lvm, "The LVM headers of every device");
  command->add_flag("--superblock", arguments->superblock, "The superblock and the mark");
  command->add_flag("--heartbeats", arguments->heartbeats, "Slots that are or were in use");
  const auto add = [&command](const char* name, std::vector<std::string>& values, const char* type,
                              const char* help) {
    command->add_option(name, values, help)->type_name(type)->expected(1)->allow_extra_args(false);
  };
  add("--inode", arguments->inodes, "PATH|FD", "A descriptor, by path or by its address");
  add("--directory", arguments->directories, "PATH|FD", "A directory: header, blocks, records");
  add("--cluster", arguments->clusters, "KIND:NUMBER",
      "A resource cluster: lock, counts, bitmap; kinds: fd, sub-block, pb2, journal, large-block, "
      "small-block, pointer-block");
  add("--lock", arguments->locks, "ADDRESS", "The lock block at a volume address");
  add("--journal", arguments->journals, "ADDRESS", "The journal block at a volume address");
  command->callback([&line, arguments] { line.exit_code = ExitCodeOf("dump", Dump(*arguments)); });
}

}  // namespace stratad
