#include "vmfs/fsck/fsck.h"

#include <memory>
#include <utility>

#include "vmfs/format/corrupt.h"
#include "vmfs/fsck/overlay_device.h"
#include "vmfs/fsck/repair_log.h"
#include "vmfs/fsck/state.h"
#include "vmfs/lvm_device.h"

namespace vmfs {
namespace {

using base::Result;
using base::Status;
using base::Task;

// A header that promises more than its file or the volume holds would cost memory without end.
Status CheckGeometries(const RawVolume& volume) {
  for (const ResourceKind kind : {ResourceKind::kFd, ResourceKind::kSubBlock, ResourceKind::kPb2,
                                  ResourceKind::kJournal, ResourceKind::kLargeBlock}) {
    const uint64_t length_bytes = volume.geometry(kind).FileLengthBytes();
    const uint64_t blocks = volume.system_file(SystemFileOf(kind)).blocks.size();
    if (length_bytes <= blocks * kFileBlockBytes) continue;
    return CorruptError("{} file: {:#x} bytes by its header, its map has {} blocks", NameOf(kind),
                        length_bytes, blocks);
  }
  const uint64_t small = volume.geometry(ResourceKind::kSmallBlock).resource_count;
  if (small <= volume.block_count()) return base::Ok();
  return CorruptError(".fbb.sf: {} small blocks, the volume has {} blocks", small,
                      volume.block_count());
}

bool IsDamage(base::Code code) {
  return code == base::Code::kCorrupt || code == base::Code::kOutOfRange;
}

// Shows the volume as an interrupted repair will leave it. Errors: those of Read but of its log.
Task<Status> ShowPendingRepair(fsck::OverlayDevice& overlay, base::BlockDevice& volume,
                               FsckReport& report) {
  const auto pending = co_await fsck::ReadPendingRepair(volume, /*ignore_checksums=*/false);
  if (pending && !pending->exists) co_return base::Ok();
  std::string text = "a repair was interrupted; the next one finishes it; checked as if it had";
  if (!pending) {
    text = "a repair was interrupted, and its log cannot be used: " + pending.error().message();
  } else {
    for (const auto& [address, image] : pending->images) overlay.Put(address, *image);
  }
  const MetadataBytes zeros{};
  overlay.Put(kRepairRecordOffset, zeros);
  ++report.warning_count;
  report.findings.push_back(
      {FindingSeverity::kWarning, FindingCode::kRepairPending, std::move(text)});
  co_return base::Ok();
}

}  // namespace

Task<Status> fsck::RunPhases(State& state) {
  CO_TRY_STATUS(co_await CheckHeaders(state));
  CO_TRY_STATUS(co_await CheckJournals(state));
  const Status loaded = co_await state.volume().LoadSystemFiles();
  if (!loaded) {
    state.Error(FindingCode::kSystemFile, "{}; nothing behind it can be checked",
                loaded.error().message());
    co_return base::Ok();
  }
  const Status plausible = CheckGeometries(state.volume());
  if (!plausible) {
    state.Error(FindingCode::kSystemFile, "{}; nothing behind it can be checked",
                plausible.error().message());
    co_return base::Ok();
  }
  CO_TRY_STATUS(co_await CheckResources(state));
  CO_TRY_STATUS(co_await CheckInodes(state));
  CO_TRY_STATUS(co_await CheckDirectories(state));
  CheckReferences(state);
  state.report().is_whole = true;
  co_return base::Ok();
}

Task<Result<FsckReport>> CheckVolume(base::BlockDevice& volume, FsckOptions& options) {
  FsckReport report;
  fsck::OverlayDevice overlay(volume);
  CO_TRY_STATUS(co_await ShowPendingRepair(overlay, volume, report));
  Result<std::unique_ptr<RawVolume>> raw = co_await RawVolume::Open(overlay);
  if (!raw) {
    if (!IsDamage(raw.error().code())) co_return raw.error();
    ++report.error_count;
    report.findings.push_back(
        {FindingSeverity::kError, FindingCode::kSuperblock, raw.error().message()});
    co_return report;
  }
  const auto state = std::make_unique<fsck::State>(**raw, options, report);
  CO_TRY_STATUS(co_await fsck::RunPhases(*state));
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
