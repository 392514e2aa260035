#include "fs/daemon/daemon.h"

#include <algorithm>
#include <utility>

#include <unistd.h>

#include "fs/base/log.h"
#include "fs/daemon/disk_actions.h"
#include "fs/daemon/host_paths.h"
#include "fs/daemon/thread_call.h"
#include "fs/daemon/volume_names.h"

namespace stratad {
namespace {

// How long processes that still use the mount may go on after a signal asked the daemon to end.
constexpr uint64_t kGraceMicroseconds = 5'000'000;
constexpr uint64_t kGraceStepMicroseconds = 50'000;

// How long the kernel may trust names and attributes. Nobody but the kernel and this daemon, which
// tells it, changes a VMFS volume; a host folder may change at any time; disks grow while open.
constexpr uint32_t kOwnValidSeconds = 86'400;
constexpr uint32_t kSharedValidSeconds = 1;
constexpr uint32_t kDevicesValidSeconds = 0;

std::string JoinSources(const DatastoreList& datastores) {
  std::string text;
  for (const auto& datastore : datastores) {
    text += (text.empty() ? "" : " ") + datastore->source();
  }
  return text;
}

Json ToJson(const FuseSession::Figures& figures) {
  Json json = Json::object();
  json["requests"] = figures.requests;
  json["reads"] = figures.reads;
  json["writes"] = figures.writes;
  json["read_bytes"] = figures.read_bytes;
  json["written_bytes"] = figures.written_bytes;
  json["in_flight"] = figures.in_flight;
  json["open_files"] = figures.open_files;
  json["lost_writes"] = figures.lost_writes;
  json["buffers"] = figures.buffers;
  json["transport"] = figures.ring ? "io_uring" : "device";
  return json;
}

// The first component of a path, which is taken off it.
std::string_view TakeComponent(std::string_view& path) {
  const std::string_view name = path.substr(0, path.find('/'));
  path.remove_prefix(std::min(path.size(), name.size() + 1));
  return name;
}

}  // namespace

struct Daemon::Shown final : public ChangeListener {
  Shown(Datastore& shown, KernelCache& cache, MountTree& mount_tree)
      : datastore(shown), kernel_cache(cache), tree(mount_tree) {}

  void NameChanged(fss::InodeNumber parent, std::string_view name) override {
    kernel_cache.ForgetName(tree.volumes().NumberOf(disks->files(), parent), name);
  }

  void ContentChanged(fss::InodeNumber inode) override {
    kernel_cache.ForgetContent(tree.volumes().NumberOf(disks->files(), inode));
  }

  Datastore& datastore;
  KernelCache& kernel_cache;
  MountTree& tree;
  std::string folder;
  std::unique_ptr<DiskService> disks;
};

Daemon::Daemon(base::UringExecutor& executor, const MountOptions& options, ConnectionGuard* guard)
    : executor_(executor),
      options_(options),
      guard_(guard),
      started_us_(executor.NowMicroseconds()),
      one_session_(geteuid() != 0),
      kernel_cache_(executor),
      host_devices_(executor, /*paths_allowed=*/false),
      folder_devices_(executor, options_.allow_outside),
      tasks_(executor),
      closed_changed_(executor),
      unmount_lock_(executor) {}

Daemon::~Daemon() = default;

base::Task<base::Status> Daemon::Run(StartListener& listener) {
  const base::Status started = co_await Start();
  if (!started && volumes_session_ && !volumes_session_->ended()) {
    const base::Status unmounted = co_await Unmount(Detach::kLazily);
    if (!unmounted) volumes_session_->Abort();
  }
  if (started) {
    base::LogInfo("daemon", "mounted mount_point={} pid={}", options_.mount_point, getpid());
    listener.Started(started);
  }
  co_await WaitForSessions();
  kernel_cache_.Attach(nullptr);
  co_await kernel_cache_.Flush();
  closing_status_ = co_await CloseDatastores();
  closed_ = true;
  closed_changed_.NotifyAll();
  if (termination_) executor_.RemoveSource(*termination_);
  if (control_) co_await control_->Stop();
  co_await tasks_.Join();
  base::LogInfo("daemon", "ended mount_point={}", options_.mount_point);
  if (!started) {
    listener.Started(started);
    co_return started;
  }
  co_return closing_status_;
}

base::Task<base::Status> Daemon::Start() {
  DatastoreOptions datastore_options;
  datastore_options.read_only = options_.read_only;
  datastore_options.adopt = options_.adopt;
  CO_TRY_STATUS(
      co_await OpenDatastores(executor_, options_.targets, datastore_options, datastores_));
  CO_TRY_STATUS(BuildTree());
  CO_TRY(volumes_session_, MakeSession(/*devices=*/false));
  CO_TRY_STATUS(co_await MountSession(*volumes_session_));
  kernel_cache_.Attach(volumes_session_.get());
  if (!one_session_) {
    CO_TRY(devices_session_, MakeSession(/*devices=*/true));
    CO_TRY_STATUS(co_await MountSession(*devices_session_));
  }
  CO_TRY(termination_, TerminationSource::Create([this] { OnSignal(); }));
  executor_.AddSource(*termination_);
  CO_TRY_STATUS(co_await StartControl());
  co_return base::Ok();
}

base::Status Daemon::BuildTree() {
  MountTree::Options options;
  options.uid = geteuid();
  options.gid = getegid();
  options.one_session = one_session_;
  options.created_us = executor_.WallMicroseconds() / 1'000'000 * 1'000'000;
  tree_ = std::make_unique<MountTree>(options);
  fss::NewInode owner;
  owner.mode = 0600;
  owner.uid = options.uid;
  owner.gid = options.gid;
  disklib::Volumes& volumes = *this;
  for (const auto& datastore : datastores_) {
    auto shown = std::make_unique<Shown>(*datastore, kernel_cache_, *tree_);
    shown->disks =
        std::make_unique<DiskService>(executor_, datastore->file_system(), *shown, &volumes, owner);
    const bool is_folder = datastore->kind() == "posix";
    shown->disks->lib().UseDevices(is_folder ? folder_devices_ : host_devices_);
    shown->folder = tree_->AddVolume(shown->disks->files());
    tree_->AddVirtualDisks(shown->folder, shown->disks->tree());
    for (base::BlockDevice* device : datastore->devices()) {
      tree_->AddDevice(device->name(), *device);
    }
    shown_.push_back(std::move(shown));
  }
  return base::Ok();
}

base::Result<std::unique_ptr<FuseSession>> Daemon::MakeSession(bool devices) {
  FuseSession::Options options;
  options.mount_point = options_.mount_point + (devices ? "/devices" : "");
  options.source = JoinSources(datastores_);
  options.allow_other = geteuid() == 0;
  options.time_step_ns = 1;
  for (const auto& datastore : datastores_) {
    options.changed_by_others = options.changed_by_others || datastore->changed_by_others();
    options.time_step_ns = std::max(options.time_step_ns, datastore->time_step_ns());
  }
  options.read_only = std::all_of(datastores_.begin(), datastores_.end(),
                                  [](const auto& each) { return each->file_system().read_only(); });
  options.valid_seconds = options.changed_by_others ? kSharedValidSeconds : kOwnValidSeconds;
  if (devices) {
    options.direct_io = true;
    options.changed_by_others = true;
    options.valid_seconds = kDevicesValidSeconds;
  } else {
    options.writeback_cache = options_.writeback_cache && !one_session_ && !options.read_only &&
                              !options.changed_by_others;
  }
  options.ring = options_.fuse_ring;
  options.cache_listings = !options.changed_by_others && !one_session_;
  return FuseSession::Create(executor_, devices ? tree_->devices() : tree_->volumes(), options);
}

base::Task<base::Status> Daemon::MountSession(FuseSession& session) {
  ThreadCall call(executor_, [&session, guard = guard_]() -> base::Status {
    TRY_STATUS(session.Mount());
    if (!guard) return base::Ok();
    TRY(const std::string device, DeviceOfMount(session.options().mount_point));
    const base::Status guarded = guard->Watch(device);
    if (!guarded) base::LogWarn("daemon", "{}", guarded.error().message());
    return base::Ok();
  });
  co_await call;
  CO_TRY_STATUS(call.TakeResult());
  session.Start();
  co_return base::Ok();
}

base::Task<base::Status> Daemon::StartControl() {
  CO_TRY(const std::string path, ControlSocketPath(options_.mount_point));
  CO_TRY(control_, ControlServer::Create(executor_, path, *this));
  control_->Start();
  co_return base::Ok();
}

// A session that was never mounted has nothing to wait for.
base::Task<void> Daemon::WaitForSessions() {
  if (volumes_session_ && volumes_session_->mounted()) co_await volumes_session_->WaitForEnd();
  if (devices_session_ && devices_session_->mounted()) co_await devices_session_->WaitForEnd();
}

base::Task<base::Status> Daemon::CloseDatastores() {
  closing_ = true;
  base::Status first;
  for (const auto& shown : shown_) first = co_await shown->disks->Close();
  for (const auto& datastore : datastores_) {
    const base::Status closed = co_await datastore->Close();
    if (closed) continue;
    base::LogError("daemon", "closing source={}: {}", datastore->source(),
                   closed.error().message());
    if (first) first = closed.error().Within(datastore->source());
  }
  co_return first;
}

base::Task<base::Result<Json>> Daemon::Handle(Json& request, disklib::Progress& caller) {
  const std::string command = StringOf(request, "command").value_or("");
  if (command == "status") {
    base::Result<Json> answer = co_await HandleStatus();
    co_return answer;
  }
  if (command == "umount") {
    base::Result<Json> answer = co_await HandleUnmount(FlagOf(request, "lazy"));
    co_return answer;
  }
  if (command == "disk") {
    base::Result<Json> answer = co_await HandleDisk(request, caller);
    co_return answer;
  }
  co_return base::Error(base::Code::kInvalidArgument, "unknown command \"" + command + "\"");
}

base::Task<base::Result<Json>> Daemon::HandleStatus() {
  if (closing_) co_return base::Error(base::Code::kBusy, "the mount is ending");
  Json status = Json::object();
  status["mount_point"] = options_.mount_point;
  status["pid"] = static_cast<uint64_t>(getpid());
  status["uptime_seconds"] = (executor_.NowMicroseconds() - started_us_) / 1'000'000;
  status["cache"] = volumes_session_->options().writeback_cache ? "writeback" : "writethrough";
  if (!options_.log_path.empty()) status["log"] = options_.log_path;
  Json volumes = Json::array();
  for (const auto& shown : shown_) {
    CO_TRY(Json volume, co_await DescribeVolume(*shown));
    volumes.push_back(std::move(volume));
  }
  status["volumes"] = std::move(volumes);
  status["sessions"]["volumes"] = ToJson(volumes_session_->figures());
  if (devices_session_) status["sessions"]["devices"] = ToJson(devices_session_->figures());
  co_return status;
}

base::Task<base::Result<Json>> Daemon::DescribeVolume(Shown& shown) {
  Datastore& datastore = shown.datastore;
  fss::FileSystem& file_system = datastore.file_system();
  CO_TRY(const fss::StatFs figures, co_await file_system.GetStatFs());
  Json volume = Json::object();
  volume["label"] = file_system.label();
  volume["uuid"] = file_system.uuid();
  volume["folder"] = options_.mount_point + "/volumes/" + shown.folder;
  volume["kind"] = datastore.kind();
  volume["source"] = datastore.source();
  volume["read_only"] = file_system.read_only();
  volume["size_bytes"] = figures.blocks_total * figures.block_size_bytes;
  volume["free_bytes"] = figures.blocks_free * figures.block_size_bytes;
  volume["files"] = figures.files_total - figures.files_free;
  volume["open_disks"] = shown.disks->DescribeOpenDisks();
  datastore.Describe(volume);
  co_return volume;
}

Daemon::Shown* Daemon::FindShown(std::string_view name) {
  for (const auto& shown : shown_) {
    if (shown->folder == name || shown->datastore.file_system().uuid() == name) return shown.get();
  }
  return nullptr;
}

const disklib::Volume* Daemon::Find(std::string_view name) {
  std::vector<VolumeName> names;
  for (const auto& shown : shown_) {
    const fss::FileSystem& file_system = shown->datastore.file_system();
    names.push_back({.uuid = file_system.uuid(), .label = file_system.label()});
  }
  const std::optional<size_t> index = FindVolumeName(names, name);
  return index ? &shown_[*index]->disks->as_volume() : nullptr;
}

const disklib::Volume* Daemon::FindOwn(const disklib::ObjectBackend& backend) {
  for (const auto& shown : shown_) {
    if (shown->disks->as_volume().backend == &backend) return &shown->disks->as_volume();
  }
  return nullptr;
}

// Paths come as seen from the mount point; the volume wants its own.
base::Task<base::Result<Json>> Daemon::HandleDisk(Json& request, disklib::Progress& caller) {
  Shown* shown = nullptr;
  Shown* other = nullptr;  // of the paths behind the first
  for (const char* key : kDiskPathKeys) {
    const std::optional<std::string> given = StringOf(request, key);
    if (!given) continue;
    std::string_view path = *given;
    std::string_view part = TakeComponent(path);
    if (part == "devices") part = TakeComponent(path);
    Shown* found = FindShown(TakeComponent(path));
    if (!found || (part != "volumes" && part != "vdisks")) {
      co_return base::Error(base::Code::kNotFound, *given + ": lies on no volume of this mount");
    }
    if (other && other != found) co_return base::Code::kCrossDevice;
    if (shown) other = found;
    if (!shown) shown = found;
    request[key] = std::string(path);
  }
  if (!shown) co_return base::Code::kInvalidArgument;
  DiskService& second = other ? *other->disks : *shown->disks;
  base::Result<Json> answer = co_await shown->disks->Handle(request, second, &caller);
  co_await kernel_cache_.Flush();
  co_return answer;
}

// Answers only when everything is durable and closed; the process then ends.
base::Task<base::Result<Json>> Daemon::HandleUnmount(bool lazily) {
  CO_TRY_STATUS(co_await Unmount(lazily ? Detach::kLazily : Detach::kWhenUnused));
  if (lazily) co_return Json::object();
  while (!closed_) co_await closed_changed_.Wait();
  CO_TRY_STATUS(closing_status_);
  co_return Json::object();
}

base::Task<base::Status> Daemon::Unmount(Detach detach) {
  co_await unmount_lock_.Acquire();
  const base::LockGuard guard(unmount_lock_);
  if (unmounted_ || volumes_session_->ended()) co_return base::Ok();
  if (detach == Detach::kWhenUnused) CO_TRY_STATUS(CheckNoDiskWork());
  const std::string outer = options_.mount_point;
  const std::string inner = outer + "/devices";
  const bool has_inner =
      devices_session_ && devices_session_->mounted() && !devices_session_->ended();
  ThreadCall detach_inner(executor_, [&inner, detach, has_inner]() -> base::Status {
    return has_inner ? UnmountPath(inner, detach) : base::Ok();
  });
  co_await detach_inner;
  CO_TRY_STATUS(detach_inner.TakeResult());
  ThreadCall detach_outer(executor_, [&outer, detach] { return UnmountPath(outer, detach); });
  co_await detach_outer;
  const base::Status detached = detach_outer.TakeResult();
  unmounted_ = detached.has_value();
  if (!detached && has_inner) {
    const base::Status again = co_await MountDevicesAgain();
    if (!again) base::LogError("daemon", "devices: {}", again.error().message());
  }
  co_return detached;
}

base::Status Daemon::CheckNoDiskWork() const {
  for (const auto& shown : shown_) {
    const std::string work = shown->disks->running();
    if (!work.empty()) return base::Error(base::Code::kBusy, work + " is running");
  }
  return base::Ok();
}

base::Task<base::Status> Daemon::MountDevicesAgain() {
  co_await devices_session_->WaitForEnd();
  CO_TRY(devices_session_, MakeSession(/*devices=*/true));
  const base::Status mounted = co_await MountSession(*devices_session_);
  co_return mounted;
}

void Daemon::OnSignal() {
  ++signal_count_;
  base::LogInfo("daemon", "asked to end by a signal count={}", signal_count_);
  if (signal_count_ == 1) tasks_.Add(Terminate());
}

// What still uses the mount gets a while to finish; its data is stored before it is cut off.
base::Task<void> Daemon::Terminate() {
  const base::Status unmounted = co_await Unmount(Detach::kWhenUnused);
  if (unmounted) co_return;
  base::LogWarn("daemon", "still in use: {}", unmounted.error().message());
  const std::string outer = options_.mount_point;
  ThreadCall sync(executor_, [&outer] { return SyncMount(outer); });
  co_await sync;
  const base::Status synced = sync.TakeResult();
  if (!synced) base::LogWarn("daemon", "{}", synced.error().message());
  const base::Status detached = co_await Unmount(Detach::kLazily);
  if (!detached) base::LogWarn("daemon", "{}", detached.error().message());
  const uint64_t deadline_us = executor_.NowMicroseconds() + kGraceMicroseconds;
  while (!closed_ && signal_count_ == 1 && executor_.NowMicroseconds() < deadline_us) {
    co_await executor_.Sleep(kGraceStepMicroseconds);
  }
  volumes_session_->Abort();
  if (devices_session_) devices_session_->Abort();
}

}  // namespace stratad
