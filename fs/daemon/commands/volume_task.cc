#include "fs/daemon/commands/volume_task.h"

#include <memory>
#include <utility>
#include <vector>

namespace stratad {
namespace {

constexpr std::string_view kPosixPrefix = "posix:";

base::Task<base::Status> OpenRunClose(base::UringExecutor& executor,
                                      const std::vector<std::string>* targets, Access access,
                                      VolumeTask* task) {
  DatastoreOptions options;
  options.read_only = access == Access::kRead;
  DatastoreList opened;
  base::Status status = co_await OpenDatastores(executor, *targets, options, opened);
  if (status && opened.size() != 1) {
    status = base::Error(base::Code::kInvalidArgument, "the targets are more than one volume");
  }
  if (status) status = co_await task->Run(executor, *opened.front());
  for (const auto& datastore : opened) {
    const base::Status closed = co_await datastore->Close();
    if (status && !closed) status = closed;
  }
  co_return status;
}

}  // namespace

base::Status RunOnVolume(const std::vector<std::string>& targets, Access access, VolumeTask& task) {
  TRY(const std::unique_ptr<base::UringExecutor> executor, base::UringExecutor::Create());
  return base::RunSync(*executor, OpenRunClose(*executor, &targets, access, &task));
}

TargetPath ParseTargetPath(const std::string& text) {
  const size_t start = text.starts_with(kPosixPrefix) ? kPosixPrefix.size() : 0;
  const size_t colon = text.rfind(":/");
  if (colon == std::string::npos || colon < start) return {text, "/"};
  return {text.substr(0, colon), text.substr(colon + 1)};
}

}  // namespace stratad
