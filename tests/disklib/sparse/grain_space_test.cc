#include "disklib/sparse/grain_space.h"

#include <set>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "fs/base/random.h"

namespace disklib {
namespace {

using base::Code;

TEST(GrainSpace, GoesOnConsecutivelyAndPrefersRunsThatHoldItAll) {
  GrainSpace space(8, 800, 1600);
  EXPECT_EQ(*space.Take(2), (SectorRun{800, 16}));
  EXPECT_EQ(*space.Take(1), (SectorRun{816, 8}));
  space.GiveBack({800, 16});
  EXPECT_EQ(*space.Take(3), (SectorRun{824, 24}));
  EXPECT_EQ(*space.Take(2), (SectorRun{800, 16}));
}

TEST(GrainSpace, UsesPiecesOnlyWhenTheTailIsFull) {
  GrainSpace space(8, 800, 832);
  EXPECT_EQ(*space.Take(100), (SectorRun{800, 32}));
  EXPECT_EQ(space.Take(1).error().code(), Code::kNoSpace);
  space.GiveBack({808, 8});
  EXPECT_EQ(*space.Take(4), (SectorRun{808, 8}));
  EXPECT_EQ(space.TakeTail(1).error().code(), Code::kNoSpace);
}

TEST(GrainSpace, JoinsNeighboursAndPullsTheTailBack) {
  GrainSpace space(8, 800, 1600);
  EXPECT_TRUE(space.Take(10));
  space.GiveBack({872, 8});
  space.GiveBack({856, 8});
  space.GiveBack({864, 8});
  EXPECT_EQ(space.free_run_count(), 1u);
  EXPECT_EQ(space.NextFree(0), (SectorRun{856, 24}));
  EXPECT_EQ(space.NextFree(860), (SectorRun{860, 20}));
  EXPECT_EQ(space.NextFree(880).count, 0u);
  space.PullTailBack();
  EXPECT_EQ(space.tail_sector(), 856u);
}

TEST(GrainSpace, TakesWholeUnitsOutForPunching) {
  GrainSpace space(8, 0, 100'000);
  EXPECT_TRUE(space.Take(1000));
  space.GiveBack({1000, 3000});
  EXPECT_EQ(space.TakeWhole({1000, 8}, 2048).count, 0u);
  const SectorRun whole = space.TakeWhole({2000, 200}, 1024);
  EXPECT_LE(whole.first_sector, 1024u);
  EXPECT_GE(whole.end_sector(), 3072u);
  EXPECT_EQ((whole.first_sector - 1000) % 8, 0u);
  EXPECT_EQ(whole.count % 8, 0u);
  space.GiveBack(whole);
  EXPECT_EQ(space.NextFree(0), (SectorRun{1000, 3000}));
}

// Against a set of free sectors: nothing is handed out twice, nothing that was not free.
TEST(GrainSpace, NeverHandsOutAGrainTwice) {
  base::Random random(11);
  GrainSpace space(8, 8, 40'000);
  std::set<uint64_t> used;
  std::vector<SectorRun> taken;
  for (int round = 0; round < 20'000; ++round) {
    if (random.OneIn(2) || taken.empty()) {
      const auto run = space.Take(1 + random.Below(12));
      if (!run) continue;
      for (uint64_t at = run->first_sector; at < run->end_sector(); at += 8) {
        ASSERT_TRUE(used.insert(at).second) << at;
      }
      ASSERT_LE(run->end_sector(), 40'000u);
      taken.push_back(*run);
    } else {
      std::swap(taken[random.Below(taken.size())], taken.back());
      for (uint64_t at = taken.back().first_sector; at < taken.back().end_sector(); at += 8) {
        used.erase(at);
      }
      space.GiveBack(taken.back());
      const SectorRun whole = space.TakeWhole(taken.back(), 64);
      if (whole.count > 0) space.GiveBack(whole);
      taken.pop_back();
    }
    if (random.OneIn(50)) space.PullTailBack();
  }
}

}  // namespace
}  // namespace disklib
