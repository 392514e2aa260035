#include "fs/daemon/disk_actions.h"

#include <utility>

#include "disklib/chain_info.h"
#include "disklib/delete_chain.h"
#include "disklib/device_map.h"
#include "disklib/new_link.h"
#include "disklib/operations.h"

namespace stratad {
namespace {

using base::Result;
using base::Task;

Json ToJson(const disklib::ExtentInfo& extent) {
  Json json = Json::object();
  json["path"] = extent.path;
  json["type"] = extent.type;
  json["access"] = extent.access;
  json["size_bytes"] = extent.size_bytes;
  json["offset_bytes"] = extent.offset_bytes;
  json["allocated_bytes"] = extent.allocated_bytes;
  return json;
}

Json ToJson(const disklib::Geometry& geometry) {
  return {
      {"cylinders", geometry.cylinders}, {"heads", geometry.heads}, {"sectors", geometry.sectors}};
}

Json ToJson(const disklib::DiskInfo& info) {
  Json json = Json::object();
  json["disk"] = info.path;
  json["create_type"] = info.create_type;
  json["thin"] = info.is_thin;
  json["capacity_bytes"] = info.capacity_bytes;
  json["allocated_bytes"] = info.allocated_bytes;
  json["adapter_type"] = info.adapter_type;
  json["content_id"] = info.content_id;
  json["uuid"] = info.uuid;
  json["geometry"] = ToJson(info.geometry);
  if (!info.parent.empty()) json["parent"] = info.parent;
  if (!info.holder.empty()) json["holder"] = info.holder;
  if (!info.unfinished_rename.empty()) json["unfinished_rename"] = info.unfinished_rename;
  json["extents"] = Json::array();
  for (const disklib::ExtentInfo& extent : info.extents) json["extents"].push_back(ToJson(extent));
  return json;
}

Task<Result<Json>> Create(DiskCall& call) {
  CO_TRY(const std::string path, PathIn(call.request, "disk"));
  CO_TRY(const WantedFormat format, FormatIn(call.request));
  const std::string adapter = StringOf(call.request, "adapter").value_or("lsilogic");
  disklib::NewLink link;
  link.size_bytes = NumberOf(call.request, "size_bytes").value_or(0);
  link.layout = format.layout;
  link.provisioning = format.provisioning.value_or(disklib::Provisioning::kThin);
  link.adapter_type = adapter;
  link.grain_bytes = NumberOf(call.request, "grain_bytes").value_or(0);
  link.all_tables = FlagOf(call.request, "all_tables");
  CO_TRY_STATUS(co_await disklib::CreateLink(call.lib, path, link, call.progress));
  co_return Json::object();
}

Json ToJson(const disklib::LinkUsage& link) {
  Json json = Json::object();
  json["path"] = link.path;
  json["create_type"] = link.kind;
  json["capacity_bytes"] = link.capacity_bytes;
  json["allocated_bytes"] = link.allocated_bytes;
  json["data_bytes"] = link.data_bytes;
  json["zero_bytes"] = link.zero_bytes;
  json["unique_bytes"] = link.unique_bytes;
  json["delete_needs_bytes"] = link.delete_needs_bytes;
  json["delete_frees_bytes"] = link.delete_frees_bytes;
  return json;
}

Json ToJson(const disklib::DeviceMapInfo& map) {
  Json json = Json::object();
  json["mode"] = map.is_physical ? "physical" : "virtual";
  json["device"] = map.device;
  json["node"] = map.device_path;
  if (!map.trouble.empty()) json["trouble"] = map.trouble;
  return json;
}

// What the links of a chain hold, where the chain opens: a broken one is described all the same.
Task<Result<Json>> Info(DiskCall& call) {
  CO_TRY(const std::string path, PathIn(call.request, "disk"));
  CO_TRY(const disklib::DiskInfo info, co_await call.lib.GetInfo(path));
  CO_TRY(const disklib::DeviceMapInfo map, co_await disklib::GetDeviceMap(call.lib, path));
  Json json = ToJson(info);
  if (map.is_map) json["device_map"] = ToJson(map);
  const Result<disklib::ChainInfo> chain = co_await disklib::GetChainInfo(call.lib, path);
  if (!chain) json["chain_error"] = chain.error().message();
  if (!chain) co_return json;
  json["chain_allocated_bytes"] = chain->allocated_bytes;
  json["chain_data_bytes"] = chain->data_bytes;
  json["links"] = Json::array();
  for (const disklib::LinkUsage& link : chain->links) json["links"].push_back(ToJson(link));
  // Deltas have no disk database of their own: what they stand on says it.
  for (auto link = chain->links.rbegin(); link != chain->links.rend(); ++link) {
    if (json["adapter_type"] != "") break;
    CO_TRY(const disklib::DiskInfo below, co_await call.lib.GetInfo(link->path));
    json["adapter_type"] = below.adapter_type;
    json["uuid"] = below.uuid;
    json["geometry"] = ToJson(below.geometry);
  }
  co_return json;
}

Task<Result<Json>> Rename(DiskCall& call) {
  CO_TRY(const std::string from, PathIn(call.request, "disk"));
  CO_TRY(const std::string to, PathIn(call.request, "to"));
  CO_TRY_STATUS(co_await disklib::RenameDisk(call.lib, from, to));
  co_return Json::object();
}

Task<Result<Json>> Delete(DiskCall& call) {
  CO_TRY(const std::string path, PathIn(call.request, "disk"));
  CO_TRY_STATUS(co_await disklib::DeleteDisk(call.lib, path));
  co_return Json::object();
}

Task<Result<Json>> DeleteAll(DiskCall& call) {
  CO_TRY(const std::string path, PathIn(call.request, "disk"));
  CO_TRY(const disklib::DeleteChainResult result, co_await disklib::DeleteChain(call.lib, path));
  Json json = Json::object();
  json["deleted"] = result.deleted_paths;
  co_return json;
}

Task<Result<Json>> Extend(DiskCall& call) {
  CO_TRY(const std::string path, PathIn(call.request, "disk"));
  CO_TRY(const WantedFormat format, FormatIn(call.request));
  disklib::ExtendOptions options;
  options.size_bytes = NumberOf(call.request, "size_bytes").value_or(0);
  options.provisioning = format.provisioning;
  CO_TRY_STATUS(co_await disklib::ExtendDisk(call.lib, path, options, call.progress));
  co_return Json::object();
}

constexpr std::array kVerbs = {
    DiskVerb{.name = "create", .run = Create},
    DiskVerb{.name = "delete", .run = Delete},
    DiskVerb{.name = "delete-all", .run = DeleteAll},
    DiskVerb{.name = "extend", .run = Extend},
    DiskVerb{.name = "info", .run = Info, .only_reads = true},
    DiskVerb{.name = "rename", .run = Rename},
};

const DiskVerb* FindVerb(const Json& request) {
  const std::string action = StringOf(request, "action").value_or("");
  const std::span<const DiskVerb> basic(kVerbs);
  for (const std::span<const DiskVerb> verbs :
       {basic, CheckVerbs(), CopyVerbs(), DeviceVerbs(), MapVerbs(), SnapshotVerbs()}) {
    for (const DiskVerb& verb : verbs) {
      if (verb.name == action) return &verb;
    }
  }
  return nullptr;
}

}  // namespace

base::Error Senseless(const std::string& text) {
  return base::Error(base::Code::kInvalidArgument, text);
}

Result<std::string> PathIn(const Json& request, const char* key) {
  std::string path = StringOf(request, key).value_or("");
  const size_t start = path.find_first_not_of('/');
  if (start == std::string::npos) return Senseless(std::string("no path in \"") + key + "\"");
  return path.substr(start);
}

Result<WantedFormat> FormatIn(const Json& request) {
  WantedFormat wanted;
  bool has_layout = false;
  for (const char* key : {"layout", "format"}) {
    const std::optional<std::string> word = StringOf(request, key);
    if (!word) continue;
    const std::optional<disklib::DiskLayout> layout = disklib::ParseDiskLayout(*word);
    if (layout && has_layout) return Senseless("format \"" + *word + "\" is a layout of its own");
    has_layout = has_layout || layout;
    if (layout) wanted.layout = *layout;
    if (layout) continue;
    wanted.provisioning = disklib::ParseProvisioning(*word);
    if (!wanted.provisioning) return Senseless("unknown format \"" + *word + "\"");
  }
  if (wanted.provisioning && !disklib::IsFlat(wanted.layout)) {
    return Senseless("a disk of grains takes its space as it is written");
  }
  return wanted;
}

bool DiskActionOnlyReads(const Json& request) {
  const DiskVerb* const verb = FindVerb(request);
  return verb != nullptr && verb->only_reads;
}

Task<Result<Json>> RunDiskAction(DiskCall& call) {
  const DiskVerb* const verb = FindVerb(call.request);
  if (verb == nullptr) {
    co_return Senseless("unknown disk action \"" + StringOf(call.request, "action").value_or("") +
                        "\"");
  }
  if (!verb->crosses_volumes && &call.lib != &call.other_lib) co_return base::Code::kCrossDevice;
  Result<Json> answer = co_await verb->run(call);
  co_return answer;
}

}  // namespace stratad
