// `strata disk create|info|rename|delete|extend`: virtual disks, on mounted and unmounted volumes.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
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

// Where a disk is.
struct DiskPlace {
  std::string mount_point;  // its daemon is asked; empty: the disk is on no mount
  std::string target;       // this volume is opened here; empty: the disk is in a host folder
  std::string path;         // from the mount point, from the volume's root, or absolute

  bool in_host_folder() const { return mount_point.empty() && target.empty(); }
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
  if (mount_point.empty()) return DiskPlace{{}, {}, full};
  return DiskPlace{mount_point, {}, full.substr(mount_point.size() + 1)};
}

// "/a/b/x.vmdk" and "/a/c/y.vmdk" -> "/a": the folder that serves as their datastore.
std::string CommonFolder(const std::string& first, const std::string& second) {
  size_t end = 0;
  for (size_t i = 0; i < std::min(first.size(), second.size()) && first[i] == second[i]; ++i) {
    if (first[i] == '/') end = i;
  }
  return end == 0 ? "/" : first.substr(0, end);
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

// The processes that have the disk or one of its files open through the mount.
std::string DescribeDiskUsers(ControlClient& client, const DiskPlace& place) {
  Json request = Json::object();
  request["command"] = "disk";
  request["action"] = "info";
  request["disk"] = place.path;
  const base::Result<Json> info = client.Ask(request);
  if (!info) return {};
  std::string_view folder = place.path;
  const std::string inner = StringOf(*info, "disk").value_or("");
  folder.remove_suffix(std::min(folder.size(), inner.size()));
  while (folder.ends_with('/')) folder.remove_suffix(1);
  const std::string label(folder.substr(folder.rfind('/') + 1));
  std::string text = DescribeUsers(place.mount_point + "/devices/vdisks/" + label + "/" + inner);
  std::vector<std::string> files{inner};
  for (const Json& extent : info->value("extents", Json::array())) {
    files.push_back(StringOf(extent, "path").value_or(""));
  }
  for (const std::string& file : files) {
    const std::string users = DescribeUsers(place.mount_point + "/volumes/" + label + "/" + file);
    if (!users.empty()) text += (text.empty() ? "" : ", ") + users;
  }
  return text;
}

base::Result<Json> AskDaemon(const DiskPlace& place, Json request) {
  request["command"] = "disk";
  TRY(ControlClient client, ControlClient::ConnectToMount(place.mount_point));
  base::Result<Json> answer = base::Code::kInternal;
  {
    ProgressBar bar("disk");
    answer = client.Ask(request, &bar);
  }
  if (answer || answer.error().code() != base::Code::kBusy) return answer;
  const std::string users = DescribeDiskUsers(client, place);
  if (users.empty()) return answer;
  return base::Error(base::Code::kBusy, answer.error().message() + "; used by " + users);
}

base::Result<Json> RunHere(const DiskPlace& place, Json request) {
  std::string target = place.target;
  if (place.in_host_folder()) {
    const std::string folder =
        CommonFolder(place.path, StringOf(request, "to").value_or(place.path));
    for (const char* key : {"disk", "to"}) {
      const std::optional<std::string> path = StringOf(request, key);
      if (path) request[key] = path->substr(folder.size());
    }
    target = "posix:" + folder;
  }
  const bool reads = StringOf(request, "action") == "info";
  DiskTask task(std::move(request));
  TRY_STATUS(RunOnVolume({target}, reads ? Access::kRead : Access::kWrite, task));
  return task.answer();
}

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
  CatchInterrupts();
  return place.mount_point.empty() ? RunHere(place, std::move(request))
                                   : AskDaemon(place, std::move(request));
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
  std::string layout = "vmfs";
  bool as_json = false;
};

int RunAction(const std::string& action, const DiskArguments& arguments) {
  Json request = Json::object();
  request["action"] = action;
  if (!arguments.size.empty()) {
    request["size_bytes"] = disklib::ParseDiskSize(arguments.size).value();
  }
  if (!arguments.format.empty()) request["format"] = arguments.format;
  if (action == "create") {
    request["adapter"] = arguments.adapter;
    request["layout"] = arguments.layout;
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

constexpr const char* kDiskHelp =
    "The descriptor: a path on a mount or in a host folder, or TARGET:/PATH on an unmounted volume";

CLI::App* AddAction(CommandLine& line, CLI::App* parent, const std::string& action,
                    const std::string& help, const std::shared_ptr<DiskArguments>& arguments) {
  CLI::App* command = parent->add_subcommand(action, help);
  command->add_option("path", arguments->disk, kDiskHelp)->required()->type_name("PATH");
  command->callback([&line, action, arguments] { line.exit_code = RunAction(action, *arguments); });
  return command;
}

// A size that makes no sense is a mistake of the command line.
void AddSize(CLI::App* command, const char* name, const char* help, DiskArguments& arguments) {
  command->add_option(name, arguments.size, help)
      ->required()
      ->type_name("SIZE")
      ->check([](const std::string& text) {
        const base::Result<uint64_t> size = disklib::ParseDiskSize(text);
        return size ? std::string() : size.error().message();
      });
}

CLI::Option* AddFormat(CLI::App* command, DiskArguments& arguments, const char* help) {
  return command->add_option("--format", arguments.format, help)
      ->check(CLI::IsMember({"thin", "zeroedthick", "eagerzeroedthick"}));
}

void AddCreate(CommandLine& line, CLI::App* parent) {
  const auto arguments = std::make_shared<DiskArguments>();
  CLI::App* create = AddAction(line, parent, "create", "Make a new disk", arguments);
  AddSize(create, "--size", "Capacity: 512M, 10G, …", *arguments);
  AddFormat(create, *arguments,
            "thin: space on first write; zeroedthick: all space now; eagerzeroedthick: all space "
            "now, zeros written")
      ->default_str("thin");
  create->add_option("--layout", arguments->layout, "The files it is made of")
      ->check(CLI::IsMember({"vmfs", "monolithicFlat", "twoGbMaxExtentFlat"}))
      ->capture_default_str();
  create->add_option("--adapter", arguments->adapter, "The adapter that the descriptor names")
      ->check(CLI::IsMember({"ide", "buslogic", "lsilogic", "legacyESX", "lsisas", "pvscsi"}))
      ->capture_default_str();
}

}  // namespace

void AddDiskCommands(CommandLine& line) {
  CLI::App* disk = line.app.add_subcommand("disk", "Create, inspect and change virtual disks");
  disk->require_subcommand(1);
  AddCreate(line, disk);
  const auto arguments = std::make_shared<DiskArguments>();
  CLI::App* info = AddAction(line, disk, "info", "Show what a disk is made of", arguments);
  info->add_flag("--json", arguments->as_json, "For programs");
  CLI::App* rename = AddAction(line, disk, "rename", "Rename a disk and its files", arguments);
  rename->add_option("to", arguments->to, "The new path of the descriptor")
      ->required()
      ->type_name("NEW_PATH");
  AddAction(line, disk, "delete", "Remove a disk and its files", arguments);
  CLI::App* extend = AddAction(line, disk, "extend", "Make a disk larger", arguments);
  AddSize(extend, "size", "The new capacity: 512M, 10G, …", *arguments);
  AddFormat(extend, *arguments,
            "How the added space is taken; left out: thin for thin disks, else zeroedthick");
}

}  // namespace stratad
