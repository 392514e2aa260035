#include <utility>

#include <fmt/format.h>

#include "disklib/sparse/sparse_file.h"
#include "fs/base/check.h"

namespace disklib {

using base::Result;
using base::Status;
using base::Task;

Task<Status> SparseFile::Sync() {
  if (!can_write_) co_return base::Ok();
  const uint64_t ticket = ++sync_asked_count_;
  co_await sync_lock_.Acquire();
  const base::LockGuard guard(sync_lock_);
  // Whoever had the lock after this one asked has done its work, too.
  if (sync_done_count_ >= ticket) co_return sync_answer_;
  const uint64_t asked_count = sync_asked_count_;
  const Status committed = co_await Commit();
  sync_answer_ = base::Ok();
  if (!committed) sync_answer_ = committed.error().Within(fmt::format("sync {}", path_));
  sync_done_count_ = asked_count;
  co_return sync_answer_;
}

// One batch: everything that entries in memory refer to now.
Task<Status> SparseFile::Commit() {
  if (!keeper_.barrier_status()) failure_ = keeper_.barrier_status();
  if (!failure_) co_return failure_;
  GrainBatch batch = std::exchange(pending_, {});
  keeper_.BeginSync();
  auto copies = tables_->TakeDirty();
  std::vector<MetadataChange> before;
  if (!has_mark_ && !copies[0].empty()) format_->AppendMark(/*is_open=*/true, before);
  if (!faults_.skip_allocation_metadata) format_->AppendBefore(batch, before);
  const Status written = co_await WriteBatch(before, copies);
  tables_->FinishSync(written.has_value());
  const std::vector<SectorRun> freed = keeper_.FinishSync(written.has_value());
  if (!written) {
    TakeBack(std::move(batch));
    co_return written;
  }
  if (!copies[0].empty()) has_mark_ = true;
  pending_.freed.insert(pending_.freed.end(), freed.begin(), freed.end());
  co_return base::Ok();
}

// What was not made durable belongs to the next batch, before what came since.
void SparseFile::TakeBack(GrainBatch batch) {
  batch.taken.insert(batch.taken.end(), pending_.taken.begin(), pending_.taken.end());
  batch.freed.insert(batch.freed.end(), pending_.freed.begin(), pending_.freed.end());
  batch.has_new_tables = batch.has_new_tables || pending_.has_new_tables;
  pending_ = std::move(batch);
}

Task<Status> SparseFile::WriteBatch(std::vector<MetadataChange>& before,
                                    std::array<SectorMap, GrainLayout::kCopyCountMax>& copies) {
  CO_TRY_STATUS(co_await metadata_.Write(before));
  if (faults_.entries_before_barrier) {
    CO_TRY_STATUS(co_await WriteEntries(copies));
  }
  CO_TRY_STATUS(co_await Barrier(faults_.skip_barrier_before_entries && !copies[0].empty()));
  if (copies[0].empty()) co_return base::Ok();
  if (faults_.entries_as_of_later) {
    tables_->FinishSync(/*is_done=*/false);
    copies = tables_->TakeDirty();
  }
  CO_TRY_STATUS(co_await WriteEntries(copies));
  co_return co_await Barrier(faults_.skip_barrier_after_entries);
}

Task<Status> SparseFile::WriteEntries(std::array<SectorMap, GrainLayout::kCopyCountMax>& copies) {
  for (SectorMap& sectors : copies) {
    CO_TRY_STATUS(co_await WriteSectors(executor_, *object_, sectors));
  }
  std::vector<MetadataChange> after;
  format_->AppendAfter(keeper_.space(), after);
  CO_TRY_STATUS(co_await metadata_.Write(after));
  co_return base::Ok();
}

// After a failed barrier nobody knows which of the answered writes are lost, and the next barrier
// may succeed without them.
Task<Status> SparseFile::Barrier(bool is_skipped) {
  if (is_skipped) co_return base::Ok();
  const Status synced = co_await object_->Sync(/*data_only=*/true);
  if (!synced) failure_ = synced;
  co_return synced;
}

Task<Status> SparseFile::ClearMark() {
  if (!has_mark_) co_return base::Ok();
  std::vector<MetadataChange> changes;
  format_->AppendMark(/*is_open=*/false, changes);
  if (changes.empty()) co_return base::Ok();
  CO_TRY_STATUS(co_await metadata_.Write(changes));
  co_return co_await object_->Sync(/*data_only=*/true);
}

Task<Status> SparseFile::Close() {
  Status first = co_await Sync();
  co_await keeper_.Stop();
  if (can_write_ && first) {
    // Bits of grains that the last Sync freed, so that a clean end leaves nothing to look for.
    if (!pending_.freed.empty()) first = co_await Sync();
    co_await keeper_.Trim();
    const Status cleared = co_await ClearMark();
    if (first) first = cleared;
  }
  const Status closed = co_await object_->Close();
  if (first) first = closed;
  co_return first;
}

}  // namespace disklib
