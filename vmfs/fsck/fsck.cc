#include "vmfs/fsck/fsck.h"

#include <memory>
#include <utility>

#include "vmfs/fsck/state.h"
#include "vmfs/lvm_device.h"

namespace vmfs {
namespace {

using base::Result;
using base::Status;
using base::Task;

Task<Status> RunPhases(fsck::State& state) {
  CO_TRY_STATUS(co_await fsck::CheckHeaders(state));
  CO_TRY_STATUS(co_await fsck::CheckJournals(state));
  const Status loaded = co_await state.volume().LoadSystemFiles();
  if (!loaded) {
    state.Error(FindingCode::kSystemFile, "{}; nothing behind it can be checked",
                loaded.error().message());
    co_return base::Ok();
  }
  CO_TRY_STATUS(co_await fsck::CheckResources(state));
  CO_TRY_STATUS(co_await fsck::CheckInodes(state));
  CO_TRY_STATUS(co_await fsck::CheckDirectories(state));
  fsck::CheckReferences(state);
  co_return base::Ok();
}

bool IsDamage(base::Code code) {
  return code == base::Code::kCorrupt || code == base::Code::kOutOfRange;
}

}  // namespace

Task<Result<FsckReport>> CheckVolume(base::BlockDevice& volume, FsckOptions& options) {
  FsckReport report;
  Result<std::unique_ptr<RawVolume>> raw = co_await RawVolume::Open(volume);
  if (!raw) {
    if (!IsDamage(raw.error().code())) co_return raw.error();
    report.error_count = 1;
    report.findings.push_back(
        {FindingSeverity::kError, FindingCode::kSuperblock, raw.error().message()});
    co_return report;
  }
  const auto state = std::make_unique<fsck::State>(**raw, options, report);
  CO_TRY_STATUS(co_await RunPhases(*state));
  co_return report;
}

Task<Result<FsckReport>> CheckDevices(std::span<base::BlockDevice* const> devices,
                                      FsckOptions& options) {
  Result<LvmVolume> lvm = co_await ReadLvm(devices);
  if (!lvm) {
    if (!IsDamage(lvm.error().code())) co_return lvm.error();
    FsckReport report;
    report.error_count = 1;
    report.findings.push_back({FindingSeverity::kError, FindingCode::kLvm, lvm.error().message()});
    co_return report;
  }
  const std::unique_ptr<base::BlockDevice> volume =
      MakeLvmDevice(devices, std::move(lvm->runs), lvm->uuid.ToString());
  CO_TRY(FsckReport report, co_await CheckVolume(*volume, options));
  co_return report;
}

}  // namespace vmfs
