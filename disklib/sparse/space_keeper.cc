#include "disklib/sparse/space_keeper.h"

#include <algorithm>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "disklib/extent.h"
#include "fs/base/aligned_buffer.h"
#include "fs/base/check.h"

namespace disklib {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

SpaceKeeper::SpaceKeeper(base::Executor& executor, Object& object, GrainFormat& format,
                         GrainTables& tables, GrainSpace space, SparseFaults faults)
    : executor_(executor),
      object_(object),
      format_(format),
      tables_(tables),
      space_(std::move(space)),
      faults_(faults),
      ready_sector_(space_.tail_sector()),
      open_tail_sector_(space_.tail_sector()),
      growth_lock_(executor),
      background_(executor),
      search_ended_(executor) {}

Task<Result<SectorRun>> SpaceKeeper::Take(uint64_t grain_count_max) {
  if (!has_searched_) {
    has_searched_ = true;
    if (format_.layout().used_bitmap_sector != 0 && !tables_.is_empty()) {
      is_searching_ = true;
      is_search_quick_ = IsSearchQuick();
      background_.Add(Search());
    }
  }
  while (is_searching_ && is_search_quick_) co_await search_ended_.Wait();
  CO_TRY(const SectorRun run, space_.Take(grain_count_max));
  in_flight_.push_back(run);
  Mark(run);
  if (run.end_sector() > ready_sector_) {
    const Status grown = co_await Grow(run.end_sector(), /*is_needed=*/true);
    if (!grown) {
      GiveBack(run);
      space_.PullTailBack();
      co_return grown.error();
    }
  }
  const bool is_low = space_.tail_sector() + kLowWaterBytes / kSectorBytes > ready_sector_;
  if (is_low && !is_growing_ && !has_growth_failed_ && !is_stopping_) {
    is_growing_ = true;
    background_.Add(GrowAhead());
  }
  co_return run;
}

void SpaceKeeper::Settle(SectorRun run) {
  const auto found = std::ranges::find(in_flight_, run);
  CHECK(found != in_flight_.end());
  in_flight_.erase(found);
}

void SpaceKeeper::GiveBack(SectorRun run) {
  Settle(run);
  Mark(run);
  space_.GiveBack(run);
}

// Makes room up to `end_sector` and some ahead. What describes the grains comes first: without it
// they are of no use. When the volume is full, `is_needed` is content with that: the write itself
// takes the blocks of its grains, or is told that there are none.
Task<Status> SpaceKeeper::Grow(uint64_t end_sector, bool is_needed) {
  co_await growth_lock_.Acquire();
  const base::LockGuard guard(growth_lock_);
  if (end_sector <= ready_sector_) co_return base::Ok();
  const uint64_t ahead_sector =
      std::min(space_.tail_sector() + kAheadBytes / kSectorBytes, format_.layout().end_sector);
  uint64_t target_sector = std::max(end_sector, has_growth_failed_ ? 0 : ahead_sector);
  Status grown = co_await AllocateDescription(target_sector);
  if (!grown && grown.error().code() == Code::kNoSpace && is_needed) {
    target_sector = end_sector;
    grown = co_await AllocateDescription(end_sector);
  }
  if (!grown) co_return grown;
  while (grown && ready_sector_ < target_sector) {
    const uint64_t step_sectors =
        std::min(kGrowthStepBytes / kSectorBytes, target_sector - ready_sector_);
    grown = co_await AllocateRange({ready_sector_ * kSectorBytes, step_sectors * kSectorBytes});
    if (grown) ready_sector_ += step_sectors;
  }
  if (grown || grown.error().code() != Code::kNoSpace || !is_needed) co_return grown;
  has_growth_failed_ = true;
  ready_sector_ = std::max(ready_sector_, end_sector);
  co_return base::Ok();
}

Task<Status> SpaceKeeper::AllocateDescription(uint64_t end_sector) {
  std::vector<ByteRange> ranges;
  format_.AppendAhead({ready_sector_, end_sector - ready_sector_}, ranges);
  for (const ByteRange range : ranges) CO_TRY_STATUS(co_await AllocateRange(range));
  co_return base::Ok();
}

// What was allocated ahead goes back to the volume, for something that is needed now.
Task<void> SpaceKeeper::ReleaseAhead() {
  co_await growth_lock_.Acquire();
  const base::LockGuard guard(growth_lock_);
  has_growth_failed_ = true;
  const uint64_t end_sector = ready_sector_;
  ready_sector_ = std::min(ready_sector_, space_.tail_sector());
  co_await PunchBytes(ready_sector_ * kSectorBytes, end_sector * kSectorBytes);
}

// File systems that cannot allocate ahead do it when a write comes.
Task<Status> SpaceKeeper::AllocateRange(ByteRange range) {
  if (range.length_bytes == 0) co_return base::Ok();
  const Status allocated = co_await object_.Allocate(fss::AllocateMode::kAllocate,
                                                     range.offset_bytes, range.length_bytes);
  if (!allocated && allocated.error().code() == Code::kUnsupported) co_return base::Ok();
  co_return allocated;
}

Task<void> SpaceKeeper::GrowAhead() {
  const uint64_t end_sector =
      std::min(space_.tail_sector() + kAheadBytes / kSectorBytes, format_.layout().end_sector);
  const Status grown = co_await Grow(end_sector, /*is_needed=*/false);
  if (grown) {
    // Durable here, so that no flush of a guest has to write the file system's journal for it. A
    // failed barrier may have swallowed the news of lost data: it counts as the next flush's.
    const Status synced = co_await object_.Sync(/*data_only=*/true);
    if (!synced && barrier_status_) barrier_status_ = synced;
  }
  has_growth_failed_ = !grown;
  is_growing_ = false;
}

Task<Result<GrainTables::Numbers>> SpaceKeeper::TakeTables(uint64_t index) {
  const GrainLayout& layout = format_.layout();
  GrainTables::Numbers numbers{};
  for (uint32_t copy = 0; copy < layout.copy_count; ++copy) {
    const uint64_t entry_bytes = index * layout.directory_entry_bytes;
    const uint64_t sector = layout.directory_sectors[copy] + entry_bytes / kSectorBytes;
    if (directory_ready_sectors_.contains(sector)) continue;
    CO_TRY_STATUS(co_await AllocateDescribed({sector * kSectorBytes, kSectorBytes}));
    directory_ready_sectors_.insert(sector);
  }
  for (uint32_t copy = 0; copy < format_.layout().copy_count; ++copy) {
    const Result<uint32_t> table = co_await TakeTable();
    if (!table) {
      GiveBackTables(numbers);
      co_return table.error();
    }
    numbers[copy] = *table;
  }
  co_return numbers;
}

void SpaceKeeper::GiveBackTables(GrainTables::Numbers numbers) {
  for (const uint32_t table : numbers) {
    if (table != kTableNone) spare_tables_.push_back(table);
  }
}

Task<Result<uint32_t>> SpaceKeeper::TakeTable() {
  uint32_t table = kTableNone;
  if (spare_tables_.empty()) {
    CO_TRY(table, format_.TakeTable(space_));
  } else {
    table = spare_tables_.back();
    spare_tables_.pop_back();
  }
  const Status prepared = co_await PrepareTable(table);
  if (!prepared) {
    spare_tables_.push_back(table);
    co_return prepared.error();
  }
  co_return table;
}

// Room for the next tables, or for one when there is no more.
Task<Status> SpaceKeeper::AllocateTables(uint64_t first_sector) {
  const uint64_t offset_bytes = first_sector * kSectorBytes;
  Status allocated = co_await AllocateRange({offset_bytes, kTablesAheadBytes});
  if (allocated) {
    tables_ready_sector_ = first_sector + kTablesAheadBytes / kSectorBytes;
    co_return base::Ok();
  }
  if (allocated.error().code() != Code::kNoSpace) co_return allocated;
  co_return co_await AllocateDescribed({offset_bytes, format_.layout().table_bytes()});
}

// Room for what must be there before a grain is of use, from what was allocated ahead if need be.
Task<Status> SpaceKeeper::AllocateDescribed(ByteRange range) {
  const Status allocated = co_await AllocateRange(range);
  if (allocated || allocated.error().code() != Code::kNoSpace) co_return allocated;
  co_await ReleaseAhead();
  co_return co_await AllocateRange(range);
}

// Makes room for a table and sees to it that it reads as zeros. Most lie in a hole or were
// allocated ahead: reading that is cheap, writing 32 KiB of zeros for one entry is not.
Task<Status> SpaceKeeper::PrepareTable(uint32_t table) {
  const GrainLayout& layout = format_.layout();
  const uint64_t first_sector = format_.TableSector(table);
  const uint64_t end_sector = first_sector + layout.table_bytes() / kSectorBytes;
  if (!layout.has_table_area && end_sector > ready_sector_) {
    CO_TRY_STATUS(co_await Grow(end_sector, /*is_needed=*/true));
  }
  if (layout.has_table_area && end_sector > tables_ready_sector_) {
    CO_TRY_STATUS(co_await AllocateTables(first_sector));
  }
  std::vector<uint64_t> words(layout.table_bytes() / sizeof(uint64_t));
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(words));
  CO_TRY_STATUS(co_await ReadRange(object_, first_sector * kSectorBytes, bytes));
  const bool is_zero = std::ranges::all_of(words, [](uint64_t word) { return word == 0; });
  if (is_zero && end_sector * kSectorBytes <= object_.size_bytes()) co_return base::Ok();
  CO_TRY_STATUS(co_await OverwriteWithZeroes(object_, first_sector * kSectorBytes, bytes.size()));
  co_return base::Ok();
}

void SpaceKeeper::Drop(SectorRun run) {
  if (run.count == 0) return;
  Mark(run);
  if (faults_.reuse_before_barrier) {
    space_.GiveBack(run);
    return;
  }
  if (!dropped_.empty() && dropped_.back().end_sector() == run.first_sector) {
    dropped_.back().count += run.count;
  } else {
    dropped_.push_back(run);
  }
}

void SpaceKeeper::BeginSync() {
  CHECK(dropping_.empty());
  dropping_ = std::exchange(dropped_, {});
  has_growth_failed_ = false;
}

std::vector<SectorRun> SpaceKeeper::FinishSync(bool is_done) {
  std::vector<SectorRun> runs = std::exchange(dropping_, {});
  if (!is_done) {
    dropped_.insert(dropped_.begin(), runs.begin(), runs.end());
    return {};
  }
  for (const SectorRun run : runs) {
    Mark(run);
    space_.GiveBack(run);
    // What is punched is not in the map of free runs meanwhile, so that nobody writes there.
    const SectorRun whole = space_.TakeWhole(run, kPunchBytes / kSectorBytes);
    if (whole.count == 0) continue;
    in_flight_.push_back(whole);
    background_.Add(Punch(whole));
  }
  return runs;
}

Task<void> SpaceKeeper::Punch(SectorRun run) {
  co_await PunchBytes(base::RoundUp(run.first_sector * kSectorBytes, kPunchBytes),
                      base::RoundDown(run.end_sector() * kSectorBytes, kPunchBytes));
  GiveBack(run);
}

// Gives space back to the volume. What cannot be given back is still used again.
Task<void> SpaceKeeper::PunchBytes(uint64_t begin_bytes, uint64_t end_bytes) {
  end_bytes = std::min(end_bytes, object_.size_bytes());
  if (begin_bytes >= end_bytes) co_return;
  static_cast<void>(co_await object_.Allocate(fss::AllocateMode::kPunchHole, begin_bytes,
                                              end_bytes - begin_bytes));
}

Task<void> SpaceKeeper::Stop() {
  is_stopping_ = true;
  co_await background_.Join();
}

Task<void> SpaceKeeper::Trim() {
  space_.PullTailBack();
  if (ready_sector_ <= open_tail_sector_) co_return;
  co_await PunchBytes(space_.tail_sector() * kSectorBytes, ready_sector_ * kSectorBytes);
}

bool SpaceKeeper::IsSearchQuick() const {
  uint64_t table_count = 0;
  for (uint64_t index = 0; index < tables_.table_count(); ++index) {
    if (tables_.HasTable(index)) ++table_count;
  }
  return table_count * format_.layout().table_bytes() <= kQuickSearchBytes;
}

// From the end of the file, where free space is likeliest, to its start. An error ends it: what was
// not proven free stays unused.
Task<void> SpaceKeeper::Search() {
  const GrainLayout& layout = format_.layout();
  uint64_t end_grain = (open_tail_sector_ - layout.first_grain_sector) / layout.grain_sectors;
  while (end_grain > 0 && !is_stopping_) {
    const uint64_t first_grain = (end_grain - 1) / kWindowGrainCount * kWindowGrainCount;
    const Status searched = co_await SearchWindow(first_grain, end_grain);
    if (!searched) break;
    end_grain = first_grain;
  }
  marked_ = {};
  const bool is_at_end = space_.tail_sector() == open_tail_sector_;
  space_.PullTailBack();
  if (is_at_end) ready_sector_ = std::min(ready_sector_, space_.tail_sector());
  is_searching_ = false;
  search_ended_.NotifyAll();
}

// A grain is free when the bitmap says so and no entry of any table refers to it. What changes
// hands while the search runs is marked by whoever moves it.
Task<Status> SpaceKeeper::SearchWindow(uint64_t first_grain, uint64_t end_grain) {
  window_first_grain_ = first_grain;
  marked_.assign(end_grain - first_grain, false);
  MarkKnown();
  CO_TRY_STATUS(co_await MarkBitmap());
  CO_TRY_STATUS(co_await MarkTables());
  if (!is_stopping_) GiveBackUnmarked();
  co_return base::Ok();
}

void SpaceKeeper::MarkKnown() {
  for (const std::vector<SectorRun>* runs : {&in_flight_, &dropped_, &dropping_}) {
    for (const SectorRun run : *runs) Mark(run);
  }
  for (SectorRun run = space_.NextFree(0); run.count > 0; run = space_.NextFree(run.end_sector())) {
    Mark(run);
  }
}

void SpaceKeeper::Mark(SectorRun run) {
  if (marked_.empty()) return;
  const GrainLayout& layout = format_.layout();
  const uint64_t first = (run.first_sector - layout.first_grain_sector) / layout.grain_sectors;
  const uint64_t window_end = window_first_grain_ + marked_.size();
  const uint64_t end = std::min(first + run.count / layout.grain_sectors, window_end);
  for (uint64_t grain = std::max(first, window_first_grain_); grain < end; ++grain) {
    marked_[grain - window_first_grain_] = true;
  }
}

Task<Status> SpaceKeeper::MarkBitmap() {
  const uint64_t bitmap_bytes = format_.layout().used_bitmap_sector * kSectorBytes;
  std::vector<std::byte> bytes(64 * 1024);
  for (uint64_t done = 0; done < marked_.size() && !is_stopping_; done += bytes.size() * 8) {
    const uint64_t first_grain = window_first_grain_ + done;
    CO_TRY_STATUS(co_await ReadRange(object_, bitmap_bytes + first_grain / 8, bytes));
    const uint64_t count = std::min(bytes.size() * 8, marked_.size() - done);
    for (uint64_t i = 0; i < count; ++i) {
      if ((bytes[i / 8] >> (i % 8) & std::byte{1}) != std::byte{0}) marked_[done + i] = true;
    }
  }
  co_return base::Ok();
}

Task<Status> SpaceKeeper::MarkTables() {
  std::vector<uint64_t> entries;
  const uint64_t grain_sectors = format_.layout().grain_sectors;
  for (uint64_t index = 0; index < tables_.table_count() && !is_stopping_; ++index) {
    if (!tables_.HasTable(index)) continue;
    CO_TRY_STATUS(co_await tables_.Peek(index, entries));
    for (const uint64_t entry : entries) {
      if (IsData(entry)) Mark({entry, grain_sectors});
    }
  }
  co_return base::Ok();
}

void SpaceKeeper::GiveBackUnmarked() {
  const GrainLayout& layout = format_.layout();
  const auto sector_of = [&](uint64_t place) {
    return layout.first_grain_sector + (window_first_grain_ + place) * layout.grain_sectors;
  };
  for (uint64_t place = 0; place < marked_.size();) {
    const uint64_t begin = place;
    while (place < marked_.size() && !marked_[place]) ++place;
    space_.GiveBack({sector_of(begin), (place - begin) * layout.grain_sectors});
    while (place < marked_.size() && marked_[place]) ++place;
  }
}

}  // namespace disklib
