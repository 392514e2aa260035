#include "fs/daemon/disk_actions.h"

#include <utility>

#include "disklib/operations.h"

namespace stratad {
namespace {

using base::Result;
using base::Task;
using disklib::Lib;
using disklib::Progress;

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
  json["geometry"] = {{"cylinders", info.geometry.cylinders},
                      {"heads", info.geometry.heads},
                      {"sectors", info.geometry.sectors}};
  if (!info.parent.empty()) json["parent"] = info.parent;
  if (!info.holder.empty()) json["holder"] = info.holder;
  if (!info.unfinished_rename.empty()) json["unfinished_rename"] = info.unfinished_rename;
  json["extents"] = Json::array();
  for (const disklib::ExtentInfo& extent : info.extents) json["extents"].push_back(ToJson(extent));
  return json;
}

Task<Result<Json>> Create(Lib& lib, Json& request, Progress* progress) {
  CO_TRY(const std::string path, PathIn(request, "disk"));
  CO_TRY(const std::optional<disklib::Provisioning> provisioning, ProvisioningIn(request));
  const std::string adapter = StringOf(request, "adapter").value_or("lsilogic");
  const std::string layout_name = StringOf(request, "layout").value_or("vmfs");
  const std::optional<disklib::DiskLayout> layout = disklib::ParseDiskLayout(layout_name);
  if (!layout) co_return Senseless("unknown layout \"" + layout_name + "\"");
  disklib::NewDisk disk;
  disk.size_bytes = NumberOf(request, "size_bytes").value_or(0);
  disk.layout = *layout;
  disk.provisioning = provisioning.value_or(disklib::Provisioning::kThin);
  disk.adapter_type = adapter;
  CO_TRY_STATUS(co_await disklib::CreateDisk(lib, path, disk, progress));
  co_return Json::object();
}

Task<Result<Json>> Info(Lib& lib, Json& request, Progress*) {
  CO_TRY(const std::string path, PathIn(request, "disk"));
  CO_TRY(const disklib::DiskInfo info, co_await lib.GetInfo(path));
  co_return ToJson(info);
}

Task<Result<Json>> Rename(Lib& lib, Json& request, Progress*) {
  CO_TRY(const std::string from, PathIn(request, "disk"));
  CO_TRY(const std::string to, PathIn(request, "to"));
  CO_TRY_STATUS(co_await disklib::RenameDisk(lib, from, to));
  co_return Json::object();
}

Task<Result<Json>> Delete(Lib& lib, Json& request, Progress*) {
  CO_TRY(const std::string path, PathIn(request, "disk"));
  CO_TRY_STATUS(co_await disklib::DeleteDisk(lib, path));
  co_return Json::object();
}

Task<Result<Json>> Extend(Lib& lib, Json& request, Progress* progress) {
  CO_TRY(const std::string path, PathIn(request, "disk"));
  CO_TRY(const std::optional<disklib::Provisioning> provisioning, ProvisioningIn(request));
  disklib::ExtendOptions options;
  options.size_bytes = NumberOf(request, "size_bytes").value_or(0);
  options.provisioning = provisioning;
  CO_TRY_STATUS(co_await disklib::ExtendDisk(lib, path, options, progress));
  co_return Json::object();
}

constexpr std::array kVerbs = {
    DiskVerb{"create", Create, false}, DiskVerb{"delete", Delete, false},
    DiskVerb{"extend", Extend, false}, DiskVerb{"info", Info, true},
    DiskVerb{"rename", Rename, false},
};

const DiskVerb* FindVerb(const Json& request) {
  const std::string action = StringOf(request, "action").value_or("");
  for (const DiskVerb& verb : kVerbs) {
    if (verb.name == action) return &verb;
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

Result<std::optional<disklib::Provisioning>> ProvisioningIn(const Json& request) {
  const std::optional<std::string> word = StringOf(request, "format");
  if (!word) return std::optional<disklib::Provisioning>();
  const std::optional<disklib::Provisioning> found = disklib::ParseProvisioning(*word);
  if (!found) return Senseless("unknown format \"" + *word + "\"");
  return found;
}

bool DiskActionOnlyReads(const Json& request) {
  const DiskVerb* const verb = FindVerb(request);
  return verb != nullptr && verb->only_reads;
}

Task<Result<Json>> RunDiskAction(Lib& lib, Json& request, Progress* progress) {
  const DiskVerb* const verb = FindVerb(request);
  if (verb == nullptr) {
    co_return Senseless("unknown disk action \"" + StringOf(request, "action").value_or("") + "\"");
  }
  Result<Json> answer = co_await verb->run(lib, request, progress);
  co_return answer;
}

}  // namespace stratad
