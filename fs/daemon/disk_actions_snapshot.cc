// Verbs of snapshots: create, list, revert, delete, consolidate.
#include <array>
#include <string>

#include "disklib/snapshot.h"
#include "fs/daemon/disk_actions.h"

namespace stratad {
namespace {

using base::Result;
using base::Task;

Json ToJson(const std::vector<disklib::SnapshotDiskInfo>& disks) {
  Json json = Json::array();
  for (const disklib::SnapshotDiskInfo& disk : disks) {
    Json one = Json::object();
    one["node"] = disk.node;
    one["path"] = disk.path;
    one["links"] = disk.link_count;
    json.push_back(std::move(one));
  }
  return json;
}

Json ToJson(const disklib::SnapshotInfo& snapshot) {
  Json json = Json::object();
  json["uid"] = snapshot.uid;
  if (snapshot.parent_uid != 0) json["parent_uid"] = snapshot.parent_uid;
  json["name"] = snapshot.name;
  json["description"] = snapshot.description;
  json["created_us"] = snapshot.created_us;
  json["current"] = snapshot.is_current;
  if (snapshot.is_being_deleted) json["being_deleted"] = true;
  json["disks"] = ToJson(snapshot.disks);
  return json;
}

Json ToJson(const disklib::CommitSummary& summary) {
  Json json = Json::object();
  json["data_bytes"] = summary.data_bytes;
  json["zero_bytes"] = summary.zero_bytes;
  json["needed_bytes"] = summary.needed_bytes;
  json["free_bytes"] = summary.free_bytes;
  json["removed_links"] = summary.removed_links;
  return json;
}

std::string TextIn(const Json& request, const char* key) {
  return StringOf(request, key).value_or("");
}

// The layout of a new leaf. Errors: kInvalidArgument for a format that is no layout.
Result<disklib::DiskLayout> LeafLayoutIn(const Json& request) {
  TRY(const WantedFormat format, FormatIn(request));
  if (!request.contains("format")) return disklib::DiskLayout::kSeSparse;
  if (format.provisioning) return Senseless("a snapshot is seSparse or vmfsSparse");
  return format.layout;
}

Task<Result<Json>> Create(DiskCall& call) {
  CO_TRY(const std::string path, PathIn(call.request, "disk"));
  const std::string name = TextIn(call.request, "name");
  const std::string description = TextIn(call.request, "description");
  disklib::CreateSnapshotOptions options;
  options.name = name;
  options.description = description;
  CO_TRY(options.layout, LeafLayoutIn(call.request));
  CO_TRY(const disklib::SnapshotInfo made,
         co_await disklib::CreateSnapshot(call.lib, path, options, call.progress));
  co_return ToJson(made);
}

Task<Result<Json>> List(DiskCall& call) {
  CO_TRY(const std::string path, PathIn(call.request, "disk"));
  CO_TRY(const disklib::SnapshotTree tree, co_await disklib::ListSnapshots(call.lib, path));
  Json json = Json::object();
  if (!tree.vmx_path.empty()) json["vmx"] = tree.vmx_path;
  json["vmsd"] = tree.vmsd_path;
  json["disks"] = ToJson(tree.disks);
  json["snapshots"] = Json::array();
  for (const auto& snapshot : tree.snapshots) json["snapshots"].push_back(ToJson(snapshot));
  json["orphans"] = tree.orphans;
  co_return json;
}

Task<Result<Json>> Revert(DiskCall& call) {
  CO_TRY(const std::string path, PathIn(call.request, "disk"));
  const std::string name = TextIn(call.request, "name");
  disklib::RevertOptions options;
  CO_TRY(options.layout, LeafLayoutIn(call.request));
  CO_TRY(const disklib::SnapshotInfo now,
         co_await disklib::RevertToSnapshot(call.lib, path, name, options, call.progress));
  co_return ToJson(now);
}

Task<Result<Json>> Delete(DiskCall& call) {
  CO_TRY(const std::string path, PathIn(call.request, "disk"));
  const std::string name = TextIn(call.request, "name");
  const disklib::CommitOptions options{.reclaim = FlagOf(call.request, "reclaim")};
  CO_TRY(const disklib::CommitSummary summary,
         co_await disklib::DeleteSnapshot(call.lib, path, name, options, call.progress));
  co_return ToJson(summary);
}

Task<Result<Json>> Measure(DiskCall& call) {
  CO_TRY(const std::string path, PathIn(call.request, "disk"));
  const std::string name = TextIn(call.request, "name");
  CO_TRY(const disklib::CommitSummary summary,
         co_await disklib::MeasureDelete(call.lib, path, name));
  co_return ToJson(summary);
}

Task<Result<Json>> DeleteAll(DiskCall& call) {
  CO_TRY(const std::string path, PathIn(call.request, "disk"));
  const disklib::CommitOptions options{.reclaim = FlagOf(call.request, "reclaim")};
  CO_TRY(const disklib::CommitSummary summary,
         co_await disklib::DeleteAllSnapshots(call.lib, path, options, call.progress));
  co_return ToJson(summary);
}

Task<Result<Json>> Consolidate(DiskCall& call) {
  CO_TRY(const std::string path, PathIn(call.request, "disk"));
  const disklib::CommitOptions options{.reclaim = FlagOf(call.request, "reclaim"),
                                       .user = "strata disk consolidate"};
  CO_TRY(const disklib::CommitSummary summary,
         co_await disklib::ConsolidateLink(call.lib, path, options, call.progress));
  co_return ToJson(summary);
}

constexpr std::array kVerbs = {
    DiskVerb{.name = "consolidate", .run = Consolidate},
    DiskVerb{.name = "snapshot-create", .run = Create},
    DiskVerb{.name = "snapshot-delete", .run = Delete},
    DiskVerb{.name = "snapshot-delete-all", .run = DeleteAll},
    DiskVerb{.name = "snapshot-list", .run = List, .only_reads = true},
    DiskVerb{.name = "snapshot-measure", .run = Measure, .only_reads = true},
    DiskVerb{.name = "snapshot-revert", .run = Revert},
};

}  // namespace

std::span<const DiskVerb> SnapshotVerbs() {
  return kVerbs;
}

}  // namespace stratad
