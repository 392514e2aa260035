// What a check or a repair of virtual disks found and did: findings in words, each with the
// invariant a program can act on, and counters.
//
// Thread rule: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/check/invariants.h"

namespace disklib {

// Where a finding is. What does not apply is unset.
struct CheckPlace {
  std::string file = {};                     // path from the datastore's root
  std::optional<uint64_t> file_offset_bytes = {};  // of what is wrong in the file
  std::optional<uint64_t> disk_offset_bytes = {};  // of the range of the disk it concerns
  std::optional<uint64_t> table = {};        // number of a grain table, in the order of the disk
  std::optional<uint64_t> grain = {};        // number of a grain in the file's grain area
};

struct CheckFinding {
  Invariant id = Invariant::kR1;
  CheckSeverity severity = CheckSeverity::kError;
  CheckPlace place = {};
  std::string text = {};         // what was found
  RepairClass repair = RepairClass::kNone;
  std::string repair_text = {};  // what a repair would do: "the entry becomes 0"; empty with kNone
};

// One link as the check saw it, leaf first.
struct CheckedLink {
  std::string path = {};
  std::string create_type = {};
  std::string content_id = {};
  std::string parent_content_id = {};  // empty: a base
  uint64_t capacity_bytes = 0;
  uint64_t allocated_bytes = 0;  // that the link itself holds: grains with data or zeros
  bool is_whole = false;         // all its extents were checked
};

struct CheckReport {
  std::string path = {};
  std::vector<CheckedLink> links = {};      // leaf first; of a folder's check, every link there
  std::vector<CheckFinding> findings = {};  // the first ones, see CheckOptions::findings_max
  uint64_t error_count = 0, warning_count = 0, leak_count = 0, info_count = 0;
  uint64_t bytes_checked = 0;          // of tables, and of data where it had to be read
  // With CheckOptions::explain: what speaks for and against each broken connection.
  std::vector<std::string> evidence = {};
  std::string holder = {};             // who has the disk open for writing; then it is not whole
  bool is_whole = true;                // nothing was left unchecked

  // What "Disk chain is consistent." says: nothing is lost or will be. Warnings and leaks may be.
  bool is_consistent() const { return error_count == 0 && is_whole; }

  // Nothing to repair either.
  bool is_clean() const { return is_consistent() && warning_count == 0 && leak_count == 0; }

  // Number of kept findings of this invariant.
  uint64_t CountOf(Invariant id) const;
};

// Something the repair did, in words.
struct DiskRepairAction {
  Invariant id = Invariant::kR1;
  std::string file = {};
  std::string text = {};
};

enum class DiskRepairOutcome : uint8_t {
  kNothingToDo,  // clean; nothing was written
  kNotPossible,  // nothing found can be repaired, or nothing was allowed; nothing was written
  kRepaired,     // written; `after` says whether anything is left
};

struct DiskRepairReport {
  DiskRepairOutcome outcome = DiskRepairOutcome::kNothingToDo;
  CheckReport before = {};
  CheckReport after = {};
  std::vector<DiskRepairAction> actions = {};  // the first ones, see CheckOptions::findings_max
  uint64_t action_count = 0;
  bool changes_meaning = false;  // one of the actions was a repair on request
};

// "repaired"; stable, for programs.
std::string_view NameOf(DiskRepairOutcome outcome);

}  // namespace disklib
