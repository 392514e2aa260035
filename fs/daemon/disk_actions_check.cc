// The verb that checks and repairs disks, and folders of them.
#include <algorithm>
#include <array>
#include <set>
#include <string>

#include "disklib/check/check.h"
#include "disklib/check/repair.h"
#include "fs/daemon/disk_actions.h"

namespace stratad {
namespace {

using base::Result;
using base::Task;

Json ToJson(const disklib::CheckFinding& finding) {
  Json json = Json::object();
  json["id"] = disklib::InfoOf(finding.id).name;
  json["severity"] = disklib::NameOf(finding.severity);
  json["file"] = finding.place.file;
  json["text"] = finding.text;
  const auto place = [&json](const char* key, const std::optional<uint64_t>& value) {
    if (value) json[key] = *value;
  };
  place("file_offset_bytes", finding.place.file_offset_bytes);
  place("disk_offset_bytes", finding.place.disk_offset_bytes);
  place("table", finding.place.table);
  place("grain", finding.place.grain);
  json["repair"] = disklib::NameOf(finding.repair);
  if (!finding.repair_text.empty()) json["repair_text"] = finding.repair_text;
  json["explanation"] = disklib::InfoOf(finding.id).explanation;
  return json;
}

Json ToJson(const disklib::CheckReport& report, bool explained = false) {
  Json json = Json::object();
  json["explained"] = explained;
  json["disk"] = report.path;
  json["consistent"] = report.is_consistent();
  json["clean"] = report.is_clean();
  json["whole"] = report.is_whole;
  json["errors"] = report.error_count;
  json["warnings"] = report.warning_count;
  json["leaks"] = report.leak_count;
  json["infos"] = report.info_count;
  if (!report.holder.empty()) json["holder"] = report.holder;
  json["links"] = Json::array();
  for (const disklib::CheckedLink& link : report.links) {
    Json one = Json::object();
    one["path"] = link.path;
    one["create_type"] = link.create_type;
    one["content_id"] = link.content_id;
    if (!link.parent_content_id.empty()) one["parent_content_id"] = link.parent_content_id;
    one["capacity_bytes"] = link.capacity_bytes;
    one["allocated_bytes"] = link.allocated_bytes;
    json["links"].push_back(std::move(one));
  }
  json["findings"] = Json::array();
  for (const auto& finding : report.findings) json["findings"].push_back(ToJson(finding));
  json["evidence"] = report.evidence;
  return json;
}

Json ToJson(const disklib::DiskRepairReport& report, bool explained = false) {
  Json json = Json::object();
  json["outcome"] = disklib::NameOf(report.outcome);
  json["before"] = ToJson(report.before, explained);
  json["after"] = ToJson(report.after);
  json["action_count"] = report.action_count;
  json["actions"] = Json::array();
  for (const disklib::DiskRepairAction& action : report.actions) {
    Json one = Json::object();
    one["id"] = disklib::InfoOf(action.id).name;
    one["file"] = action.file;
    one["text"] = action.text;
    json["actions"].push_back(std::move(one));
  }
  return json;
}

Task<Result<Json>> Check(DiskCall& call) {
  CO_TRY(const std::string path, PathIn(call.request, "disk"));
  disklib::CheckOptions options;
  options.explain = FlagOf(call.request, "explain");
  CO_TRY(const disklib::CheckReport report,
         co_await disklib::CheckDisk(call.lib, path, options, call.progress));
  co_return ToJson(report, options.explain);
}

// "fix": ["C1", …], the rows whose repairs on request are asked for.
Result<std::set<disklib::Invariant>> FixesIn(const Json& request) {
  std::set<disklib::Invariant> fixes;
  const auto named = request.find("fix");
  if (named == request.end()) return fixes;
  if (!named->is_array()) return Senseless("\"fix\" is no list");
  for (const Json& name : *named) {
    const std::optional<disklib::Invariant> id =
        name.is_string() ? disklib::ParseInvariant(name.get<std::string>()) : std::nullopt;
    if (!id) return Senseless("no such invariant: " + ToLine(name));
    fixes.insert(*id);
  }
  return fixes;
}

Task<Result<Json>> Repair(DiskCall& call) {
  CO_TRY(const std::string path, PathIn(call.request, "disk"));
  disklib::DiskRepairOptions options;
  options.check.explain = FlagOf(call.request, "explain");
  CO_TRY(options.fix, FixesIn(call.request));
  CO_TRY(const disklib::DiskRepairReport report,
         co_await disklib::RepairDisk(call.lib, path, options, call.progress));
  co_return ToJson(report, options.check.explain);
}

// "" is the volume's root.
std::string FolderIn(const Json& request) {
  const std::string path = StringOf(request, "disk").value_or("");
  return path.substr(std::min(path.find_first_not_of('/'), path.size()));
}

Task<Result<Json>> CheckWholeFolder(DiskCall& call) {
  const std::string folder = FolderIn(call.request);
  disklib::CheckOptions options;
  options.explain = FlagOf(call.request, "explain");
  CO_TRY(const disklib::CheckReport report,
         co_await disklib::CheckFolder(call.lib, folder, options, call.progress));
  co_return ToJson(report, options.explain);
}

Task<Result<Json>> RepairWholeFolder(DiskCall& call) {
  const std::string folder = FolderIn(call.request);
  disklib::DiskRepairOptions options;
  options.check.explain = FlagOf(call.request, "explain");
  CO_TRY(options.fix, FixesIn(call.request));
  CO_TRY(const disklib::DiskRepairReport report,
         co_await disklib::RepairFolder(call.lib, folder, options, call.progress));
  co_return ToJson(report, options.check.explain);
}

constexpr std::array kVerbs = {
    DiskVerb{.name = "check", .run = Check, .only_reads = true},
    DiskVerb{.name = "check-folder", .run = CheckWholeFolder, .only_reads = true},
    DiskVerb{.name = "repair", .run = Repair},
    DiskVerb{.name = "repair-folder", .run = RepairWholeFolder},
};

}  // namespace

std::span<const DiskVerb> CheckVerbs() {
  return kVerbs;
}

}  // namespace stratad
