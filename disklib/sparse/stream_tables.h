// `StreamTables`: where the record of each grain of a streamOptimized extent is.
//
// From the tables the file has, wherever they are, or, when those are missing or cannot be true,
// from the records themselves, read once from the first to the last. Memory: a bounded cache of
// tables, or all tables that have grains when they were rebuilt (at most 256 MiB: 4 TiB of grains
// of 64 KiB). Thread rule: the executor of the file.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "disklib/object_backend.h"
#include "disklib/sparse/stream_format.h"
#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/sync.h"
#include "fs/base/task.h"

namespace disklib {

class StreamTables {
 public:
  using Table = std::array<base::Le32, kHostedTableEntryCount>;

  // `header`: of the file's first sector, with compressed grains. Finds the directory: named by the
  // header, by the footer, or not at all. Errors: kCorrupt (neither tables nor a complete stream of
  // records), kTooLarge, kIo. `object` outlives the answer.
  static base::Task<base::Result<std::unique_ptr<StreamTables>>> Open(base::Executor& executor,
                                                                      Object& object,
                                                                      HostedHeader header);

  // A table with every entry checked; null when it has no grains. Goes to the records when the
  // table of the file cannot be. Errors: kCorrupt, kIo.
  base::Task<base::Result<std::shared_ptr<const Table>>> Find(uint64_t table);

  // Makes the tables anew from the records; done once, later calls succeed at once. Errors:
  // kCorrupt (a record that cannot be, two of one grain, a stream that ends without its end: what
  // is missing would read as zeros), kTooLarge, kIo.
  base::Task<base::Status> Rebuild();

  bool is_rebuilt() const { return is_rebuilt_; }

  const HostedHeader& header() const { return header_; }

  uint64_t file_sectors() const { return file_sectors_; }

 private:
  using Cached = std::pair<uint64_t, std::shared_ptr<const Table>>;
  using Rebuilt = std::unordered_map<uint64_t, std::shared_ptr<Table>>;

  StreamTables(base::Executor& executor, Object& object, const HostedHeader& header);

  base::Task<base::Result<HostedHeader>> FindFooter();
  base::Task<base::Status> LoadDirectory();
  base::Task<base::Result<std::shared_ptr<const Table>>> Load(uint64_t table);
  base::Status CheckTable(uint64_t table, const Table& entries) const;
  base::Task<base::Status> WalkRecords(Rebuilt& tables);
  base::Status AddRecord(const StreamItem& item, uint64_t sector, Rebuilt& tables) const;

  Object& object_;
  HostedHeader header_;
  const uint64_t file_sectors_;
  std::vector<base::Le32> directory_;
  std::list<Cached> cache_;  // most recently used first
  std::unordered_map<uint64_t, std::list<Cached>::iterator> cached_;
  base::AsyncLock rebuild_lock_;
  Rebuilt rebuilt_;
  bool is_rebuilt_ = false;
};

}  // namespace disklib
