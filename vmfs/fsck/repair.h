// Repair: makes a damaged volume check clean again, without losing what can still be read.
//
// A repair checks first and plans in memory: its changes go to an overlay of 4 KiB blocks over the
// volume, phase by phase in the order of the check, and the overlay is checked again until it is
// clean or nothing more can be done. Only a result that is strictly better is written, and in such
// an order that a cut at any point loses nothing (vmfs/FORMAT.md, "Repair record"): copies of data
// to free blocks and a log of all changed blocks, flush; the record that makes the log valid,
// flush; the blocks themselves, flush; the record cleared. What was cut short is finished by the
// next repair; until then a mount refuses the volume and a check sees it as if it were finished.
//
// Names and contents are never dropped while they can be read: a descriptor without a name gets one
// in `/lost+found` ("#" and its address in hexadecimal), a second owner of a block gets a copy, a
// second name of the same spelling gets its address appended. What cannot be mended without a loss
// stays as it is and is named. Volumes without our mark are never written.
//
// Memory: that of a check, 20 bytes per name, and the overlay, at most `overlay_blocks_max`.
// Thread rule: the devices' executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/fsck/fsck.h"

namespace vmfs {

// Something the repair does, in words: "fd 0x02400004: named lost+found/#02400004".
struct RepairAction {
  FindingCode code;  // what it answers
  std::string text;
};

// What the repair costs.
struct RepairCounters {
  uint64_t lost_and_found = 0;      // descriptors that got a name in lost+found
  uint64_t names_removed = 0;       // of descriptors that do not exist
  uint64_t names_changed = 0;       // made unique, or made valid
  uint64_t holes = 0;               // addresses of nothing that became holes or zeros
  uint64_t copies = 0;              // blocks copied for a second owner
  uint64_t descriptors_freed = 0;   // with nothing to be read in them
  uint64_t resources_freed = 0;     // blocks, sub-blocks and others that belonged to nothing
  uint64_t directories_rebuilt = 0;
  uint64_t blocks_written = 0;      // of 4 KiB, once each
};

enum class RepairOutcome : uint8_t {
  kNothingToDo,  // the volume is clean; nothing was written
  kDeclined,     // `confirm` said no; nothing was written
  kNotPossible,  // nothing found can be repaired; nothing was written
  kRepaired,     // written; `after` says whether anything is left
};

struct RepairReport {
  RepairOutcome outcome = RepairOutcome::kNothingToDo;
  FsckReport before;  // what the check found
  FsckReport after;   // what a check finds behind the repair; of kNotPossible, the same as before
  std::vector<RepairAction> actions;  // the first FsckOptions::findings_max
  uint64_t action_count = 0;
  RepairCounters counters;
  bool finished_earlier_repair = false;  // an interrupted one was finished first
};

// Planted faults, for tests of the tests.
struct RepairFaults {
  bool skip_log_flush = false;        // the record may be durable before the log
  bool clear_record_early = false;    // before the home blocks are flushed
  bool ignore_log_checksums = false;  // believes whatever the log holds
  bool copy_to_used_blocks = false;   // takes a block in use for a copy
};

struct RepairOptions {
  FsckOptions check;  // progress, interruption and the number of findings kept
  // Asked once, with everything planned and nothing written; false leaves the volume as it is. An
  // empty function says yes.
  std::function<bool(const RepairReport& plan)> confirm;
  // Whoever uses a heartbeat is known to be dead, as when the caller holds every guard byte of an
  // image file. Else slots in use are watched for `watch_us`, and one that changes then, or before
  // anything is written, is an error.
  bool hosts_are_dead = false;
  uint64_t watch_us = 20'000'000;
  uint64_t overlay_blocks_max = 65536;  // 256 MiB; more is repaired in several rounds
  RepairFaults faults;
};

// Checks and repairs the volume on these devices. `options` outlives the call. Errors: those of
// CheckDevices, LVM headers that cannot be repaired among them (only those of a volume on one
// device can); kReadOnly (no volume of ours, or of a newer version), kUnsupported (VMFS-5),
// kBusy (a live host uses the volume), kNoSpace (no room for the log), those of Write. An error
// behind `confirm` leaves the old volume or one that the next repair finishes.
base::Task<base::Result<RepairReport>> RepairDevices(base::Executor& executor,
                                                     std::span<base::BlockDevice* const> devices,
                                                     RepairOptions& options);

// The same for a volume that is open already, addressed by volume offset; the LVM headers are not
// looked at.
base::Task<base::Result<RepairReport>> RepairVolume(base::Executor& executor,
                                                    base::BlockDevice& volume,
                                                    RepairOptions& options);

// "repaired"; stable, for programs.
std::string_view NameOf(RepairOutcome outcome);

}  // namespace vmfs
