// `GrainSpace`: where new grains of a sparse file go. Pure.
//
// Two kinds of space, and nothing else is ever handed out: the tail, which begins at the end of the
// file (no entry can refer there: entries are checked against the file's end), and runs that were
// proven free: their last reference is durably gone, or a search found none. Grains come
// consecutively, so that what a guest writes in order lies in order. Memory is bounded: runs beyond
// `kFreeRunCountMax` are forgotten until the next search.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "disklib/descriptor.h"
#include "fs/base/result.h"

namespace disklib {

struct SectorRun {
  uint64_t first_sector = 0;
  uint64_t count = 0;  // sectors

  uint64_t end_sector() const { return first_sector + count; }

  friend bool operator==(const SectorRun&, const SectorRun&) = default;
};

class GrainSpace {
 public:
  static constexpr size_t kFreeRunCountMax = 65536;

  // The tail begins at `tail_sector`, and nothing ends behind `end_sector`.
  GrainSpace(uint64_t grain_sectors, uint64_t tail_sector, uint64_t end_sector)
      : grain_sectors_(grain_sectors), tail_sector_(tail_sector), end_sector_(end_sector) {}

  uint64_t tail_sector() const { return tail_sector_; }

  // Takes between one grain and `grain_count_max`, consecutive. A free run that holds them all is
  // taken before the tail; pieces of runs only when the tail has no room. Error kNoSpace.
  base::Result<SectorRun> Take(uint64_t grain_count_max);

  // Takes sectors off the tail, for tables of formats that append them. Error kNoSpace.
  base::Result<SectorRun> TakeTail(uint64_t sector_count);

  // Whole grains that nobody refers to, and that no write in flight can reach any more. A run of
  // which a part is free already stays as it is.
  void GiveBack(SectorRun run);

  // Takes the free grains that cover the whole aligned units which `run` touches and which are free
  // throughout; empty when there are none. The caller punches the units and gives the run back.
  SectorRun TakeWhole(SectorRun run, uint64_t unit_sectors);

  // When the last free run ends at the tail, the tail begins there instead.
  void PullTailBack();

  // The first free run that ends behind `sector`, cut off there; empty when there is none.
  SectorRun NextFree(uint64_t sector) const;

  size_t free_run_count() const { return free_.size(); }

 private:
  using Runs = std::map<uint64_t, uint64_t>;  // first sector to count

  bool IsAnyFree(SectorRun run) const;
  SectorRun CutFront(Runs::iterator run, uint64_t sector_count);
  Runs::iterator FindRun(uint64_t sector_count);

  uint64_t grain_sectors_;
  uint64_t tail_sector_;
  uint64_t end_sector_;
  Runs free_;
  uint64_t cursor_sector_ = 0;  // where the search for a run goes on
};

}  // namespace disklib
