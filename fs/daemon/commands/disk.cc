// `strata disk create|info|rename|delete|extend`: virtual disks, on mounted and unmounted volumes.
#include <string>

#include <fmt/format.h>

#include "fs/daemon/commands/disk_command.h"

namespace stratad {
namespace {

// A disk of one link is told by the lines above.
void PrintLinks(const Json& info) {
  if (info.contains("chain_error")) {
    fmt::print("chain      cannot be opened: {}\n", StringOf(info, "chain_error").value_or(""));
  }
  const Json links = info.value("links", Json::array());
  if (links.size() < 2) return;
  const auto bytes = [](const Json& link, const char* key) {
    return FormatBytes(NumberOf(link, key).value_or(0));
  };
  for (const Json& link : links) {
    fmt::print("link       {} {}: {} allocated, {} unique", StringOf(link, "path").value_or(""),
               StringOf(link, "create_type").value_or(""), bytes(link, "allocated_bytes"),
               bytes(link, "unique_bytes"));
    if (&link != &links.front()) {
      fmt::print("; merging it down needs {}, frees {}", bytes(link, "delete_needs_bytes"),
                 bytes(link, "delete_frees_bytes"));
    }
    fmt::print("\n");
  }
}

void PrintDeviceMap(const Json& info) {
  if (!info.contains("device_map")) return;
  const Json& map = info.at("device_map");
  const auto text = [&map](const char* key) { return StringOf(map, key).value_or(""); };
  fmt::print("maps to    {}, {} mode", text("device").empty() ? "?" : text("device"), text("mode"));
  fmt::print("{}{}\n", text("node").empty() ? "" : ": ", text("node"));
  if (!text("trouble").empty()) fmt::print("device     {}\n", text("trouble"));
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
  if (!text("unfinished_rename").empty()) {
    fmt::print("rename     to {} was cut: run it again\n", text("unfinished_rename"));
  }
  if (!text("holder").empty()) fmt::print("in use     {}\n", text("holder"));
  PrintDeviceMap(info);
  PrintLinks(info);
  if (!info.contains("extents")) return;
  for (const Json& extent : info.at("extents")) {
    fmt::print("extent     {} {} {} at {}\n", StringOf(extent, "access").value_or(""),
               FormatBytes(NumberOf(extent, "size_bytes").value_or(0)),
               StringOf(extent, "type").value_or(""), StringOf(extent, "path").value_or("-"));
  }
}

void PrintDeleted(const Json& answer) {
  for (const Json& path : answer.value("deleted", Json::array())) {
    fmt::print("removed {}\n", path.get<std::string>());
  }
}

void AddCreate(CommandLine& line, CLI::App* disk) {
  DiskCommand create(line, disk, "create", "create", "Make a new disk");
  create.Size("--size", "size_bytes", "Capacity: 512M, 10G, …")->required();
  create.OneOf(
      "--format", "format", DiskFormatWords(),
      "thin (default): space on first write; zeroedthick: all space now; eagerzeroedthick: "
      "all space now, zeros written; others: the files it is made of");
  create.OneOf("--layout", "layout", {"vmfs", "monolithicFlat", "twoGbMaxExtentFlat"},
               "The files of a disk whose --format says how its space is taken (default: vmfs)");
  create.OneOf("--adapter", "adapter",
               {"ide", "buslogic", "lsilogic", "legacyESX", "lsisas", "pvscsi"},
               "The adapter that the descriptor names (default: lsilogic)");
  create.Size("--grain", "grain_bytes", "Size of a grain, for sparse formats");
  create.Flag("--all-tables", "all_tables", "vmfsSparse: make every table now, for other writers");
}

}  // namespace

void AddDiskBasics(CommandLine& line, CLI::App* disk) {
  AddCreate(line, disk);
  DiskCommand map(line, disk, "create-rdm", "create-rdm", "Make a disk of a whole device");
  map.Word("device", "device", "The block node, or the id the device calls itself by")
      ->required()
      ->type_name("DEVICE");
  map.DiskComesLast();
  map.Flag("--physical", "physical", "Physical mode: without snapshots; on volumes only");
  DiskCommand(line, disk, "info", "info", "Show what a disk is made of").Prints(PrintInfo);
  DiskCommand rename(line, disk, "rename", "rename", "Rename a disk and its files");
  rename.Word("to", "to", "The new path of the descriptor")->required()->type_name("NEW_PATH");
  DiskCommand remove(line, disk, "delete", "delete", "Remove a disk and its files");
  remove.Flag("--all-snapshots", "all", "The whole disk: every link of the folder with it");
  remove.TurnsInto("delete-all", {"all"});
  remove.Prints(PrintDeleted);
  DiskCommand extend(line, disk, "extend", "extend", "Make a disk larger");
  extend.Size("size", "size_bytes", "The new capacity: 512M, 10G, …")->required();
  extend.OneOf("--format", "format", {"thin", "zeroedthick", "eagerzeroedthick"},
               "How the added space is taken; left out: thin for thin disks, else zeroedthick");
}

void AddDiskCommands(CommandLine& line) {
  CLI::App* disk = line.app.add_subcommand("disk", "Create, inspect and change virtual disks");
  disk->require_subcommand(1);
  AddDiskBasics(line, disk);
  AddDiskCopies(line, disk);
  AddDiskSnapshots(line, disk);
  AddDiskChecks(line, disk);
  AddDiskMap(line, disk);
}

}  // namespace stratad
