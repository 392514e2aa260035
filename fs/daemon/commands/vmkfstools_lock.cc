// `vmkfstools -D` and `--activehosts`: who holds a file, and who a volume, as its device says it.
#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <sys/stat.h>

#include "fs/base/aligned_buffer.h"
#include "fs/daemon/commands/command_line.h"
#include "fs/daemon/commands/raw_volume_task.h"
#include "fs/daemon/commands/vmkfstools.h"
#include "fs/daemon/commands/vmkfstools_volume.h"
#include "vmfs/format/heartbeat_slot.h"
#include "vmfs/format/lock_block.h"
#include "vmfs/lvm_device.h"
#include "vmfs/raw_volume.h"

namespace stratad {
namespace {

using base::Result;
using base::Status;
using base::Task;

class LockTask final : public DeviceTask {
 public:
  explicit LockTask(vmfs::FdAddress fd) : fd_(fd) {}

  Task<Status> Run(base::UringExecutor&, std::span<base::BlockDevice* const> devices) override {
    CO_TRY(const std::unique_ptr<base::BlockDevice> device, co_await vmfs::OpenLvm(devices));
    CO_TRY(const std::unique_ptr<vmfs::RawVolume> volume, co_await vmfs::RawVolume::Open(*device));
    CO_TRY_STATUS(co_await volume->LoadSystemFiles());
    CO_TRY(const uint64_t address, volume->InodeAddress(fd_));
    base::AlignedBuffer block(vmfs::kMetadataBlockBytes);
    CO_TRY_STATUS(co_await volume->Read(address, block.span()));
    CO_TRY(lock_, vmfs::DecodeLockBlock(block.span(), address));
    co_return base::Ok();
  }

  const vmfs::LockBlock& lock() const { return lock_; }

 private:
  const vmfs::FdAddress fd_;
  vmfs::LockBlock lock_{};
};

Result<vmfs::LockBlock> ReadLock(const std::vector<std::string>& devices, const std::string& path) {
  struct stat found {};

  if (stat(path.c_str(), &found) != 0) return base::ErrnoError(errno, path);
  // A mount's inode numbers are the volume's own, behind the number of the volume.
  LockTask task(vmfs::FdAddress(static_cast<uint32_t>(found.st_ino)));
  TRY_STATUS(RunOnDevices(devices, task));
  return task.lock();
}

void PrintOwner(const base::Uuid& owner, const std::vector<vmfs::HeartbeatInfo>& hosts) {
  const auto host =
      std::find_if(hosts.begin(), hosts.end(),
                   [&owner](const vmfs::HeartbeatInfo& known) { return known.owner == owner; });
  fmt::print("Held by {}: {}\n", owner.ToString(),
             host == hosts.end() ? "no heartbeat, the next mount takes over" : host->host_name);
}

// The shape scripts read: "mode 1, owner UUID".
void PrintLock(const vmfs::LockBlock& lock, const std::vector<vmfs::HeartbeatInfo>& hosts) {
  fmt::print("Lock [type {:x} offset {} v {}, hb offset {}\n", uint32_t{lock.type_value},
             uint64_t{lock.own_address}, uint64_t{lock.token}, uint64_t{lock.heartbeat_address});
  fmt::print("gen {}, mode {}, owner {} mtime {}\n", uint64_t{lock.heartbeat_generation},
             uint32_t{lock.mode_value}, lock.owner.ToString(), uint64_t{lock.mtime});
  fmt::print("num {} gblnum {} gblgen {} gblbrk {}]\n", uint32_t{lock.holder_count},
             uint32_t{lock.global_holder_count}, uint64_t{lock.global_generation},
             uint32_t{lock.global_break});
  if (lock.mode() == vmfs::LockMode::kFree) fmt::print("Held by nobody\n");
  if (lock.mode() == vmfs::LockMode::kExclusive) PrintOwner(lock.owner, hosts);
  for (uint32_t i = 0; i < std::min<uint32_t>(lock.holder_count, vmfs::kLockHoldersMax); ++i) {
    PrintOwner(lock.holders[i].owner, hosts);
  }
}

Status ShowLockOf(const std::string& path) {
  TRY(const Json volume, VmkVolumeAt(path));
  TRY(const std::vector<std::string> devices, VmkDevicesOf(volume));
  TRY(const vmfs::LockBlock lock, ReadLock(devices, path));
  TRY(const vmfs::VolumeInfo info, VmkReadInfo(devices));
  PrintLock(lock, info.heartbeats);
  return base::Ok();
}

// `path` lies on a mounted volume, or is a device or an image of one.
Status ShowHostsOf(const std::string& path) {
  std::vector<std::string> devices{path};
  const Result<Json> volume = VmkVolumeAt(path);
  if (!volume && volume.error().code() != base::Code::kNotFound) return volume.error();
  if (volume) {
    TRY(devices, VmkDevicesOf(*volume));
  }
  TRY(const vmfs::VolumeInfo info, VmkReadInfo(devices));
  fmt::print("Found {} actively heartbeating hosts on volume '{}'\n", info.heartbeats.size(), path);
  size_t number = 0;
  for (const vmfs::HeartbeatInfo& host : info.heartbeats) {
    fmt::print("({}): {} {}, slot {}{}\n", ++number, host.owner.ToString(), host.host_name,
               host.slot,
               host.state == vmfs::HeartbeatState::kReplaying ? ", being taken over" : "");
  }
  return base::Ok();
}

}  // namespace

int ShowLock(const VmkArguments& arguments) {
  const Status shown = ShowLockOf(arguments.paths[0]);
  return shown ? kExitOk : VmkFail("dump metadata", shown.error());
}

int ShowActiveHosts(const VmkArguments& arguments) {
  const Status shown = ShowHostsOf(arguments.paths[0]);
  return shown ? kExitOk : VmkFail("list active hosts", shown.error());
}

}  // namespace stratad
