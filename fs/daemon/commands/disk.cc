// `strata disk create|info|rename|delete|extend`: virtual disks, on mounted and unmounted volumes.
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "disklib/disk_size.h"
#include "fs/daemon/commands/command_line.h"
#include "fs/daemon/commands/progress.h"
#include "fs/daemon/commands/volume_task.h"
#include "fs/daemon/control_client.h"
#include "fs/daemon/disk_service.h"
#include "fs/daemon/mount_point.h"

namespace stratad {
namespace {

// Where a disk is: on a mount, whose daemon is asked, or on a volume that is opened here.
struct DiskPlace {
  std::string mount_point;  // empty: not mounted
  std::string target;
  std::string path;  // from the mount point, or from the volume's root
};

base::Result<DiskPlace> FindPlace(const std::string& text) {
  const TargetPath at = ParseTargetPath(text);
  if (at.target != text) return DiskPlace{{}, at.target, at.path};
  std::error_code error;
  const std::filesystem::path given = std::filesystem::absolute(text, error).lexically_normal();
  const std::filesystem::path folder = std::filesystem::canonical(given.parent_path(), error);
  if (error) return base::ErrnoError(error.value(), text);
  const std::string full = folder / given.filename();
  TRY(const std::vector<MountEntry> table, ReadMountTable());
  const std::string mount_point = MountContaining(table, full);
  if (mount_point.empty()) {
    return base::Error(base::Code::kNotFound,
                       text +
                           ": lies on no Strata mount; TARGET:/PATH names a disk on an "
                           "unmounted volume");
  }
  return DiskPlace{mount_point, {}, full.substr(mount_point.size() + 1)};
}

// Nobody caches an unmounted volume.
class NobodyListens final : public ChangeListener {
 public:
  void NameChanged(fss::InodeNumber, std::string_view) override {}

  void ContentChanged(fss::InodeNumber) override {}
};

class DiskTask final : public VolumeTask {
 public:
  explicit DiskTask(Json request) : request_(std::move(request)) {}

  base::Task<base::Status> Run(base::UringExecutor& executor, Datastore& datastore) override {
    NobodyListens nobody;
    fss::NewInode owner;
    owner.mode = 0600;
    owner.uid = geteuid();
    owner.gid = getegid();
    DiskService service(executor, datastore.file_system(), nobody, owner);
    ProgressBar bar("disk");
    base::Result<Json> answer = co_await service.Handle(request_, &bar);
    const base::Status closed = co_await service.Close();
    if (!answer) co_return answer.error();
    answer_ = std::move(*answer);
    co_return closed;
  }

  const Json& answer() const { return answer_; }

 private:
  Json request_;
  Json answer_;
};

base::Result<Json> RunRequest(Json request, const std::string& disk, const std::string& to) {
  TRY(const DiskPlace place, FindPlace(disk));
  request["disk"] = place.path;
  if (!to.empty()) {
    TRY(const DiskPlace other, FindPlace(to));
    if (other.mount_point != place.mount_point || other.target != place.target) {
      return base::Error(base::Code::kCrossDevice, to + ": lies on another volume");
    }
    request["to"] = other.path;
  }
  if (!place.mount_point.empty()) {
    request["command"] = "disk";
    TRY(ControlClient client, ControlClient::ConnectToMount(place.mount_point));
    return client.Ask(request);
  }
  CatchInterrupts();
  const bool reads = StringOf(request, "action") == "info";
  DiskTask task(std::move(request));
  TRY_STATUS(RunOnVolume({place.target}, reads ? Access::kRead : Access::kWrite, task));
  return task.answer();
}

void PrintInfo(const Json& info) {
  const auto text = [&info](const char* key) { return StringOf(info, key).value_or(""); };
  fmt::print("disk       {}\n", text("disk"));
  fmt::print("type       {}{}\n", text("create_type"), FlagOf(info, "thin") ? ", thin" : "");
  fmt::print("capacity   {}\n", FormatBytes(NumberOf(info, "capacity_bytes").value_or(0)));
  fmt::print("allocated  {}\n", FormatBytes(NumberOf(info, "allocated_bytes").value_or(0)));
  fmt::print("adapter    {}\n", text("adapter_type"));
  fmt::print("content    {}\n", text("content_id"));
  if (!text("parent").empty()) fmt::print("parent     {}\n", text("parent"));
  if (!text("holder").empty()) fmt::print("in use     {}\n", text("holder"));
  if (!info.contains("extents")) return;
  for (const Json& extent : info.at("extents")) {
    fmt::print("extent     {} {} {} at {}\n", StringOf(extent, "access").value_or(""),
               FormatBytes(NumberOf(extent, "size_bytes").value_or(0)),
               StringOf(extent, "type").value_or(""), StringOf(extent, "path").value_or("-"));
  }
}

struct DiskArguments {
  std::string disk;
  std::string to;
  std::string size;
  std::string format;
  std::string adapter = "lsilogic";
  std::string type = "vmfs";
  bool as_json = false;
};

int RunAction(const std::string& action, const DiskArguments& arguments) {
  Json request = Json::object();
  request["action"] = action;
  if (!arguments.size.empty()) {
    const base::Result<uint64_t> size = disklib::ParseDiskSize(arguments.size);
    if (!size) return PrintError("disk " + action, size.error());
    request["size_bytes"] = *size;
  }
  if (!arguments.format.empty()) request["format"] = arguments.format;
  if (action == "create") {
    request["adapter"] = arguments.adapter;
    request["type"] = arguments.type;
  }
  base::Result<Json> answer = RunRequest(std::move(request), arguments.disk, arguments.to);
  if (!answer) return PrintError("disk " + action, answer.error());
  if (action != "info") return kExitOk;
  answer->erase("ok");
  if (arguments.as_json) {
    fmt::print("{}\n", ToPrettyText(*answer));
  } else {
    PrintInfo(*answer);
  }
  return kExitOk;
}

CLI::App* AddAction(CommandLine& line, CLI::App* parent, const std::string& action,
                    const std::string& help, const std::shared_ptr<DiskArguments>& arguments) {
  CLI::App* command = parent->add_subcommand(action, help);
  command
      ->add_option("disk", arguments->disk,
                   "The descriptor: a path on a mount, or TARGET:/PATH on an unmounted volume")
      ->required()
      ->type_name("DISK");
  command->callback([&line, action, arguments] { line.exit_code = RunAction(action, *arguments); });
  return command;
}

CLI::Option* AddFormat(CLI::App* command, DiskArguments& arguments) {
  return command->add_option("--format", arguments.format, "How space is taken")
      ->check(CLI::IsMember({"thin", "zeroedthick", "eagerzeroedthick"}));
}

}  // namespace

void AddDiskCommands(CommandLine& line) {
  CLI::App* disk = line.app.add_subcommand("disk", "Create, inspect and change virtual disks");
  disk->require_subcommand(1);
  const auto arguments = std::make_shared<DiskArguments>();
  CLI::App* create = AddAction(line, disk, "create", "Make a new disk", arguments);
  create->add_option("--size", arguments->size, "Capacity: 512M, 10G, …")->required();
  AddFormat(create, *arguments)->default_str("thin");
  create->add_option("--adapter", arguments->adapter, "Adapter type the descriptor names")
      ->check(CLI::IsMember({"ide", "buslogic", "lsilogic", "lsisas", "pvscsi"}))
      ->capture_default_str();
  create->add_option("--type", arguments->type, "Layout of its files")
      ->check(CLI::IsMember({"vmfs", "monolithicFlat", "twoGbMaxExtentFlat"}))
      ->capture_default_str();
  CLI::App* info = AddAction(line, disk, "info", "Show what a disk is made of", arguments);
  info->add_flag("--json", arguments->as_json, "For programs");
  CLI::App* rename = AddAction(line, disk, "rename", "Rename a disk and its files", arguments);
  rename->add_option("to", arguments->to, "The new name of the descriptor")
      ->required()
      ->type_name("DISK");
  AddAction(line, disk, "delete", "Remove a disk and its files", arguments);
  CLI::App* extend = AddAction(line, disk, "extend", "Make a disk larger", arguments);
  extend->add_option("--size", arguments->size, "The new capacity")->required();
  AddFormat(extend, *arguments);
}

}  // namespace stratad
