#include "disklib/check/findings.h"

#include <algorithm>
#include <utility>

#include "disklib/names.h"

namespace disklib {

uint64_t CheckReport::CountOf(Invariant id) const {
  return static_cast<uint64_t>(std::ranges::count(findings, id, &CheckFinding::id));
}

std::string_view NameOf(DiskRepairOutcome outcome) {
  switch (outcome) {
    case DiskRepairOutcome::kNothingToDo: return "nothing to do";
    case DiskRepairOutcome::kNotPossible: return "not possible";
    case DiskRepairOutcome::kRepaired: return "repaired";
  }
  return "unknown";
}

namespace check {
namespace {

void Count(CheckReport& report, CheckSeverity severity) {
  switch (severity) {
    case CheckSeverity::kInfo: ++report.info_count; break;
    case CheckSeverity::kLeak: ++report.leak_count; break;
    case CheckSeverity::kWarning: ++report.warning_count; break;
    case CheckSeverity::kError: ++report.error_count; break;
  }
}

}  // namespace

bool Findings::Add(Found found) {
  CheckFinding finding{.id = found.id,
                       .severity = found.severity.value_or(InfoOf(found.id).severity),
                       .place = std::move(found.place),
                       .text = std::move(found.text),
                       .repair = found.repair,
                       .repair_text = std::move(found.repair_text)};
  if (finding.place.file.empty()) finding.place.file = file_;
  // What lies on another datastore is only read from here.
  if (!VolumeOf(finding.place.file).empty()) {
    finding.repair = RepairClass::kNone;
    finding.repair_text.clear();
  }
  const bool repairs_now =
      repair_ != nullptr && finding.repair != RepairClass::kNone && allows_(finding);
  if (repairs_now) {
    ++repair_->action_count;
    if (finding.repair == RepairClass::kOnRequest) repair_->changes_meaning = true;
    if (repair_->actions.size() < findings_max_) {
      repair_->actions.push_back({finding.id, finding.place.file, finding.repair_text});
    }
  } else if (finding.severity == CheckSeverity::kError) {
    ++open_error_count_;
  }
  Count(report_, finding.severity);
  if (report_.findings.size() < findings_max_) report_.findings.push_back(std::move(finding));
  return repairs_now;
}

bool Findings::allows_freeing() const {
  if (open_error_count_ != 0) return false;
  return repair_ == nullptr || !repair_->changes_meaning;
}

}  // namespace check
}  // namespace disklib
