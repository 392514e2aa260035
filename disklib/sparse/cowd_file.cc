#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "disklib/sparse/cowd_format.h"
#include "disklib/sparse/file_sectors.h"
#include "disklib/sparse/sector_files.h"
#include "disklib/sparse/sector_format.h"

namespace disklib {

using base::Code;
using base::Error;
using base::Le32;
using base::Result;
using base::Status;
using base::Task;

namespace {

constexpr std::string_view kName = "vmfsSparse";

// The header says in 32 bits where the next sector to allocate is, so one address is not used.
constexpr uint64_t kEndSector = kSectorAddressCount - 1;

// All that an open writer changes in the header, and all that growing changes, is in its first or
// its last sector.
constexpr uint64_t kFreeSectorOffset = offsetof(CowdHeader, free_sector);
constexpr uint64_t kUncleanOffset = offsetof(CowdHeader, unclean_shutdown);

GrainLayout MakeLayout(const CowdHeader& header, uint64_t size_bytes) {
  GrainLayout layout;
  layout.size_bytes = size_bytes;
  layout.grain_sectors = header.grain_sectors;
  layout.entries_per_table = static_cast<uint32_t>(kCowdTableEntryCount);
  layout.entry_bytes = sizeof(Le32);
  layout.directory_entry_bytes = sizeof(Le32);
  layout.has_zero_state = false;
  layout.is_aligned = false;
  layout.first_grain_sector = header.first_data_sector();
  layout.end_sector = kEndSector;
  layout.directory_sectors = {header.directory_sector};
  return layout;
}

class CowdFormat : public SectorFormat {
 public:
  CowdFormat(const CowdHeader& header, uint64_t size_bytes, uint64_t file_sectors)
      : SectorFormat(MakeLayout(header, size_bytes)),
        header_(header),
        file_sectors_(file_sectors) {}

  Status DecodeEntries(std::span<const std::byte> bytes,
                       std::span<uint64_t> entries) const override {
    for (size_t i = 0; i < entries.size(); ++i) {
      entries[i] = base::LoadAs<Le32>(bytes, i * sizeof(Le32));
      if (entries[i] == 0 || !header_.overlaps_metadata(entries[i], header_.grain_sectors))
        continue;
      return Error(Code::kCorrupt,
                   fmt::format("entry {}: sector {} is inside header or directory", i, entries[i]));
    }
    return base::Ok();
  }

  Result<uint32_t> TakeTable(GrainSpace& space) override {
    TRY(const SectorRun run, space.TakeTail(kCowdTableSectors));
    return static_cast<uint32_t>(run.first_sector);
  }

  void AppendAfter(const GrainSpace& space, std::vector<MetadataChange>& changes) const override {
    changes.push_back({.kind = MetadataChange::Kind::kStore32,
                       .offset_bytes = kFreeSectorOffset,
                       .value = space.tail_sector()});
  }

  void AppendMark(bool is_open, std::vector<MetadataChange>& changes) const override {
    changes.push_back({.kind = MetadataChange::Kind::kStore32,
                       .offset_bytes = kUncleanOffset,
                       .value = is_open ? 1u : 0u});
  }

 private:
  Status CheckTable(uint64_t index, uint32_t sector) const override {
    return CheckCowdTable(header_, index, sector, file_sectors_);
  }

  const CowdHeader header_;
  const uint64_t file_sectors_;
};

Task<Result<CowdHeader>> ReadHeader(Object& object) {
  std::array<std::byte, kCowdHeaderBytes> bytes;
  CO_TRY_STATUS(co_await ReadSectors(object, 0, bytes));
  co_return DecodeCowdHeader(bytes, SectorsOf(object));
}

// Growing changes fields of the first sector only, so that it happens at once or not at all.
Task<Status> WriteFirstSector(Object& object, CowdHeader header) {
  CO_TRY_STATUS(co_await WriteSectors(object, 0, base::BytesOf(header).first(kSectorBytes)));
  co_return co_await object.Sync(/*data_only=*/false);
}

using Directory = std::vector<Le32>;

// The directory, with room up to whole sectors of `entry_count` entries.
Task<Result<Directory>> ReadDirectory(Object& object, CowdHeader header, uint64_t entry_count) {
  Directory directory(RoundUp(entry_count, kSectorBytes / sizeof(Le32)));
  const auto present = std::span(directory).first(header.directory_entry_count);
  CO_TRY_STATUS(
      co_await ReadSectors(object, header.directory_sector, std::as_writable_bytes(present)));
  co_return directory;
}

bool HasAllTables(std::span<const Le32> directory) {
  return std::ranges::all_of(directory, [](Le32 entry) { return entry != 0; });
}

// Gives every entry from `first` on a table, one behind the other. Answers the sector behind them.
uint64_t AddTables(std::span<Le32> entries, uint64_t sector) {
  for (Le32& entry : entries) {
    entry = static_cast<uint32_t>(sector);
    sector += kCowdTableSectors;
  }
  return sector;
}

// Entries of the last table behind the old end would show what they refer to once the extent is
// longer.
Task<Status> CheckBehindEnd(Object& object, CowdHeader header, uint32_t table_sector) {
  std::vector<Le32> entries(kCowdTableEntryCount);
  const uint64_t grain_count = DivideUp(header.capacity_sectors, header.grain_sectors);
  const uint64_t used_count = (grain_count - 1) % kCowdTableEntryCount + 1;
  if (table_sector == 0) co_return base::Ok();
  CO_TRY_STATUS(
      co_await ReadSectors(object, table_sector, std::as_writable_bytes(std::span(entries))));
  for (uint64_t i = used_count; i < entries.size(); ++i) {
    if (entries[i] == 0) continue;
    co_return Error(Code::kCorrupt, fmt::format("{}: grow: grain {} behind the end has a place",
                                                kName, grain_count - used_count + i));
  }
  co_return base::Ok();
}

// A new directory behind everything, and tables where every table exists already. Nothing refers
// to them before the header does.
Task<Status> MoveDirectory(Object& object, CowdHeader& header, uint64_t table_count) {
  const uint64_t old_count = header.directory_entry_count;
  CO_TRY(Directory directory, co_await ReadDirectory(object, header, table_count));
  const std::span<Le32> old_entries = std::span(directory).first(old_count);
  const std::span<Le32> new_entries =
      std::span(directory).subspan(old_count, table_count - old_count);
  CO_TRY_STATUS(co_await CheckBehindEnd(object, header, directory[old_count - 1]));
  const uint64_t sector = std::max<uint64_t>(header.free_sector, SectorsOf(object));
  uint64_t end_sector = sector + directory.size() * sizeof(Le32) / kSectorBytes;
  const bool all_tables = HasAllTables(old_entries);
  const uint64_t tables_sectors = all_tables ? new_entries.size() * kCowdTableSectors : 0;
  CO_TRY_STATUS(CheckSectorAddresses(kName, sector, end_sector - sector + tables_sectors + 1));
  if (all_tables) end_sector = AddTables(new_entries, end_sector);
  CO_TRY_STATUS(
      co_await WriteSectors(object, sector, std::as_bytes(std::span<const Le32>(directory))));
  CO_TRY_STATUS(co_await ExtendTo(object, end_sector));
  CO_TRY_STATUS(co_await object.Sync(/*data_only=*/false));
  header.directory_sector = static_cast<uint32_t>(sector);
  header.directory_entry_count = static_cast<uint32_t>(table_count);
  header.free_sector = static_cast<uint32_t>(end_sector);
  co_return base::Ok();
}

}  // namespace

Task<Status> FormatVmfsSparse(Object& object, NewSparseExtent what) {
  CO_TRY_STATUS(CheckSectorFormatCapacity(kName, what.size_bytes));
  const uint64_t grain_sectors =
      what.grain_bytes == 0 ? kCowdDefaultGrainSectors : what.grain_bytes / kSectorBytes;
  if (what.grain_bytes % kSectorBytes != 0 || !IsGrainSectors(grain_sectors)) {
    co_return Error(
        Code::kInvalidArgument,
        fmt::format("{}: a grain of {} bytes: a power of two from 512 bytes to 1 MiB is "
                    "needed",
                    kName, what.grain_bytes));
  }
  const CowdHeader header =
      MakeCowdHeader(what.size_bytes / kSectorBytes, grain_sectors, what.all_tables);
  if (what.all_tables) {
    Directory directory(header.directory_entry_count);
    AddTables(directory, header.data_sector());
    CO_TRY_STATUS(co_await WriteSectors(object, header.directory_sector,
                                        std::as_bytes(std::span<const Le32>(directory))));
  }
  CO_TRY_STATUS(co_await ExtendTo(object, header.free_sector));
  // The header comes last: what was cut off before is no vmfsSparse file.
  CO_TRY_STATUS(co_await object.Sync(/*data_only=*/false));
  CO_TRY_STATUS(co_await WriteSectors(object, 0, base::BytesOf(header)));
  co_return co_await object.Sync(/*data_only=*/false);
}

Task<Result<std::unique_ptr<Extent>>> OpenVmfsSparse(base::Executor& executor,
                                                     std::unique_ptr<Object>& object,
                                                     SparseOpen options, SparseFaults faults) {
  const auto where = [&options] { return fmt::format("open {}", options.path); };
  const Result<CowdHeader> header = co_await ReadHeader(*object);
  if (!header) co_return header.error().Within(where());
  const Status fits = CheckExtentSize(options, uint64_t{header->capacity_sectors} * kSectorBytes);
  if (!fits) co_return fits.error().Within(where());
  std::unique_ptr<GrainFormat> format =
      std::make_unique<CowdFormat>(*header, options.size_bytes, SectorsOf(*object));
  SparseFileOptions file_options{
      .can_write = options.can_write, .path = options.path, .faults = faults};
  if (options.can_write) {
    const Result<uint64_t> used_end = co_await FindUsedEnd(executor, *object, *format);
    if (!used_end) co_return used_end.error().Within(where());
    file_options.tail_sector = std::max<uint64_t>(*used_end, header->free_sector);
  }
  co_return co_await SparseFile::Open(executor, object, format, file_options);
}

Task<Status> GrowVmfsSparse(Object& object, uint64_t size_bytes) {
  CO_TRY(CowdHeader header, co_await ReadHeader(object));
  const uint64_t old_bytes = uint64_t{header.capacity_sectors} * kSectorBytes;
  CO_TRY_STATUS(CheckGrowth(kName, old_bytes, size_bytes));
  if (size_bytes == old_bytes) co_return base::Ok();
  const uint64_t capacity_sectors = size_bytes / kSectorBytes;
  const uint64_t table_count = CowdTableCount(capacity_sectors, header.grain_sectors);
  if (table_count != header.directory_entry_count) {
    CO_TRY_STATUS(co_await MoveDirectory(object, header, table_count));
  } else {
    CO_TRY(const Directory directory, co_await ReadDirectory(object, header, table_count));
    CO_TRY_STATUS(co_await CheckBehindEnd(object, header, directory[table_count - 1]));
  }
  header.capacity_sectors = static_cast<uint32_t>(capacity_sectors);
  co_return co_await WriteFirstSector(object, header);
}

}  // namespace disklib
