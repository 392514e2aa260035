// `strata fsck`.
#include "vmfs/fsck/fsck.h"

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "fs/daemon/commands/command_line.h"
#include "fs/daemon/commands/progress.h"
#include "fs/daemon/commands/raw_volume_task.h"
#include "fs/daemon/volume_hold.h"
#include "vmfs/lock/heartbeat.h"
#include "vmfs/lock/slot_state.h"
#include "vmfs/lvm_device.h"

namespace stratad {
namespace {

// One bar after the other, one for each phase of the check.
class PhaseBar {
 public:
  void Advance(std::string_view phase, uint64_t done, uint64_t total) {
    if (phase != phase_) {
      phase_ = phase;
      bar_.reset();
      bar_ = std::make_unique<ProgressBar>("checking " + phase_);
    }
    bar_->Advance(done, total);
  }

 private:
  std::string phase_;
  std::unique_ptr<ProgressBar> bar_;
};

// "host … (esx1 pid 41, slot 120)".
base::Task<std::string> DescribeSlot(std::span<base::BlockDevice* const> devices, uint32_t index) {
  const std::string unknown = fmt::format("a daemon of this machine (slot {})", index);
  const base::Result<std::unique_ptr<base::BlockDevice>> volume = co_await vmfs::OpenLvm(devices);
  if (!volume) co_return unknown;
  const base::Result<std::vector<vmfs::SlotState>> slots =
      co_await vmfs::Heartbeat::ReadSlots(**volume);
  if (!slots || index >= slots->size() || (*slots)[index].fault) co_return unknown;
  co_return vmfs::DescribeHolder(index, (*slots)[index].slot);
}

class CheckTask final : public DeviceTask {
 public:
  explicit CheckTask(std::optional<uint32_t> holder_slot) : holder_slot_(holder_slot) {
    options_.progress = [this](std::string_view phase, uint64_t done, uint64_t total) {
      bar_.Advance(phase, done, total);
    };
    options_.is_canceled = Interrupted;
  }

  base::Task<base::Status> Run(base::UringExecutor&,
                               std::span<base::BlockDevice* const> devices) override {
    if (holder_slot_) {
      const std::string holder = co_await DescribeSlot(devices, *holder_slot_);
      co_return base::Error(base::Code::kBusy, "the volume is mounted by " + holder);
    }
    CO_TRY(report_, co_await vmfs::CheckDevices(devices, options_));
    co_return base::Ok();
  }

  const vmfs::FsckReport& report() const { return report_; }

 private:
  const std::optional<uint32_t> holder_slot_;
  PhaseBar bar_;
  vmfs::FsckOptions options_;
  vmfs::FsckReport report_;
};

Json ToJson(const vmfs::FsckReport& report) {
  Json json = Json::object();
  json["clean"] = report.is_clean();
  json["made_by_strata"] = report.is_ours;
  json["heartbeat_in_use"] = report.is_dirty;
  json["errors"] = report.error_count;
  json["warnings"] = report.warning_count;
  json["infos"] = report.info_count;
  const vmfs::FsckCounters& counters = report.counters;
  json["files"] = counters.files;
  json["directories"] = counters.directories;
  json["symlinks"] = counters.symlinks;
  json["others"] = counters.others;
  json["names"] = counters.names;
  json["blocks"] = counters.blocks;
  json["blocks_used"] = counters.blocks_used;
  json["sub_blocks"] = counters.sub_blocks;
  json["sub_blocks_used"] = counters.sub_blocks_used;
  json["descriptors"] = counters.descriptors;
  json["descriptors_used"] = counters.descriptors_used;
  json["journal_images_replayed"] = counters.journal_images_replayed;
  json["findings"] = Json::array();
  for (const vmfs::Finding& finding : report.findings) {
    Json one = Json::object();
    one["severity"] = std::string(vmfs::NameOf(finding.severity));
    one["code"] = std::string(vmfs::NameOf(finding.code));
    one["text"] = finding.text;
    json["findings"].push_back(std::move(one));
  }
  return json;
}

void PrintReport(const vmfs::FsckReport& report) {
  for (const vmfs::Finding& finding : report.findings) {
    fmt::print("{}: {}: {}\n", vmfs::NameOf(finding.severity), vmfs::NameOf(finding.code),
               finding.text);
  }
  const uint64_t count = report.error_count + report.warning_count + report.info_count;
  if (count > report.findings.size()) {
    fmt::print("and {} more\n", count - report.findings.size());
  }
  const vmfs::FsckCounters& counters = report.counters;
  fmt::print("{} files, {} directories, {} symlinks; {} of {} blocks, {} of {} sub-blocks used\n",
             counters.files, counters.directories, counters.symlinks, counters.blocks_used,
             counters.blocks, counters.sub_blocks_used, counters.sub_blocks);
  if (report.is_clean()) {
    fmt::print("clean\n");
  } else {
    fmt::print("{} errors, {} warnings; nothing was changed\n", report.error_count,
               report.warning_count);
  }
}

int Check(const std::vector<std::string>& targets, bool as_json) {
  CatchInterrupts();
  VolumeHold hold;
  const base::Result<std::optional<uint32_t>> holder = hold.Take(targets);
  if (!holder) return PrintError("fsck", holder.error());
  CheckTask task(*holder);
  const base::Status checked = RunOnDevices(targets, task);
  if (!checked) return PrintError("fsck", checked.error());
  if (as_json) {
    fmt::print("{}\n", ToPrettyText(ToJson(task.report())));
  } else {
    PrintReport(task.report());
  }
  return task.report().is_clean() ? kExitOk : kExitProblems;
}

}  // namespace

void AddFsckCommand(CommandLine& line) {
  CLI::App* command =
      line.app.add_subcommand("fsck", "Check every structure of an unmounted volume");
  command->footer("Changes nothing. Exit code: 0 clean, 4 problems found, 1 could not check.");
  auto targets = std::make_shared<std::vector<std::string>>();
  auto as_json = std::make_shared<bool>(false);
  command->add_option("targets", *targets, "All devices of the volume")
      ->required()
      ->expected(1, 32)
      ->type_name("TARGET...");
  command->add_flag("--json", *as_json, "For programs");
  command->callback([&line, targets, as_json] { line.exit_code = Check(*targets, *as_json); });
}

}  // namespace stratad
