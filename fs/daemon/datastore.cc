#include "fs/daemon/datastore.h"

#include <algorithm>
#include <utility>

#include "fs/base/log.h"
#include "fs/daemon/posix_datastore.h"
#include "fs/daemon/vmfs_datastore.h"

namespace stratad {
namespace {

base::Task<base::Result<VmfsExtent>> OpenVolumeExtent(base::UringExecutor& executor,
                                                      psa::LoopbackAdapter& adapter,
                                                      const std::string* target, bool read_only) {
  CO_TRY(VmfsExtent extent, co_await OpenExtent(executor, adapter, target, read_only));
  base::Result<vmfs::LvmDeviceInfo> lvm = co_await vmfs::ReadLvmDevice(*extent.device);
  if (!lvm) {
    const base::Status closed = co_await extent.device->Close();
    if (!closed) base::LogWarn("daemon", "{}", closed.error().message());
    co_return lvm.error().Within(*target);
  }
  extent.lvm = std::move(*lvm);
  co_return extent;
}

base::Task<void> CloseExtents(std::vector<VmfsExtent>& extents) {
  for (const VmfsExtent& extent : extents) {
    const base::Status closed = co_await extent.device->Close();
    if (!closed) base::LogWarn("daemon", "{}", closed.error().message());
  }
  extents.clear();
}

// Moves the extents that belong to the first one's volume out of `all`.
std::vector<VmfsExtent> TakeOneVolume(std::vector<VmfsExtent>& all) {
  const base::Uuid uuid = all.front().lvm.volume.volume_uuid;
  std::vector<VmfsExtent> volume, rest;
  for (VmfsExtent& extent : all) {
    const bool belongs = extent.lvm.volume.volume_uuid == uuid;
    (belongs ? volume : rest).push_back(std::move(extent));
  }
  all = std::move(rest);
  return volume;
}

}  // namespace

base::Task<base::Status> OpenDatastores(base::UringExecutor& executor,
                                        std::span<const std::string> targets,
                                        DatastoreOptions options, DatastoreList& opened) {
  psa::LoopbackAdapter adapter(0);
  std::vector<VmfsExtent> extents;
  for (const std::string& target : targets) {
    if (PosixDatastore::IsTarget(target)) {
      CO_TRY(std::unique_ptr<Datastore> datastore, PosixDatastore::Open(executor, target, options));
      opened.push_back(std::move(datastore));
      continue;
    }
    base::Result<VmfsExtent> extent =
        co_await OpenVolumeExtent(executor, adapter, &target, options.read_only);
    if (!extent) {
      co_await CloseExtents(extents);
      co_return extent.error();
    }
    extents.push_back(std::move(*extent));
  }
  while (!extents.empty()) {
    std::vector<VmfsExtent> volume = TakeOneVolume(extents);
    base::Result<std::unique_ptr<Datastore>> datastore =
        co_await VmfsDatastore::Open(executor, volume, options);
    if (!datastore) {
      co_await CloseExtents(extents);
      co_return datastore.error();
    }
    opened.push_back(std::move(*datastore));
  }
  co_return base::Ok();
}

}  // namespace stratad
