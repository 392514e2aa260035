// `SparseFile`: the `Extent` of every sparse kind; what differs between kinds is its `GrainFormat`.
//
// Reads and lookups come from the tables. A write to a grain that holds data goes to its place; any
// other takes new grains, writes them at once, and then lets entries in memory refer to them, so
// that everything an entry in memory refers to was written. Sync makes a batch durable: bitmap and
// counts, a barrier, then entries and directory as they were when it began, and a second barrier
// (disklib/FORMAT.md, "Sparse extents"). Syncs that come while one runs share the next one. Place:
// Lib > Chain > Link > Extent. Thread rule: the executor of the file below.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/buffers.h"
#include "disklib/extent.h"
#include "disklib/object_backend.h"
#include "disklib/sparse/grain_format.h"
#include "disklib/sparse/grain_gatherer.h"
#include "disklib/sparse/grain_tables.h"
#include "disklib/sparse/sector_io.h"
#include "disklib/sparse/space_keeper.h"
#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/sync.h"
#include "fs/base/task.h"
#include "fs/fds/grain_map.h"

namespace disklib {

struct SparseFileOptions {
  bool can_write = false;
  std::string_view path = {};  // for messages
  // The first sector behind everything that is in use, where the format knows better than the
  // file's end; 0: it does not. What is below and free is not used.
  uint64_t tail_sector = 0;
  SparseFaults faults = {};
};

class SparseFile final : public Extent, public fds::GrainMap {
 public:
  // Loads the directory and takes over object and format; when that fails they stay with the
  // caller, the object open. Errors: as GrainTables::LoadDirectory.
  static base::Task<base::Result<std::unique_ptr<Extent>>> Open(
      base::Executor& executor, std::unique_ptr<Object>& object,
      std::unique_ptr<GrainFormat>& format, SparseFileOptions options);

  SparseFile(base::Executor& executor, std::unique_ptr<Object> object,
             std::unique_ptr<GrainFormat> format, std::unique_ptr<GrainTables> tables,
             SparseFileOptions options);

  // --- fds::GrainMap
  uint64_t grain_bytes() const override { return layout().grain_bytes(); }

  bool has_zero_state() const override { return layout().has_zero_state; }

  base::Task<base::Status> Lookup(uint64_t offset_bytes, uint64_t length_bytes,
                                  std::vector<fds::GrainRun>& runs) override;

  // --- Extent
  uint64_t size_bytes() const override { return layout().size_bytes; }

  void GrowTo(uint64_t size_bytes) override;

  fds::GrainMap* grain_map() override { return this; }

  Object* grain_object() override { return object_.get(); }

  base::Task<base::Result<uint64_t>> Read(base::IoRequest request) override;
  base::Task<base::Result<uint64_t>> Write(base::IoRequest request) override;
  base::Task<base::Status> WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes,
                                       bool may_unmap) override;
  base::Task<base::Status> Release(uint64_t offset_bytes, uint64_t length_bytes) override;
  base::Task<base::Result<uint64_t>> Seek(fss::SeekKind kind, uint64_t offset_bytes) override;
  base::Task<base::Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                     std::vector<base::MapRun>& runs) override;

  // A barrier that fails is final: data that was answered may be lost, and every later write and
  // Sync answers the same error until the file is opened again.
  base::Task<base::Status> Sync() override;

  // Makes everything durable, too.
  base::Task<base::Status> Close() override;

 private:
  // A range inside one table.
  struct TablePiece {
    uint64_t index;         // of the table
    uint64_t first_entry;   // in it
    uint64_t within_bytes;  // from the start of that grain
    uint64_t length_bytes;
  };

  const GrainLayout& layout() const { return format_->layout(); }

  TablePiece PieceAt(uint64_t offset_bytes, uint64_t length_bytes) const;
  base::Task<base::Result<GrainTable*>> LoadIfAny(uint64_t index);
  void AppendRuns(const GrainTable& table, const TablePiece& piece, uint64_t offset_bytes,
                  size_t first_run, std::vector<fds::GrainRun>& runs) const;
  base::Task<base::Status> ReadRun(fds::GrainRun run, BufferCursor& cursor);

  // --- writing: sparse_write.cc
  base::Status CheckGrains(const char* verb, uint64_t offset_bytes, uint64_t length_bytes) const;
  base::Task<base::Result<uint64_t>> WritePiece(uint64_t offset_bytes, uint64_t length_bytes,
                                                BufferCursor& cursor);
  base::Task<base::Result<uint64_t>> WriteInPlace(uint64_t file_bytes, uint64_t length_bytes,
                                                  BufferCursor& cursor);
  base::Task<base::Result<uint64_t>> WriteNew(TablePiece piece, BufferCursor& cursor);
  base::Task<base::Status> StoreGrains(SectorRun run, uint64_t length_bytes, BufferCursor& cursor);
  base::Task<base::Result<GrainTable*>> EnsureTable(uint64_t index);
  void Enter(GrainTable& table, uint64_t first_entry, SectorRun run);
  void Forget(GrainTable& table, uint64_t first_entry, uint64_t count, uint64_t state);
  base::Task<base::Status> StoreZeroes(uint64_t offset_bytes, uint64_t length_bytes);
  base::Task<base::Status> ZeroPieceInPlace(GrainTable* table, TablePiece piece);
  base::Task<base::Status> SetState(uint64_t offset_bytes, uint64_t length_bytes, uint64_t state,
                                    bool keeps_data);
  base::Task<base::Status> SyncIfCrowded();

  // --- making durable: sparse_sync.cc
  base::Task<base::Status> Commit();
  base::Task<base::Status> WriteBatch(std::vector<MetadataChange>& before,
                                      std::array<SectorMap, GrainLayout::kCopyCountMax>& copies);
  base::Task<base::Status> WriteEntries(std::array<SectorMap, GrainLayout::kCopyCountMax>& copies);
  base::Task<base::Status> Barrier(bool is_skipped);
  base::Task<base::Status> ClearMark();
  void TakeBack(GrainBatch batch);

  base::Executor& executor_;
  std::unique_ptr<Object> object_;
  std::unique_ptr<GrainFormat> format_;
  std::unique_ptr<GrainTables> tables_;
  std::string path_;
  bool can_write_;
  SparseFaults faults_;
  SpaceKeeper keeper_;
  MetadataWriter metadata_;
  GrainGatherer gatherer_;
  bool is_making_table_ = false;
  base::AsyncCondition table_made_;
  base::AsyncLock sync_lock_;
  GrainBatch pending_;
  uint64_t sync_asked_count_ = 0;
  uint64_t sync_done_count_ = 0;  // Syncs asked for that were answered by `sync_answer_`
  base::Status sync_answer_;
  base::Status failure_;  // of a barrier
  bool has_mark_ = false;
};

}  // namespace disklib
