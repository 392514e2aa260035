// `Findings`: where the checks report what they find, and learn whether to mend it at once.
//
// One walk serves check and repair, so that a repair can never see something else than the check
// does: a check reports each finding with the repair it offers; the answer says whether the caller
// is to make that repair now. A check without repair always hears no. Internal to `disklib/check`.
// Thread rule: one executor.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "disklib/check/report.h"

namespace disklib::check {

// A finding on its way in; the file's path and the row's severity are filled in.
struct Found {
  Invariant id = Invariant::kR1;
  std::string text = {};
  CheckPlace place = {};
  RepairClass repair = RepairClass::kNone;
  std::string repair_text = {};
  std::optional<CheckSeverity> severity = std::nullopt;
};

class Findings {
 public:
  Findings(CheckReport& report, size_t findings_max)
      : report_(report), findings_max_(findings_max) {}

  // From here on `allows` decides what is repaired, and what was is noted in `repair`.
  void AllowRepairs(std::function<bool(const CheckFinding&)> allows, DiskRepairReport& repair) {
    allows_ = std::move(allows);
    repair_ = &repair;
  }

  bool repairs() const { return repair_ != nullptr; }

  // The file that findings are about until the next call. Forgets the errors counted so far.
  void BeginFile(std::string path) {
    file_ = std::move(path);
    open_error_count_ = 0;
  }

  // Reports a finding. Answers whether the offered repair is to be made now.
  bool Add(Found found);

  // Errors of this file that were found and are not being repaired: while there are any, what
  // seems to belong to nothing may belong to what cannot be seen.
  uint64_t open_error_count() const { return open_error_count_; }

  // Whether space that nobody refers to may be given back: not while anything of this file is
  // wrong, nor in a repair that changed a meaning, for what was lost may be there.
  bool allows_freeing() const;

  // Something was left unchecked.
  void NoteUnchecked() { report_.is_whole = false; }

  CheckReport& report() { return report_; }

 private:
  CheckReport& report_;
  size_t findings_max_;
  std::string file_;
  uint64_t open_error_count_ = 0;
  std::function<bool(const CheckFinding&)> allows_;
  DiskRepairReport* repair_ = nullptr;
};

}  // namespace disklib::check
