#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "disklib/check/sector_check.h"
#include "disklib/sparse/cowd_format.h"

namespace disklib::check {
namespace {

using base::Result;
using base::Status;
using base::Task;

// V1: what does not follow from the size.
bool CheckNumbers(Findings& findings, std::span<const std::byte> bytes, const CowdHeader& header,
                  uint64_t file_sectors) {
  const Result<CowdHeader> decoded = DecodeCowdHeader(bytes, file_sectors);
  std::string what;
  if (!decoded) {
    what = decoded.error().message();
  } else if (header.directory_entry_count !=
             CowdTableCount(header.capacity_sectors, header.grain_sectors)) {
    what = fmt::format("numGDEntries is {}, the capacity has {}",
                       uint32_t{header.directory_entry_count},
                       CowdTableCount(header.capacity_sectors, header.grain_sectors));
  }
  if (what.empty()) return true;
  findings.Add({.id = Invariant::kV1, .text = std::move(what)});
  findings.NoteUnchecked();
  return false;
}

SectorRules RulesOf(const CowdHeader& header) {
  SectorRules rules;
  rules.clears_tail = true;
  rules.ends_with_use = true;
  rules.table_entries = kCowdTableEntryCount;
  rules.grain_sectors = header.grain_sectors;
  rules.capacity_sectors = header.capacity_sectors;
  rules.table_floor = header.data_sector();
  rules.grain_floor = header.data_sector();
  rules.directories = {header.directory_sector};
  rules.fixed = {{0, kCowdHeaderSectors},
                 {header.directory_sector, header.directory_sectors()}};
  return rules;
}

// V4: nothing in use may lie where the next grain goes.
bool CheckFreeSector(Findings& findings, CowdHeader& header, uint64_t end_sector) {
  const uint64_t needed = std::max<uint64_t>(end_sector, header.data_sector());
  if (header.free_sector >= needed || needed > UINT32_MAX) return false;
  const bool repairs = findings.Add(
      {.id = Invariant::kV4,
       .text = fmt::format("freeSector is {}, sectors in use end at {}",
                           uint32_t{header.free_sector}, needed),
       .repair = RepairClass::kAutomatic,
       .repair_text = fmt::format("freeSector becomes {}", needed)});
  if (repairs) header.free_sector = static_cast<uint32_t>(needed);
  return repairs;
}

// V1: the marks, taken off when nothing else is wrong.
bool CheckMarks(Findings& findings, CowdHeader& header) {
  const bool is_inconsistent = (header.flags & kCowdFlagInconsistent) != 0;
  if (!is_inconsistent && header.unclean_shutdown == 0) return false;
  const bool is_safe = findings.open_error_count() == 0;
  const bool repairs = findings.Add(
      {.id = Invariant::kV1,
       .text = is_inconsistent ? "the header says the file was found damaged"
                               : "the header says the file was not closed",
       .repair = is_safe ? RepairClass::kAutomatic : RepairClass::kNone,
       .repair_text = is_safe ? "the mark is taken off" : ""});
  if (!repairs) return false;
  header.flags = header.flags & ~kCowdFlagInconsistent;
  header.unclean_shutdown = 0;
  return true;
}

// One field a sector: each write is whole or not there.
Task<Status> StoreHeader(Object& object, std::span<const std::byte> bytes) {
  CO_TRY_STATUS(co_await WriteAt(object, 0, bytes));
  co_return co_await object.Sync(/*data_only=*/true);
}

}  // namespace

Task<Status> CheckVmfsSparse(CheckRun& run, ExtentFile& file) {
  std::array<std::byte, kCowdHeaderBytes> bytes{};
  const bool was_read = co_await run.Read(*file.object, 0, bytes);
  if (!was_read) co_return base::Ok();
  auto header = base::LoadAs<CowdHeader>(bytes);
  const uint64_t file_sectors = DivideUp(file.object->size_bytes(), kSectorBytes);
  if (!CheckNumbers(run.findings(), bytes, header, file_sectors)) co_return base::Ok();
  file.take_size(header.capacity_sectors);
  SectorCheck tables(run, file, RulesOf(header));
  CO_TRY_STATUS(co_await tables.Run());
  bool is_mended = CheckFreeSector(run.findings(), header, tables.end_sector());
  is_mended = CheckMarks(run.findings(), header) || is_mended;
  if (!is_mended) co_return base::Ok();
  base::StoreAs(std::span<std::byte>(bytes), 0, header);
  co_return co_await StoreHeader(*file.object, bytes);
}

}  // namespace disklib::check
