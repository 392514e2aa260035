// `strata fsck`.
#include "vmfs/fsck/fsck.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
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
#include "vmfs/fsck/repair.h"
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

// kBusy, saying who has the volume.
base::Task<base::Status> RefuseFor(VolumeHolder holder,
                                   std::span<base::BlockDevice* const> devices) {
  if (!holder.slot) {
    co_return base::Error(base::Code::kBusy, "another check or repair of the volume is running");
  }
  const std::string daemon = co_await DescribeSlot(devices, *holder.slot);
  co_return base::Error(base::Code::kBusy, "the volume is mounted by " + daemon);
}

class CheckTask final : public DeviceTask {
 public:
  explicit CheckTask(std::optional<VolumeHolder> holder) : holder_(holder) {
    options_.progress = [this](std::string_view phase, uint64_t done, uint64_t total) {
      bar_.Advance(phase, done, total);
    };
    options_.is_canceled = Interrupted;
  }

  base::Task<base::Status> Run(base::UringExecutor&,
                               std::span<base::BlockDevice* const> devices) override {
    if (holder_) {
      CO_TRY_STATUS(co_await RefuseFor(*holder_, devices));
    }
    CO_TRY(report_, co_await vmfs::CheckDevices(devices, options_));
    co_return base::Ok();
  }

  const vmfs::FsckReport& report() const { return report_; }

 private:
  const std::optional<VolumeHolder> holder_;
  PhaseBar bar_;
  vmfs::FsckOptions options_;
  vmfs::FsckReport report_;
};

// What the command line asked for.
struct FsckArguments {
  std::vector<std::string> targets;
  bool as_json = false;
  bool repair = false;
  bool yes = false;
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

void PrintFindings(const vmfs::FsckReport& report) {
  for (const vmfs::Finding& finding : report.findings) {
    fmt::print("{}: {}: {}\n", vmfs::NameOf(finding.severity), vmfs::NameOf(finding.code),
               finding.text);
  }
  const uint64_t count = report.error_count + report.warning_count + report.info_count;
  if (count > report.findings.size()) {
    fmt::print("and {} more\n", count - report.findings.size());
  }
}

void PrintReport(const vmfs::FsckReport& report) {
  PrintFindings(report);
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

// What the plan does and costs, for people who are to say yes.
void PrintPlan(const vmfs::RepairReport& plan) {
  PrintFindings(plan.before);
  fmt::print("{} errors, {} warnings. A repair does this:\n", plan.before.error_count,
             plan.before.warning_count);
  for (const vmfs::RepairAction& action : plan.actions) fmt::print("  {}\n", action.text);
  if (plan.action_count > plan.actions.size()) {
    fmt::print("  and {} more\n", plan.action_count - plan.actions.size());
  }
  const vmfs::RepairCounters& counters = plan.counters;
  fmt::print(
      "{} files go to lost+found, {} names are removed, {} changed, {} blocks read as zeros, "
      "{} blocks are copied\n",
      counters.lost_and_found, counters.names_removed, counters.names_changed, counters.holes,
      counters.copies);
  fmt::print("{} descriptors and {} blocks that belong to nothing are freed\n",
             counters.descriptors_freed, counters.resources_freed);
  if (!plan.after.is_clean()) {
    fmt::print("{} errors, {} warnings stay:\n", plan.after.error_count,
               plan.after.warning_count);
    PrintFindings(plan.after);
  }
}

// Whether the person at the terminal says yes. Without one, only --yes does.
bool AskWhetherToRepair() {
  if (isatty(STDIN_FILENO) == 0) {
    fmt::print("nothing was changed: there is no terminal to ask on; --yes repairs\n");
    return false;
  }
  fmt::print("Repair? [y/N] ");
  std::fflush(stdout);
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

// Hosts of an image file are daemons of this machine, and all of them are kept out.
bool AreRegularFiles(const std::vector<std::string>& targets) {
  return std::ranges::all_of(targets, [](const std::string& target) {
    struct stat status {};

    return stat(target.c_str(), &status) == 0 && S_ISREG(status.st_mode);
  });
}

class RepairTask final : public DeviceTask {
 public:
  RepairTask(std::optional<VolumeHolder> holder, const FsckArguments& arguments)
      : holder_(holder) {
    options_.check.progress = [this](std::string_view phase, uint64_t done, uint64_t total) {
      if (bar_) bar_->Advance(phase, done, total);
    };
    options_.check.is_canceled = Interrupted;
    options_.hosts_are_dead = AreRegularFiles(arguments.targets);
    const bool asks = !arguments.yes;
    const bool is_quiet = arguments.as_json;
    options_.confirm = [this, asks, is_quiet](const vmfs::RepairReport& plan) {
      bar_.reset();
      if (!is_quiet) PrintPlan(plan);
      is_planned_ = true;
      return !asks || (!is_quiet && AskWhetherToRepair());
    };
  }

  base::Task<base::Status> Run(base::UringExecutor& executor,
                               std::span<base::BlockDevice* const> devices) override {
    if (holder_) {
      CO_TRY_STATUS(co_await RefuseFor(*holder_, devices));
    }
    CO_TRY(report_, co_await vmfs::RepairDevices(executor, devices, options_));
    co_return base::Ok();
  }

  const vmfs::RepairReport& report() const { return report_; }
  bool is_planned() const { return is_planned_; }

 private:
  const std::optional<VolumeHolder> holder_;
  std::optional<PhaseBar> bar_{std::in_place};
  bool is_planned_ = false;
  vmfs::RepairOptions options_;
  vmfs::RepairReport report_;
};

Json ToJson(const vmfs::RepairReport& report) {
  Json json = Json::object();
  json["outcome"] = std::string(vmfs::NameOf(report.outcome));
  json["finished_earlier_repair"] = report.finished_earlier_repair;
  json["before"] = ToJson(report.before);
  json["after"] = ToJson(report.after);
  json["actions"] = Json::array();
  for (const vmfs::RepairAction& action : report.actions) {
    Json one = Json::object();
    one["code"] = std::string(vmfs::NameOf(action.code));
    one["text"] = action.text;
    json["actions"].push_back(std::move(one));
  }
  const vmfs::RepairCounters& counters = report.counters;
  json["lost_and_found"] = counters.lost_and_found;
  json["names_removed"] = counters.names_removed;
  json["names_changed"] = counters.names_changed;
  json["holes"] = counters.holes;
  json["copies"] = counters.copies;
  json["descriptors_freed"] = counters.descriptors_freed;
  json["resources_freed"] = counters.resources_freed;
  json["directories_rebuilt"] = counters.directories_rebuilt;
  json["metadata_blocks_written"] = counters.blocks_written;
  return json;
}

int ExitCodeOf(const vmfs::RepairReport& report) {
  if (report.outcome == vmfs::RepairOutcome::kNothingToDo) return kExitOk;
  const bool is_repaired = report.outcome == vmfs::RepairOutcome::kRepaired;
  return is_repaired && report.after.is_clean() ? kExitRepaired : kExitProblems;
}

void PrintOutcome(const RepairTask& task) {
  const vmfs::RepairReport& report = task.report();
  switch (report.outcome) {
    case vmfs::RepairOutcome::kNothingToDo: PrintReport(report.before); break;
    case vmfs::RepairOutcome::kDeclined: break;
    case vmfs::RepairOutcome::kNotPossible:
      PrintFindings(report.before);
      fmt::print("{} errors, {} warnings; nothing can be repaired without a loss, nothing was "
                 "changed\n",
                 report.before.error_count, report.before.warning_count);
      break;
    case vmfs::RepairOutcome::kRepaired:
      fmt::print("repaired; {}\n",
                 report.after.is_clean()
                     ? "clean"
                     : fmt::format("{} errors, {} warnings are left", report.after.error_count,
                                   report.after.warning_count));
      break;
  }
}

int Check(const FsckArguments& arguments) {
  CatchInterrupts();
  VolumeHold hold;
  const base::Result<std::optional<VolumeHolder>> holder = hold.Take(arguments.targets);
  if (!holder) return PrintError("fsck", holder.error());
  CheckTask task(*holder);
  const base::Status checked = RunOnDevices(arguments.targets, task);
  if (!checked) return PrintError("fsck", checked.error());
  if (arguments.as_json) {
    fmt::print("{}\n", ToPrettyText(ToJson(task.report())));
  } else {
    PrintReport(task.report());
  }
  return task.report().is_clean() ? kExitOk : kExitProblems;
}

int Repair(const FsckArguments& arguments) {
  CatchInterrupts();
  VolumeHold hold;
  const base::Result<std::optional<VolumeHolder>> holder =
      hold.Take(arguments.targets, /*exclusive=*/true);
  if (!holder) return PrintError("fsck", holder.error());
  RepairTask task(*holder, arguments);
  const base::Status repaired = RunOnDevices(arguments.targets, task, /*read_only=*/false);
  if (!repaired) return PrintError("fsck", repaired.error());
  if (arguments.as_json) {
    fmt::print("{}\n", ToPrettyText(ToJson(task.report())));
  } else {
    PrintOutcome(task);
  }
  return ExitCodeOf(task.report());
}

}  // namespace

void AddFsckCommand(CommandLine& line) {
  CLI::App* command =
      line.app.add_subcommand("fsck", "Check, and repair, every structure of an unmounted volume");
  command->footer(
      "Without --repair it changes nothing. Exit code: 0 clean, 3 repaired and clean now,\n"
      "4 problems found or left, 1 could not check or repair.");
  auto arguments = std::make_shared<FsckArguments>();
  command->add_option("targets", arguments->targets, "All devices of the volume")
      ->required()
      ->expected(1, 32)
      ->type_name("TARGET...");
  CLI::Option* repair = command->add_flag("--repair", arguments->repair,
                                          "Repair what loses nothing; asks before it writes");
  command->add_flag("--yes", arguments->yes, "Do not ask")->needs(repair);
  command->add_flag("--json", arguments->as_json, "For programs; with --repair it needs --yes");
  command->callback([&line, arguments] {
    line.exit_code = arguments->repair ? Repair(*arguments) : Check(*arguments);
  });
}

}  // namespace stratad
