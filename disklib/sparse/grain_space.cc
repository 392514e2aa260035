#include "disklib/sparse/grain_space.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "fs/base/check.h"

namespace disklib {

using base::Code;
using base::Error;
using base::Result;

namespace {

// How many runs are looked at for one that is long enough. More would make one write slow.
constexpr int kSearchStepsMax = 64;

}  // namespace

// The next run from the cursor with that many sectors, round the end.
GrainSpace::Runs::iterator GrainSpace::FindRun(uint64_t sector_count) {
  auto run = free_.lower_bound(cursor_sector_);
  const size_t steps_max = std::min<size_t>(free_.size(), kSearchStepsMax);
  for (size_t step = 0; step < steps_max; ++step) {
    if (run == free_.end()) run = free_.begin();
    if (run->second >= sector_count) return run;
    ++run;
  }
  return free_.end();
}

SectorRun GrainSpace::CutFront(Runs::iterator run, uint64_t sector_count) {
  const SectorRun taken{run->first, std::min(run->second, sector_count)};
  const uint64_t left = run->second - taken.count;
  free_.erase(run);
  if (left > 0) free_.emplace(taken.end_sector(), left);
  cursor_sector_ = taken.end_sector();
  return taken;
}

Result<SectorRun> GrainSpace::Take(uint64_t grain_count_max) {
  DCHECK(grain_count_max > 0);
  const uint64_t wanted = grain_count_max * grain_sectors_;
  const auto run = FindRun(wanted);
  if (run != free_.end()) return CutFront(run, wanted);
  const uint64_t room = end_sector_ - std::min(tail_sector_, end_sector_);
  const uint64_t count = std::min(wanted, room - room % grain_sectors_);
  if (count > 0) return TakeTail(count);
  if (free_.empty()) {
    return Error(Code::kNoSpace,
                 fmt::format("sparse extent: no grain is free below sector {}", end_sector_));
  }
  const auto any = free_.lower_bound(cursor_sector_);
  return CutFront(any == free_.end() ? free_.begin() : any, wanted);
}

Result<SectorRun> GrainSpace::TakeTail(uint64_t sector_count) {
  if (tail_sector_ > end_sector_ || sector_count > end_sector_ - tail_sector_) {
    return Error(Code::kNoSpace, fmt::format("sparse extent: no room for {} sectors below sector "
                                             "{}",
                                             sector_count, end_sector_));
  }
  const SectorRun taken{tail_sector_, sector_count};
  tail_sector_ += sector_count;
  return taken;
}

bool GrainSpace::IsAnyFree(SectorRun run) const {
  const SectorRun next = NextFree(run.first_sector);
  return next.count > 0 && next.first_sector < run.end_sector();
}

void GrainSpace::GiveBack(SectorRun run) {
  // Two entries of a damaged file may have had one grain.
  if (run.count == 0 || run.end_sector() > tail_sector_ || IsAnyFree(run)) return;
  auto next = free_.lower_bound(run.first_sector);
  if (next != free_.end() && run.end_sector() == next->first) {
    run.count += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == run.first_sector) {
      previous->second += run.count;
      return;
    }
  }
  if (free_.size() < kFreeRunCountMax) free_.emplace(run.first_sector, run.count);
}

SectorRun GrainSpace::TakeWhole(SectorRun run, uint64_t unit_sectors) {
  auto found = free_.upper_bound(run.first_sector);
  if (found == free_.begin()) return {};
  --found;
  const SectorRun whole{found->first, found->second};
  if (whole.end_sector() < run.end_sector()) return {};
  const uint64_t low = run.first_sector / unit_sectors * unit_sectors;
  const uint64_t high = (run.end_sector() + unit_sectors - 1) / unit_sectors * unit_sectors;
  const uint64_t first =
      std::max(low, (whole.first_sector + unit_sectors - 1) / unit_sectors * unit_sectors);
  const uint64_t end = std::min(high, whole.end_sector() / unit_sectors * unit_sectors);
  if (first >= end) return {};
  // Whole grains leave the map, so that what stays in it is grains, too.
  const uint64_t grain_first = first - (first - whole.first_sector) % grain_sectors_;
  const uint64_t grain_count = (end - grain_first + grain_sectors_ - 1) / grain_sectors_;
  const SectorRun taken{grain_first, grain_count * grain_sectors_};
  free_.erase(found);
  if (taken.first_sector > whole.first_sector) {
    free_.emplace(whole.first_sector, taken.first_sector - whole.first_sector);
  }
  if (taken.end_sector() < whole.end_sector()) {
    free_.emplace(taken.end_sector(), whole.end_sector() - taken.end_sector());
  }
  return taken;
}

void GrainSpace::PullTailBack() {
  if (free_.empty()) return;
  const auto last = std::prev(free_.end());
  if (last->first + last->second != tail_sector_) return;
  tail_sector_ = last->first;
  free_.erase(last);
}

SectorRun GrainSpace::NextFree(uint64_t sector) const {
  auto run = free_.upper_bound(sector);
  if (run != free_.begin() && std::prev(run)->first + std::prev(run)->second > sector) --run;
  if (run == free_.end()) return {};
  const uint64_t first = std::max(sector, run->first);
  return {first, run->first + run->second - first};
}

}  // namespace disklib
