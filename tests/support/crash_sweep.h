// Crash sweeps: every prefix of a disk's log, with every (or many a) fate of its open changes.
//
//   SimDisk disk(...);                       // run a scenario once, it fills the log
//   const CrashSweepResult result = SweepCrashes(disk, options, RecoverAndCheck);
//   EXPECT_TRUE(result.ok()) << result.failure;
//
// At each prefix with n open changes: all 2^n choices of kept and lost where n <=
// `all_subsets_max`, else none, all, and samples; then as many samples with torn ones. Everything
// is drawn from the seed; a failing case names its prefix and number, and `only_prefix` and
// `only_case` replay it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fs/base/sim_executor.h"
#include "tests/support/sim_disk.h"

namespace base {

struct CrashCase {
  size_t prefix_length;      // log entries that had taken effect
  uint64_t number;           // within the prefix
  std::vector<size_t> open;  // indices into the log
  std::vector<SimDisk::Fate> fates;

  // "prefix 17 case 3: [12 kept] [15 lost] [16 torn]"
  std::string ToString() const;
};

struct CrashSweepOptions {
  uint64_t seed = 1;
  size_t all_subsets_max = 12;  // open changes up to which all subsets are tried
  size_t samples = 32;          // where there are more
  size_t torn_samples = 8;      // at every prefix with an open change
  size_t first_prefix = 0;
  size_t prefix_step = 1;  // more than 1 leaves prefixes out, never the last one
  std::optional<size_t> only_prefix;
  std::optional<uint64_t> only_case;
};

struct CrashSweepResult {
  uint64_t cases = 0;
  uint64_t failures = 0;
  std::string failure;  // the first one, with how to replay it

  bool ok() const { return failures == 0; }
};

// Recovers `disk` and checks it. Answers what is wrong, empty when nothing is.
using CrashCheck =
    std::function<std::string(SimExecutor& executor, SimDisk& disk, const CrashCase& crash)>;

// What a sweep cuts: a log, the changes in it whose fate is open behind a prefix, and one case of
// them, recovered and checked. Prefixes come in ascending order.
struct CrashSubject {
  size_t log_length;
  std::function<std::vector<size_t>(size_t prefix_length)> open_changes;
  std::function<std::string(SimExecutor& executor, const CrashCase& crash)> run;
};

// Goes on after failures up to `failures_max`.
CrashSweepResult SweepCrashSubject(const CrashSubject& subject, const CrashSweepOptions& options,
                                   uint64_t failures_max = 1);

// The same over the log of a disk.
CrashSweepResult SweepCrashes(SimDisk& disk, const CrashSweepOptions& options,
                              const CrashCheck& check, uint64_t failures_max = 1);

// The value of SEED in the environment, else `fallback`.
uint64_t SeedFromEnvironment(uint64_t fallback);

// The value of ROUNDS in the environment, else `fallback`.
uint64_t RoundsFromEnvironment(uint64_t fallback);

}  // namespace base
