// Operations on disks as the sweeps run them: what is there before, what is done, and what must be
// there afterwards. One table for every kind of sweep: cut in memory, failed at a call, cut on a
// simulated VMFS volume.
//
// Thread rule: one thread.
#pragma once

#include <map>
#include <ostream>
#include <span>
#include <string>
#include <string_view>

#include "tests/disklib/snapshot_support.h"

namespace disklib {

// What reads as what: a disk by its path, a snapshot of "vm.vmdk" as "snapshot NAME", its current
// state as "now"; and the name of a parent, as "parent of child.vmdk".
using World = std::map<std::string, Content>;

struct OperationCase {
  const char* name;
  void (*prepare)(SnapshotStand& stand);
  base::Status (*run)(SnapshotStand& stand);
  void (*change)(World& world);  // from what is there before to what is there afterwards
  // What it answers when all is done already; or kNotFound.
  base::Code if_done = base::Code::kNotFound;
};

std::span<const OperationCase> OperationCases();

void PrintTo(const OperationCase& test, std::ostream* out);

// The case with this name, which must exist.
const OperationCase& OperationCaseNamed(std::string_view name);

// Every file is made through `files`, nothing stays open. Answers what is there.
World PrepareCase(base::SimExecutor& executor, fss::FileSystem& files, const OperationCase& test);

// Runs the operation on `files`.
base::Status RunCase(base::SimExecutor& executor, fss::FileSystem& files,
                     const OperationCase& test);

// After a cut or a failure: everything reads as before or as afterwards; the operation run again
// ends it; then all is as it must be afterwards, and the checker has nothing to say. Answers what
// is wrong, empty when nothing is.
std::string JudgeCase(base::SimExecutor& executor, fss::FileSystem& files,
                      const OperationCase& test, const World& before);

}  // namespace disklib
