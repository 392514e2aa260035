#include "disklib/check/repair.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "disklib/check/chain_state.h"
#include "disklib/names.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

// One repair may uncover what another can mend: a table that was put back has entries.
constexpr int kRoundsMax = 4;

Status CheckFixable(const DiskRepairOptions& options) {
  for (const Invariant id : options.fix) {
    if (InfoOf(id).repair != RepairClass::kNone) continue;
    return Error(Code::kUnsupported, fmt::format("{} has no repair: {}", InfoOf(id).name,
                                                 InfoOf(id).explanation));
  }
  return base::Ok();
}

bool IsAllowed(const DiskRepairOptions& options, const CheckFinding& finding) {
  if (finding.repair == RepairClass::kAutomatic || options.fix.contains(finding.id)) return true;
  return options.confirm && options.confirm(finding);
}

// The files of all links that can be found, once each.
Task<Result<std::vector<uint64_t>>> FilesOf(Lib& lib, CheckReport& report) {
  std::vector<uint64_t> ids;
  for (const CheckedLink& link : report.links) {
    if (!VolumeOf(link.path).empty()) continue;  // only read
    const Result<DiskInfo> info = co_await lib.GetInfo(link.path);
    if (!info) continue;  // damaged: its extents are held by being opened alone
    ids.push_back(info->descriptor_id);
    for (const ExtentInfo& extent : info->extents) ids.push_back(extent.object_id);
  }
  std::ranges::sort(ids);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  std::erase(ids, uint64_t{0});
  co_return ids;
}

// What one round of a repair works on.
struct Target {
  std::string path;
  bool is_folder = false;
  OpenDisks::Claim* claim = nullptr;
};

Task<Status> RunRound(Lib& lib, Target& target, DiskRepairOptions& options,
                      DiskRepairReport& report, Progress* progress) {
  CheckReport found;
  check::CheckRun run(lib, options.check, found, progress);
  run.findings().AllowRepairs(
      [&options](const CheckFinding& finding) { return IsAllowed(options, finding); }, report);
  if (target.is_folder) co_return co_await check::RunFolderCheck(run, target.path);
  check::ChainState chain;
  chain.claim = target.claim;
  co_return co_await check::RunChainCheck(run, target.path, chain);
}

Task<Status> RunRounds(Lib& lib, Target& target, DiskRepairOptions& options,
                       DiskRepairReport& report, Progress* progress) {
  for (int round = 0; round < kRoundsMax; ++round) {
    const uint64_t done_before = report.action_count;
    CO_TRY_STATUS(co_await RunRound(lib, target, options, report, progress));
    if (report.action_count == done_before) break;
  }
  report.outcome = report.action_count == 0 ? DiskRepairOutcome::kNotPossible
                                            : DiskRepairOutcome::kRepaired;
  co_return base::Ok();
}

}  // namespace

Task<Result<DiskRepairReport>> RepairDisk(Lib& lib, std::string_view path,
                                          DiskRepairOptions& options, Progress* progress) {
  CO_TRY_STATUS(CheckFixable(options));
  if (lib.backend().read_only()) {
    co_return Error(Code::kReadOnly, fmt::format("repair {}: the datastore is read-only", path));
  }
  DiskRepairReport report;
  CO_TRY(report.before, co_await CheckDisk(lib, path, options.check, progress));
  if (!report.before.holder.empty()) {
    co_return Error(Code::kBusy, fmt::format("repair {}: {}", path, report.before.holder));
  }
  report.after = report.before;
  if (report.before.is_clean()) co_return report;
  Target target{.path = report.before.path};
  CO_TRY(const Lib::PathHold hold, lib.HoldPath(target.path));
  CO_TRY(const std::vector<uint64_t> ids, co_await FilesOf(lib, report.before));
  CO_TRY(OpenDisks::Claim claim,
         lib.open_disks().ClaimFiles(
             ids, {.disk = target.path, .user = std::string(options.check.user), .writes = true}));
  target.claim = &claim;
  CO_TRY_STATUS(co_await RunRounds(lib, target, options, report, progress));
  claim.Release();
  CO_TRY(report.after, co_await CheckDisk(lib, path, options.check, progress));
  co_return report;
}

Task<Result<DiskRepairReport>> RepairFolder(Lib& lib, std::string_view folder,
                                            DiskRepairOptions& options, Progress* progress) {
  CO_TRY_STATUS(CheckFixable(options));
  if (lib.backend().read_only()) {
    co_return Error(Code::kReadOnly, fmt::format("repair {}: the datastore is read-only", folder));
  }
  DiskRepairReport report;
  CO_TRY(report.before, co_await CheckFolder(lib, folder, options.check, progress));
  report.after = report.before;
  if (report.before.is_clean()) co_return report;
  Target target{.path = report.before.path, .is_folder = true};
  CO_TRY_STATUS(co_await RunRounds(lib, target, options, report, progress));
  CO_TRY(report.after, co_await CheckFolder(lib, folder, options.check, progress));
  co_return report;
}

}  // namespace disklib
