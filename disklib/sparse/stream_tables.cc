#include "disklib/sparse/stream_tables.h"

#include <algorithm>

#include <fmt/format.h>

#include "disklib/sparse/file_sectors.h"
#include "fs/base/check.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Executor;
using base::Le32;
using base::Result;
using base::Status;
using base::Task;

constexpr size_t kCachedTablesMax = 2048;  // 4 MiB
constexpr size_t kRebuiltTablesMax = (size_t{256} << 20) / kHostedTableBytes;

// How far before the end a footer is looked for: behind it some writers leave zero sectors.
constexpr uint64_t kTailSectors = 2048;

// How much of the stream is read at a time while its records are counted.
constexpr uint64_t kWalkSectors = 1024;

bool IsZero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(),
                     [](std::byte byte) { return byte == std::byte{0}; });
}

// A piece of the stream in memory, moved along as records are passed.
struct WalkWindow {
  uint64_t sector = 0;
  uint64_t sector_count = 0;
  std::vector<std::byte> bytes = std::vector<std::byte>(kWalkSectors * kSectorBytes);

  bool holds(uint64_t wanted) const { return wanted - sector < sector_count && wanted >= sector; }

  std::span<const std::byte> at(uint64_t wanted) const {
    return std::span<const std::byte>(bytes).subspan((wanted - sector) * kSectorBytes,
                                                     kSectorBytes);
  }
};

// Records of full grains are longer than a sector or two: what is read for their heads is little.
constexpr uint64_t kWalkAheadSectors = 8;

Task<Status> MoveWindow(Object& object, uint64_t sector, uint64_t file_sectors,
                        WalkWindow& window) {
  const bool is_near = sector - window.sector <= window.sector_count + kWalkAheadSectors;
  window.sector = sector;
  window.sector_count = std::min(is_near ? kWalkSectors : kWalkAheadSectors, file_sectors - sector);
  const std::span<std::byte> bytes(window.bytes);
  CO_TRY_STATUS(
      co_await ReadSectors(object, sector, bytes.first(window.sector_count * kSectorBytes)));
  co_return base::Ok();
}

}  // namespace

StreamTables::StreamTables(Executor& executor, Object& object, const HostedHeader& header)
    : object_(object), header_(header), file_sectors_(SectorsOf(object)), rebuild_lock_(executor) {}

Task<Result<std::unique_ptr<StreamTables>>> StreamTables::Open(Executor& executor, Object& object,
                                                               HostedHeader header) {
  if (header.table_count() > kHostedTableCountMax) {
    co_return Error(Code::kTooLarge, fmt::format("stream: {} grain tables, at most {}",
                                                 header.table_count(), kHostedTableCountMax));
  }
  std::unique_ptr<StreamTables> tables(new StreamTables(executor, object, header));
  const Status loaded = co_await tables->LoadDirectory();
  if (loaded) co_return std::move(tables);
  if (loaded.error().code() != Code::kCorrupt) co_return loaded.error();
  const Status rebuilt = co_await tables->Rebuild();
  if (!rebuilt) co_return rebuilt.error().Within(loaded.error().message());
  co_return std::move(tables);
}

Task<Status> StreamTables::LoadDirectory() {
  if (header_.directory_sector == kDirectoryAtEnd) {
    CO_TRY(const HostedHeader footer, co_await FindFooter());
    CO_TRY_STATUS(CheckStreamFooter(header_, footer));
    header_.directory_sector = footer.directory_sector;
  }
  HostedHeader single = header_;  // a redundant directory is not used
  single.redundant_directory_sector = 0;
  CO_TRY_STATUS(CheckHostedDirectories(single, file_sectors_));
  directory_.resize(header_.table_count());
  const std::span<Le32> entries(directory_);
  CO_TRY_STATUS(
      co_await ReadSectors(object_, header_.directory_sector, std::as_writable_bytes(entries)));
  for (size_t i = 0; i < directory_.size(); ++i) {
    CO_TRY_STATUS(CheckHostedTable(header_, i, directory_[i], file_sectors_));
  }
  co_return base::Ok();
}

// The last sector that is not zeros: end-of-stream is zeros, and so is what some leave behind it.
Task<Result<HostedHeader>> StreamTables::FindFooter() {
  const uint64_t tail_sectors = std::min(file_sectors_, kTailSectors);
  const uint64_t tail_begin = file_sectors_ - tail_sectors;
  std::vector<std::byte> bytes(tail_sectors * kSectorBytes);
  CO_TRY_STATUS(co_await ReadSectors(object_, tail_begin, bytes));
  for (uint64_t i = tail_sectors; i > 0; --i) {
    const auto sector =
        std::span<const std::byte>(bytes).subspan((i - 1) * kSectorBytes, kSectorBytes);
    if (IsZero(sector)) continue;
    if (tail_begin + i - 1 == 0 || !IsHostedSparse(sector)) break;
    co_return DecodeHostedHeader(sector);
  }
  co_return Error(Code::kCorrupt, "stream: no footer");
}

Task<Result<std::shared_ptr<const StreamTables::Table>>> StreamTables::Find(uint64_t table) {
  CHECK(table < header_.table_count());
  if (!is_rebuilt_) {
    const auto found = cached_.find(table);
    if (found != cached_.end()) {
      cache_.splice(cache_.begin(), cache_, found->second);
      co_return found->second->second;
    }
    const auto loaded = co_await Load(table);
    if (loaded || loaded.error().code() != Code::kCorrupt) co_return loaded;
    const Status rebuilt = co_await Rebuild();
    if (!rebuilt) co_return rebuilt.error().Within(loaded.error().message());
  }
  const auto found = rebuilt_.find(table);
  co_return found == rebuilt_.end() ? nullptr : std::shared_ptr<const Table>(found->second);
}

Task<Result<std::shared_ptr<const StreamTables::Table>>> StreamTables::Load(uint64_t table) {
  const uint32_t sector = directory_[table];
  if (sector == 0) co_return std::shared_ptr<const Table>();
  const auto entries = std::make_shared<Table>();
  CO_TRY_STATUS(
      co_await ReadSectors(object_, sector, std::as_writable_bytes(std::span<Le32>(*entries))));
  CO_TRY_STATUS(CheckTable(table, *entries));
  if (!cached_.contains(table)) {  // another reader may have loaded it meanwhile
    cache_.emplace_front(table, entries);
    cached_[table] = cache_.begin();
  }
  if (cache_.size() > kCachedTablesMax) {
    cached_.erase(cache_.back().first);
    cache_.pop_back();
  }
  co_return std::shared_ptr<const Table>(entries);
}

Status StreamTables::CheckTable(uint64_t table, const Table& entries) const {
  const uint64_t first_grain = table * kHostedTableEntryCount;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (entries[i] == 0) continue;
    TRY_STATUS(CheckHostedGrain(header_, first_grain + i, entries[i], file_sectors_));
  }
  return base::Ok();
}

Task<Status> StreamTables::Rebuild() {
  co_await rebuild_lock_.Acquire();
  const base::LockGuard guard(rebuild_lock_);
  if (is_rebuilt_) co_return base::Ok();
  Rebuilt tables;
  CO_TRY_STATUS(co_await WalkRecords(tables));
  rebuilt_ = std::move(tables);
  is_rebuilt_ = true;
  cached_.clear();
  cache_.clear();
  co_return base::Ok();
}

Task<Status> StreamTables::WalkRecords(Rebuilt& tables) {
  WalkWindow window;
  uint64_t sector = std::max<uint64_t>(header_.overhead_sectors, 1);
  bool has_ended = false;
  while (sector < file_sectors_ && !has_ended) {
    if (!window.holds(sector)) {
      CO_TRY_STATUS(co_await MoveWindow(object_, sector, file_sectors_, window));
    }
    CO_TRY(const StreamItem item,
           DecodeStreamItem(header_, window.at(sector), sector, file_sectors_));
    if (item.kind == StreamItem::Kind::kGrain) {
      CO_TRY_STATUS(AddRecord(item, sector, tables));
    }
    // A footer is only written behind all grains.
    has_ended = item.kind == StreamItem::Kind::kEnd ||
                (item.kind == StreamItem::Kind::kMarker && item.type == kMarkerFooter);
    sector += item.sector_count;
  }
  if (has_ended) co_return base::Ok();
  co_return Error(Code::kCorrupt,
                  fmt::format("stream: no end-of-stream up to the end of the file at sector {}: it "
                              "was cut short",
                              file_sectors_));
}

Status StreamTables::AddRecord(const StreamItem& item, uint64_t sector, Rebuilt& tables) const {
  TRY_STATUS(CheckSectorAddresses("stream", sector, item.sector_count));
  std::shared_ptr<Table>& table = tables[item.grain / kHostedTableEntryCount];
  if (table == nullptr) {
    if (tables.size() > kRebuiltTablesMax) {
      return Error(Code::kTooLarge,
                   fmt::format("stream: more than {} tables to rebuild", kRebuiltTablesMax));
    }
    table = std::make_shared<Table>();
  }
  Le32& entry = (*table)[item.grain % kHostedTableEntryCount];
  if (entry != 0) {
    return Error(Code::kCorrupt,
                 fmt::format("stream: two records of grain {}, at sectors {} and {}", item.grain,
                             uint32_t{entry}, sector));
  }
  entry = static_cast<uint32_t>(sector);
  return base::Ok();
}

}  // namespace disklib
