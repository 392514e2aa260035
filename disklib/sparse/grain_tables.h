// `GrainTables`: the directory and the tables of a sparse file, in the neutral form.
//
// The directory is in memory (4 bytes a table), tables come when they are asked for and are kept
// within kCacheBytesMax, the least recently used going first; a table with changes that are not in
// the file stays. Every entry was checked when it came from the file. Pointers to tables are good
// until the next co_await. Place: below SparseFile. Thread rule: the executor of the file below.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <set>
#include <unordered_map>
#include <vector>

#include "disklib/object_backend.h"
#include "disklib/sparse/grain_format.h"
#include "disklib/sparse/sector_io.h"
#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/sync.h"
#include "fs/base/task.h"

namespace disklib {

struct GrainTable {
  uint64_t index = 0;             // in the directory
  std::vector<uint64_t> entries;  // neutral
  uint64_t dirty = 0;             // a bit for each sector of the table that the file does not have
  uint64_t syncing = 0;           // those whose bytes a Sync has taken
};

class GrainTables {
 public:
  static constexpr uint64_t kCacheBytesMax = uint64_t{16} << 20;

  using Numbers = std::array<uint32_t, GrainLayout::kCopyCountMax>;

  GrainTables(base::Executor& executor, Object& object, GrainFormat& format);

  // Reads the directory. Errors: kCorrupt (an entry that cannot be, a table outside of the file,
  // two entries with one table), kIo and its kin.
  base::Task<base::Status> LoadDirectory();

  // What the address space has grown to; what is added has no tables.
  void ResizeDirectory();

  bool HasTable(uint64_t index) const { return NumberOf(index) != kTableNone; }

  // The table's number, of the copy that is read.
  uint32_t NumberOf(uint64_t index) const {
    return directories_[format_.layout().copy_to_read][index];
  }

  uint64_t table_count() const { return directories_[0].size(); }

  // Whether the directory names any table.
  bool is_empty() const;

  // The table if it is in memory, else null.
  GrainTable* Find(uint64_t index);

  // The table, which the directory has. Errors: kCorrupt (an entry that cannot be, or refers
  // outside of the grains or of the file), kIo and its kin.
  base::Task<base::Result<GrainTable*>> Load(uint64_t index);

  // The entries of a table that exists, without making room for it in memory.
  base::Task<base::Status> Peek(uint64_t index, std::vector<uint64_t>& entries);

  // Puts an empty table into the directory, which has none there. The numbers are of the copies.
  void Add(uint64_t index, Numbers numbers);

  void Set(GrainTable& table, uint64_t entry, uint64_t value);

  // How many tables have changes which the file does not have.
  size_t dirty_count() const { return dirty_.size(); }

  bool is_dirty() const { return !dirty_.empty() || !dirty_directory_.empty(); }

  // The bytes of everything that changed, for each copy, as it is now; what changes later belongs
  // to the next call. Ends with FinishSync.
  std::array<SectorMap, GrainLayout::kCopyCountMax> TakeDirty();

  // `is_done`: what TakeDirty answered is in the file. Else it counts as changed again.
  void FinishSync(bool is_done);

 private:
  using Tables = std::list<GrainTable>;  // the most recently used first

  base::Task<base::Status> LoadDirectoryCopy(uint32_t copy);
  base::Status CheckTablesApart(uint32_t copy) const;
  base::Status CheckEntries(uint64_t index, std::vector<uint64_t>& entries) const;
  base::Task<base::Status> ReadEntries(uint64_t index, std::vector<uint64_t>& entries);
  GrainTable& Insert(uint64_t index, std::vector<uint64_t> entries);
  void MakeRoom();
  void AppendTable(const GrainTable& table, uint32_t copy, SectorMap& sectors) const;
  void AppendDirectorySector(uint64_t sector, uint32_t copy, SectorMap& sectors) const;

  Object& object_;
  GrainFormat& format_;
  std::array<std::vector<uint32_t>, GrainLayout::kCopyCountMax> directories_;
  Tables tables_;
  std::unordered_map<uint64_t, Tables::iterator> by_index_;
  std::set<uint64_t> dirty_;              // indices of tables
  std::set<uint64_t> syncing_;            // the same
  std::set<uint64_t> dirty_directory_;    // sectors of the directory, from its start
  std::set<uint64_t> syncing_directory_;  // the same
  std::set<uint64_t> loading_;            // tables that are being read
  base::AsyncCondition loaded_;
};

}  // namespace disklib
