#include "fs/daemon/disk_service.h"

#include <optional>
#include <utility>

#include "disklib/operations.h"
#include "fs/base/log.h"
#include "fs/daemon/late_close.h"

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
    : executor_(executor),
      running_changed_(executor),
      door_(volume, listener),
      backend_(door_, owner),
      lib_(executor, backend_, open_disks_),
      disks_(lib_),
      tree_(executor, volume, disks_),
      guard_(executor, volume, open_disks_, listener) {}

// Stops an operation when its caller says so or the service is closed.
class DiskService::Stoppable final : public disklib::Progress {
 public:
  Stoppable(const DiskService& service, disklib::Progress* caller)
      : service_(service), caller_(caller) {}

  bool Advance(uint64_t done_bytes, uint64_t total_bytes) override {
    if (service_.closing_) return false;
    return caller_ == nullptr || caller_->Advance(done_bytes, total_bytes);
  }

 private:
  const DiskService& service_;
  disklib::Progress* caller_;
};

base::Task<base::Result<Json>> DiskService::Handle(Json& request, disklib::Progress* progress) {
  if (closing_) co_return base::Error(base::Code::kInterrupted, "the volume is being unmounted");
  const std::string work = "disk " + StringOf(request, "action").value_or("") + " " +
                           StringOf(request, "disk").value_or("");
  const auto place = running_.insert(work);
  Stoppable stoppable(*this, progress);
  LateClose late_close(executor_);
  base::Result<Json> answer = co_await Run(request, &stoppable);
  while (!answer && answer.error().code() == base::Code::kBusy && late_close.may_wait()) {
    co_await late_close.Wait();
    answer = co_await Run(request, &stoppable);
  }
  base::LogInfo("disks", "{}: {}", work, answer ? "done" : answer.error().message());
  running_.erase(place);
  running_changed_.NotifyAll();
  co_return answer;
}

base::Task<base::Result<Json>> DiskService::Run(Json& request, disklib::Progress* progress) {
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
  const std::string layout_name = StringOf(request, "layout").value_or("vmfs");
  const std::optional<disklib::DiskLayout> layout = disklib::ParseDiskLayout(layout_name);
  if (!layout) co_return Senseless("unknown layout \"" + layout_name + "\"");
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

Json DiskService::DescribeOpenDisks() const {
  Json disks = Json::array();
  for (const disklib::DiskHolder& holder : open_disks_.List()) {
    Json disk = Json::object();
    disk["disk"] = holder.disk;
    disk["user"] = holder.user;
    disk["writes"] = holder.writes;
    disks.push_back(std::move(disk));
  }
  return disks;
}

base::Task<base::Status> DiskService::Close() {
  closing_ = true;
  while (!running_.empty()) co_await running_changed_.Wait();
  const base::Status unmounted = co_await tree_.Unmount();
  co_return unmounted;
}

}  // namespace stratad
