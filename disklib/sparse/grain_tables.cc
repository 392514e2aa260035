#include "disklib/sparse/grain_tables.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "fs/base/check.h"

namespace disklib {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

namespace {

constexpr uint64_t kDirectoryPieceBytes = 256 * 1024;

}  // namespace

GrainTables::GrainTables(base::Executor& executor, Object& object, GrainFormat& format)
    : object_(object), format_(format), loaded_(executor) {
  const GrainLayout& layout = format.layout();
  CHECK(layout.table_bytes() <= kTableBytesMax && layout.table_bytes() % kSectorBytes == 0);
  CHECK(layout.copy_count >= 1 && layout.copy_count <= GrainLayout::kCopyCountMax);
  CHECK(layout.copy_to_read < layout.copy_count);
  ResizeDirectory();
}

void GrainTables::ResizeDirectory() {
  for (uint32_t copy = 0; copy < format_.layout().copy_count; ++copy) {
    directories_[copy].resize(format_.layout().table_count(), kTableNone);
  }
}

bool GrainTables::is_empty() const {
  const auto& tables = directories_[format_.layout().copy_to_read];
  return std::ranges::all_of(tables, [](uint32_t table) { return table == kTableNone; });
}

Task<Status> GrainTables::LoadDirectory() {
  for (uint32_t copy = 0; copy < format_.layout().copy_count; ++copy) {
    CO_TRY_STATUS(co_await LoadDirectoryCopy(copy));
    CO_TRY_STATUS(CheckTablesApart(copy));
  }
  format_.UseDirectory(directories_[format_.layout().copy_to_read]);
  co_return base::Ok();
}

Task<Status> GrainTables::LoadDirectoryCopy(uint32_t copy) {
  const GrainLayout& layout = format_.layout();
  std::vector<uint32_t>& tables = directories_[copy];
  const uint64_t piece_count = kDirectoryPieceBytes / layout.directory_entry_bytes;
  std::vector<std::byte> bytes;
  for (uint64_t index = 0; index < tables.size(); index += piece_count) {
    const uint64_t count = std::min(piece_count, tables.size() - index);
    bytes.resize(count * layout.directory_entry_bytes);
    const uint64_t at = layout.directory_sectors[copy] * kSectorBytes;
    CO_TRY_STATUS(co_await ReadRange(object_, at + index * layout.directory_entry_bytes, bytes));
    CO_TRY_STATUS(format_.DecodeDirectory(bytes, index, std::span(tables).subspan(index, count)));
  }
  co_return base::Ok();
}

// Two entries with one table, or tables that overlap, would let one write change two places.
Status GrainTables::CheckTablesApart(uint32_t copy) const {
  const uint64_t table_sectors = format_.layout().table_bytes() / kSectorBytes;
  const uint64_t file_sectors = object_.size_bytes() / kSectorBytes;
  std::vector<uint32_t> sorted;
  for (const uint32_t table : directories_[copy]) {
    if (table != kTableNone) sorted.push_back(table);
  }
  std::ranges::sort(sorted);
  uint64_t end_sector = 0;
  for (const uint32_t table : sorted) {
    const uint64_t sector = format_.TableSector(table);
    if (sector < end_sector) {
      return Error(Code::kCorrupt,
                   fmt::format("grain directory {}: the table at sector {} overlaps "
                               "another one",
                               copy, sector));
    }
    end_sector = sector + table_sectors;
    if (end_sector > file_sectors) {
      return Error(Code::kCorrupt, fmt::format("grain directory {}: the table at sector {} ends "
                                               "behind the file's {} sectors",
                                               copy, sector, file_sectors));
    }
  }
  return base::Ok();
}

GrainTable* GrainTables::Find(uint64_t index) {
  // The table used last is asked for again most of the time.
  if (!tables_.empty() && tables_.front().index == index) return &tables_.front();
  const auto found = by_index_.find(index);
  if (found == by_index_.end()) return nullptr;
  tables_.splice(tables_.begin(), tables_, found->second);
  return &tables_.front();
}

Task<Result<GrainTable*>> GrainTables::Load(uint64_t index) {
  GrainTable* table = Find(index);
  // Only one reads a table: a second one could bring back bytes from before a change that was made,
  // written and forgotten in the meantime.
  while (table == nullptr && loading_.contains(index)) {
    co_await loaded_.Wait();
    table = Find(index);
  }
  if (table != nullptr) co_return table;
  loading_.insert(index);
  std::vector<uint64_t> entries;
  const Status read = co_await ReadEntries(index, entries);
  loading_.erase(index);
  loaded_.NotifyAll();
  if (!read) co_return read.error();
  co_return &Insert(index, std::move(entries));
}

Task<Status> GrainTables::Peek(uint64_t index, std::vector<uint64_t>& entries) {
  const auto found = by_index_.find(index);
  if (found != by_index_.end()) {
    entries = found->second->entries;
    co_return base::Ok();
  }
  CO_TRY_STATUS(co_await ReadEntries(index, entries));
  co_return base::Ok();
}

Task<Status> GrainTables::ReadEntries(uint64_t index, std::vector<uint64_t>& entries) {
  const GrainLayout& layout = format_.layout();
  std::vector<std::byte> bytes(layout.table_bytes());
  const uint64_t sector = format_.TableSector(NumberOf(index));
  CO_TRY_STATUS(co_await ReadRange(object_, sector * kSectorBytes, bytes));
  entries.resize(layout.entries_per_table);
  const Status decoded = format_.DecodeEntries(bytes, entries);
  if (!decoded) co_return decoded.error().Within(fmt::format("grain table {}", index));
  co_return CheckEntries(index, entries);
}

// Whatever an entry says, it leads to a whole grain, where grains are, inside the file.
Status GrainTables::CheckEntries(uint64_t index, std::vector<uint64_t>& entries) const {
  const GrainLayout& layout = format_.layout();
  const uint64_t file_sectors = object_.size_bytes() / kSectorBytes;
  const uint64_t end_sector = std::min(layout.end_sector, file_sectors);
  for (size_t i = 0; i < entries.size(); ++i) {
    const uint64_t sector = entries[i];
    if (!IsData(sector)) continue;
    const bool is_inside = sector >= layout.first_grain_sector && sector <= end_sector &&
                           layout.grain_sectors <= end_sector - sector;
    const bool is_placed =
        !layout.is_aligned || (sector - layout.first_grain_sector) % layout.grain_sectors == 0;
    if (is_inside && is_placed) continue;
    return Error(Code::kCorrupt,
                 fmt::format("grain table {}, entry {}: sector {} is {}", index, i, sector,
                             is_inside ? "not the start of a grain"
                                       : fmt::format("outside of the grains, {} to {}",
                                                     layout.first_grain_sector, end_sector)));
  }
  return base::Ok();
}

GrainTable& GrainTables::Insert(uint64_t index, std::vector<uint64_t> entries) {
  MakeRoom();
  tables_.push_front({.index = index, .entries = std::move(entries)});
  CHECK(by_index_.emplace(index, tables_.begin()).second);
  return tables_.front();
}

void GrainTables::MakeRoom() {
  const uint64_t bytes_each = format_.layout().entries_per_table * sizeof(uint64_t);
  auto at = tables_.end();
  while (at != tables_.begin() && (tables_.size() + 1) * bytes_each > kCacheBytesMax) {
    --at;
    if (at->dirty != 0 || at->syncing != 0) continue;
    by_index_.erase(at->index);
    at = tables_.erase(at);
  }
}

void GrainTables::Add(uint64_t index, Numbers numbers) {
  CHECK(!HasTable(index));
  const GrainLayout& layout = format_.layout();
  for (uint32_t copy = 0; copy < layout.copy_count; ++copy) {
    directories_[copy][index] = numbers[copy];
  }
  Insert(index, std::vector<uint64_t>(layout.entries_per_table, kEntryNone));
  dirty_directory_.insert(index * layout.directory_entry_bytes / kSectorBytes);
}

void GrainTables::Set(GrainTable& table, uint64_t entry, uint64_t value) {
  table.entries[entry] = value;
  const uint64_t sector = entry * format_.layout().entry_bytes / kSectorBytes;
  if (table.dirty == 0) dirty_.insert(table.index);
  table.dirty |= uint64_t{1} << sector;
}

void GrainTables::AppendTable(const GrainTable& table, uint32_t copy, SectorMap& sectors) const {
  const GrainLayout& layout = format_.layout();
  const uint64_t per_sector = kSectorBytes / layout.entry_bytes;
  const uint64_t first_sector = format_.TableSector(directories_[copy][table.index]);
  for (uint64_t i = 0; i < layout.table_bytes() / kSectorBytes; ++i) {
    if ((table.syncing >> i & 1) == 0) continue;
    format_.EncodeEntries(std::span(table.entries).subspan(i * per_sector, per_sector),
                          sectors[first_sector + i]);
  }
}

void GrainTables::AppendDirectorySector(uint64_t sector, uint32_t copy, SectorMap& sectors) const {
  const GrainLayout& layout = format_.layout();
  const uint64_t per_sector = kSectorBytes / layout.directory_entry_bytes;
  const std::vector<uint32_t>& tables = directories_[copy];
  const uint64_t first = sector * per_sector;
  const uint64_t count = std::min(per_sector, tables.size() - first);
  // Behind the last entry the bytes are zeros.
  Sector& bytes = sectors[layout.directory_sectors[copy] + sector];
  format_.EncodeDirectory(std::span(tables).subspan(first, count),
                          std::span(bytes).first(count * layout.directory_entry_bytes));
}

std::array<SectorMap, GrainLayout::kCopyCountMax> GrainTables::TakeDirty() {
  CHECK(syncing_.empty() && syncing_directory_.empty());
  syncing_ = std::exchange(dirty_, {});
  syncing_directory_ = std::exchange(dirty_directory_, {});
  std::array<SectorMap, GrainLayout::kCopyCountMax> copies;
  for (const uint64_t index : syncing_) {
    GrainTable& table = *by_index_.at(index);
    table.syncing = std::exchange(table.dirty, 0);
    for (uint32_t copy = 0; copy < format_.layout().copy_count; ++copy) {
      AppendTable(table, copy, copies[copy]);
    }
  }
  for (const uint64_t sector : syncing_directory_) {
    for (uint32_t copy = 0; copy < format_.layout().copy_count; ++copy) {
      AppendDirectorySector(sector, copy, copies[copy]);
    }
  }
  return copies;
}

void GrainTables::FinishSync(bool is_done) {
  for (const uint64_t index : syncing_) {
    GrainTable& table = *by_index_.at(index);
    const uint64_t mask = std::exchange(table.syncing, 0);
    if (is_done) continue;
    table.dirty |= mask;
    dirty_.insert(index);
  }
  syncing_.clear();
  if (!is_done) dirty_directory_.merge(syncing_directory_);
  syncing_directory_.clear();
}

}  // namespace disklib
