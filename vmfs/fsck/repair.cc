#include "vmfs/fsck/repair.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "fs/base/aligned_buffer.h"
#include "fs/base/random.h"
#include "vmfs/fsck/repair_log.h"
#include "vmfs/fsck/repair_lvm.h"
#include "vmfs/fsck/repair_room.h"
#include "vmfs/fsck/repair_work.h"
#include "vmfs/lvm_device.h"

namespace vmfs {
namespace {

using base::Result;
using base::Status;
using base::Task;
using fsck::RepairWork;

// Each round checks and runs stages until one has changed something; more rounds than any volume
// needs mean that two stages undo each other.
constexpr int kRoundsMax = 60;

using Stage = Task<Status> (*)(RepairWork& work);
constexpr Stage kStages[] = {
    fsck::RepairSuperblock, fsck::RepairHeaders, fsck::RepairSystemFiles,
    fsck::RepairClusters,   fsck::RepairMarks,   fsck::RepairInodes,
    fsck::RepairDirectories, fsck::RepairNames,  fsck::RepairLeaks,
    fsck::RepairBitmaps,
};

// One repair of one open volume, from the check to the last flush.
class Repair {
 public:
  Repair(base::Executor& executor, base::BlockDevice& volume, RepairOptions& options,
         RepairReport& report)
      : executor_(executor), volume_(volume), options_(options), report_(report) {}

  Task<Status> Run() {
    bool may_write = false;
    for (bool is_complete = false; !is_complete;) {
      work_ = std::make_unique<RepairWork>(volume_, options_, report_);
      if (!options_.hosts_are_dead) {
        CO_TRY(heartbeats_, co_await ReadHeartbeats());
      }
      CO_TRY_STATUS(co_await ShowPending());
      CO_TRY(is_complete, co_await Plan());
      if (report_.outcome == RepairOutcome::kNothingToDo) co_return base::Ok();
      if (!IsBetter()) {
        report_.outcome = may_write ? RepairOutcome::kRepaired : RepairOutcome::kNotPossible;
        report_.after = start_;
        if (!may_write) ForgetPlan();
        co_return base::Ok();
      }
      if (!may_write && options_.confirm && !options_.confirm(report_)) {
        report_.outcome = RepairOutcome::kDeclined;
        co_return base::Ok();
      }
      may_write = true;
      CO_TRY_STATUS(co_await Apply());
      report_.outcome = RepairOutcome::kRepaired;
      // What was too much for one overlay goes on with what is on the disk now.
      is_first_ = false;
    }
    co_return base::Ok();
  }

 private:
  // An interrupted repair is finished first; the plan stands on its result.
  Task<Status> ShowPending() {
    Result<fsck::PendingRepair> pending =
        co_await fsck::ReadPendingRepair(volume_, options_.faults.ignore_log_checksums);
    if (!pending) {
      if (!fsck::IsLocal(pending.error().code()) &&
          pending.error().code() != base::Code::kChecksumMismatch) {
        co_return pending.error();
      }
      MetadataBytes zeros{};
      work_->overlay().Put(kRepairRecordOffset, zeros);
      work_->Act(FindingCode::kRepairPending, "an earlier repair is given up: {}",
                 pending.error().message());
      co_return base::Ok();
    }
    pending_ = *std::move(pending);
    if (!pending_.exists) co_return base::Ok();
    for (const auto& [address, image] : pending_.images) work_->overlay().Put(address, *image);
    MetadataBytes zeros{};
    work_->overlay().Put(kRepairRecordOffset, zeros);
    report_.finished_earlier_repair = true;
    work_->Act(FindingCode::kRepairPending, "an earlier repair is finished: {} blocks",
               pending_.images.size());
    co_return base::Ok();
  }

  // Answers whether everything that can be repaired is in the overlay. Errors: foreign volumes, a
  // live host, those of the check.
  Task<Result<bool>> Plan() {
    bool is_checked = false;
    for (int round = 0; round < kRoundsMax; ++round) {
      FsckReport found;
      CO_TRY_STATUS(co_await work_->Check(found));
      if (!is_checked) {
        is_checked = true;
        CO_TRY_STATUS(co_await Begin(found));
      }
      CO_TRY_STATUS(CheckDevice());
      report_.after = std::move(found);
      if (report_.after.is_clean() && !report_.after.is_dirty) break;
      CO_TRY(const bool changed, co_await RunStages());
      CO_TRY_STATUS(CheckDevice());
      if (!changed) break;
      if (work_->overlay().blocks().size() > options_.overlay_blocks_max) co_return false;
    }
    if (work_->overlay().change_count() == 0) {
      report_.outcome = report_.after.is_clean() ? RepairOutcome::kNothingToDo
                                                 : RepairOutcome::kNotPossible;
    }
    co_return true;
  }

  // A sector that cannot be read is damage, to be worked around. A device that fails otherwise may
  // have hidden anything from the check: nothing it says can be acted on.
  Status CheckDevice() const {
    const std::optional<base::Error>& failure = work_->overlay().failure();
    if (!failure || fsck::IsLocal(*failure)) return base::Ok();
    return *failure;
  }

  // The first look at the volume: may it be repaired at all, and what is wrong with it?
  Task<Status> Begin(FsckReport& found) {
    start_ = found;
    if (is_first_) {
      report_.before = found;
      report_.outcome = RepairOutcome::kNotPossible;
    }
    if (work_->state() == nullptr) co_return base::Ok();
    RawVolume& raw = work_->volume();
    if (!raw.is_ours()) {
      co_return base::Error(base::Code::kReadOnly,
                            "repair: not written by Strata; such volumes are never changed");
    }
    if (!raw.mark() && raw.mark().error().code() == base::Code::kVersionUnsupported) {
      co_return raw.mark().error();
    }
    if (found.is_dirty && !options_.hosts_are_dead) CO_TRY_STATUS(co_await WatchHosts());
    co_return base::Ok();
  }

  // Slots in use that change while they are watched belong to hosts that live.
  Task<Status> WatchHosts() {
    for (uint64_t waited = 0; waited < options_.watch_us; waited += kPollMicroseconds) {
      co_await executor_.Sleep(kPollMicroseconds);
      if (options_.check.is_canceled && options_.check.is_canceled()) {
        co_return base::Error(base::Code::kInterrupted, "repair: interrupted");
      }
      CO_TRY_STATUS(co_await CompareHosts());
    }
    co_return base::Ok();
  }

  // No heartbeat has changed since the check began.
  Task<Status> CompareHosts() {
    CO_TRY(const std::vector<std::byte> now, co_await ReadHeartbeats());
    if (now == heartbeats_) co_return base::Ok();
    co_return base::Error(base::Code::kBusy, "repair: a live host uses the volume");
  }

  // What cannot be read is zero: the check names it.
  Task<Result<std::vector<std::byte>>> ReadHeartbeats() {
    std::vector<std::byte> bytes(kHeartbeatSlotCount * uint64_t{kMetadataBlockBytes});
    base::AlignedBuffer buffer(kFileBlockBytes);
    for (uint64_t done = 0; done < bytes.size(); done += kFileBlockBytes) {
      const base::IoVec piece = buffer.piece();
      const base::IoRequest request{kHeartbeatOffset + done,
                                    std::span<const base::IoVec>(&piece, 1)};
      const Status read = co_await volume_.Read(request);
      if (!read && !fsck::IsLocal(read)) co_return read.error();
      if (!read) continue;
      std::ranges::copy(buffer.span(), bytes.begin() + static_cast<std::ptrdiff_t>(done));
    }
    co_return bytes;
  }

  // Runs stages until one has changed the overlay.
  Task<Result<bool>> RunStages() {
    for (const Stage stage : kStages) {
      const uint64_t changes = work_->overlay().change_count();
      CO_TRY_STATUS(co_await stage(*work_));
      if (work_->overlay().change_count() != changes) co_return true;
    }
    co_return false;
  }

  // A whole check is better than one that had to stop; then errors count, then warnings.
  bool IsBetter() const {
    if (work_->overlay().blocks().empty() && work_->overlay().copies().empty()) return false;
    const auto rank = [](const FsckReport& report) {
      return std::tuple(report.is_whole ? 0 : 1, report.error_count, report.warning_count,
                        report.is_dirty ? 1 : 0);
    };
    return pending_.exists || rank(report_.after) < rank(start_);
  }

  void ForgetPlan() {
    report_.actions.clear();
    report_.action_count = 0;
    report_.counters = {};
  }

  Task<Status> Apply() {
    // A person may have thought about the plan for long.
    if (!options_.hosts_are_dead) {
      CO_TRY_STATUS(co_await CompareHosts());
    }
    if (pending_.exists) {
      CO_TRY_STATUS(co_await fsck::FinishRepair(volume_, pending_, options_.faults));
    }
    const uint64_t image_count = work_->overlay().blocks().size();
    report_.counters.blocks_written += image_count;
    if (image_count == 0) co_return base::Ok();
    CO_TRY(const std::vector<uint64_t> chunks,
           co_await fsck::ChooseChunks(volume_, *work_, fsck::ChunksNeeded(image_count)));
    RepairIdentity identity;
    if (work_->state() != nullptr) identity.volume_uuid = work_->volume().superblock().uuid;
    identity.number = executor_.random().Next();
    CO_TRY_STATUS(co_await fsck::WriteRepair(volume_, work_->overlay(), &identity, chunks,
                                             options_.faults));
    co_return co_await fsck::EmptyLogJournals(volume_, *work_);
  }

  static constexpr uint64_t kPollMicroseconds = 500'000;

  base::Executor& executor_;
  base::BlockDevice& volume_;
  RepairOptions& options_;
  RepairReport& report_;
  std::unique_ptr<RepairWork> work_;
  fsck::PendingRepair pending_;
  std::vector<std::byte> heartbeats_;  // before the check
  FsckReport start_;  // of the volume as it is on the disk
  bool is_first_ = true;
};

// The LVM headers alone; they are few and are written in place. Errors: the damage itself where it
// cannot be repaired, those of the device.
Task<Status> RepairLvm(base::BlockDevice& device, RepairOptions& options, base::Error& damage,
                       RepairReport& report) {
  fsck::OverlayDevice overlay(device);
  const Status planned = co_await fsck::PlanLvmRepair(device, overlay);
  if (!planned) co_return damage;
  base::BlockDevice* const shown[] = {&overlay};
  const Result<LvmVolume> fixed = co_await ReadLvm(shown);
  if (!fixed) co_return damage;
  report.before.error_count = 1;
  report.before.findings.push_back(
      {FindingSeverity::kError, FindingCode::kLvm, damage.message()});
  report.actions.push_back({FindingCode::kLvm, "LVM headers: written anew"});
  report.action_count = 1;
  report.outcome = RepairOutcome::kDeclined;
  if (options.confirm && !options.confirm(report)) co_return base::Ok();
  CO_TRY_STATUS(co_await fsck::WriteLvmRepair(device, overlay));
  report.outcome = RepairOutcome::kRepaired;
  co_return base::Ok();
}

}  // namespace

std::string_view NameOf(RepairOutcome outcome) {
  switch (outcome) {
    case RepairOutcome::kNothingToDo: return "nothing to do";
    case RepairOutcome::kDeclined: return "declined";
    case RepairOutcome::kNotPossible: return "not possible";
    case RepairOutcome::kRepaired: return "repaired";
  }
  return "unknown";
}

Task<Result<RepairReport>> RepairVolume(base::Executor& executor, base::BlockDevice& volume,
                                        RepairOptions& options) {
  RepairReport report;
  Repair repair(executor, volume, options, report);
  CO_TRY_STATUS(co_await repair.Run());
  co_return report;
}

Task<Result<RepairReport>> RepairDevices(base::Executor& executor,
                                         std::span<base::BlockDevice* const> devices,
                                         RepairOptions& options) {
  RepairReport lvm_report;
  Result<LvmVolume> lvm = co_await ReadLvm(devices);
  if (!lvm) {
    if (devices.size() != 1 || !fsck::IsLocal(lvm.error().code())) co_return lvm.error();
    base::Error damage = lvm.error();
    CO_TRY_STATUS(co_await RepairLvm(*devices.front(), options, damage, lvm_report));
    if (lvm_report.outcome != RepairOutcome::kRepaired) co_return lvm_report;
    lvm = co_await ReadLvm(devices);
    if (!lvm) co_return lvm.error();
  }
  const std::unique_ptr<base::BlockDevice> volume =
      MakeLvmDevice(devices, std::move(lvm->runs), lvm->uuid.ToString());
  CO_TRY(RepairReport report, co_await RepairVolume(executor, *volume, options));
  if (lvm_report.outcome != RepairOutcome::kRepaired) co_return report;
  report.outcome = RepairOutcome::kRepaired;
  report.before.findings.insert(report.before.findings.begin(), lvm_report.before.findings.front());
  ++report.before.error_count;
  report.actions.insert(report.actions.begin(), lvm_report.actions.front());
  ++report.action_count;
  co_return report;
}

}  // namespace vmfs
