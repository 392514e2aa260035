#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include <fmt/format.h>

#include "disklib/check/sector_check.h"
#include "disklib/sparse/hosted_format.h"

namespace disklib::check {
namespace {

using base::Result;
using base::Status;
using base::Task;

// Whether a directory lies where one can; what is wrong is H2.
bool CheckDirectory(Findings& findings, const HostedHeader& header, uint64_t sector,
                    uint64_t file_sectors, std::string_view name) {
  const uint64_t count = header.directory_sectors();
  if (sector != 0 && sector < file_sectors && count <= file_sectors - sector &&
      header.table_count() <= kHostedTableCountMax) {
    return true;
  }
  Found found{.id = Invariant::kH2,
              .text = fmt::format("the {} at sector {} with {} sectors is outside the file", name,
                                  sector, count)};
  findings.Add(std::move(found));
  findings.NoteUnchecked();
  return false;
}

// The rules of a file; no directory that can be used: nothing to walk.
SectorRules RulesOf(Findings& findings, const HostedHeader& header, uint64_t file_sectors) {
  SectorRules rules;
  rules.table_id = Invariant::kH2;
  rules.entry_id = Invariant::kH3;
  rules.shared_id = Invariant::kH4;
  rules.leak_id = Invariant::kH7;
  rules.has_zero_code = header.has(kHostedFlagZeroGrains);
  rules.punches_leaks = true;
  rules.was_unclean = header.unclean_shutdown != 0;
  rules.mark_at_bytes = offsetof(HostedHeader, unclean_shutdown);
  rules.table_entries = kHostedTableEntryCount;
  rules.grain_sectors = header.grain_sectors;
  rules.capacity_sectors = header.capacity_sectors;
  rules.table_floor = 1;
  rules.grain_floor = std::max<uint64_t>(header.overhead_sectors, 1);
  rules.fixed = {{0, 1}};
  if (header.descriptor_sector != 0 && header.descriptor_sector < file_sectors) {
    rules.fixed.push_back({header.descriptor_sector, header.descriptor_sectors});
  }
  if (CheckDirectory(findings, header, header.directory_sector, file_sectors, "directory")) {
    rules.directories.push_back(header.directory_sector);
  }
  if (header.is_redundant() &&
      CheckDirectory(findings, header, header.redundant_directory_sector, file_sectors,
                     "redundant directory")) {
    rules.directories.push_back(header.redundant_directory_sector);
  }
  for (const uint64_t sector : rules.directories) {
    rules.fixed.push_back({sector, header.directory_sectors()});
  }
  return rules;
}

// H6: taken off when nothing else is wrong.
Task<Status> CheckClosed(CheckRun& run, ExtentFile& file, std::span<std::byte> bytes) {
  auto header = base::LoadAs<HostedHeader>(bytes);
  if (header.unclean_shutdown == 0) co_return base::Ok();
  const bool is_safe = run.findings().open_error_count() == 0;
  const bool repairs =
      run.findings().Add({.id = Invariant::kH6,
                          .text = "the header says the file was not closed",
                          .repair = is_safe ? RepairClass::kAutomatic : RepairClass::kNone,
                          .repair_text = is_safe ? "the mark is taken off" : ""});
  if (!repairs) co_return base::Ok();
  header.unclean_shutdown = 0;
  base::StoreAs(bytes, 0, header);
  CO_TRY_STATUS(co_await WriteAt(*file.object, 0, bytes));
  co_return co_await file.object->Sync(/*data_only=*/true);
}

}  // namespace

Task<Status> CheckHosted(CheckRun& run, ExtentFile& file) {
  std::array<std::byte, kHostedHeaderBytes> bytes{};
  const bool was_read = co_await run.Read(*file.object, 0, bytes);
  if (!was_read) co_return base::Ok();
  const Result<HostedHeader> header = DecodeHostedHeader(bytes);
  if (!header) {
    run.findings().Add({.id = Invariant::kH1, .text = header.error().message()});
    run.findings().NoteUnchecked();
    co_return base::Ok();
  }
  // A header's capacity may be rounded up to a whole grain.
  const bool is_rounded =
      RoundUp(file.line_sectors, header->grain_sectors) == header->capacity_sectors;
  file.take_size(is_rounded ? file.line_sectors : uint64_t{header->capacity_sectors});
  const uint64_t file_sectors = DivideUp(file.object->size_bytes(), kSectorBytes);
  SectorRules rules = RulesOf(run.findings(), *header, file_sectors);
  if (rules.directories.empty()) co_return base::Ok();
  SectorCheck tables(run, file, std::move(rules));
  CO_TRY_STATUS(co_await tables.Run());
  co_return co_await CheckClosed(run, file, bytes);
}

}  // namespace disklib::check
