#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "disklib/check/check_run.h"
#include "disklib/check/raw_table.h"
#include "disklib/sparse/deflate.h"
#include "disklib/sparse/stream_format.h"

namespace disklib::check {
namespace {

using base::Result;
using base::Status;
using base::Task;
using Table = RawTable<base::Le32>;

constexpr uint64_t kNoTable = ~uint64_t{0};

// A stream is read from its first record to its end twice: for the grains themselves, and against
// the tables that are found on the way.
class StreamCheck {
 public:
  StreamCheck(CheckRun& run, ExtentFile& file)
      : run_(run), file_(file),
        file_sectors_((file.object->size_bytes() + kSectorBytes - 1) / kSectorBytes) {}

  Task<Status> Run();

 private:
  Findings& findings() { return run_.findings(); }
  Object& object() { return *file_.object; }

  Task<bool> ReadHeader();
  Task<Status> WalkRecords(bool against_tables);
  Task<Status> TakeItem(const StreamItem* item, uint64_t sector, bool against_tables);
  Task<Status> CheckGrain(const StreamItem* item, uint64_t sector);
  Task<Status> CheckFooter();
  Task<Status> CheckTables();
  Task<bool> LoadTable(uint64_t number);
  Task<Status> StoreTable();
  Task<Status> CompareEntry(uint64_t grain, uint64_t sector);
  Task<Status> CountEntries();
  Task<Status> CheckEnd();
  Task<Status> CheckVersion();

  void Broken(uint64_t sector, std::string text) {
    Found found{.id = Invariant::kS1, .text = std::move(text)};
    found.place.file_offset_bytes = sector * kSectorBytes;
    findings().Add(std::move(found));
  }

  CheckRun& run_;
  ExtentFile& file_;
  const uint64_t file_sectors_;
  HostedHeader header_;
  std::optional<uint64_t> end_sector_;     // of the end-of-stream marker
  std::optional<uint64_t> footer_sector_;  // behind its marker
  uint64_t walked_to_ = 0;                 // the first sector that is no record
  uint64_t record_count_ = 0;
  bool is_walked_whole_ = true;
  Table directory_;
  Table table_;                            // the one at hand
  uint64_t table_number_ = kNoTable;
};

Task<bool> StreamCheck::ReadHeader() {
  std::array<std::byte, kHostedHeaderBytes> bytes{};
  const bool was_read = co_await run_.Read(object(), 0, bytes);
  if (!was_read) co_return false;
  const Result<HostedHeader> header = DecodeHostedHeader(bytes);
  if (header) {
    header_ = *header;
    co_return true;
  }
  findings().Add({.id = Invariant::kH1, .text = header.error().message()});
  findings().NoteUnchecked();
  co_return false;
}

// S1 for one grain: it inflates to the grain's size, or to the disk's end.
Task<Status> StreamCheck::CheckGrain(const StreamItem* item, uint64_t sector) {
  std::vector<std::byte> compressed(item->compressed_bytes);
  std::vector<std::byte> bytes(header_.grain_sectors * kSectorBytes);
  const bool was_read =
      co_await run_.Read(object(), sector * kSectorBytes + kStreamRecordBytes, compressed);
  if (!was_read) co_return base::Ok();
  const Result<size_t> size = Inflate(compressed, bytes);
  const uint64_t left =
      (header_.capacity_sectors - item->grain * header_.grain_sectors) * kSectorBytes;
  if (!size) {
    Broken(sector, fmt::format("grain {}: {}", item->grain, size.error().message()));
  } else if (*size != bytes.size() && *size != left) {
    Broken(sector, fmt::format("grain {} inflates to {} bytes, not {}", item->grain, *size,
                               bytes.size()));
  } else {
    file_.held_bytes += bytes.size();
  }
  co_return run_.Advance(item->sector_count * kSectorBytes);
}

Task<Status> StreamCheck::TakeItem(const StreamItem* item, uint64_t sector, bool against_tables) {
  if (item->kind == StreamItem::Kind::kGrain) {
    if (against_tables) co_return co_await CompareEntry(item->grain, sector);
    ++record_count_;
    co_return co_await CheckGrain(item, sector);
  }
  if (item->kind == StreamItem::Kind::kEnd) end_sector_ = sector;
  if (item->kind == StreamItem::Kind::kMarker && item->type == kMarkerFooter) {
    footer_sector_ = sector + 1;
  }
  co_return base::Ok();
}

Task<Status> StreamCheck::WalkRecords(bool against_tables) {
  uint64_t sector = header_.overhead_sectors;
  std::array<std::byte, kSectorBytes> bytes{};
  while (sector < file_sectors_) {
    const bool was_read = co_await run_.Read(object(), sector * kSectorBytes, bytes);
    if (!was_read) break;
    const Result<StreamItem> item = DecodeStreamItem(header_, bytes, sector, file_sectors_);
    if (!item) {
      if (!against_tables) Broken(sector, item.error().message());
      is_walked_whole_ = false;
      break;
    }
    CO_TRY_STATUS(co_await TakeItem(&*item, sector, against_tables));
    if (item->kind == StreamItem::Kind::kEnd) break;
    sector += std::max<uint64_t>(item->sector_count, 1);
  }
  walked_to_ = sector;
  co_return base::Ok();
}

// S1: the footer says what the header says, but for the directory.
Task<Status> StreamCheck::CheckFooter() {
  if (header_.directory_sector != kDirectoryAtEnd) co_return base::Ok();
  std::array<std::byte, kHostedHeaderBytes> bytes{};
  if (!footer_sector_) {
    Broken(0, "the header leads to a footer, but there is none");
    co_return base::Ok();
  }
  const bool was_read = co_await run_.Read(object(), *footer_sector_ * kSectorBytes, bytes);
  if (!was_read) co_return base::Ok();
  Result<HostedHeader> footer = DecodeHostedHeader(bytes);
  Status agrees = base::Ok();
  if (!footer) {
    agrees = footer.error();
  } else {
    footer->version = header_.version;  // S2 has a word on versions
    agrees = CheckStreamFooter(header_, *footer);
  }
  if (!agrees) {
    Broken(*footer_sector_, fmt::format("footer: {}", agrees.error().message()));
    co_return base::Ok();
  }
  header_.directory_sector = footer->directory_sector;
  co_return base::Ok();
}

Task<bool> StreamCheck::LoadTable(uint64_t number) {
  if (table_number_ == number) co_return true;
  table_number_ = kNoTable;
  const uint64_t sector = directory_.Get(number);
  if (sector == 0 || sector + kHostedTableSectors > file_sectors_) co_return false;
  table_ = Table(kHostedTableEntryCount);
  const bool was_read = co_await run_.Read(object(), sector * kSectorBytes, table_.bytes());
  if (was_read) table_number_ = number;
  co_return was_read;
}

Task<Status> StreamCheck::StoreTable() {
  if (table_number_ == kNoTable || table_.changed_sectors().empty()) co_return base::Ok();
  const uint64_t sector = directory_.Get(table_number_);
  CO_TRY_STATUS(co_await StoreChanged(object(), sector * kSectorBytes, table_));
  co_return co_await object().Sync(/*data_only=*/true);
}

// S1: the entry of a grain leads to its record. The record says itself which grain it is, so the
// entry follows it.
Task<Status> StreamCheck::CompareEntry(uint64_t grain, uint64_t sector) {
  const uint64_t number = grain / kHostedTableEntryCount;
  const size_t index = grain % kHostedTableEntryCount;
  const bool is_there = co_await LoadTable(number);
  if (!is_there) {
    Broken(sector, fmt::format("grain {} has no table", grain));
    co_return base::Ok();
  }
  if (table_.Get(index) == sector) co_return base::Ok();
  Found found{.id = Invariant::kS1,
              .text = fmt::format("grain {} is at sector {}, its entry says {}", grain, sector,
                                  table_.Get(index)),
              .repair = is_walked_whole_ ? RepairClass::kAutomatic : RepairClass::kNone,
              .repair_text = is_walked_whole_ ? "the entry leads to the grain" : ""};
  found.place.table = number;
  found.place.file_offset_bytes = uint64_t{directory_.Get(number)} * kSectorBytes + index * 4;
  if (!findings().Add(std::move(found))) co_return base::Ok();
  table_.Set(index, static_cast<uint32_t>(sector));
  co_return co_await StoreTable();
}

// S1: no entry leads to a grain that is not there.
Task<Status> StreamCheck::CountEntries() {
  uint64_t entry_count = 0;
  table_number_ = kNoTable;
  for (uint64_t number = 0; number < directory_.count(); ++number) {
    if (directory_.Get(number) == 0) continue;
    const bool is_there = co_await LoadTable(number);
    if (!is_there) {
      Broken(0, fmt::format("table {} at sector {} is outside the file", number,
                            directory_.Get(number)));
      continue;
    }
    for (size_t i = 0; i < table_.count(); ++i) {
      const uint32_t entry = table_.Get(i);
      const bool is_zero = entry == kHostedZeroEntry && header_.has(kHostedFlagZeroGrains);
      if (entry != 0 && !is_zero) ++entry_count;
    }
  }
  if (entry_count != record_count_ && findings().open_error_count() == 0) {
    Broken(0, fmt::format("the tables have {} grains, the stream {}", entry_count, record_count_));
  }
  co_return base::Ok();
}

Task<Status> StreamCheck::CheckTables() {
  const uint64_t sector = header_.directory_sector;
  const uint64_t count = header_.directory_sectors();
  if (sector == kDirectoryAtEnd) co_return base::Ok();  // the footer was the finding
  if (sector == 0 || sector >= file_sectors_ || count > file_sectors_ - sector) {
    Broken(0, fmt::format("the directory at sector {} is outside the file", sector));
    co_return base::Ok();
  }
  directory_ = Table(header_.table_count());
  const bool was_read = co_await run_.Read(object(), sector * kSectorBytes, directory_.bytes());
  if (!was_read) co_return base::Ok();
  CO_TRY_STATUS(co_await WalkRecords(/*against_tables=*/true));
  co_return co_await CountEntries();
}

// S2: the end-of-stream sector is there, and the last.
Task<Status> StreamCheck::CheckEnd() {
  if (!is_walked_whole_) co_return base::Ok();
  const uint64_t end_bytes = (end_sector_ ? *end_sector_ + 1 : walked_to_ + 1) * kSectorBytes;
  if (end_sector_ && object().size_bytes() == end_bytes) co_return base::Ok();
  const uint64_t behind = end_sector_ ? object().size_bytes() - end_bytes : 0;
  const bool repairs = findings().Add(
      {.id = Invariant::kS2,
       .text = end_sector_ ? fmt::format("{} bytes follow the end of the stream", behind)
                           : std::string("there is no end-of-stream sector"),
       .repair = RepairClass::kAutomatic,
       .repair_text = end_sector_ ? "the file is cut there" : "it is written"});
  if (!repairs) co_return base::Ok();
  // Cutting and growing are one thing: the end-of-stream sector is all zeros.
  CO_TRY_STATUS(co_await run_.lib().backend().Resize(file_.path, end_bytes));
  co_return co_await object().Sync(/*data_only=*/false);
}

// S2: version 3. The footer first: the header decides what readers think of the file.
Task<Status> StreamCheck::CheckVersion() {
  if (header_.version == kStreamVersion) co_return base::Ok();
  const bool repairs =
      findings().Add({.id = Invariant::kS2,
                      .text = fmt::format("the header's version is {}, importers want {}",
                                          uint32_t{header_.version}, kStreamVersion),
                      .repair = RepairClass::kAutomatic,
                      .repair_text = fmt::format("it becomes {}", kStreamVersion)});
  if (!repairs) co_return base::Ok();
  for (const uint64_t sector : {footer_sector_.value_or(0), uint64_t{0}}) {
    std::array<std::byte, kHostedHeaderBytes> bytes{};
    const bool was_read = co_await run_.Read(object(), sector * kSectorBytes, bytes);
    if (!was_read) co_return base::Ok();
    auto header = base::LoadAs<HostedHeader>(bytes);
    header.version = kStreamVersion;
    base::StoreAs(std::span<std::byte>(bytes), 0, header);
    CO_TRY_STATUS(co_await WriteAt(object(), sector * kSectorBytes, bytes));
    CO_TRY_STATUS(co_await object().Sync(/*data_only=*/true));
  }
  co_return base::Ok();
}

Task<Status> StreamCheck::Run() {
  const bool has_header = co_await ReadHeader();
  if (!has_header) co_return base::Ok();
  const bool is_rounded =
      RoundUp(file_.line_sectors, header_.grain_sectors) == header_.capacity_sectors;
  file_.take_size(is_rounded ? file_.line_sectors : uint64_t{header_.capacity_sectors});
  run_.Expect(object().size_bytes());
  CO_TRY_STATUS(co_await WalkRecords(/*against_tables=*/false));
  CO_TRY_STATUS(co_await CheckFooter());
  CO_TRY_STATUS(co_await CheckTables());
  CO_TRY_STATUS(co_await CheckVersion());
  co_return co_await CheckEnd();
}

}  // namespace

Task<Status> CheckStream(CheckRun& run, ExtentFile& file) {
  StreamCheck check(run, file);
  co_return co_await check.Run();
}

}  // namespace disklib::check
