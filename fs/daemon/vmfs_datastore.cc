#include "fs/daemon/vmfs_datastore.h"

#include <array>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "fs/base/log.h"
#include "fs/daemon/host_paths.h"
#include "fs/daemon/machine_identity.h"
#include "fs/daemon/process_state.h"

namespace stratad {
namespace {

// How long the last I/O of a killed daemon may take.
constexpr uint64_t kHolderEndsWithinMicroseconds = 20'000'000;
constexpr uint64_t kHolderStepMicroseconds = 50'000;

std::string HostName() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

base::Result<vmfs::HostIdentity> WhoWeAre() {
  vmfs::HostIdentity identity;
  TRY(identity.owner, HostIdentity());
  identity.address_text = fmt::format("{} pid {}", HostName(), getpid());
  return identity;
}

// A holder's words, as WhoWeAre wrote them.
bool IsEndingHere(const std::string& address_text) {
  const pid_t process = ProcessIn(address_text);
  return process != 0 && address_text.starts_with(HostName() + " pid ") && IsEnding(process);
}

base::Status CheckBacking(const base::FileDevice& file, const std::string& target) {
  const base::FileBacking& backing = file.backing();
  if (!backing.is_fuse && !backing.is_network) return base::Ok();
  return base::Error(base::Code::kUnsupported,
                     fmt::format("{}: lies on a {} file system ({})", target,
                                 backing.is_fuse ? "FUSE" : "network", backing.file_system));
}

std::string_view StateName(psa::PathState state) {
  switch (state) {
    case psa::PathState::kActive: return "active";
    case psa::PathState::kStandby: return "standby";
    case psa::PathState::kDead: return "dead";
    case psa::PathState::kOff: return "off";
    case psa::PathState::kUnknown: break;
  }
  return "unknown";
}

std::vector<base::BlockDevice*> DevicesOf(std::span<const VmfsExtent> extents) {
  std::vector<base::BlockDevice*> devices;
  for (const VmfsExtent& extent : extents) devices.push_back(extent.device.get());
  return devices;
}

}  // namespace

// Guard bytes of the heartbeat on the file that carries the start of the volume.
class VmfsDatastore::FileGuard final : public vmfs::ProcessGuard {
 public:
  explicit FileGuard(base::FileDevice& file) : file_(file) {}

  base::Result<bool> TryLock(uint64_t byte_offset) override {
    return file_.TryLockByte(byte_offset);
  }

  void Unlock(uint64_t byte_offset) override {
    const base::Status unlocked = file_.UnlockByte(byte_offset);
    if (!unlocked) base::LogWarn("daemon", "guard byte: {}", unlocked.error().message());
  }

  bool covers_every_writer() const override {
    return file_.backing().kind == base::FileBacking::Kind::kRegularFile;
  }

 private:
  base::FileDevice& file_;
};

base::Task<base::Result<VmfsExtent>> OpenExtent(base::UringExecutor& executor,
                                                psa::LoopbackAdapter& adapter,
                                                const std::string* target, bool read_only) {
  base::FileDeviceOptions file_options;
  file_options.read_only = read_only;
  CO_TRY(std::unique_ptr<base::FileDevice> file,
         base::OpenFileDevice(executor, *target, file_options));
  CO_TRY_STATUS(CheckBacking(*file, *target));
  VmfsExtent extent;
  extent.target = *target;
  extent.file = file.get();
  psa::PathList paths;
  paths.push_back(adapter.Attach(std::move(file), scsi::TargetOptions()));
  const psa::DeviceOptions device_options;
  CO_TRY(extent.device, co_await psa::Device::Open(executor, paths, device_options));
  co_return extent;
}

VmfsDatastore::~VmfsDatastore() = default;

base::Task<base::Result<std::unique_ptr<Datastore>>> VmfsDatastore::Open(
    base::UringExecutor& executor, std::vector<VmfsExtent>& extents, DatastoreOptions options) {
  std::unique_ptr<VmfsDatastore> datastore(new VmfsDatastore());
  datastore->extents_ = std::move(extents);
  extents.clear();
  for (const VmfsExtent& extent : datastore->extents_) {
    datastore->source_ += (datastore->source_.empty() ? "" : " ") + extent.target;
  }
  const base::Status mounted = co_await datastore->Mount(executor, options);
  if (!mounted) {
    const base::Status closed = co_await datastore->Close();
    if (!closed) base::LogWarn("daemon", "{}", closed.error().message());
    co_return mounted.error().Within(datastore->source_);
  }
  co_return std::unique_ptr<Datastore>(std::move(datastore));
}

base::Task<base::Status> VmfsDatastore::Mount(base::UringExecutor& executor,
                                              DatastoreOptions options) {
  std::vector<vmfs::LvmDeviceInfo> infos;
  for (const VmfsExtent& extent : extents_) infos.push_back(extent.lvm);
  CO_TRY(vmfs::LvmVolume assembled, vmfs::AssembleLvm(std::move(infos)));
  const std::vector<base::BlockDevice*> devices = DevicesOf(extents_);
  const size_t first_device = assembled.runs.front().device_index;
  guard_ = std::make_unique<FileGuard>(*extents_[first_device].file);
  logical_volume_ =
      vmfs::MakeLvmDevice(devices, std::move(assembled.runs), assembled.uuid.ToString());
  CO_TRY(mount_options_.identity, WhoWeAre());
  CO_TRY(mount_options_.machine, MachineIdentity());
  mount_options_.adopt = options.adopt;
  mount_options_.read_only = options.read_only;
  mount_options_.guard = guard_.get();
  if (geteuid() != 0) {
    mount_options_.foreign_uid = geteuid();
    mount_options_.foreign_gid = getegid();
  }
  base::Result<std::unique_ptr<vmfs::Volume>> volume = co_await MountPatiently(executor);
  if (!volume && volume.error().code() == base::Code::kReadOnly && !options.read_only) {
    base::LogWarn("daemon", "{}; mounting it read-only", volume.error().message());
    mount_options_.read_only = true;
    volume = co_await vmfs::Volume::Mount(executor, *logical_volume_, mount_options_);
  }
  if (!volume) co_return volume.error();
  volume_ = std::move(*volume);
  co_return base::Ok();
}

// A daemon that was just killed holds its guard until the last of its writes has ended: that is
// waited for, a living one is not.
base::Task<base::Result<std::unique_ptr<vmfs::Volume>>> VmfsDatastore::MountPatiently(
    base::UringExecutor& executor) {
  const uint64_t started_us = executor.NowMicroseconds();
  while (true) {
    base::Result<std::unique_ptr<vmfs::Volume>> volume =
        co_await vmfs::Volume::Mount(executor, *logical_volume_, mount_options_);
    if (volume || volume.error().code() != base::Code::kLockHeld) co_return volume;
    const bool is_over = executor.NowMicroseconds() > started_us + kHolderEndsWithinMicroseconds;
    const bool is_ending = co_await HoldersAreEnding();
    if (is_over || !is_ending) co_return volume;
    co_await executor.Sleep(kHolderStepMicroseconds);
  }
}

// Whether processes of this machine that have slots are on their way out, and none is alive.
base::Task<bool> VmfsDatastore::HoldersAreEnding() {
  const base::Result<std::vector<vmfs::SlotState>> slots =
      co_await vmfs::Heartbeat::ReadSlots(*logical_volume_);
  if (!slots) co_return false;
  bool any_is_ending = false;
  for (const vmfs::SlotState& state : *slots) {
    if (state.fault || state.slot.state() == vmfs::HeartbeatState::kFree) continue;
    if (IsEndingHere(vmfs::HostNameOf(state.slot))) {
      any_is_ending = true;
      continue;
    }
    const uint64_t guard_byte = vmfs::kGuardByteOffset + state.index;
    const base::Result<bool> is_free = guard_->TryLock(guard_byte);
    if (!is_free || !*is_free) co_return false;
    guard_->Unlock(guard_byte);
  }
  co_return any_is_ending;
}

std::vector<base::BlockDevice*> VmfsDatastore::devices() {
  return DevicesOf(extents_);
}

void VmfsDatastore::Describe(Json& figures) {
  const vmfs::VolumeFigures volume = volume_->figures();
  figures["made_by_strata"] = volume.ours;
  if (!volume.stopped_reason.empty()) figures["stopped"] = volume.stopped_reason;
  Json cache = Json::object();
  cache["metadata_blocks"] = volume.cached_metadata_blocks;
  cache["inodes"] = volume.inodes_in_memory;
  cache["locks"] = volume.locks_cached;
  figures["memory"] = std::move(cache);
  Json journal = Json::object();
  journal["commits"] = volume.journal.commit_count;
  journal["images"] = volume.journal.image_count;
  journal["checkpoints"] = volume.journal.checkpoint_count;
  journal["slots_used"] = volume.journal.slots_used;
  figures["journal"] = std::move(journal);
  Json paths = Json::array();
  for (const VmfsExtent& extent : extents_) {
    for (const auto& path : extent.device->paths()) {
      Json one = Json::object();
      one["path"] = path->address().ToString();
      one["device"] = extent.device->name();
      one["target"] = extent.target;
      one["state"] = std::string(StateName(path->state()));
      paths.push_back(std::move(one));
    }
  }
  figures["paths"] = std::move(paths);
}

base::Task<base::Status> VmfsDatastore::Close() {
  base::Status first;
  if (volume_) first = co_await volume_->Unmount();
  volume_.reset();
  base::Status closed;
  if (logical_volume_) {
    closed = co_await logical_volume_->Close();
  } else {
    for (const VmfsExtent& extent : extents_) closed = co_await extent.device->Close();
  }
  logical_volume_.reset();
  extents_.clear();
  if (first && !closed) first = closed;
  co_return first;
}

}  // namespace stratad
