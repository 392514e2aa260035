#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "disklib/check/check_run.h"
#include "disklib/check/raw_table.h"
#include "disklib/check/sesparse_layout.h"
#include "disklib/check/use_map.h"

namespace disklib::check {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;
using Table = RawTable<base::Le64>;

constexpr uint64_t kTableMark = uint64_t{1} << 60;  // of a directory entry
constexpr uint64_t kBitmapChunkBytes = 32'768;
constexpr uint64_t kBackMapChunkEntries = 4'096;
constexpr size_t kBackMapChunks = 64;
constexpr uint64_t kPayloadMask = (uint64_t{1} << 60) - 1;

enum EntryType : uint64_t { kUnallocated = 0, kUnmapped = 1, kZeroed = 2, kAllocated = 3 };

uint64_t TypeOf(uint64_t entry) {
  return entry >> 60;
}

// The grain index is kept with its lowest twelve bits on top.
uint64_t GrainOf(uint64_t entry) {
  return (entry >> 48 & 0xfff) | (entry & 0x0000ffffffffffff) << 12;
}

uint64_t EntryFor(uint64_t grain) {
  return uint64_t{kAllocated} << 60 | (grain & 0xfff) << 48 | grain >> 12;
}

// An entry that shares its grain with another, and is to get its own.
struct SharedEntry {
  uint64_t table_number;  // in the order of the disk
  size_t index;
};

class SeSparseCheck {
 public:
  SeSparseCheck(CheckRun& run, ExtentFile& file) : run_(run), file_(file) {}

  Task<Status> Run();

 private:
  Findings& findings() { return run_.findings(); }
  Object& object() { return *file_.object; }

  Task<Result<bool>> CheckHeaders();
  Task<Result<bool>> CheckDirectory();
  void JudgeDirectory();
  void JudgeDirectoryEntry(size_t index, std::vector<bool>& seen);
  Task<Status> CheckDirectoryTail();
  Task<Status> RaiseFreeTable();

  Task<Status> WalkTables(bool judges);
  Task<Status> WalkOneTable(uint64_t number, Table& table, bool judges);
  void JudgeTable(uint64_t number, Table& table);
  void ClearTail(uint64_t number, Table& table);
  std::string WrongWith(uint64_t entry, uint64_t grain_of_disk) const;
  void UseEntries(uint64_t number, Table& table);
  Task<Status> CheckBackMap(uint64_t number);
  Task<bool> BackMapOf(uint64_t grain, uint64_t& owner);
  Task<Status> WriteBackMap(uint64_t grain, uint64_t owner);

  Task<Status> CompareBitmap();
  Task<Status> CompareChunk(uint64_t first_grain, std::span<std::byte> chunk);
  Task<Status> CheckBitmapTail();
  Task<Status> PunchGrains(UseMap::Run grains);
  bool ReportBits(UseMap::Run grains, bool is_missing);

  Task<Status> CopyShared();
  Task<Status> CopyGrain(SharedEntry shared, uint64_t grain, Table& table);
  Task<Status> SetBit(uint64_t grain);

  uint64_t TableOffset(uint64_t number) const {
    return layout_.tables.offset_bytes() +
           (directory_.Get(number) & 0xffffffff) * kSeSparseTableBytes;
  }
  uint64_t GrainOffset(uint64_t grain) const {
    return layout_.grains.offset_bytes() + grain * kSeSparseGrainBytes;
  }
  uint64_t FileGrains() const {
    const uint64_t size_bytes = file_.object->size_bytes();
    const uint64_t start_bytes = layout_.grains.offset_bytes();
    if (size_bytes <= start_bytes) return 0;
    return (size_bytes - start_bytes + kSeSparseGrainBytes - 1) / kSeSparseGrainBytes;
  }
  CheckPlace At(uint64_t number, size_t index) const {
    CheckPlace place;
    place.table = number;
    place.disk_offset_bytes = (number * kSeSparseTableEntries + index) * kSeSparseGrainBytes;
    place.file_offset_bytes = TableOffset(number) + index * 8;
    return place;
  }

  CheckRun& run_;
  ExtentFile& file_;
  SeSparseLayout layout_;
  uint64_t free_table_ = 0;      // what the volatile header says
  uint64_t tables_in_use_ = 0;   // the highest number in use, and one
  Table directory_;
  std::set<uint64_t> skipped_;   // directory entries that lead nowhere
  UseMap used_{0, 1}, retained_{0, 1};
  std::vector<uint64_t> owned_;  // grains of the table at hand, in the window
  std::vector<SharedEntry> shared_;
  struct BackMapChunk {
    uint64_t number = ~uint64_t{0};
    Table entries;
  };
  std::array<BackMapChunk, kBackMapChunks> back_map_;
};

Task<Result<bool>> SeSparseCheck::CheckHeaders() {
  std::array<std::byte, kSectorBytes> sector{};
  bool was_read = co_await run_.Read(object(), 0, sector);
  if (!was_read) co_return false;
  bool is_mended = false;
  if (!CheckSeSparseHeader(findings(), sector, layout_, is_mended)) co_return false;
  if (is_mended) CO_TRY_STATUS(co_await WriteAt(object(), 0, sector));
  file_.take_size(layout_.capacity_sectors);
  const uint64_t volatile_at = layout_.volatile_header.offset_bytes();
  was_read = co_await run_.Read(object(), volatile_at, sector);
  if (!was_read) co_return false;
  is_mended = false;
  if (!CheckSeSparseVolatile(findings(), sector, is_mended)) co_return false;
  if (is_mended) CO_TRY_STATUS(co_await WriteAt(object(), volatile_at, sector));
  free_table_ = base::LoadAs<base::Le64>(sector, kSeSparseFreeTableAt);
  co_return true;
}

void SeSparseCheck::JudgeDirectoryEntry(size_t index, std::vector<bool>& seen) {
  const uint64_t entry = directory_.Get(index);
  const uint64_t number = entry & 0xffffffff;
  std::string what;
  if ((entry ^ number) != kTableMark) {
    what = fmt::format("the entry is {:#x}", entry);
  } else if (number >= seen.size()) {
    what = fmt::format("table {} is outside the region", number);
  } else if (TableOffset(index) + kSeSparseTableBytes > object().size_bytes()) {
    what = fmt::format("table {} is behind the end of the file", number);
  } else if (seen[number]) {
    what = fmt::format("table {} belongs to another range, too", number);
  } else {
    seen[number] = true;
    tables_in_use_ = std::max(tables_in_use_, number + 1);
    return;
  }
  Found found{.id = Invariant::kX4,
              .text = fmt::format("directory entry {}: {}", index, what),
              .repair = RepairClass::kOnRequest,
              .repair_text = "the entry becomes 0"};
  found.place.disk_offset_bytes = index * kSeSparseTableEntries * kSeSparseGrainBytes;
  found.place.file_offset_bytes = layout_.directory.offset_bytes() + index * 8;
  const bool repairs = findings().Add(std::move(found));
  // Either way the table is not walked.
  if (repairs) {
    directory_.Set(index, uint64_t{0});
  } else {
    skipped_.insert(index);
  }
}

void SeSparseCheck::JudgeDirectory() {
  std::vector<bool> seen(layout_.table_slots());
  for (size_t i = 0; i < directory_.count(); ++i) {
    if (directory_.Get(i) != 0) JudgeDirectoryEntry(i, seen);
  }
}

Task<Status> SeSparseCheck::RaiseFreeTable() {
  if (free_table_ >= tables_in_use_ && free_table_ <= layout_.table_slots()) {
    co_return base::Ok();
  }
  const bool repairs = findings().Add(
      {.id = Invariant::kX4,
       .text = fmt::format("freeGTNumber is {}, tables in use end at {}, there is room for {}",
                           free_table_, tables_in_use_, layout_.table_slots()),
       .repair = RepairClass::kAutomatic,
       .repair_text = fmt::format("freeGTNumber becomes {}", tables_in_use_)});
  if (!repairs) co_return base::Ok();
  const uint64_t at = layout_.volatile_header.offset_bytes();
  std::array<std::byte, kSectorBytes> sector{};
  const bool was_read = co_await run_.Read(object(), at, sector);
  if (!was_read) co_return base::Ok();
  base::StoreAs(std::span<std::byte>(sector), kSeSparseFreeTableAt, base::Le64(tables_in_use_));
  CO_TRY_STATUS(co_await WriteAt(object(), at, sector));
  co_return co_await object().Sync(/*data_only=*/true);
}

// X9: what the directory's region holds behind the tables of the disk.
Task<Status> SeSparseCheck::CheckDirectoryTail() {
  const uint64_t end = layout_.directory.offset_bytes() + layout_.directory.size_bytes();
  uint64_t at = layout_.directory.offset_bytes() + layout_.table_count * 8;
  std::vector<std::byte> chunk(kBitmapChunkBytes);
  for (at = co_await NextData(object(), at, end); at < end;
       at = co_await NextData(object(), at, end)) {
    const uint64_t length = std::min<uint64_t>(chunk.size(), end - at);
    const std::span<std::byte> part(chunk.data(), length);
    const bool was_read = co_await run_.Read(object(), at, part);
    if (!was_read) co_return base::Ok();
    if (std::ranges::any_of(part, [](std::byte b) { return b != std::byte{0}; })) {
      const bool is_safe = findings().allows_freeing();
      Found found{.id = Invariant::kX9,
                  .text = "the directory has entries behind the end of the disk",
                  .repair = is_safe ? RepairClass::kAutomatic : RepairClass::kNone,
                  .repair_text = is_safe ? "they become 0" : ""};
      found.place.file_offset_bytes = at;
      if (findings().Add(std::move(found))) {
        std::ranges::fill(part, std::byte{0});
        CO_TRY_STATUS(co_await WriteAt(object(), at, part));
      }
    }
    at += length;
  }
  co_return base::Ok();
}

Task<Result<bool>> SeSparseCheck::CheckDirectory() {
  directory_ = Table(layout_.table_count);
  const uint64_t at = layout_.directory.offset_bytes();
  const bool was_read = co_await run_.Read(object(), at, directory_.bytes());
  if (!was_read) co_return false;
  JudgeDirectory();
  CO_TRY_STATUS(co_await RaiseFreeTable());
  CO_TRY_STATUS(co_await StoreChanged(object(), at, directory_));
  CO_TRY_STATUS(co_await CheckDirectoryTail());
  co_return true;
}

// What is wrong with an entry of the disk; empty if nothing.
std::string SeSparseCheck::WrongWith(uint64_t entry, uint64_t grain_of_disk) const {
  const uint64_t type = TypeOf(entry);
  if (type > kAllocated) return fmt::format("type {} is not known", type);
  if (type == kUnallocated) return fmt::format("{:#x} has no type", entry);
  if (type != kAllocated) return {};
  const uint64_t grain = GrainOf(entry);
  if (grain >= layout_.grain_slots()) {
    return fmt::format("grain {} is outside the grain area", grain);
  }
  const uint64_t needed_sectors =
      std::min(kSeSparseGrainSectors,
               layout_.capacity_sectors - grain_of_disk * kSeSparseGrainSectors);
  if (GrainOffset(grain) + needed_sectors * kSectorBytes > file_.object->size_bytes()) {
    return fmt::format("grain {} is behind the end of the file", grain);
  }
  return {};
}

// X5, entry by entry.
void SeSparseCheck::JudgeTable(uint64_t number, Table& table) {
  ClearTail(number, table);
  for (size_t i = 0; i < table.count(); ++i) {
    const uint64_t entry = table.Get(i);
    const uint64_t grain_of_disk = number * kSeSparseTableEntries + i;
    if (entry == 0 || grain_of_disk >= layout_.grain_count) continue;
    const std::string wrong = WrongWith(entry, grain_of_disk);
    if (wrong.empty()) {
      file_.held_bytes += kSeSparseGrainBytes;
      continue;
    }
    const bool repairs = findings().Add({.id = Invariant::kX5,
                                         .text = wrong,
                                         .place = At(number, i),
                                         .repair = RepairClass::kOnRequest,
                                         .repair_text = "the entry becomes 0"});
    if (repairs) table.Set(i, uint64_t{0});
  }
}

// X9 for one table: one finding for all that lies behind the end.
void SeSparseCheck::ClearTail(uint64_t number, Table& table) {
  std::vector<size_t> tail;
  for (size_t i = 0; i < table.count(); ++i) {
    const bool is_behind = number * kSeSparseTableEntries + i >= layout_.grain_count;
    if (is_behind && table.Get(i) != 0) tail.push_back(i);
  }
  if (tail.empty()) return;
  const bool is_safe = findings().allows_freeing();
  const bool repairs =
      findings().Add({.id = Invariant::kX9,
                      .text = fmt::format("{} entries behind the end of the disk", tail.size()),
                      .place = At(number, tail.front()),
                      .repair = is_safe ? RepairClass::kAutomatic : RepairClass::kNone,
                      .repair_text = is_safe ? "they become 0" : ""});
  if (!repairs) return;
  for (const size_t i : tail) table.Set(i, uint64_t{0});
}

// Marks the grains of a table in the window: X6.
void SeSparseCheck::UseEntries(uint64_t number, Table& table) {
  owned_.clear();
  for (size_t i = 0; i < table.count(); ++i) {
    const uint64_t entry = table.Get(i);
    const uint64_t grain_of_disk = number * kSeSparseTableEntries + i;
    if (entry == 0 || grain_of_disk >= layout_.grain_count) continue;
    if (!WrongWith(entry, grain_of_disk).empty()) continue;
    const uint64_t grain = GrainOf(entry);
    if (TypeOf(entry) != kAllocated) {
      if ((entry & kPayloadMask) != 0) retained_.Mark(grain, 1);
      continue;
    }
    if (!used_.Covers(grain)) continue;
    owned_.push_back(grain);
    if (used_.Mark(grain, 1) == UseMap::kNone) continue;
    owned_.pop_back();  // its owner is the first
    CheckPlace place = At(number, i);
    place.grain = grain;
    const bool repairs =
        findings().Add({.id = Invariant::kX6,
                        .text = fmt::format("grain {} belongs to another place, too", grain),
                        .place = std::move(place),
                        .repair = RepairClass::kOnRequest,
                        .repair_text = "it gets a copy of its own"});
    if (repairs) shared_.push_back({number, i});
  }
}

Task<bool> SeSparseCheck::BackMapOf(uint64_t grain, uint64_t& owner) {
  const uint64_t number = grain / kBackMapChunkEntries;
  BackMapChunk& chunk = back_map_[number % kBackMapChunks];
  if (chunk.number != number) {
    chunk.entries = Table(kBackMapChunkEntries);
    chunk.number = number;
    const uint64_t at = layout_.back_map.offset_bytes() + number * kBackMapChunkEntries * 8;
    const bool was_read = co_await run_.Read(object(), at, chunk.entries.bytes());
    if (!was_read) {
      chunk.number = ~uint64_t{0};
      co_return false;
    }
  }
  owner = chunk.entries.Get(grain % kBackMapChunkEntries);
  co_return true;
}

Task<Status> SeSparseCheck::WriteBackMap(uint64_t grain, uint64_t owner) {
  BackMapChunk& chunk = back_map_[grain / kBackMapChunkEntries % kBackMapChunks];
  chunk.number = ~uint64_t{0};
  const base::Le64 value(owner);
  co_return co_await WriteAt(object(), layout_.back_map.offset_bytes() + grain * 8,
                             base::BytesOf(value));
}

// X8 for the grains of one table: one finding.
Task<Status> SeSparseCheck::CheckBackMap(uint64_t number) {
  const uint64_t table = directory_.Get(number) & 0xffffffff;
  std::vector<uint64_t> wrong;
  for (const uint64_t grain : owned_) {
    uint64_t owner = 0;
    const bool was_read = co_await BackMapOf(grain, owner);
    if (!was_read) co_return base::Ok();
    if (owner != table) wrong.push_back(grain);
  }
  if (wrong.empty()) co_return base::Ok();
  CheckPlace place = At(number, 0);
  place.grain = wrong.front();
  const bool repairs = findings().Add(
      {.id = Invariant::kX8,
       .text = fmt::format("the back map leads {} grains of table {} elsewhere", wrong.size(),
                           table),
       .place = std::move(place),
       .repair = RepairClass::kAutomatic,
       .repair_text = fmt::format("they lead to table {}", table)});
  if (!repairs) co_return base::Ok();
  for (const uint64_t grain : wrong) CO_TRY_STATUS(co_await WriteBackMap(grain, table));
  co_return base::Ok();
}

Task<Status> SeSparseCheck::WalkOneTable(uint64_t number, Table& table, bool judges) {
  const uint64_t at = TableOffset(number);
  const bool was_read = co_await run_.Read(object(), at, table.bytes());
  CO_TRY_STATUS(run_.Advance(kSeSparseTableBytes));
  if (!was_read) co_return base::Ok();
  if (judges) JudgeTable(number, table);
  CO_TRY_STATUS(co_await StoreChanged(object(), at, table));
  UseEntries(number, table);
  co_return co_await CheckBackMap(number);
}

Task<Status> SeSparseCheck::WalkTables(bool judges) {
  Table table(kSeSparseTableEntries);
  for (uint64_t number = 0; number < layout_.table_count; ++number) {
    if (directory_.Get(number) == 0 || skipped_.contains(number)) continue;
    CO_TRY_STATUS(co_await WalkOneTable(number, table, judges));
  }
  if (judges && findings().repairs()) {
    CO_TRY_STATUS(co_await object().Sync(/*data_only=*/true));
  }
  co_return base::Ok();
}

// X7 for a run of grains; answers whether to mend it.
bool SeSparseCheck::ReportBits(UseMap::Run grains, bool is_missing) {
  CheckPlace place;
  place.grain = grains.first;
  place.file_offset_bytes = layout_.bitmap.offset_bytes() + grains.first / 8;
  if (is_missing) {
    return findings().Add(
        {.id = Invariant::kX7,
         .text = fmt::format("{} grains from {} are in use but free in the bitmap", grains.count,
                             grains.first),
         .place = std::move(place),
         .repair = RepairClass::kAutomatic,
         .repair_text = "they are marked used"});
  }
  return findings().Add(
      {.id = Invariant::kX7,
       .text = fmt::format("{} grains from {} are used in the bitmap but nobody refers to them",
                           grains.count, grains.first),
       .place = std::move(place),
       .repair = RepairClass::kAutomatic,
       .repair_text = "they are freed",
       .severity = CheckSeverity::kLeak});
}

// The space of freed grains goes back where the datastore can take it.
Task<Status> SeSparseCheck::PunchGrains(UseMap::Run grains) {
  const uint64_t start = GrainOffset(grains.first);
  const uint64_t end = std::min(GrainOffset(grains.first + grains.count), object().size_bytes());
  if (start >= end) co_return base::Ok();
  const Status punched =
      co_await object().Allocate(fss::AllocateMode::kPunchHole, start, end - start);
  if (!punched && punched.error().code() != Code::kUnsupported) co_return punched;
  co_return base::Ok();
}

// Compares a piece of the bitmap with what was seen, run by run.
Task<Status> SeSparseCheck::CompareChunk(uint64_t first_grain, std::span<std::byte> chunk) {
  const uint64_t grain_end = std::min(used_.end(), first_grain + chunk.size() * 8);
  const auto state_of = [&](uint64_t grain) {
    const uint64_t bit = grain - first_grain;
    const bool is_set = (chunk[bit / 8] >> (bit % 8) & std::byte{1}) != std::byte{0};
    if (used_.Get(grain)) return is_set ? 0 : 1;
    return is_set && !retained_.Get(grain) ? 2 : 0;
  };
  bool is_changed = false;
  std::vector<UseMap::Run> freed;
  for (uint64_t grain = first_grain; grain < grain_end;) {
    const int state = state_of(grain);
    UseMap::Run run{grain, 0};
    while (grain < grain_end && state_of(grain) == state) ++grain;
    run.count = grain - run.first;
    if (state == 0 || (state == 2 && !findings().allows_freeing())) continue;
    if (!ReportBits(run, state == 1)) continue;
    is_changed = true;
    if (state == 2) freed.push_back(run);
    for (uint64_t bit = run.first - first_grain; bit < grain - first_grain; ++bit) {
      chunk[bit / 8] ^= std::byte{1} << (bit % 8);
    }
  }
  if (!is_changed) co_return base::Ok();
  CO_TRY_STATUS(
      co_await WriteAt(object(), layout_.bitmap.offset_bytes() + first_grain / 8, chunk));
  CO_TRY_STATUS(co_await object().Sync(/*data_only=*/true));
  for (const UseMap::Run& run : freed) CO_TRY_STATUS(co_await PunchGrains(run));
  co_return base::Ok();
}

Task<Status> SeSparseCheck::CompareBitmap() {
  std::vector<std::byte> chunk(kBitmapChunkBytes);
  for (uint64_t grain = used_.start(); grain < used_.end(); grain += chunk.size() * 8) {
    const uint64_t length = std::min<uint64_t>(chunk.size(), (used_.end() - grain + 7) / 8);
    const std::span<std::byte> part(chunk.data(), length);
    const bool was_read =
        co_await run_.Read(object(), layout_.bitmap.offset_bytes() + grain / 8, part);
    if (!was_read) co_return base::Ok();
    CO_TRY_STATUS(co_await CompareChunk(grain, part));
    CO_TRY_STATUS(run_.Advance(length));
  }
  co_return base::Ok();
}

// Bits of grains that the file does not reach: whole bytes behind the last one it does.
Task<Status> SeSparseCheck::CheckBitmapTail() {
  const uint64_t end = layout_.bitmap.offset_bytes() + layout_.bitmap.size_bytes();
  uint64_t at = layout_.bitmap.offset_bytes() + (used_.unit_count() + 7) / 8;
  std::vector<std::byte> chunk(kBitmapChunkBytes);
  for (at = co_await NextData(object(), at, end); at < end;
       at = co_await NextData(object(), at, end)) {
    const std::span<std::byte> part(chunk.data(), std::min<uint64_t>(chunk.size(), end - at));
    const bool was_read = co_await run_.Read(object(), at, part);
    if (!was_read) co_return base::Ok();
    const auto first =
        std::ranges::find_if(part, [](std::byte b) { return b != std::byte{0}; });
    if (first != part.end()) {
      const uint64_t byte = at - layout_.bitmap.offset_bytes() +
                            static_cast<uint64_t>(first - part.begin());
      const bool repairs = ReportBits({byte * 8, part.size() * 8}, /*is_missing=*/false);
      if (repairs) {
        std::ranges::fill(part, std::byte{0});
        CO_TRY_STATUS(co_await WriteAt(object(), at, part));
      }
    }
    at += part.size();
  }
  co_return base::Ok();
}

Task<Status> SeSparseCheck::SetBit(uint64_t grain) {
  std::array<std::byte, 1> byte{};
  const uint64_t at = layout_.bitmap.offset_bytes() + grain / 8;
  const bool was_read = co_await run_.Read(object(), at, byte);
  if (!was_read) co_return Error(Code::kIo, fmt::format("repair {}: bitmap", file_.path));
  byte[0] |= std::byte{1} << (grain % 8);
  co_return co_await WriteAt(object(), at, byte);
}

// Data, bit and back map of one copy; the entry follows when they are durable.
Task<Status> SeSparseCheck::CopyGrain(SharedEntry shared, uint64_t grain, Table& table) {
  const uint64_t at = TableOffset(shared.table_number);
  std::vector<std::byte> bytes(kSeSparseGrainBytes);
  bool was_read = co_await run_.Read(object(), at, table.bytes());
  if (was_read) {
    was_read = co_await run_.Read(object(), GrainOffset(GrainOf(table.Get(shared.index))), bytes);
  }
  if (!was_read) co_return Error(Code::kIo, fmt::format("repair {}: copy a grain", file_.path));
  CO_TRY_STATUS(co_await WriteAt(object(), GrainOffset(grain), bytes));
  CO_TRY_STATUS(co_await SetBit(grain));
  CO_TRY_STATUS(
      co_await WriteBackMap(grain, directory_.Get(shared.table_number) & 0xffffffff));
  CO_TRY_STATUS(co_await object().Sync(/*data_only=*/false));
  table.Set(shared.index, EntryFor(grain));
  CO_TRY_STATUS(co_await StoreChanged(object(), at, table));
  co_return co_await object().Sync(/*data_only=*/true);
}

// Copies go behind the end of the file, where nobody can refer to.
Task<Status> SeSparseCheck::CopyShared() {
  Table table(kSeSparseTableEntries);
  for (const SharedEntry& shared : shared_) {
    const uint64_t grain = FileGrains();
    if (grain >= layout_.grain_slots()) {
      co_return Error(Code::kNoSpace, fmt::format("repair {}: the grain area is full",
                                                  file_.path));
    }
    CO_TRY_STATUS(co_await CopyGrain(shared, grain, table));
  }
  co_return base::Ok();
}

Task<Status> SeSparseCheck::Run() {
  CO_TRY(const bool has_headers, co_await CheckHeaders());
  if (!has_headers) co_return base::Ok();
  CO_TRY(const bool has_directory, co_await CheckDirectory());
  if (!has_directory) co_return base::Ok();
  const uint64_t units = std::min(FileGrains(), layout_.grain_slots());
  used_ = UseMap(units, run_.options().window_units);
  retained_ = used_;
  const uint64_t windows = used_.window_count();
  run_.Expect((tables_in_use_ * kSeSparseTableBytes) * windows + units / 8);
  for (uint64_t window = 0; window < windows; ++window) {
    used_.MoveTo(window);
    retained_.MoveTo(window);
    CO_TRY_STATUS(co_await WalkTables(/*judges=*/window == 0));
    CO_TRY_STATUS(co_await CompareBitmap());
  }
  if (findings().allows_freeing()) CO_TRY_STATUS(co_await CheckBitmapTail());
  co_return co_await CopyShared();
}

}  // namespace

Task<Status> CheckSeSparse(CheckRun& run, ExtentFile& file) {
  SeSparseCheck check(run, file);
  co_return co_await check.Run();
}

}  // namespace disklib::check
