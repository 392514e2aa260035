// `strata disk create|info|rename|delete|extend`: virtual disks, on mounted and unmounted volumes.
#include <memory>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "disklib/disk_size.h"
#include "fs/daemon/commands/command_line.h"
#include "fs/daemon/commands/disk_request.h"

namespace stratad {
namespace {

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
  request["disk"] = arguments.disk;
  if (!arguments.to.empty()) request["to"] = arguments.to;
  base::Result<Json> answer = RunDiskRequest(std::move(request));
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
