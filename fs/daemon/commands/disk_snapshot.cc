// `strata disk snapshot …` and `strata disk consolidate`.
#include <ctime>
#include <string>

#include <fmt/format.h>

#include "fs/daemon/commands/disk_command.h"

namespace stratad {
namespace {

std::string Text(const Json& json, const char* key) {
  return StringOf(json, key).value_or("");
}

std::string LocalTime(uint64_t microseconds) {
  if (microseconds == 0) return "-";
  const auto seconds = static_cast<std::time_t>(microseconds / 1'000'000);
  std::tm parts{};
  localtime_r(&seconds, &parts);
  char buffer[32];
  return {buffer, std::strftime(buffer, sizeof(buffer), "%Y-%m-%d %H:%M:%S", &parts)};
}

void PrintSnapshot(const Json& snapshot) {
  fmt::print("snapshot {} \"{}\"\n", NumberOf(snapshot, "uid").value_or(0), Text(snapshot, "name"));
}

// Those below `parent_uid`, each under its own parent.
void PrintBranch(const Json& snapshots, uint64_t parent_uid, int depth) {
  for (const Json& snapshot : snapshots) {
    if (NumberOf(snapshot, "parent_uid").value_or(0) != parent_uid) continue;
    const uint64_t uid = NumberOf(snapshot, "uid").value_or(0);
    fmt::print("{:{}}{} {:<4} {}  {}{}\n", "", depth * 2, FlagOf(snapshot, "current") ? '*' : ' ',
               uid, LocalTime(NumberOf(snapshot, "created_us").value_or(0)), Text(snapshot, "name"),
               FlagOf(snapshot, "being_deleted") ? " (its delete was cut: delete it again)" : "");
    if (uid != 0) PrintBranch(snapshots, uid, depth + 1);
  }
}

void PrintTree(const Json& tree) {
  const Json snapshots = tree.value("snapshots", Json::array());
  if (snapshots.empty()) fmt::print("no snapshots\n");
  PrintBranch(snapshots, 0, 0);
  for (const Json& disk : tree.value("disks", Json::array())) {
    fmt::print("now on {}, {} links\n", Text(disk, "path"), NumberOf(disk, "links").value_or(0));
  }
  for (const Json& orphan : tree.value("orphans", Json::array())) {
    fmt::print("no record leads to {}\n", orphan.get<std::string>());
  }
}

void PrintCommit(const Json& summary) {
  fmt::print("{} of data and {} of zeros went into parents\n",
             FormatBytes(NumberOf(summary, "data_bytes").value_or(0)),
             FormatBytes(NumberOf(summary, "zero_bytes").value_or(0)));
  for (const Json& link : summary.value("removed_links", Json::array())) {
    fmt::print("removed {}\n", link.get<std::string>());
  }
}

void PrintMeasure(const Json& summary) {
  fmt::print("needs at most {}; {} are free\n",
             FormatBytes(NumberOf(summary, "needed_bytes").value_or(0)),
             FormatBytes(NumberOf(summary, "free_bytes").value_or(0)));
}

constexpr const char* kReclaimHelp = "Give the space back on the way, for a full datastore";
constexpr const char* kNameHelp = "The snapshot's name, or its number";

void AddSnapshotVerbs(CommandLine& line, CLI::App* snapshot) {
  DiskCommand create(line, snapshot, "create", "snapshot-create", "Freeze the current state");
  create.Word("name", "name", "A name (default: \"Snapshot\" and a number)")->type_name("NAME");
  create.OneOf("--format", "format", {"seSparse", "vmfsSparse"},
               "The format of the new leaf (default: seSparse)");
  create.Word("--description", "description", "What people should know of it")->type_name("TEXT");
  create.Prints(PrintSnapshot);
  DiskCommand list(line, snapshot, "list", "snapshot-list", "Show the snapshots as a tree");
  list.Prints(PrintTree);
  DiskCommand revert(line, snapshot, "revert", "snapshot-revert",
                     "Go back to a snapshot: what was written since the last one is dropped");
  revert.Word("name", "name", kNameHelp)->required()->type_name("NAME");
  revert.OneOf("--format", "format", {"seSparse", "vmfsSparse"},
               "The format of the new leaf (default: seSparse)");
  revert.Prints(PrintSnapshot);
  DiskCommand remove(line, snapshot, "delete", "snapshot-delete",
                     "Forget a snapshot and keep the current state");
  remove.Word("name", "name", kNameHelp)->required()->type_name("NAME");
  remove.Flag("--reclaim", "reclaim", kReclaimHelp);
  remove.Prints(PrintCommit);
  DiskCommand all(line, snapshot, "delete-all", "snapshot-delete-all",
                  "Forget every snapshot and keep the current state");
  all.Flag("--reclaim", "reclaim", kReclaimHelp);
  all.Prints(PrintCommit);
  DiskCommand measure(line, snapshot, "measure", "snapshot-measure",
                      "Say how much space deleting a snapshot needs");
  measure.Word("name", "name", kNameHelp)->required()->type_name("NAME");
  measure.Prints(PrintMeasure);
}

}  // namespace

void AddDiskSnapshots(CommandLine& line, CLI::App* disk) {
  CLI::App* snapshot =
      disk->add_subcommand("snapshot", "Snapshots of a disk, or of all disks of a .vmx");
  snapshot->require_subcommand(1);
  AddSnapshotVerbs(line, snapshot);
  DiskCommand consolidate(line, disk, "consolidate", "consolidate",
                          "Merge a link that no snapshot needs into its parent");
  consolidate.Flag("--reclaim", "reclaim", kReclaimHelp);
  consolidate.Prints(PrintCommit);
}

}  // namespace stratad
