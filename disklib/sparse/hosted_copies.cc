#include "disklib/sparse/hosted_copies.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "disklib/sparse/file_sectors.h"
#include "disklib/sparse/grain_tables.h"
#include "disklib/sparse/sector_files.h"
#include "disklib/sparse/sector_format.h"

namespace disklib {

using base::Code;
using base::Error;
using base::Executor;
using base::Le32;
using base::Result;
using base::Status;
using base::Task;

namespace {

constexpr uint64_t kUncleanOffset = offsetof(HostedHeader, unclean_shutdown);

// The redundant set is the first copy of the shell, which it writes first; this is the other.
constexpr uint32_t kPrimary = 1;

class HostedFormat : public SectorFormat {
 public:
  HostedFormat(const GrainLayout& layout, const HostedHeader& header, uint64_t file_sectors)
      : SectorFormat(layout), header_(header), file_sectors_(file_sectors) {}

  Status DecodeEntries(std::span<const std::byte> bytes,
                       std::span<uint64_t> entries) const override {
    for (size_t i = 0; i < entries.size(); ++i) {
      entries[i] = base::LoadAs<Le32>(bytes, i * sizeof(Le32));
      if (entries[i] == kEntryZero && !layout_.has_zero_state) {
        return Error(Code::kCorrupt, fmt::format("entry {}: says \"zeros\", which the header's "
                                                 "flags do not allow",
                                                 i));
      }
    }
    return base::Ok();
  }

  // Files of other writers may lack tables. Whole grains are taken for them, so that the grains
  // behind stay aligned.
  Result<uint32_t> TakeTable(GrainSpace& space) override {
    if (room_.count < kHostedTableSectors) {
      TRY(room_, space.TakeTail(RoundUp(kHostedTableSectors, layout_.grain_sectors)));
    }
    const auto table = static_cast<uint32_t>(room_.first_sector);
    room_.first_sector += kHostedTableSectors;
    room_.count -= kHostedTableSectors;
    return table;
  }

  void AppendMark(bool is_open, std::vector<MetadataChange>& changes) const override {
    changes.push_back({.kind = MetadataChange::Kind::kStore8,
                       .offset_bytes = kUncleanOffset,
                       .value = is_open ? 1u : 0u});
  }

 private:
  Status CheckTable(uint64_t index, uint32_t sector) const override {
    return CheckHostedTable(header_, index, sector, file_sectors_);
  }

  const HostedHeader header_;
  const uint64_t file_sectors_;
  SectorRun room_;  // for further tables
};

GrainLayout MakeLayout(const HostedOpen& open) {
  const HostedHeader& header = open.header;
  GrainLayout layout;
  layout.size_bytes = open.size_bytes;
  layout.grain_sectors = static_cast<uint32_t>(header.grain_sectors);
  layout.entries_per_table = static_cast<uint32_t>(kHostedTableEntryCount);
  layout.entry_bytes = sizeof(Le32);
  layout.directory_entry_bytes = sizeof(Le32);
  layout.has_zero_state = header.has(kHostedFlagZeroGrains);
  // Grains of writers that put the first one off its boundary lie anywhere.
  layout.is_aligned = header.overhead_sectors % header.grain_sectors == 0;
  layout.first_grain_sector = std::max<uint64_t>(header.overhead_sectors, 1);
  layout.end_sector = kSectorAddressCount;
  return layout;
}

std::unique_ptr<GrainFormat> MakeSingle(const HostedOpen& open, uint64_t directory_sector,
                                        uint64_t file_sectors) {
  GrainLayout layout = MakeLayout(open);
  layout.directory_sectors = {directory_sector};
  return std::make_unique<HostedFormat>(layout, open.header, file_sectors);
}

std::unique_ptr<GrainFormat> MakeDouble(const HostedOpen& open, uint32_t copy_to_read,
                                        uint64_t file_sectors) {
  GrainLayout layout = MakeLayout(open);
  layout.copy_count = 2;
  layout.copy_to_read = copy_to_read;
  layout.directory_sectors = {open.header.redundant_directory_sector, open.header.directory_sector};
  return std::make_unique<HostedFormat>(layout, open.header, file_sectors);
}

using Directory = std::vector<Le32>;

Task<Result<Directory>> ReadDirectory(Object& object, uint64_t sector, uint64_t table_count) {
  Directory directory(table_count);
  CO_TRY_STATUS(co_await ReadSectors(object, sector, std::as_writable_bytes(std::span(directory))));
  co_return directory;
}

// Both sets have the same tables, wherever each lies: else one of them could not be kept in step.
Status CheckSameTables(const Directory& redundant, const Directory& primary) {
  for (size_t i = 0; i < primary.size(); ++i) {
    if ((redundant[i] == 0) == (primary[i] == 0)) continue;
    return Error(Code::kCorrupt,
                 fmt::format("hosted sparse: only one of the two directories has table {}: repair "
                             "the disk before it is written",
                             i));
  }
  return base::Ok();
}

// Makes every table of one set like the other's.
Task<Status> CopyTables(Object& object, const Directory* from, const Directory* to) {
  std::vector<std::byte> wanted(kHostedTableBytes);
  std::vector<std::byte> found(kHostedTableBytes);
  for (size_t i = 0; i < from->size(); ++i) {
    if ((*from)[i] == 0) continue;
    CO_TRY_STATUS(co_await ReadSectors(object, (*from)[i], wanted));
    CO_TRY_STATUS(co_await ReadSectors(object, (*to)[i], found));
    if (wanted == found) continue;
    CO_TRY_STATUS(co_await WriteSectors(object, (*to)[i], wanted));
  }
  co_return base::Ok();
}

// What a cut writer left is set right: the sets agree, durably, and then the mark goes.
Task<Status> SettleCopies(Object& object, HostedHeader header, const Directory* sound,
                          const Directory* other) {
  CO_TRY_STATUS(co_await CopyTables(object, sound, other));
  CO_TRY_STATUS(co_await object.Sync(/*data_only=*/true));
  header.unclean_shutdown = 0;
  CO_TRY_STATUS(co_await WriteSectors(object, 0, base::BytesOf(header)));
  co_return co_await object.Sync(/*data_only=*/true);
}

Task<Result<HostedChoice>> ChooseToRead(Executor& executor, Object& object, HostedOpen open) {
  const uint64_t file_sectors = SectorsOf(object);
  const HostedHeader& header = open.header;
  // The order of trial: after a cut the set that is written first has everything the other has.
  std::array<uint64_t, 2> sectors{header.directory_sector, header.redundant_directory_sector};
  if (header.unclean_shutdown != 0) std::swap(sectors[0], sectors[1]);
  HostedChoice first;
  first.format = MakeSingle(open, sectors[0], file_sectors);
  HostedChoice second;
  second.format = MakeSingle(open, sectors[1], file_sectors);
  const bool is_thorough = header.unclean_shutdown != 0;
  Status sound;
  if (is_thorough) {
    const Result<uint64_t> end = co_await FindUsedEnd(executor, object, *first.format);
    if (!end) sound = end.error();
  } else {
    GrainTables tables(executor, object, *first.format);
    sound = co_await tables.LoadDirectory();
  }
  if (sound) co_return std::move(first);
  if (sound.error().code() != Code::kCorrupt) co_return sound.error();
  GrainTables tables(executor, object, *second.format);
  const Status other = co_await tables.LoadDirectory();
  if (!other) co_return sound.error();
  co_return std::move(second);
}

Task<Result<HostedChoice>> ChooseToWrite(Executor& executor, Object& object, HostedOpen open) {
  const uint64_t file_sectors = SectorsOf(object);
  const HostedHeader& header = open.header;
  const auto redundant = MakeSingle(open, header.redundant_directory_sector, file_sectors);
  const auto primary = MakeSingle(open, header.directory_sector, file_sectors);
  const Result<uint64_t> redundant_end = co_await FindUsedEnd(executor, object, *redundant);
  const Result<uint64_t> primary_end = co_await FindUsedEnd(executor, object, *primary);
  const bool is_unclean = header.unclean_shutdown != 0;
  if (!primary_end && (!is_unclean || !redundant_end)) co_return primary_end.error();
  if (!redundant_end && !is_unclean) co_return redundant_end.error();
  const uint64_t table_count = redundant->layout().table_count();
  CO_TRY(const Directory redundant_tables,
         co_await ReadDirectory(object, header.redundant_directory_sector, table_count));
  CO_TRY(const Directory primary_tables,
         co_await ReadDirectory(object, header.directory_sector, table_count));
  CO_TRY_STATUS(CheckSameTables(redundant_tables, primary_tables));
  HostedChoice choice;
  if (is_unclean) {
    // A directory that cannot be is not mended here: writing through it would hit anything.
    const auto both = MakeDouble(open, kPrimary, file_sectors);
    GrainTables tables(executor, object, *both);
    CO_TRY_STATUS(co_await tables.LoadDirectory());
    const Directory* const sound = redundant_end ? &redundant_tables : &primary_tables;
    const Directory* const other = redundant_end ? &primary_tables : &redundant_tables;
    CO_TRY_STATUS(co_await SettleCopies(object, header, sound, other));
  }
  choice.used_end = std::max(redundant_end ? *redundant_end : 0, primary_end ? *primary_end : 0);
  choice.format = MakeDouble(open, kPrimary, file_sectors);
  co_return std::move(choice);
}

}  // namespace

Task<Result<HostedChoice>> ChooseHostedCopies(Executor& executor, Object& object, HostedOpen open) {
  if (open.header.is_redundant()) {
    if (!open.can_write) co_return co_await ChooseToRead(executor, object, open);
    co_return co_await ChooseToWrite(executor, object, open);
  }
  HostedChoice choice;
  choice.format = MakeSingle(open, open.header.directory_sector, SectorsOf(object));
  if (open.can_write) {
    CO_TRY(choice.used_end, co_await FindUsedEnd(executor, object, *choice.format));
  }
  co_return std::move(choice);
}

}  // namespace disklib
