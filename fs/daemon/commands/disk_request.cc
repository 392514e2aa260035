#include "fs/daemon/commands/disk_request.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include <unistd.h>

#include "fs/daemon/commands/progress.h"
#include "fs/daemon/commands/volume_task.h"
#include "fs/daemon/control_client.h"
#include "fs/daemon/disk_actions.h"
#include "fs/daemon/disk_service.h"
#include "fs/daemon/host_devices.h"
#include "fs/daemon/mount_point.h"

namespace stratad {
namespace {

// "/a/b/x.vmdk" and "/a/c/y.vmdk" -> "/a": the folder that serves as their datastore.
std::string CommonFolder(const std::string& first, const std::string& second) {
  size_t end = 0;
  for (size_t i = 0; i < std::min(first.size(), second.size()) && first[i] == second[i]; ++i) {
    if (first[i] == '/') end = i;
  }
  return end == 0 ? "/" : first.substr(0, end);
}

// Nobody caches an unmounted volume.
class NobodyListens final : public ChangeListener {
 public:
  void NameChanged(fss::InodeNumber, std::string_view) override {}

  void ContentChanged(fss::InodeNumber) override {}
};

class DiskTask final : public VolumeTask {
 public:
  DiskTask(Json request, const DiskRequestOptions& options)
      : request_(std::move(request)), options_(options) {}

  base::Task<base::Status> Run(base::UringExecutor& executor, Datastore& datastore) override {
    NobodyListens nobody;
    fss::NewInode owner;
    owner.mode = 0600;
    owner.uid = geteuid();
    owner.gid = getegid();
    HostDevices devices(executor, options_.allow_outside);
    DiskService service(executor, datastore.file_system(), nobody, /*volumes=*/nullptr, owner);
    service.lib().UseDevices(devices);
    ProgressBar bar(options_.title);
    disklib::Progress* const shown = options_.progress == nullptr ? &bar : options_.progress;
    base::Result<Json> answer = co_await service.Handle(request_, service, shown);
    const base::Status closed = co_await service.Close();
    if (!answer) co_return answer.error();
    answer_ = std::move(*answer);
    co_return closed;
  }

  const Json& answer() const { return answer_; }

 private:
  Json request_;
  const DiskRequestOptions& options_;
  Json answer_;
};

// The processes that have the disk or one of its files open through the mount.
std::string DescribeDiskUsers(ControlClient& client, const DiskPlace& place) {
  Json request = Json::object();
  request["command"] = "disk";
  request["action"] = "info";
  request["disk"] = place.path;
  const base::Result<Json> info = client.Ask(request);
  if (!info) return {};
  std::string_view folder = place.path;
  const std::string inner = StringOf(*info, "disk").value_or("");
  folder.remove_suffix(std::min(folder.size(), inner.size()));
  while (folder.ends_with('/')) folder.remove_suffix(1);
  const std::string label(folder.substr(folder.rfind('/') + 1));
  std::string text = DescribeUsers(place.mount_point + "/devices/vdisks/" + label + "/" + inner);
  std::vector<std::string> files{inner};
  for (const Json& extent : info->value("extents", Json::array())) {
    files.push_back(StringOf(extent, "path").value_or(""));
  }
  for (const std::string& file : files) {
    const std::string users = DescribeUsers(place.mount_point + "/volumes/" + label + "/" + file);
    if (!users.empty()) text += (text.empty() ? "" : ", ") + users;
  }
  return text;
}

base::Result<Json> AskDaemon(const DiskPlace& place, Json request,
                             const DiskRequestOptions& options) {
  request["command"] = "disk";
  TRY(ControlClient client, ControlClient::ConnectToMount(place.mount_point));
  base::Result<Json> answer = base::Code::kInternal;
  {
    ProgressBar bar(options.title);
    answer = client.Ask(request, options.progress == nullptr ? &bar : options.progress);
  }
  if (answer || answer.error().code() != base::Code::kBusy) return answer;
  const std::string users = DescribeDiskUsers(client, place);
  if (users.empty()) return answer;
  return base::Error(base::Code::kBusy, answer.error().message() + "; used by " + users);
}

// The folder that serves as the datastore of disks in host folders.
base::Result<std::string> HostDatastore(const Json& request, const DiskRequestOptions& options) {
  std::string folder;
  if (!options.datastore.empty()) {
    std::error_code error;
    folder = std::filesystem::canonical(options.datastore, error);
    if (error) return base::ErrnoError(error.value(), options.datastore);
  }
  for (const char* key : kDiskPathKeys) {
    const std::optional<std::string> path = StringOf(request, key);
    if (!path) continue;
    if (options.datastore.empty()) {
      folder = folder.empty() ? CommonFolder(*path, *path) : CommonFolder(folder + "/", *path);
    } else if (!path->starts_with(folder == "/" ? folder : folder + "/")) {
      return base::Error(base::Code::kNotPermitted, *path + ": lies outside of " + folder);
    }
  }
  return folder;
}

// A name that leaves the folder taken for the datastore may lie in a larger one.
base::Error WithAdvice(const base::Error& error, const DiskPlace& place,
                       const DiskRequestOptions& options) {
  const bool is_narrow = place.in_host_folder() && options.datastore.empty() &&
                         error.code() == base::Code::kNotPermitted &&
                         error.message().find("the datastore") != std::string::npos;
  if (!is_narrow) return error;
  return {error.code(), error.message() + "; --datastore FOLDER names a larger one"};
}

base::Result<Json> RunHere(const DiskPlace& place, Json request,
                           const DiskRequestOptions& options) {
  std::string target = place.target;
  if (place.in_host_folder()) {
    TRY(const std::string folder, HostDatastore(request, options));
    for (const char* key : kDiskPathKeys) {
      const std::optional<std::string> path = StringOf(request, key);
      if (path) request[key] = path->substr(folder == "/" ? 0 : folder.size());
    }
    target = "posix:" + folder;
  }
  const Access access = DiskActionOnlyReads(request) ? Access::kRead : Access::kWrite;
  DiskTask task(std::move(request), options);
  const base::Status done = RunOnVolume({target}, access, task);
  if (!done) return WithAdvice(done.error(), place, options);
  return task.answer();
}

}  // namespace

base::Result<DiskPlace> FindDiskPlace(const std::string& text) {
  if (text.empty()) return base::Error(base::Code::kInvalidArgument, "the path of a disk is empty");
  const TargetPath at = ParseTargetPath(text);
  if (at.target != text) return DiskPlace{{}, at.target, at.path};
  std::error_code error;
  const std::filesystem::path given = std::filesystem::absolute(text, error).lexically_normal();
  const std::filesystem::path folder = std::filesystem::canonical(given.parent_path(), error);
  if (error) return base::ErrnoError(error.value(), text);
  const std::string full = folder / given.filename();
  TRY(const std::vector<MountEntry> table, ReadMountTable());
  const std::string mount_point = MountContaining(table, full);
  if (mount_point.empty()) return DiskPlace{{}, {}, full};
  if (full.size() <= mount_point.size() + 1) {
    return base::Error(base::Code::kInvalidArgument, text + ": is no disk but a mount point");
  }
  return DiskPlace{mount_point, {}, full.substr(mount_point.size() + 1)};
}

base::Result<Json> RunDiskRequest(Json request, const DiskRequestOptions& options) {
  std::optional<DiskPlace> place;
  for (const char* key : kDiskPathKeys) {
    const std::optional<std::string> text = StringOf(request, key);
    if (!text) continue;
    TRY(const DiskPlace found, FindDiskPlace(*text));
    if (place && (found.mount_point != place->mount_point || found.target != place->target)) {
      return base::Error(base::Code::kCrossDevice, *text + ": lies on another volume");
    }
    request[key] = found.path;
    if (!place) place = found;
  }
  if (!place) return base::Error(base::Code::kInvalidArgument, "no disk is named");
  if (!options.datastore.empty() && !place->in_host_folder()) {
    return base::Error(base::Code::kInvalidArgument,
                       "--datastore is for disks in host folders; this one lies on a volume");
  }
  if (options.allow_outside && !place->in_host_folder()) {
    return base::Error(base::Code::kInvalidArgument,
                       "--allow-outside is for disks in host folders; on a mount, strata mount "
                       "takes it");
  }
  CatchInterrupts();
  return place->mount_point.empty() ? RunHere(*place, std::move(request), options)
                                    : AskDaemon(*place, std::move(request), options);
}

}  // namespace stratad
