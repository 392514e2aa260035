#include "disklib/sparse/sparse_file.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "fs/base/check.h"

namespace disklib {

using base::Code;
using base::Error;
using base::IoRequest;
using base::IoVec;
using base::MapRun;
using base::MapState;
using base::Result;
using base::Status;
using base::Task;
using fds::GrainRun;
using fds::GrainState;

namespace {

// Where new grains may go for certain: behind the end of the file, to which no entry can lead, or
// at the first grain of a file without a table.
uint64_t FindTail(const GrainLayout& layout, const GrainTables& tables, uint64_t file_bytes) {
  const uint64_t file_sectors = (file_bytes + kSectorBytes - 1) / kSectorBytes;
  if (file_sectors <= layout.first_grain_sector) return layout.first_grain_sector;
  if (layout.has_table_area && tables.is_empty()) return layout.first_grain_sector;
  const uint64_t grain_sectors = layout.grain_sectors;
  const uint64_t used_sectors = file_sectors - layout.first_grain_sector;
  return layout.first_grain_sector +
         (used_sectors + grain_sectors - 1) / grain_sectors * grain_sectors;
}

GrainState StateOf(uint64_t entry) {
  if (IsData(entry)) return GrainState::kData;
  return entry == kEntryZero ? GrainState::kZero : GrainState::kUnallocated;
}

// Appends to the runs from `first_run` on, lengthening the last one where it goes on.
void AppendRun(const GrainRun& run, size_t first_run, std::vector<GrainRun>& runs) {
  if (runs.size() > first_run) {
    GrainRun& last = runs.back();
    const bool goes_on = last.state == run.state &&
                         (run.state != GrainState::kData ||
                          last.file_offset_bytes + last.length_bytes == run.file_offset_bytes);
    if (goes_on) {
      last.length_bytes += run.length_bytes;
      return;
    }
  }
  runs.push_back(run);
}

}  // namespace

Task<Result<std::unique_ptr<Extent>>> SparseFile::Open(base::Executor& executor,
                                                       std::unique_ptr<Object>& object,
                                                       std::unique_ptr<GrainFormat>& format,
                                                       SparseFileOptions options) {
  auto tables = std::make_unique<GrainTables>(executor, *object, *format);
  const Status loaded = co_await tables->LoadDirectory();
  if (!loaded) co_return loaded.error().Within(fmt::format("open {}", options.path));
  if (options.tail_sector == 0) {
    options.tail_sector = FindTail(format->layout(), *tables, object->size_bytes());
  }
  std::unique_ptr<Extent> extent = std::make_unique<SparseFile>(
      executor, std::move(object), std::move(format), std::move(tables), options);
  co_return extent;
}

SparseFile::SparseFile(base::Executor& executor, std::unique_ptr<Object> object,
                       std::unique_ptr<GrainFormat> format, std::unique_ptr<GrainTables> tables,
                       SparseFileOptions options)
    : executor_(executor),
      object_(std::move(object)),
      format_(std::move(format)),
      tables_(std::move(tables)),
      path_(options.path),
      can_write_(options.can_write),
      faults_(options.faults),
      keeper_(executor, *object_, *format_, *tables_,
              GrainSpace(format_->layout().grain_sectors, options.tail_sector,
                         format_->layout().end_sector),
              options.faults),
      metadata_(executor, *object_),
      gatherer_(executor, *object_),
      table_made_(executor),
      sync_lock_(executor) {}

void SparseFile::GrowTo(uint64_t size_bytes) {
  CHECK(size_bytes >= layout().size_bytes);
  format_->GrowTo(size_bytes);
  tables_->ResizeDirectory();
}

SparseFile::TablePiece SparseFile::PieceAt(uint64_t offset_bytes, uint64_t length_bytes) const {
  const uint64_t span_bytes = layout().table_span_bytes();
  const uint64_t in_table_bytes = offset_bytes % span_bytes;
  return {.index = offset_bytes / span_bytes,
          .first_entry = in_table_bytes / grain_bytes(),
          .within_bytes = in_table_bytes % grain_bytes(),
          .length_bytes = std::min(length_bytes, span_bytes - in_table_bytes)};
}

// Null: the directory has no table there.
Task<Result<GrainTable*>> SparseFile::LoadIfAny(uint64_t index) {
  if (!tables_->HasTable(index)) co_return static_cast<GrainTable*>(nullptr);
  GrainTable* const table = tables_->Find(index);
  if (table != nullptr) co_return table;
  const Result<GrainTable*> loaded = co_await tables_->Load(index);
  if (!loaded) co_return loaded.error().Within(path_);
  co_return *loaded;
}

void SparseFile::AppendRuns(const GrainTable& table, const TablePiece& piece, uint64_t offset_bytes,
                            size_t first_run, std::vector<GrainRun>& runs) const {
  uint64_t within_bytes = piece.within_bytes;
  uint64_t left_bytes = piece.length_bytes;
  for (uint64_t entry = piece.first_entry; left_bytes > 0; ++entry) {
    const uint64_t value = table.entries[entry];
    GrainRun run{.offset_bytes = offset_bytes,
                 .length_bytes = std::min(left_bytes, grain_bytes() - within_bytes),
                 .state = StateOf(value)};
    if (IsData(value)) run.file_offset_bytes = value * kSectorBytes + within_bytes;
    AppendRun(run, first_run, runs);
    offset_bytes += run.length_bytes;
    left_bytes -= run.length_bytes;
    within_bytes = 0;
  }
}

Task<Status> SparseFile::Lookup(uint64_t offset_bytes, uint64_t length_bytes,
                                std::vector<GrainRun>& runs) {
  DCHECK(offset_bytes <= size_bytes() && length_bytes <= size_bytes() - offset_bytes);
  const size_t first_run = runs.size();
  while (length_bytes > 0) {
    const TablePiece piece = PieceAt(offset_bytes, length_bytes);
    GrainTable* table = nullptr;
    if (tables_->HasTable(piece.index)) {
      table = tables_->Find(piece.index);
      if (table == nullptr) {
        CO_TRY(table, co_await LoadIfAny(piece.index));
      }
      AppendRuns(*table, piece, offset_bytes, first_run, runs);
    } else {
      AppendRun({.offset_bytes = offset_bytes, .length_bytes = piece.length_bytes}, first_run,
                runs);
    }
    offset_bytes += piece.length_bytes;
    length_bytes -= piece.length_bytes;
  }
  co_return base::Ok();
}

Task<Status> SparseFile::ReadRun(GrainRun run, BufferCursor& cursor) {
  std::vector<IoVec> buffers;
  cursor.Take(run.length_bytes, buffers);
  if (run.state != GrainState::kData) {
    for (const IoVec& piece : buffers) std::memset(piece.data, 0, piece.size_bytes);
    co_return base::Ok();
  }
  const IoRequest request{.offset_bytes = run.file_offset_bytes, .buffers = buffers};
  CO_TRY(const uint64_t read_bytes, co_await object_->Read(request));
  if (read_bytes == run.length_bytes) co_return base::Ok();
  co_return Error(Code::kCorrupt, fmt::format("read {}: the file ends in a grain at byte {}", path_,
                                              run.file_offset_bytes));
}

Task<Result<uint64_t>> SparseFile::Read(IoRequest request) {
  const uint64_t length_bytes = request.size_bytes();
  std::vector<GrainRun> runs;
  CO_TRY_STATUS(co_await Lookup(request.offset_bytes, length_bytes, runs));
  BufferCursor cursor(request.buffers);
  for (const GrainRun& run : runs) CO_TRY_STATUS(co_await ReadRun(run, cursor));
  co_return length_bytes;
}

Task<Result<uint64_t>> SparseFile::Seek(fss::SeekKind kind, uint64_t offset_bytes) {
  const bool wants_data = kind == fss::SeekKind::kData;
  std::vector<GrainRun> runs;
  while (offset_bytes < size_bytes()) {
    const TablePiece piece = PieceAt(offset_bytes, size_bytes() - offset_bytes);
    runs.clear();
    CO_TRY_STATUS(co_await Lookup(offset_bytes, piece.length_bytes, runs));
    for (const GrainRun& run : runs) {
      if ((run.state == GrainState::kData) == wants_data) co_return run.offset_bytes;
    }
    offset_bytes += piece.length_bytes;
  }
  co_return size_bytes();
}

Task<Status> SparseFile::MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                   std::vector<MapRun>& map) {
  std::vector<GrainRun> runs;
  CO_TRY_STATUS(co_await Lookup(offset_bytes, length_bytes, runs));
  const size_t first = map.size();
  for (const GrainRun& run : runs) {
    MapState state = MapState::kHole;
    if (run.state == GrainState::kData) state = MapState::kData;
    if (run.state == GrainState::kZero) state = MapState::kZero;
    if (map.size() > first && map.back().state == state) {
      map.back().length_bytes += run.length_bytes;
    } else {
      map.push_back({run.offset_bytes, run.length_bytes, state});
    }
  }
  co_return base::Ok();
}

}  // namespace disklib
