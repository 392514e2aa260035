// Scenarios for crash sweeps over a mounted volume, and `CrashRecording`: one that has run to its
// end, with the log of its writes, from mount to unmount.
//
// Thread rule: one thread.
#pragma once

#include <span>
#include <string>

#include "tests/support/crash_sweep.h"
#include "tests/support/volume_history.h"

namespace vmfs {

struct CrashScenario {
  const char* name;
  void (*prepare)(VolumeHistory& history);  // before the log begins; may be null
  void (*run)(VolumeHistory& history);
  uint64_t cost = 1;  // of one case, against the others: so much fewer crash points are taken
};

std::span<const CrashScenario> CrashScenarios();

// The scenario with this name, which must exist.
const CrashScenario& CrashScenarioNamed(std::string_view name);

class CrashRecording {
 public:
  // Runs the scenario; `options` are those of its mount, faults among them.
  explicit CrashRecording(const CrashScenario& scenario, const MountOptions& options = {});

  // At each crash point: the next mount succeeds, finds a possible state with everything that was
  // durable, and leaves a clean volume.
  base::CrashSweepResult Sweep(const base::CrashSweepOptions& options);

  // At each crash point: the mount that recovers is itself cut off, at `again.prefix_step` points
  // of its writes or so; the mount after that one finds what `Sweep` asks for.
  base::CrashSweepResult SweepRecovery(const base::CrashSweepOptions& options,
                                       const base::CrashSweepOptions& again);

  size_t log_length() { return volume_.disk().log().size(); }
  // The first error of an operation; empty when there is none.
  const std::string& failure() const { return failure_; }
  // Makes the mount that recovers believe everything in the ring: a planted fault.
  void set_ignore_journal_checksums() { ignore_journal_checksums_ = true; }
  // Faults of the mount that recovers, in `SweepRecovery`.
  void set_recovery_faults(const JournalFaults& faults) { recovery_faults_ = faults; }
  // How often `SweepRecovery` cut a recovery off.
  uint64_t recovery_case_count() const { return recovery_case_count_; }

 private:
  static std::string GrowAll(base::SimExecutor& executor, SimVolume& volume, Tree& found);
  void Note(const base::Status& status);
  std::string Recover(base::SimExecutor& executor, base::SimDisk& disk,
                      const base::CrashCase& crash);

  base::SimExecutor executor_{7};
  DeadGuard guard_;
  SimVolume volume_;
  VolumeHistory history_;
  std::string failure_;
  bool ignore_journal_checksums_ = false;
  JournalFaults recovery_faults_;
  uint64_t recovery_case_count_ = 0;
};

}  // namespace vmfs
