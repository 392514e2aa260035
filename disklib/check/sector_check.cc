#include "disklib/check/sector_check.h"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include <fmt/format.h>

namespace disklib::check {

using base::Code;
using base::Error;
using base::Status;
using base::Task;

namespace {

constexpr uint32_t kZeroEntry = 1;

}  // namespace

CheckPlace SectorCheck::At(uint64_t index, size_t entry_index) const {
  CheckPlace place;
  place.table = index;
  place.disk_offset_bytes =
      (index * rules_.table_entries + entry_index) * rules_.grain_sectors * kSectorBytes;
  place.file_offset_bytes = uint64_t{directories_[0].Get(index)} * kSectorBytes + entry_index * 4;
  return place;
}

// A grain as far as the file reaches: files end with the last byte written.
SectorRange SectorCheck::GrainAt(uint32_t sector) const {
  return {sector, std::min<uint64_t>(rules_.grain_sectors, file_sectors_ - sector)};
}

Task<bool> SectorCheck::ReadDirectories() {
  const uint64_t count = rules_.table_count();
  for (const uint64_t sector : rules_.directories) {
    directories_.emplace_back(count);
    bad_.emplace_back();
    const bool was_read =
        co_await run_.Read(object(), sector * kSectorBytes, directories_.back().bytes());
    if (!was_read) co_return false;
  }
  co_return true;
}

std::string SectorCheck::WrongWithTable(uint32_t sector) const {
  if (sector < rules_.table_floor) return fmt::format("sector {} is not for tables", sector);
  if (sector + rules_.table_sectors() > file_sectors_) {
    return fmt::format("sector {} is behind the end of the file", sector);
  }
  return {};
}

// Tables that lie over each other or over fixed parts. With a second copy both of a pair are
// suspect, for each can be made anew; without, the later one of the disk.
void SectorCheck::FindOverlaps() {
  std::vector<std::tuple<uint64_t, uint64_t, size_t, uint64_t>> ranges;  // first, end, copy, index
  constexpr size_t kFixed = ~size_t{0};
  for (const SectorRange& fixed : rules_.fixed) {
    if (fixed.count != 0) ranges.emplace_back(fixed.first, fixed.first + fixed.count, kFixed, 0);
  }
  for (size_t copy = 0; copy < directories_.size(); ++copy) {
    for (uint64_t index = 0; index < directories_[copy].count(); ++index) {
      const uint32_t sector = directories_[copy].Get(index);
      if (sector == 0 || IsBad(copy, index)) continue;
      ranges.emplace_back(sector, sector + rules_.table_sectors(), copy, index);
    }
  }
  std::ranges::sort(ranges);
  for (size_t i = 1; i < ranges.size(); ++i) {
    const auto& [first, end, copy, index] = ranges[i - 1];
    const auto& [next_first, next_end, next_copy, next_index] = ranges[i];
    if (next_first >= end) continue;
    const bool blames_both = directories_.size() > 1;
    if (copy != kFixed && (blames_both || next_copy == kFixed)) bad_[copy].insert(index);
    if (next_copy != kFixed) bad_[next_copy].insert(next_index);
  }
}

void SectorCheck::JudgeDirectories() {
  for (size_t copy = 0; copy < directories_.size(); ++copy) {
    for (uint64_t index = 0; index < directories_[copy].count(); ++index) {
      const uint32_t sector = directories_[copy].Get(index);
      const bool other_has_one =
          directories_.size() > 1 && directories_[1 - copy].Get(index) != 0;
      if (sector == 0 ? other_has_one : !WrongWithTable(sector).empty()) bad_[copy].insert(index);
    }
  }
  FindOverlaps();
}

// Puts a table in order: from the other copy, behind the end of the file; or drops it.
Task<Status> SectorCheck::MendEntry(size_t copy, uint64_t index) {
  uint32_t place = 0;
  if (directories_.size() > 1) {
    Table table(rules_.table_entries);
    const uint64_t from = directories_[1 - copy].Get(index);
    const bool was_read = co_await run_.Read(object(), from * kSectorBytes, table.bytes());
    if (!was_read) co_return Error(Code::kIo, fmt::format("repair {}: a table", file_.path));
    if (file_sectors_ + rules_.table_sectors() > uint64_t{1} << 32) {
      co_return Error(Code::kNoSpace, fmt::format("repair {}: no sector for a table",
                                                  file_.path));
    }
    place = static_cast<uint32_t>(file_sectors_);
    CO_TRY_STATUS(co_await WriteAt(object(), file_sectors_ * kSectorBytes, table.bytes()));
    CO_TRY_STATUS(co_await object().Sync(/*data_only=*/false));
    file_sectors_ += rules_.table_sectors();
  }
  directories_[copy].Set(index, place);
  bad_[copy].erase(index);
  CO_TRY_STATUS(co_await StoreChanged(object(), rules_.directories[copy] * kSectorBytes,
                                      directories_[copy]));
  co_return co_await object().Sync(/*data_only=*/true);
}

Task<Status> SectorCheck::MendDirectories() {
  for (size_t copy = 0; copy < directories_.size(); ++copy) {
    const std::vector<uint64_t> bad(bad_[copy].begin(), bad_[copy].end());
    for (const uint64_t index : bad) {
      const uint32_t sector = directories_[copy].Get(index);
      const std::string wrong = WrongWithTable(sector);
      const bool has_other = directories_.size() > 1;
      const bool other_is_good =
          has_other && !IsBad(1 - copy, index) && directories_[1 - copy].Get(index) != 0;
      Found found{.id = rules_.table_id,
                  .text = fmt::format("directory{} entry {}: {}", copy == 0 ? "" : " copy's",
                                      index,
                                      sector == 0     ? "the table is missing"
                                      : wrong.empty() ? "the table lies over another part"
                                                      : wrong)};
      found.place.disk_offset_bytes =
          index * rules_.table_entries * rules_.grain_sectors * kSectorBytes;
      found.place.file_offset_bytes = rules_.directories[copy] * kSectorBytes + index * 4;
      if (other_is_good) {
        found.repair = RepairClass::kAutomatic;
        found.repair_text = "the table is taken from the other copy";
      } else if (!has_other) {
        found.repair = RepairClass::kOnRequest;
        found.repair_text = "the entry becomes 0";
      }
      if (findings().Add(std::move(found))) CO_TRY_STATUS(co_await MendEntry(copy, index));
    }
  }
  co_return base::Ok();
}

// Reads every copy of a table that leads somewhere; one that does not is like the other. Answers
// whether there is one.
Task<bool> SectorCheck::LoadTable(uint64_t index) {
  copies_.assign(directories_.size(), Table(rules_.table_entries));
  size_t good = directories_.size();
  for (size_t copy = 0; copy < directories_.size(); ++copy) {
    const uint64_t sector = directories_[copy].Get(index);
    if (sector == 0 || IsBad(copy, index)) continue;
    const bool was_read =
        co_await run_.Read(object(), sector * kSectorBytes, copies_[copy].bytes());
    if (was_read && good == directories_.size()) good = copy;
  }
  if (good == directories_.size()) co_return false;
  for (size_t copy = 0; copy < directories_.size(); ++copy) {
    if (IsBad(copy, index) || directories_[copy].Get(index) == 0) copies_[copy] = copies_[good];
  }
  co_return true;
}

Task<Status> SectorCheck::SetMark(bool is_set) {
  if (rules_.mark_at_bytes == 0 || rules_.was_unclean || is_marked_ == is_set) {
    co_return base::Ok();
  }
  is_marked_ = is_set;
  const std::array<std::byte, 1> mark = {is_set ? std::byte{1} : std::byte{0}};
  CO_TRY_STATUS(co_await WriteAt(object(), rules_.mark_at_bytes, mark));
  co_return co_await object().Sync(/*data_only=*/true);
}

// The redundant copy first, as writers do; the first one counts, and follows when that is durable.
Task<Status> SectorCheck::StoreTable(uint64_t index) {
  const bool is_changed = std::ranges::any_of(
      copies_, [](const Table& table) { return !table.changed_sectors().empty(); });
  if (!is_changed) co_return base::Ok();
  CO_TRY_STATUS(co_await SetMark(true));
  for (size_t copy = directories_.size(); copy-- > 0;) {
    if (IsBad(copy, index)) continue;
    const uint64_t sector = directories_[copy].Get(index);
    CO_TRY_STATUS(co_await StoreChanged(object(), sector * kSectorBytes, copies_[copy]));
    if (copy > 0) CO_TRY_STATUS(co_await object().Sync(/*data_only=*/true));
  }
  co_return base::Ok();
}

bool SectorCheck::LiesInTable(uint32_t sector) const {
  const SectorRange grain = GrainAt(sector);
  for (uint64_t at = grain.first; at < grain.first + grain.count; ++at) {
    if (tables_.Get(at)) return true;
  }
  return false;
}

std::string SectorCheck::WrongWithEntry(uint32_t entry) const {
  if (entry == 0 || (entry == kZeroEntry && rules_.has_zero_code)) return {};
  if (entry < rules_.grain_floor) return fmt::format("sector {} is not for grains", entry);
  if (entry >= file_sectors_) {
    return fmt::format("sector {} is behind the end of the file", entry);
  }
  return {};
}

void SectorCheck::SetEntry(size_t entry_index, uint32_t value) {
  for (Table& table : copies_) {
    if (table.Get(entry_index) != value) table.Set(entry_index, value);
  }
}

// H5: what the copies are to say. Whatever leads to data is kept; which of two data is for a
// person to say, and until then the first copy counts, as it does for readers.
void SectorCheck::CompareCopies(uint64_t index) {
  if (copies_.size() < 2) return;
  std::vector<std::pair<size_t, uint32_t>> plain, doubtful;
  for (size_t i = 0; i < rules_.table_entries; ++i) {
    const uint32_t first = copies_[0].Get(i);
    const uint32_t second = copies_[1].Get(i);
    if (first == second) continue;
    const bool first_is_good = WrongWithEntry(first).empty();
    const bool second_is_good = WrongWithEntry(second).empty();
    if (!first_is_good && !second_is_good) continue;
    const bool takes_second = !first_is_good || (second_is_good && first == 0);
    const bool is_plain = rules_.was_unclean && (!first_is_good || !second_is_good || first == 0 ||
                                                 second == 0);
    (is_plain ? plain : doubtful).emplace_back(i, takes_second ? second : first);
  }
  for (auto* const group : {&plain, &doubtful}) {
    if (group->empty()) continue;
    const bool is_automatic = group == &plain;
    const bool repairs = findings().Add(
        {.id = Invariant::kH5,
         .text = fmt::format("{} entries of table {} differ between the copies", group->size(),
                             index),
         .place = At(index, group->front().first),
         .repair = is_automatic ? RepairClass::kAutomatic : RepairClass::kOnRequest,
         .repair_text = "both get the one that leads to data, the first copy's if both do"});
    for (const auto& [i, value] : *group) {
      if (repairs) {
        SetEntry(i, value);
      } else {
        copies_[0].Assume(i, value);
      }
    }
  }
}

void SectorCheck::ClearTail(uint64_t index) {
  std::vector<size_t> tail;
  for (size_t i = 0; i < rules_.table_entries; ++i) {
    const uint64_t grain = index * rules_.table_entries + i;
    if (grain * rules_.grain_sectors < rules_.capacity_sectors) continue;
    if (copies_[0].Get(i) != 0) tail.push_back(i);
  }
  if (tail.empty() || !rules_.clears_tail) return;
  const bool is_safe = findings().allows_freeing();
  const bool repairs =
      findings().Add({.id = Invariant::kV6,
                      .text = fmt::format("{} entries behind the end of the disk", tail.size()),
                      .place = At(index, tail.front()),
                      .repair = is_safe ? RepairClass::kAutomatic : RepairClass::kNone,
                      .repair_text = is_safe ? "they become 0" : ""});
  if (!repairs) return;
  for (const size_t i : tail) SetEntry(i, 0);
}

void SectorCheck::JudgeEntries(uint64_t index) {
  for (size_t i = 0; i < rules_.table_entries; ++i) {
    const uint64_t first = (index * rules_.table_entries + i) * rules_.grain_sectors;
    const uint32_t entry = copies_[0].Get(i);
    if (entry == 0 || first >= rules_.capacity_sectors) continue;
    const std::string wrong = WrongWithEntry(entry);
    if (wrong.empty()) {
      file_.held_bytes += rules_.grain_sectors * kSectorBytes;
      if (entry != kZeroEntry) {
        const SectorRange grain = GrainAt(entry);
        end_sector_ = std::max(end_sector_, grain.first + grain.count);
      }
      continue;
    }
    const bool repairs = findings().Add({.id = rules_.entry_id,
                                         .text = wrong,
                                         .place = At(index, i),
                                         .repair = RepairClass::kOnRequest,
                                         .repair_text = "the entry becomes 0"});
    if (repairs) SetEntry(i, 0);
  }
}

// Marks the grains of the table in the window.
void SectorCheck::UseEntries(uint64_t index) {
  for (size_t i = 0; i < rules_.table_entries; ++i) {
    const uint64_t first = (index * rules_.table_entries + i) * rules_.grain_sectors;
    const uint32_t entry = copies_[0].Get(i);
    if (entry == 0 || !WrongWithEntry(entry).empty()) continue;
    if (entry == kZeroEntry && rules_.has_zero_code) continue;
    // Where they are not cleared, entries behind the end keep their grains: the capacity may be
    // what is wrong.
    if (first >= rules_.capacity_sectors && rules_.clears_tail) continue;
    if (!used_.Covers(entry) && !used_.Covers(entry + rules_.grain_sectors - 1)) continue;
    const bool is_in_table = LiesInTable(entry);
    const SectorRange grain = GrainAt(entry);
    const uint64_t taken = used_.Mark(grain.first, grain.count);
    if (taken == UseMap::kNone) continue;
    Found found{.id = is_in_table ? rules_.entry_id : rules_.shared_id,
                .text = is_in_table ? fmt::format("sector {} belongs to a table", entry)
                                    : fmt::format("sector {} belongs to another grain, too", taken),
                .place = At(index, i),
                .repair = RepairClass::kOnRequest,
                .repair_text = is_in_table ? "the entry becomes 0"
                                           : "it gets a copy of its own"};
    if (!findings().Add(std::move(found))) continue;
    if (is_in_table) {
      SetEntry(i, 0);
    } else {
      shared_.push_back({index, i});
    }
  }
}

Task<Status> SectorCheck::WalkTable(uint64_t index, bool judges) {
  const bool is_there = co_await LoadTable(index);
  CO_TRY_STATUS(run_.Advance(rules_.table_entries * 4));
  if (!is_there) co_return base::Ok();
  if (judges) {
    ClearTail(index);
    CompareCopies(index);
    JudgeEntries(index);
  }
  UseEntries(index);
  co_return co_await StoreTable(index);
}

void SectorCheck::MarkFixed() {
  for (const SectorRange& fixed : rules_.fixed) tables_.Mark(fixed.first, fixed.count);
  for (size_t copy = 0; copy < directories_.size(); ++copy) {
    for (uint64_t index = 0; index < directories_[copy].count(); ++index) {
      const uint64_t sector = directories_[copy].Get(index);
      if (sector == 0 || IsBad(copy, index)) continue;
      tables_.Mark(sector, rules_.table_sectors());
      end_sector_ = std::max(end_sector_, sector + rules_.table_sectors());
    }
  }
  used_ = tables_;
}

Task<Status> SectorCheck::Walk(bool judges) {
  for (uint64_t index = 0; index < directories_[0].count(); ++index) {
    const bool is_there = std::ranges::any_of(
        directories_, [index](const Table& directory) { return directory.Get(index) != 0; });
    if (is_there) CO_TRY_STATUS(co_await WalkTable(index, judges));
  }
  if (findings().repairs()) CO_TRY_STATUS(co_await object().Sync(/*data_only=*/true));
  co_return base::Ok();
}

// One run of sectors nobody refers to: only where there is data is space lost.
Task<Status> SectorCheck::CheckGap(uint64_t first, uint64_t end) {
  const uint64_t end_bytes = std::min(end * kSectorBytes, object().size_bytes());
  const uint64_t data = co_await NextData(object(), first * kSectorBytes, end_bytes);
  if (data >= end_bytes) co_return base::Ok();
  const bool is_safe = rules_.punches_leaks;
  Found found{.id = rules_.leak_id,
              .text = fmt::format("nothing refers to sectors {} to {}", first, end - 1),
              .repair = is_safe ? RepairClass::kAutomatic : RepairClass::kNone,
              .repair_text = is_safe ? "their space goes back to the datastore" : ""};
  found.place.file_offset_bytes = first * kSectorBytes;
  if (!findings().Add(std::move(found))) co_return base::Ok();
  co_return co_await object().Allocate(fss::AllocateMode::kPunchHole, first * kSectorBytes,
                                       end_bytes - first * kSectorBytes);
}

Task<Status> SectorCheck::CheckLeaks() {
  const uint64_t end =
      std::min(used_.end(), rules_.ends_with_use ? end_sector_ : file_sectors_);
  uint64_t at = std::max(used_.start(), rules_.grain_floor);
  while (at < end) {
    const UseMap::Run gap = used_.NextGap(at);
    if (gap.count == 0 || gap.first >= end) break;
    CO_TRY_STATUS(co_await CheckGap(gap.first, std::min(end, gap.first + gap.count)));
    at = gap.first + gap.count;
  }
  co_return base::Ok();
}

// Copies go behind the end of the file; entries follow when they are durable.
Task<Status> SectorCheck::CopyShared() {
  std::vector<std::byte> bytes(rules_.grain_sectors * kSectorBytes);
  for (const SharedEntry& shared : shared_) {
    const bool is_there = co_await LoadTable(shared.table);
    const uint64_t entry = copies_[0].Get(shared.index);
    const uint64_t past_floor = std::max(file_sectors_, rules_.grain_floor) - rules_.grain_floor;
    const uint64_t place =
        rules_.grain_floor +
        (past_floor + rules_.grain_sectors - 1) / rules_.grain_sectors * rules_.grain_sectors;
    if (place + rules_.grain_sectors > uint64_t{1} << 32) {
      co_return Error(Code::kNoSpace, fmt::format("repair {}: no sector for a grain",
                                                  file_.path));
    }
    const bool was_read = co_await run_.Read(object(), entry * kSectorBytes, bytes);
    if (!is_there || !was_read) {
      co_return Error(Code::kIo, fmt::format("repair {}: copy a grain", file_.path));
    }
    CO_TRY_STATUS(co_await WriteAt(object(), place * kSectorBytes, bytes));
    CO_TRY_STATUS(co_await object().Sync(/*data_only=*/false));
    file_sectors_ = place + rules_.grain_sectors;
    end_sector_ = file_sectors_;
    SetEntry(shared.index, static_cast<uint32_t>(place));
    CO_TRY_STATUS(co_await StoreTable(shared.table));
    CO_TRY_STATUS(co_await object().Sync(/*data_only=*/true));
  }
  co_return base::Ok();
}

Task<Status> SectorCheck::Run() {
  const bool was_read = co_await ReadDirectories();
  if (!was_read) co_return base::Ok();
  JudgeDirectories();
  CO_TRY_STATUS(co_await MendDirectories());
  used_ = UseMap(file_sectors_, run_.options().window_units);
  tables_ = used_;
  run_.Expect(rules_.table_count() * rules_.table_entries * 4 * used_.window_count());
  for (uint64_t window = 0; window < used_.window_count(); ++window) {
    tables_.MoveTo(window);
    used_.MoveTo(window);
    MarkFixed();
    CO_TRY_STATUS(co_await Walk(/*judges=*/window == 0));
    if (findings().allows_freeing()) CO_TRY_STATUS(co_await CheckLeaks());
  }
  CO_TRY_STATUS(co_await CopyShared());
  co_return co_await SetMark(false);
}

}  // namespace disklib::check
