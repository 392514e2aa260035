#include "tests/support/vmfs_volume.h"

#include <fmt/format.h>

#include <array>

#include "vmfs/lvm_device.h"
#include "vmfs/mkfs/mkfs.h"

namespace vmfs {

SimVolume::SimVolume(base::SimExecutor& executor, uint64_t volume_bytes, bool logging)
    : executor_(executor) {
  base::SimDisk::Options options;
  options.size_bytes = ImageBytesFor(volume_bytes);
  options.logging = logging;
  owned_disk_ = std::make_unique<base::SimDisk>(executor, options);
  disk_ = owned_disk_.get();
}

SimVolume::SimVolume(base::SimExecutor& executor, std::unique_ptr<base::SimDisk> disk)
    : executor_(executor), owned_disk_(std::move(disk)), disk_(owned_disk_.get()) {}

SimVolume::~SimVolume() {
  if (volume_) (void)Unmount();
}

base::Status SimVolume::MakeFileSystem() {
  MkfsOptions options;
  options.label = "sim";
  const std::array<base::BlockDevice*, 1> devices{disk_};
  const auto report = base::RunSync(
      executor_, vmfs::MakeFileSystem(executor_, std::span<base::BlockDevice* const>(devices),
                                      options));
  if (!report) return report.error();
  return base::Ok();
}

base::Status SimVolume::Mount() {
  const std::array<base::BlockDevice*, 1> devices{disk_};
  TRY(lvm_, base::RunSync(executor_, OpenLvm(std::span<base::BlockDevice* const>(devices))));
  options_.identity.owner = base::NewUuid(executor_.WallMicroseconds());
  options_.identity.address_text = "simulated host";
  TRY(volume_, base::RunSync(executor_, Volume::Mount(executor_, *lvm_, options_)));
  return base::Ok();
}

base::Status SimVolume::Unmount() {
  const base::Status status = base::RunSync(executor_, volume_->Unmount());
  LetGo();
  return status;
}

void SimVolume::LetGo() {
  volume_.reset();
  lvm_.reset();
}

void SimVolume::Crash() {
  executor_.AbandonAll();
  disk_->Abandon();
  // Coroutines of the mount still refer to its parts; both are left behind together.
  (void)volume_.release();
  (void)lvm_.release();
}

base::Result<FsckReport> SimVolume::Report() {
  const std::array<base::BlockDevice*, 1> devices{disk_};
  FsckOptions options;
  return base::RunSync(executor_,
                       CheckDevices(std::span<base::BlockDevice* const>(devices), options));
}

std::string SimVolume::Check(FindingSeverity least) {
  const base::Result<FsckReport> report = Report();
  if (!report) return report.error().message();
  std::string text;
  for (const Finding& finding : report->findings) {
    if (finding.severity < least) continue;
    text += fmt::format("{} {}: {}\n", NameOf(finding.severity), NameOf(finding.code),
                        finding.text);
  }
  return text;
}

}  // namespace vmfs
