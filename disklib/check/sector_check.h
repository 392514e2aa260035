// `SectorCheck`: the tables of hosted sparse and vmfsSparse extents under check.
//
// Both formats name tables and grains by 32-bit sectors, in directories of which hosted sparse has
// two. The rules say what differs; the walk is one: directory entries, copies against each other,
// entries, what is shared, what nobody refers to. Memory: the directories, one table of each copy,
// a window of sectors. Internal to `disklib/check`. Thread rule: the executor of the Lib.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "disklib/check/check_run.h"
#include "disklib/check/raw_table.h"
#include "disklib/check/use_map.h"

namespace disklib::check {

struct SectorRange {
  uint64_t first = 0;
  uint64_t count = 0;
};

struct SectorRules {
  Invariant table_id = Invariant::kV2;
  Invariant entry_id = Invariant::kV3;
  Invariant shared_id = Invariant::kV3;
  Invariant leak_id = Invariant::kV5;
  bool has_zero_code = false;   // entry 1 means zeros
  bool clears_tail = false;     // entries behind the end are V6
  bool punches_leaks = false;   // else they are only told
  bool ends_with_use = false;   // what lies behind the last sector in use is no leak
  bool was_unclean = false;     // copies may differ by the last writes: H5 is automatic
  // Where the header's mark of an open file is: set while tables with copies are rewritten, so that
  // a cut leaves copies that differ under the mark, as a cut writer does. 0: there is none.
  uint64_t mark_at_bytes = 0;
  uint64_t table_entries = 0;
  uint64_t grain_sectors = 0;
  uint64_t capacity_sectors = 0;
  uint64_t table_floor = 0;     // no table lies below
  uint64_t grain_floor = 0;     // no grain lies below; new ones are aligned to it
  std::vector<uint64_t> directories = {};  // their first sectors; the one that is read comes first
  std::vector<SectorRange> fixed = {};     // header, descriptor, directories

  uint64_t table_sectors() const { return table_entries * 4 / kSectorBytes; }
  uint64_t table_count() const {
    const uint64_t covered = table_entries * grain_sectors;
    return (capacity_sectors + covered - 1) / covered;
  }
};

class SectorCheck {
 public:
  SectorCheck(CheckRun& run, ExtentFile& file, SectorRules rules)
      : run_(run), file_(file), rules_(std::move(rules)),
        file_sectors_((file.object->size_bytes() + kSectorBytes - 1) / kSectorBytes),
        used_(file_sectors_, run.options().window_units),
        tables_(used_) {}

  // All of it. Errors: kInterrupted; when repairing, those of writing.
  base::Task<base::Status> Run();

  // The first sector behind everything in use.
  uint64_t end_sector() const { return end_sector_; }

 private:
  using Table = RawTable<base::Le32>;

  Findings& findings() { return run_.findings(); }
  Object& object() { return *file_.object; }

  base::Task<bool> ReadDirectories();
  std::string WrongWithTable(uint32_t sector) const;
  void JudgeDirectories();
  void FindOverlaps();
  base::Task<base::Status> MendDirectories();
  base::Task<base::Status> MendEntry(size_t copy, uint64_t index);

  base::Task<base::Status> Walk(bool judges);
  base::Task<base::Status> WalkTable(uint64_t index, bool judges);
  base::Task<bool> LoadTable(uint64_t index);
  base::Task<base::Status> StoreTable(uint64_t index);
  base::Task<base::Status> SetMark(bool is_set);
  void CompareCopies(uint64_t index);
  std::string WrongWithEntry(uint32_t entry) const;
  void JudgeEntries(uint64_t index);
  void ClearTail(uint64_t index);
  void UseEntries(uint64_t index);
  bool LiesInTable(uint32_t sector) const;
  void SetEntry(size_t entry_index, uint32_t value);
  bool IsBad(size_t copy, uint64_t index) const { return bad_[copy].contains(index); }
  void MarkFixed();

  base::Task<base::Status> CheckLeaks();
  base::Task<base::Status> CheckGap(uint64_t first, uint64_t end);

  base::Task<base::Status> CopyShared();

  CheckPlace At(uint64_t index, size_t entry_index) const;
  SectorRange GrainAt(uint32_t sector) const;

  struct SharedEntry {
    uint64_t table;
    size_t index;
  };

  CheckRun& run_;
  ExtentFile& file_;
  SectorRules rules_;
  uint64_t file_sectors_;
  UseMap used_;
  UseMap tables_;  // the same window, fixed parts and tables only
  std::vector<Table> directories_;
  std::vector<std::set<uint64_t>> bad_;  // per copy: entries that lead nowhere
  std::vector<Table> copies_;            // the table at hand
  std::vector<SharedEntry> shared_;
  uint64_t end_sector_ = 0;
  bool is_marked_ = false;  // by this repair
};

}  // namespace disklib::check
