#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "disklib/sparse/sparse_file.h"
#include "fs/base/check.h"

namespace disklib {

using base::Code;
using base::Error;
using base::IoRequest;
using base::IoVec;
using base::Result;
using base::Status;
using base::Task;

namespace {

// From here on a write makes the batch durable itself, so that what is held in memory stays small.
constexpr uint64_t kDirtyBytesMax = GrainTables::kCacheBytesMax / 2;
constexpr size_t kBatchRunCountMax = 16384;

constexpr size_t kZeroBytes = 64 * 1024;

// Zeros to write from. Never written to: IoVec has one type for both directions.
std::byte* Zeros() {
  alignas(4096) static std::array<std::byte, kZeroBytes> zeros{};
  return zeros.data();
}

}  // namespace

// Whole grains, or up to the end.
Status SparseFile::CheckGrains(const char* verb, uint64_t offset_bytes,
                               uint64_t length_bytes) const {
  const uint64_t end_bytes = offset_bytes + length_bytes;
  const bool is_whole = offset_bytes % grain_bytes() == 0 &&
                        (end_bytes % grain_bytes() == 0 || end_bytes == size_bytes());
  if (is_whole) return base::Ok();
  return Error(Code::kMisaligned, fmt::format("{} {}: bytes {} to {} are not whole grains of {}",
                                              verb, path_, offset_bytes, end_bytes, grain_bytes()));
}

Task<Result<uint64_t>> SparseFile::Write(IoRequest request) {
  if (!can_write_) co_return Error(Code::kReadOnly, fmt::format("write {}: opened to read", path_));
  if (!failure_) co_return failure_.error();
  const uint64_t length_bytes = request.size_bytes();
  BufferCursor cursor(request.buffers);
  uint64_t done_bytes = 0;
  while (done_bytes < length_bytes) {
    const Result<uint64_t> moved =
        co_await WritePiece(request.offset_bytes + done_bytes, length_bytes - done_bytes, cursor);
    if (!moved && (done_bytes == 0 || moved.error().code() != Code::kNoSpace)) {
      co_return moved.error();
    }
    if (!moved) break;
    done_bytes += *moved;
  }
  CO_TRY_STATUS(co_await SyncIfCrowded());
  co_return done_bytes;
}

// Moves as much as lies in one table and is of one kind: data here already, or not.
Task<Result<uint64_t>> SparseFile::WritePiece(uint64_t offset_bytes, uint64_t length_bytes,
                                              BufferCursor& cursor) {
  TablePiece piece = PieceAt(offset_bytes, length_bytes);
  CO_TRY(GrainTable* const table, co_await LoadIfAny(piece.index));
  const uint64_t covered_bytes = piece.within_bytes + piece.length_bytes;
  const uint64_t entry_count = (covered_bytes + grain_bytes() - 1) / grain_bytes();
  const auto entry_at = [&](uint64_t i) {
    return table == nullptr ? kEntryNone : table->entries[piece.first_entry + i];
  };
  const uint64_t first = entry_at(0);
  uint64_t count = 1;
  if (IsData(first)) {
    const uint64_t grain_sectors = layout().grain_sectors;
    while (count < entry_count && entry_at(count) == first + count * grain_sectors) ++count;
  } else {
    while (count < entry_count && !IsData(entry_at(count))) ++count;
  }
  piece.length_bytes = std::min(piece.length_bytes, count * grain_bytes() - piece.within_bytes);
  if (IsData(first)) {
    const uint64_t file_bytes = first * kSectorBytes + piece.within_bytes;
    co_return co_await WriteInPlace(file_bytes, piece.length_bytes, cursor);
  }
  CO_TRY_STATUS(CheckGrains("write", offset_bytes, piece.length_bytes));
  co_return co_await WriteNew(piece, cursor);
}

Task<Result<uint64_t>> SparseFile::WriteInPlace(uint64_t file_bytes, uint64_t length_bytes,
                                                BufferCursor& cursor) {
  std::vector<IoVec> buffers;
  cursor.Take(length_bytes, buffers);
  const IoRequest request{.offset_bytes = file_bytes, .buffers = buffers};
  CO_TRY(const uint64_t written_bytes, co_await object_->Write(request));
  if (written_bytes == length_bytes) co_return written_bytes;
  co_return Error(Code::kNoSpace, fmt::format("write {}: no space", path_));
}

// New grains for as much of the piece as there are consecutive ones.
Task<Result<uint64_t>> SparseFile::WriteNew(TablePiece piece, BufferCursor& cursor) {
  const uint64_t wanted_count = (piece.length_bytes + grain_bytes() - 1) / grain_bytes();
  const Result<SectorRun> taken = co_await keeper_.Take(wanted_count);
  if (!taken) co_return taken.error().Within(fmt::format("write {}", path_));
  const SectorRun run = *taken;
  const uint64_t length_bytes = std::min(piece.length_bytes, run.count * kSectorBytes);
  const Status stored = co_await StoreGrains(run, length_bytes, cursor);
  if (!stored) {
    keeper_.GiveBack(run);
    co_return stored.error();
  }
  const Result<GrainTable*> table = co_await EnsureTable(piece.index);
  if (!table) {
    keeper_.GiveBack(run);
    co_return table.error();
  }
  Enter(**table, piece.first_entry, run);
  co_return length_bytes;
}

// Writes whole grains: behind the end of the extent a grain goes on with zeros, so that growing the
// extent never shows what its place held before.
Task<Status> SparseFile::StoreGrains(SectorRun run, uint64_t length_bytes, BufferCursor& cursor) {
  std::vector<IoVec> buffers;
  cursor.Take(length_bytes, buffers);
  const uint64_t run_bytes = run.count * kSectorBytes;
  for (uint64_t at = length_bytes; at < run_bytes;) {
    const uint64_t piece_bytes = std::min<uint64_t>(run_bytes - at, kZeroBytes);
    buffers.push_back({Zeros(), piece_bytes});
    at += piece_bytes;
  }
  const Status written = co_await gatherer_.Write(run, buffers);
  if (!written) co_return written.error().Within(fmt::format("write {}", path_));
  co_return base::Ok();
}

// One new table at a time. Who waited for it goes on together with the others, so that what they
// write next is gathered again.
Task<Result<GrainTable*>> SparseFile::EnsureTable(uint64_t index) {
  while (!tables_->HasTable(index)) {
    if (is_making_table_) {
      co_await table_made_.Wait();
      continue;
    }
    is_making_table_ = true;
    const Result<GrainTables::Numbers> numbers = co_await keeper_.TakeTables(index);
    is_making_table_ = false;
    table_made_.NotifyAll();
    if (!numbers) co_return numbers.error().Within(fmt::format("write {}", path_));
    tables_->Add(index, *numbers);
    pending_.has_new_tables = true;
  }
  co_return co_await LoadIfAny(index);
}

void SparseFile::Enter(GrainTable& table, uint64_t first_entry, SectorRun run) {
  const uint64_t grain_sectors = layout().grain_sectors;
  for (uint64_t i = 0; i * grain_sectors < run.count; ++i) {
    // Two writes to one grain at a time break the rule of Extent::Write; no grain gets lost by it.
    const uint64_t old = table.entries[first_entry + i];
    if (IsData(old)) keeper_.Drop({old, grain_sectors});
    tables_->Set(table, first_entry + i, run.first_sector + i * grain_sectors);
  }
  keeper_.Settle(run);
  const uint32_t number = tables_->NumberOf(table.index);
  std::vector<GrainUse>& taken = pending_.taken;
  const bool goes_on = !taken.empty() && taken.back().table == number &&
                       taken.back().run.end_sector() == run.first_sector;
  if (goes_on) {
    taken.back().run.count += run.count;
  } else {
    taken.push_back({.run = run, .table = number});
  }
}

// Grains of one table get a state without data.
void SparseFile::Forget(GrainTable& table, uint64_t first_entry, uint64_t count, uint64_t state) {
  for (uint64_t entry = first_entry; entry < first_entry + count; ++entry) {
    const uint64_t old = table.entries[entry];
    if (old == state) continue;
    if (IsData(old)) keeper_.Drop({old, layout().grain_sectors});
    tables_->Set(table, entry, state);
  }
}

Task<Status> SparseFile::WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes, bool may_unmap) {
  CO_TRY_STATUS(CheckGrains("write zeroes", offset_bytes, length_bytes));
  if (!has_zero_state()) co_return co_await StoreZeroes(offset_bytes, length_bytes);
  co_return co_await SetState(offset_bytes, length_bytes, kEntryZero, /*keeps_data=*/!may_unmap);
}

Task<Status> SparseFile::Release(uint64_t offset_bytes, uint64_t length_bytes) {
  CO_TRY_STATUS(CheckGrains("release", offset_bytes, length_bytes));
  co_return co_await SetState(offset_bytes, length_bytes, kEntryNone, /*keeps_data=*/false);
}

// Without a state for it, zeros are data like any other.
Task<Status> SparseFile::StoreZeroes(uint64_t offset_bytes, uint64_t length_bytes) {
  std::array<IoVec, 16> pieces;
  while (length_bytes > 0) {
    size_t count = 0;
    uint64_t piece_bytes = 0;
    while (count < pieces.size() && piece_bytes < length_bytes) {
      pieces[count] = {Zeros(), std::min<uint64_t>(kZeroBytes, length_bytes - piece_bytes)};
      piece_bytes += pieces[count].size_bytes;
      ++count;
    }
    const IoRequest request{.offset_bytes = offset_bytes,
                            .buffers = std::span<const IoVec>(pieces.data(), count)};
    CO_TRY(const uint64_t written_bytes, co_await Write(request));
    if (written_bytes < piece_bytes) co_return Error(Code::kNoSpace);
    offset_bytes += piece_bytes;
    length_bytes -= piece_bytes;
  }
  co_return base::Ok();
}

// `keeps_data`: grains that hold data keep their place and are zeroed there.
Task<Status> SparseFile::SetState(uint64_t offset_bytes, uint64_t length_bytes, uint64_t state,
                                  bool keeps_data) {
  if (!can_write_) co_return Error(Code::kReadOnly, fmt::format("write {}: opened to read", path_));
  if (!failure_) co_return failure_.error();
  while (length_bytes > 0) {
    const TablePiece piece = PieceAt(offset_bytes, length_bytes);
    const uint64_t count = (piece.length_bytes + grain_bytes() - 1) / grain_bytes();
    offset_bytes += piece.length_bytes;
    length_bytes -= piece.length_bytes;
    if (state == kEntryNone && !tables_->HasTable(piece.index)) continue;
    CO_TRY(GrainTable * table, co_await EnsureTable(piece.index));
    if (keeps_data) {
      CO_TRY_STATUS(co_await ZeroPieceInPlace(table, piece));
    } else {
      Forget(*table, piece.first_entry, count, state);
    }
    CO_TRY_STATUS(co_await SyncIfCrowded());
  }
  co_return base::Ok();
}

Task<Status> SparseFile::ZeroPieceInPlace(GrainTable* table, TablePiece piece) {
  const uint64_t count = (piece.length_bytes + grain_bytes() - 1) / grain_bytes();
  std::vector<uint64_t> grains;
  for (uint64_t entry = piece.first_entry; entry < piece.first_entry + count; ++entry) {
    if (IsData(table->entries[entry])) {
      grains.push_back(table->entries[entry]);
    } else if (table->entries[entry] == kEntryNone) {
      tables_->Set(*table, entry, kEntryZero);
    }
  }
  for (size_t i = 0; i < grains.size();) {
    const size_t begin = i++;
    while (i < grains.size() && grains[i] == grains[i - 1] + layout().grain_sectors) ++i;
    CO_TRY_STATUS(
        co_await ZeroRange(*object_, grains[begin] * kSectorBytes, (i - begin) * grain_bytes()));
  }
  co_return base::Ok();
}

Task<Status> SparseFile::SyncIfCrowded() {
  const uint64_t table_bytes = layout().entries_per_table * sizeof(uint64_t);
  const bool is_crowded = tables_->dirty_count() * table_bytes > kDirtyBytesMax ||
                          pending_.taken.size() > kBatchRunCountMax ||
                          keeper_.dropped_count() > kBatchRunCountMax;
  if (!is_crowded) co_return base::Ok();
  co_return co_await Sync();
}

}  // namespace disklib
