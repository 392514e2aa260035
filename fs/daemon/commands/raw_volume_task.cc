#include "fs/daemon/commands/raw_volume_task.h"

#include <memory>
#include <utility>

#include "fs/daemon/vmfs_datastore.h"

namespace stratad {
namespace {

base::Task<base::Status> OpenAll(base::UringExecutor& executor,
                                 const std::vector<std::string>* targets, bool read_only,
                                 std::vector<VmfsExtent>* extents) {
  psa::LoopbackAdapter adapter(0);
  for (const std::string& target : *targets) {
    CO_TRY(VmfsExtent extent, co_await OpenExtent(executor, adapter, &target, read_only));
    extents->push_back(std::move(extent));
  }
  co_return base::Ok();
}

base::Task<base::Status> OpenRunClose(base::UringExecutor& executor,
                                      const std::vector<std::string>* targets, DeviceTask* task,
                                      bool read_only) {
  std::vector<VmfsExtent> extents;
  base::Status status = co_await OpenAll(executor, targets, read_only, &extents);
  std::vector<base::BlockDevice*> devices;
  for (const VmfsExtent& extent : extents) devices.push_back(extent.device.get());
  if (status) {
    status = co_await task->Run(executor, devices);
    if (!status && targets->size() == 1) status = status.error().Within(targets->front());
  }
  for (const VmfsExtent& extent : extents) {
    const base::Status closed = co_await extent.device->Close();
    if (status && !closed) status = closed;
  }
  co_return status;
}

}  // namespace

base::Status RunOnDevices(const std::vector<std::string>& targets, DeviceTask& task,
                          bool read_only) {
  TRY(const std::unique_ptr<base::UringExecutor> executor, base::UringExecutor::Create());
  return base::RunSync(*executor, OpenRunClose(*executor, &targets, &task, read_only));
}

}  // namespace stratad
