// `strata status`.
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "fs/daemon/commands/command_line.h"
#include "fs/daemon/control_client.h"
#include "fs/daemon/host_paths.h"
#include "fs/daemon/mount_point.h"

namespace stratad {
namespace {

base::Result<Json> AskStatus(base::Result<ControlClient> client) {
  if (!client) return client.error();
  Json request = Json::object();
  request["command"] = "status";
  TRY(Json status, client->Ask(request));
  status.erase("ok");
  return status;
}

// Every mount of this user; sockets of dead daemons are passed over.
base::Result<Json> CollectAll() {
  TRY(const std::vector<std::string> paths, ControlSocketPaths());
  Json all = Json::array();
  for (const std::string& path : paths) {
    base::Result<Json> status = AskStatus(ControlClient::Connect(path));
    if (status) all.push_back(std::move(*status));
  }
  return all;
}

base::Result<Json> Collect(const std::string& mount_point) {
  if (mount_point.empty()) return CollectAll();
  TRY(const std::string canonical, CanonicalMountPoint(mount_point));
  TRY(const std::vector<MountEntry> table, ReadMountTable());
  const std::string mount = MountContaining(table, canonical);
  if (mount.empty()) {
    return base::Error(base::Code::kNotFound, canonical + ": nothing of Strata's is mounted here");
  }
  TRY(Json status, AskStatus(ControlClient::ConnectToMount(mount)));
  Json one = Json::array();
  one.push_back(std::move(status));
  return one;
}

std::string Text(const Json& object, const char* key) {
  return StringOf(object, key).value_or("");
}

void PrintVolume(const Json& volume) {
  const uint64_t size = NumberOf(volume, "size_bytes").value_or(0);
  const uint64_t free = NumberOf(volume, "free_bytes").value_or(0);
  fmt::print("  volume {} ({}{})\n", Text(volume, "label"), Text(volume, "kind"),
             FlagOf(volume, "read_only") ? ", read-only" : "");
  fmt::print("    uuid    {}\n", Text(volume, "uuid"));
  fmt::print("    on      {}\n", Text(volume, "source"));
  for (const Json& disk : volume.value("open_disks", Json::array())) {
    fmt::print("    disk    {}\n", DescribeOpenDisk(disk));
  }
  fmt::print("    space   {} of {} used, {} files\n", FormatBytes(size - free), FormatBytes(size),
             NumberOf(volume, "files").value_or(0));
}

void PrintSession(const char* name, const Json& session) {
  fmt::print("  {}: {} requests, {} read, {} written, {} open files, {} in flight\n", name,
             NumberOf(session, "requests").value_or(0),
             FormatBytes(NumberOf(session, "read_bytes").value_or(0)),
             FormatBytes(NumberOf(session, "written_bytes").value_or(0)),
             NumberOf(session, "open_files").value_or(0),
             NumberOf(session, "in_flight").value_or(0));
  const uint64_t lost = NumberOf(session, "lost_writes").value_or(0);
  if (lost > 0) fmt::print("    {} delayed writes were LOST; see the log\n", lost);
}

void PrintMount(const Json& status) {
  fmt::print("{}\n  daemon {}, up {}, {} cache\n", Text(status, "mount_point"),
             NumberOf(status, "pid").value_or(0),
             FormatDuration(NumberOf(status, "uptime_seconds").value_or(0)), Text(status, "cache"));
  if (status.contains("volumes")) {
    for (const Json& volume : status.at("volumes")) PrintVolume(volume);
  }
  if (status.contains("sessions")) {
    PrintSession("volumes", status.at("sessions").value("volumes", Json::object()));
    const Json devices = status.at("sessions").value("devices", Json::object());
    if (!devices.empty()) PrintSession("devices", devices);
  }
}

int Status(const std::string& mount_point, bool as_json) {
  const base::Result<Json> mounts = Collect(mount_point);
  if (!mounts) return PrintError("status", mounts.error());
  if (as_json) {
    fmt::print("{}\n", ToPrettyText(*mounts));
    return kExitOk;
  }
  for (const Json& mount : *mounts) PrintMount(mount);
  if (mounts->empty()) fmt::print("nothing is mounted\n");
  return kExitOk;
}

}  // namespace

void AddStatusCommand(CommandLine& line) {
  CLI::App* command = line.app.add_subcommand("status", "Show mounts, volumes and their figures");
  auto mount_point = std::make_shared<std::string>();
  auto as_json = std::make_shared<bool>(false);
  command->add_option("mnt", *mount_point, "A mount point; all of this user's where left out")
      ->type_name("MNT");
  command->add_flag("--json", *as_json, "For programs");
  command->callback(
      [&line, mount_point, as_json] { line.exit_code = Status(*mount_point, *as_json); });
}

}  // namespace stratad
