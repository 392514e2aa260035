#include "fs/daemon/disk_service.h"

#include <optional>
#include <utility>

#include "disklib/operations.h"

namespace stratad {
namespace {

base::Error Senseless(const std::string& text) {
  return base::Error(base::Code::kInvalidArgument, text);
}

base::Result<std::string> PathIn(const Json& request, const char* key) {
  std::string path = StringOf(request, key).value_or("");
  const size_t start = path.find_first_not_of('/');
  if (start == std::string::npos) return Senseless(std::string("no path in \"") + key + "\"");
  return path.substr(start);
}

// Absent: nothing. Errors: kInvalidArgument for an unknown word.
base::Result<std::optional<disklib::Provisioning>> ProvisioningIn(const Json& request) {
  const std::optional<std::string> word = StringOf(request, "format");
  if (!word) return std::optional<disklib::Provisioning>();
  const std::optional<disklib::Provisioning> found = disklib::ParseProvisioning(*word);
  if (!found) return Senseless("unknown format \"" + *word + "\"");
  return found;
}

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
  if (!info.parent.empty()) json["parent"] = info.parent;
  if (!info.holder.empty()) json["holder"] = info.holder;
  if (!info.unfinished_rename.empty()) json["unfinished_rename"] = info.unfinished_rename;
  json["extents"] = Json::array();
  for (const disklib::ExtentInfo& extent : info.extents) json["extents"].push_back(ToJson(extent));
  return json;
}

}  // namespace

DiskService::DiskService(base::Executor& executor, fss::FileSystem& volume,
                         ChangeListener& listener, fss::NewInode owner)
    : door_(volume, listener),
      backend_(door_, owner),
      lib_(executor, backend_, open_disks_),
      disks_(lib_),
      tree_(executor, volume, disks_),
      guard_(executor, volume, open_disks_, listener) {}

base::Task<base::Result<Json>> DiskService::Handle(Json& request, disklib::Progress* progress) {
  const std::string action = StringOf(request, "action").value_or("");
  base::Result<Json> answer = Senseless("unknown disk action \"" + action + "\"");
  if (action == "create") answer = co_await Create(request, progress);
  if (action == "info") answer = co_await Info(request);
  if (action == "rename") answer = co_await Rename(request);
  if (action == "extend") answer = co_await Extend(request, progress);
  if (action == "delete") {
    CO_TRY(const std::string path, PathIn(request, "disk"));
    const base::Status deleted = co_await disklib::DeleteDisk(lib_, path);
    answer = deleted ? base::Result<Json>(Json::object()) : base::Result<Json>(deleted.error());
  }
  co_return answer;
}

base::Task<base::Result<Json>> DiskService::Create(Json& request, disklib::Progress* progress) {
  CO_TRY(const std::string path, PathIn(request, "disk"));
  CO_TRY(const std::optional<disklib::Provisioning> provisioning, ProvisioningIn(request));
  const std::string adapter = StringOf(request, "adapter").value_or("lsilogic");
  const std::string type = StringOf(request, "type").value_or("vmfs");
  const std::optional<disklib::DiskLayout> layout = disklib::ParseDiskLayout(type);
  if (!layout) co_return Senseless("unknown disk type \"" + type + "\"");
  disklib::NewDisk disk;
  disk.size_bytes = NumberOf(request, "size_bytes").value_or(0);
  disk.layout = *layout;
  disk.provisioning = provisioning.value_or(disklib::Provisioning::kThin);
  disk.adapter_type = adapter;
  CO_TRY_STATUS(co_await disklib::CreateDisk(lib_, path, disk, progress));
  co_return Json::object();
}

base::Task<base::Result<Json>> DiskService::Info(Json& request) {
  CO_TRY(const std::string path, PathIn(request, "disk"));
  CO_TRY(const disklib::DiskInfo info, co_await lib_.GetInfo(path));
  co_return ToJson(info);
}

base::Task<base::Result<Json>> DiskService::Rename(Json& request) {
  CO_TRY(const std::string from, PathIn(request, "disk"));
  CO_TRY(const std::string to, PathIn(request, "to"));
  CO_TRY_STATUS(co_await disklib::RenameDisk(lib_, from, to));
  co_return Json::object();
}

base::Task<base::Result<Json>> DiskService::Extend(Json& request, disklib::Progress* progress) {
  CO_TRY(const std::string path, PathIn(request, "disk"));
  CO_TRY(const std::optional<disklib::Provisioning> provisioning, ProvisioningIn(request));
  disklib::ExtendOptions options;
  options.size_bytes = NumberOf(request, "size_bytes").value_or(0);
  options.provisioning = provisioning;
  CO_TRY_STATUS(co_await disklib::ExtendDisk(lib_, path, options, progress));
  co_return Json::object();
}

base::Task<base::Status> DiskService::Close() {
  return tree_.Unmount();
}

}  // namespace stratad
