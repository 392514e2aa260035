#include "disklib/sparse/stream_extent.h"

#include <algorithm>
#include <list>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "disklib/buffers.h"
#include "disklib/sparse/deflate.h"
#include "disklib/sparse/file_sectors.h"
#include "disklib/sparse/stream_tables.h"
#include "fs/base/check.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Executor;
using base::IoRequest;
using base::IoVec;
using base::Le32;
using base::MapRun;
using base::MapState;
using base::Result;
using base::Status;
using base::Task;
using fds::GrainRun;
using fds::GrainState;

constexpr uint64_t kExpandedBytesMax = uint64_t{4} << 20;  // of grains kept for the next read

using Bytes = std::shared_ptr<const std::vector<std::byte>>;
using Table = StreamTables::Table;

class StreamExtent : public Extent, public fds::GrainMap {
 public:
  StreamExtent(Executor& executor, std::unique_ptr<Object> object,
               std::unique_ptr<StreamTables> tables, uint64_t size_bytes, std::string_view path)
      : executor_(executor),
        object_(std::move(object)),
        tables_(std::move(tables)),
        size_bytes_(size_bytes),
        grain_bytes_(tables_->header().grain_sectors * kSectorBytes),
        path_(path) {}

  uint64_t size_bytes() const override { return size_bytes_; }

  // Written once: nobody grows its file.
  void GrowTo(uint64_t size_bytes) override { CHECK(size_bytes == size_bytes_); }

  fds::GrainMap* grain_map() override { return this; }

  uint64_t grain_bytes() const override { return grain_bytes_; }

  bool has_zero_state() const override { return tables_->header().has(kHostedFlagZeroGrains); }

  Task<Status> Lookup(uint64_t offset_bytes, uint64_t length_bytes,
                      std::vector<GrainRun>& runs) override;
  Task<Result<uint64_t>> Read(IoRequest request) override;

  Task<Result<uint64_t>> Write(IoRequest) override { co_return RefuseChange(); }

  Task<Status> WriteZeroes(uint64_t, uint64_t, bool) override { co_return RefuseChange(); }

  Task<Result<uint64_t>> Seek(fss::SeekKind kind, uint64_t offset_bytes) override;
  Task<Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                         std::vector<MapRun>& runs) override;

  Task<Status> Sync() override { co_return base::Ok(); }

  Task<Status> Close() override { return object_->Close(); }

 private:
  using Expanded = std::pair<uint64_t, Bytes>;

  // Where a grain's record is, and how many sectors it has at most.
  struct Place {
    uint64_t sector = 0;  // 0: no record
    uint64_t sectors_expected = 0;
    bool is_zero = false;
  };

  Error RefuseChange() const {
    return Error(Code::kReadOnly,
                 fmt::format("{}: a streamOptimized extent is written once: clone it", path_));
  }

  uint64_t table_bytes() const { return grain_bytes_ * kHostedTableEntryCount; }

  Task<Result<Place>> FindPlace(uint64_t grain);
  Task<Result<Bytes>> Expand(uint64_t grain);
  Task<Result<Bytes>> ExpandRecord(uint64_t grain, Place place);
  Task<Status> ReadRecord(Place place, std::vector<std::byte>& record);
  Bytes FindExpanded(uint64_t grain);
  void KeepExpanded(uint64_t grain, Bytes bytes);

  Executor& executor_;
  std::unique_ptr<Object> object_;
  std::unique_ptr<StreamTables> tables_;
  const uint64_t size_bytes_;
  const uint64_t grain_bytes_;
  const std::string path_;
  std::list<Expanded> expanded_;  // most recently used first; few
};

// Appends a state, joined with the run before it where it is the same.
void AddRun(uint64_t offset_bytes, uint64_t length_bytes, GrainState state, size_t first_run,
            std::vector<GrainRun>& runs) {
  if (runs.size() > first_run && runs.back().state == state) {
    runs.back().length_bytes += length_bytes;
    return;
  }
  runs.push_back({.offset_bytes = offset_bytes, .length_bytes = length_bytes, .state = state});
}

Task<Status> StreamExtent::Lookup(uint64_t offset_bytes, uint64_t length_bytes,
                                  std::vector<GrainRun>& runs) {
  const size_t first_run = runs.size();
  const uint64_t end_bytes = offset_bytes + length_bytes;
  while (offset_bytes < end_bytes) {
    const uint64_t table_index = offset_bytes / table_bytes();
    const uint64_t table_end = std::min(end_bytes, (table_index + 1) * table_bytes());
    auto found = co_await tables_->Find(table_index);
    if (!found) co_return found.error().Within(path_);
    const std::shared_ptr<const Table> table = *found;
    while (offset_bytes < table_end) {
      const uint64_t grain = offset_bytes / grain_bytes_;
      const uint64_t grain_end =
          table == nullptr ? table_end : std::min(table_end, (grain + 1) * grain_bytes_);
      const uint32_t entry =
          table == nullptr ? 0 : uint32_t{(*table)[grain % kHostedTableEntryCount]};
      const GrainState state = entry == 0                  ? GrainState::kUnallocated
                               : entry == kHostedZeroEntry ? GrainState::kZero
                                                           : GrainState::kData;
      AddRun(offset_bytes, grain_end - offset_bytes, state, first_run, runs);
      offset_bytes = grain_end;
    }
  }
  co_return base::Ok();
}

Task<Result<StreamExtent::Place>> StreamExtent::FindPlace(uint64_t grain) {
  CO_TRY(const std::shared_ptr<const Table> table,
         co_await tables_->Find(grain / kHostedTableEntryCount));
  if (table == nullptr) co_return Place{};
  const size_t slot = grain % kHostedTableEntryCount;
  const uint32_t entry = (*table)[slot];
  if (entry <= kHostedZeroEntry) co_return Place{.is_zero = entry == kHostedZeroEntry};
  // Grains mostly lie one behind the other: the next one says where this one ends.
  const uint64_t sectors_max = StreamRecordSectors(grain_bytes_);
  const uint32_t next = slot + 1 < table->size() ? uint32_t{(*table)[slot + 1]} : 0;
  const uint64_t expected =
      next > entry ? std::min<uint64_t>(next - entry, sectors_max) : sectors_max;
  co_return Place{.sector = entry, .sectors_expected = expected};
}

// The bytes of a grain, or null when it has no record. When a record contradicts the tables they
// are made anew from the records, once.
Task<Result<Bytes>> StreamExtent::Expand(uint64_t grain) {
  Bytes kept = FindExpanded(grain);
  if (kept != nullptr) co_return kept;
  CO_TRY(const Place place, co_await FindPlace(grain));
  if (place.sector == 0) co_return Bytes();
  Result<Bytes> bytes = co_await ExpandRecord(grain, place);
  if (!bytes && bytes.error().code() == Code::kCorrupt && !tables_->is_rebuilt()) {
    const Status rebuilt = co_await tables_->Rebuild();
    if (!rebuilt) co_return bytes.error();
    CO_TRY(const Place again, co_await FindPlace(grain));
    // The table named a record that the stream does not have: what it held is lost, not zeros.
    if (again.sector == 0) co_return bytes.error();
    bytes = co_await ExpandRecord(grain, again);
  }
  if (bytes) KeepExpanded(grain, *bytes);
  co_return bytes;
}

Task<Result<Bytes>> StreamExtent::ExpandRecord(uint64_t grain, Place place) {
  std::vector<std::byte> record;
  CO_TRY_STATUS(co_await ReadRecord(place, record));
  const auto where = [&] { return fmt::format("grain {} at sector {}", grain, place.sector); };
  const Result<StreamItem> item =
      DecodeStreamItem(tables_->header(), record, place.sector, tables_->file_sectors());
  if (!item) co_return item.error().Within(where());
  if (item->kind != StreamItem::Kind::kGrain || item->grain != grain) {
    co_return Error(Code::kCorrupt, where() + ": the record there is another's");
  }
  if (item->sector_count * kSectorBytes > record.size()) {
    place.sectors_expected = item->sector_count;
    CO_TRY_STATUS(co_await ReadRecord(place, record));
  }
  const auto bytes = std::make_shared<std::vector<std::byte>>(grain_bytes_);
  const Result<size_t> expanded =
      Inflate(std::span(record).subspan(kStreamRecordBytes, item->compressed_bytes), *bytes);
  if (!expanded) co_return expanded.error().Within(where());
  // Some writers end the last grain with the disk.
  if (*expanded < std::min(grain_bytes_, size_bytes_ - grain * grain_bytes_)) {
    co_return Error(Code::kCorrupt, fmt::format("{}: expands to {} bytes", where(), *expanded));
  }
  co_await executor_.Yield();
  co_return Bytes(bytes);
}

Task<Status> StreamExtent::ReadRecord(Place place, std::vector<std::byte>& record) {
  const uint64_t left_sectors = tables_->file_sectors() - place.sector;
  record.resize(std::min(place.sectors_expected, left_sectors) * kSectorBytes);
  return ReadSectors(*object_, place.sector, record);
}

Bytes StreamExtent::FindExpanded(uint64_t grain) {
  for (auto kept = expanded_.begin(); kept != expanded_.end(); ++kept) {
    if (kept->first != grain) continue;
    expanded_.splice(expanded_.begin(), expanded_, kept);
    return expanded_.front().second;
  }
  return nullptr;
}

void StreamExtent::KeepExpanded(uint64_t grain, Bytes bytes) {
  expanded_.emplace_front(grain, std::move(bytes));
  if (expanded_.size() * grain_bytes_ > kExpandedBytesMax && expanded_.size() > 1) {
    expanded_.pop_back();
  }
}

Task<Result<uint64_t>> StreamExtent::Read(IoRequest request) {
  const uint64_t length_bytes = request.size_bytes();
  const uint64_t end_bytes = request.offset_bytes + length_bytes;
  BufferCursor cursor(request.buffers);
  std::vector<IoVec> pieces;
  uint64_t offset_bytes = request.offset_bytes;
  while (offset_bytes < end_bytes) {
    const uint64_t grain = offset_bytes / grain_bytes_;
    const uint64_t within_bytes = offset_bytes % grain_bytes_;
    const uint64_t piece_bytes = std::min(grain_bytes_ - within_bytes, end_bytes - offset_bytes);
    const Result<Bytes> bytes = co_await Expand(grain);
    if (!bytes) co_return bytes.error().Within(path_);
    if (*bytes == nullptr) {
      cursor.Take(piece_bytes, pieces);
      for (const IoVec& piece : pieces) std::fill_n(piece.data, piece.size_bytes, std::byte{0});
    } else {
      cursor.CopyFrom(std::span<const std::byte>(**bytes).subspan(within_bytes, piece_bytes));
    }
    offset_bytes += piece_bytes;
  }
  co_return length_bytes;
}

Task<Result<uint64_t>> StreamExtent::Seek(fss::SeekKind kind, uint64_t offset_bytes) {
  std::vector<GrainRun> runs;
  while (offset_bytes < size_bytes_) {
    const uint64_t window_end = (offset_bytes / table_bytes() + 1) * table_bytes();
    const uint64_t end_bytes = std::min(size_bytes_, window_end);
    runs.clear();
    CO_TRY_STATUS(co_await Lookup(offset_bytes, end_bytes - offset_bytes, runs));
    for (const GrainRun& run : runs) {
      const bool is_data = run.state == GrainState::kData;
      if (is_data == (kind == fss::SeekKind::kData)) co_return run.offset_bytes;
    }
    offset_bytes = end_bytes;
  }
  co_return size_bytes_;
}

Task<Status> StreamExtent::MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                     std::vector<MapRun>& runs) {
  std::vector<GrainRun> grains;
  CO_TRY_STATUS(co_await Lookup(offset_bytes, length_bytes, grains));
  for (const GrainRun& run : grains) {
    const MapState state = run.state == GrainState::kData   ? MapState::kData
                           : run.state == GrainState::kZero ? MapState::kZero
                                                            : MapState::kHole;
    runs.push_back({run.offset_bytes, run.length_bytes, state});
  }
  co_return base::Ok();
}

// The header may round the capacity up to a grain.
Status CheckSize(const HostedHeader& header, uint64_t size_bytes) {
  const uint64_t capacity_bytes = header.capacity_sectors * kSectorBytes;
  const uint64_t rounding_bytes = header.grain_sectors * kSectorBytes;
  if (size_bytes <= capacity_bytes && capacity_bytes - size_bytes < rounding_bytes) {
    return base::Ok();
  }
  return Error(Code::kCorrupt,
               fmt::format("the extent has {} bytes, its line in the descriptor says {}",
                           capacity_bytes, size_bytes));
}

Task<Result<std::unique_ptr<StreamTables>>> OpenTables(Executor& executor, Object& object,
                                                       uint64_t size_bytes) {
  std::vector<std::byte> sector(std::min<uint64_t>(kHostedHeaderBytes, object.size_bytes()));
  CO_TRY_STATUS(co_await ReadSectors(object, 0, sector));
  CO_TRY(const HostedHeader header, DecodeHostedHeader(sector));
  if (!header.is_compressed() || !header.has(kHostedFlagMarkers)) {
    co_return Error(Code::kNotRecognized,
                    "not a streamOptimized extent: its grains are not compressed records");
  }
  CO_TRY_STATUS(CheckSize(header, size_bytes));
  CO_TRY(std::unique_ptr<StreamTables> tables,
         co_await StreamTables::Open(executor, object, header));
  co_return std::move(tables);
}

// Takes `raw` over.
Task<Result<std::unique_ptr<Extent>>> OpenOwned(Executor& executor, Object* raw,
                                                uint64_t size_bytes, std::string_view path) {
  std::unique_ptr<Object> object(raw);
  auto tables = co_await OpenTables(executor, *object, size_bytes);
  if (!tables) {
    const Status closed = co_await object->Close();
    static_cast<void>(closed);  // the first error says more
    co_return tables.error().Within(path);
  }
  co_return std::unique_ptr<Extent>(std::make_unique<StreamExtent>(
      executor, std::move(object), *std::move(tables), size_bytes, path));
}

}  // namespace

Task<Result<std::unique_ptr<Extent>>> OpenStreamExtent(Executor& executor,
                                                       std::unique_ptr<Object> object,
                                                       uint64_t size_bytes, std::string_view path) {
  return OpenOwned(executor, object.release(), size_bytes, path);
}

}  // namespace disklib
