// `SpaceKeeper`: room for the grains and tables of an open sparse file.
//
// Hands out grains whose room, and the room of what describes them, is there, so that a write that
// was answered never finds the volume full at its flush. Works ahead in the background: 16 MiB
// behind the tail are allocated and durable before they are needed, outside of anybody's flush.
// What nobody refers to any more is punched and used again; with a bitmap on the disk, grains that
// were free when the file was opened are looked for once, in every table, before they are believed
// to be free (disklib/FORMAT.md, "Allocation"). Place: below SparseFile. Thread rule: the executor
// of the file below.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "disklib/object_backend.h"
#include "disklib/sparse/grain_format.h"
#include "disklib/sparse/grain_space.h"
#include "disklib/sparse/grain_tables.h"
#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/sync.h"
#include "fs/base/task.h"

namespace disklib {

// Deliberate faults for tests of the tests: each must be caught by a crash sweep.
struct SparseFaults {
  bool skip_barrier_before_entries = false;
  bool skip_barrier_after_entries = false;
  bool entries_before_barrier = false;    // they go with the data they refer to
  bool skip_allocation_metadata = false;  // bitmap, back map and counts are not written
  bool reuse_before_barrier = false;      // a freed grain may be taken at once
  bool entries_as_of_later = false;       // a Sync writes entries that came while it ran
};

class SpaceKeeper {
 public:
  static constexpr uint64_t kAheadBytes = uint64_t{16} << 20;

  SpaceKeeper(base::Executor& executor, Object& object, GrainFormat& format, GrainTables& tables,
              GrainSpace space, SparseFaults faults);

  const GrainSpace& space() const { return space_; }

  // Takes between one grain and `grain_count_max`, consecutive. Each run goes back by Settle or
  // GiveBack. Errors: kNoSpace, kIo and its kin.
  base::Task<base::Result<SectorRun>> Take(uint64_t grain_count_max);

  // Entries in memory refer to the run now.
  void Settle(SectorRun run);

  // Nothing ever referred to the run; no write to it is in flight.
  void GiveBack(SectorRun run);

  // A table for each copy, never used and full of zeros in the file, for the `index`th entry of the
  // directory. Errors: as Take.
  base::Task<base::Result<GrainTables::Numbers>> TakeTables(uint64_t index);

  // Tables that came from TakeTables and were not used.
  void GiveBackTables(GrainTables::Numbers numbers);

  // Entries in memory no longer refer to the run; those in the file still may.
  void Drop(SectorRun run);

  uint64_t dropped_count() const { return dropped_.size(); }

  // What was dropped until now is about to be dropped in the file, too.
  void BeginSync();

  // Whether that is durable now. What was dropped is answered, punched and free for use.
  std::vector<SectorRun> FinishSync(bool is_done);

  // What a barrier in the background met: data that was answered may be lost.
  const base::Status& barrier_status() const { return barrier_status_; }

  // Waits for what runs in the background, which ends soon.
  base::Task<void> Stop();

  // Gives back what was allocated ahead and not used. After Stop.
  base::Task<void> Trim();

 private:
  static constexpr uint64_t kLowWaterBytes = kAheadBytes / 2;
  static constexpr uint64_t kGrowthStepBytes = uint64_t{1} << 20;
  static constexpr uint64_t kTablesAheadBytes = 512 * 1024;
  static constexpr uint64_t kPunchBytes = uint64_t{1} << 20;
  static constexpr uint64_t kWindowGrainCount = uint64_t{1} << 27;  // 16 MiB of bits
  // Up to here a search is so quick that the first write waits for it.
  static constexpr uint64_t kQuickSearchBytes = uint64_t{4} << 20;

  base::Task<base::Status> Grow(uint64_t end_sector, bool is_needed);
  base::Task<base::Status> AllocateDescription(uint64_t end_sector);
  base::Task<base::Status> AllocateTables(uint64_t first_sector);
  base::Task<base::Status> AllocateDescribed(ByteRange range);
  base::Task<void> ReleaseAhead();
  base::Task<void> GrowAhead();
  base::Task<base::Status> AllocateRange(ByteRange range);
  base::Task<base::Result<uint32_t>> TakeTable();
  base::Task<base::Status> PrepareTable(uint32_t table);
  base::Task<void> Punch(SectorRun run);
  base::Task<void> PunchBytes(uint64_t begin_bytes, uint64_t end_bytes);

  base::Task<void> Search();
  base::Task<base::Status> SearchWindow(uint64_t first_grain, uint64_t end_grain);
  base::Task<base::Status> MarkBitmap();
  base::Task<base::Status> MarkTables();
  void MarkKnown();
  void Mark(SectorRun run);
  void GiveBackUnmarked();
  bool IsSearchQuick() const;

  base::Executor& executor_;
  Object& object_;
  GrainFormat& format_;
  GrainTables& tables_;
  GrainSpace space_;
  SparseFaults faults_;
  uint64_t ready_sector_;             // up to here room is there
  uint64_t tables_ready_sector_ = 0;  // the same in the area of the tables
  std::set<uint64_t> directory_ready_sectors_;  // of the directories, where room is there
  uint64_t open_tail_sector_;
  std::vector<SectorRun> in_flight_;
  std::vector<SectorRun> dropped_;
  std::vector<SectorRun> dropping_;
  std::vector<uint32_t> spare_tables_;
  base::AsyncLock growth_lock_;
  base::TaskGroup background_;
  bool is_growing_ = false;
  bool has_growth_failed_ = false;  // not tried again before the next Sync
  bool is_stopping_ = false;
  base::Status barrier_status_;

  // The search: grains of the window from `window_first_grain_` that are not known to be free.
  bool has_searched_ = false;
  bool is_search_quick_ = false;
  bool is_searching_ = false;
  base::AsyncCondition search_ended_;
  uint64_t window_first_grain_ = 0;
  std::vector<bool> marked_;
};

}  // namespace disklib
