#include "disklib/window_map.h"

#include <cstdlib>

#include <gtest/gtest.h>

#include "fs/base/random.h"

namespace disklib {
namespace {

constexpr uint64_t kGiga = uint64_t{1} << 30;

ChainRun DataRun(uint64_t offset_bytes, uint64_t length_bytes, uint32_t source,
                 uint64_t file_offset_bytes) {
  return {.offset_bytes = offset_bytes,
          .length_bytes = length_bytes,
          .state = ChainState::kData,
          .source = source,
          .file_offset_bytes = file_offset_bytes};
}

// A window of `count` runs that alternate between a hole and data, `step_bytes` each.
std::vector<ChainRun> Alternating(uint64_t window, uint64_t count, uint64_t step_bytes) {
  std::vector<ChainRun> runs;
  uint64_t at = window * kWindowBytes;
  for (uint64_t i = 0; i + 1 < count; ++i, at += step_bytes) {
    if (i % 2 == 0) {
      runs.push_back({.offset_bytes = at, .length_bytes = step_bytes});
    } else {
      runs.push_back(DataRun(at, step_bytes, 3, i * 65536));
    }
  }
  const uint64_t end = (window + 1) * kWindowBytes;
  runs.push_back({.offset_bytes = at, .length_bytes = end - at, .state = ChainState::kZero});
  return runs;
}

std::vector<ChainRun> AllOf(const WindowMap& map, uint64_t window) {
  std::vector<ChainRun> runs;
  EXPECT_TRUE(map.Append(window * kWindowBytes, (window + 1) * kWindowBytes, runs));
  return runs;
}

TEST(WindowMap, AnswersOnlyWhatItWasTold) {
  WindowBudget budget;
  WindowMap map(budget);
  map.Grow(kGiga);
  ChainRun run;
  EXPECT_FALSE(map.Probe(0, 4096, run));
  const std::vector<ChainRun> runs = Alternating(5, 7, 8192);
  map.Store(5, runs);
  EXPECT_EQ(AllOf(map, 5), runs);
  const uint64_t start = 5 * kWindowBytes;
  ASSERT_TRUE(map.Probe(start + 8192 + 100, start + 8192 + 600, run));
  EXPECT_EQ(run, DataRun(start + 8192 + 100, 500, 3, 65536 + 100));
  EXPECT_FALSE(map.Probe(4 * kWindowBytes, kGiga, run));
  map.Drop(5);
  EXPECT_FALSE(map.knows(5));
  EXPECT_EQ(budget.used_bytes(), 0u);
}

TEST(WindowMap, KeepsUpTo64RunsAsAListAndMoreAsAnArrayOfUnits) {
  WindowBudget budget;
  WindowMap map(budget);
  map.Grow(kGiga);
  map.Store(0, Alternating(0, 64, 4096));
  EXPECT_LE(map.bytes_of(0), 64 * 16 + 200u);
  map.Store(0, Alternating(0, 65, 4096));
  EXPECT_GE(map.bytes_of(0), 4096 * 8u);
  EXPECT_LE(map.bytes_of(0), 4096 * 8 + 200u);
  EXPECT_EQ(AllOf(map, 0), Alternating(0, 65, 4096));
  map.Store(0, Alternating(0, 200, 512));  // grains of 512 bytes: finer
  EXPECT_LE(map.bytes_of(0), 32768 * 8 + 200u);
  EXPECT_EQ(AllOf(map, 0), Alternating(0, 200, 512));
  map.Store(0, Alternating(0, 100, 65536));  // grains of 64 KiB: coarser
  EXPECT_LE(map.bytes_of(0), 256 * 8 + 200u);
  EXPECT_EQ(AllOf(map, 0), Alternating(0, 100, 65536));
}

TEST(WindowMap, LetsTheWindowsGoThatWereNotUsed) {
  WindowBudget budget(3 * (4096 * 8 + 200));
  WindowMap map(budget);
  map.Grow(kGiga);
  for (uint64_t window = 0; window < 3; ++window) map.Store(window, Alternating(window, 65, 4096));
  EXPECT_EQ(budget.window_count(), 3u);
  map.Store(3, Alternating(3, 65, 4096));  // all were new: the clock comes round once
  EXPECT_EQ(budget.window_count(), 3u);
  ChainRun run;
  ASSERT_TRUE(map.Probe(2 * kWindowBytes, kGiga, run));
  map.Store(4, Alternating(4, 65, 4096));
  EXPECT_TRUE(map.knows(2)) << "was used since";
  EXPECT_TRUE(map.knows(4));
  EXPECT_LE(budget.used_bytes(), budget.limit_bytes());
}

TEST(WindowMap, SharesOneBudgetWithOtherMaps) {
  WindowBudget budget(40'000);
  WindowMap one(budget);
  {
    WindowMap other(budget);
    one.Grow(kGiga);
    other.Grow(kGiga);
    one.Store(0, Alternating(0, 65, 4096));
    other.Store(0, Alternating(0, 65, 4096));
    EXPECT_FALSE(one.knows(0));
    EXPECT_TRUE(other.knows(0));
  }
  EXPECT_EQ(budget.used_bytes(), 0u);
  one.Store(1, Alternating(1, 2000, 512));  // larger than the whole budget: not kept
  EXPECT_FALSE(one.knows(1));
}

// Random changes against one state per sector.
TEST(WindowMap, AgreesWithAModelUnderSmallBudgets) {
  const char* const given = std::getenv("SEED");
  const uint64_t seed = given == nullptr ? 1 : std::strtoull(given, nullptr, 10);
  SCOPED_TRACE("replay with SEED=" + std::to_string(seed));
  base::Random random(seed);
  constexpr uint64_t kWindows = 4;
  // The last window is not whole.
  constexpr uint64_t kSectors = kWindows * (kWindowBytes / 512) - 1000;

  struct Sector {
    ChainState state = ChainState::kHole;
    uint32_t source = 0;
    uint64_t file_sector = 0;
  };

  std::vector<Sector> model(kSectors);
  const auto run_at = [&](uint64_t sector) {
    const Sector& cell = model[sector];
    ChainRun run{.offset_bytes = sector * 512, .length_bytes = 512, .state = cell.state};
    if (cell.state == ChainState::kData) {
      run.source = cell.source;
      if (cell.file_sector != 0) run.file_offset_bytes = cell.file_sector * 512;
    }
    return run;
  };
  WindowBudget budget(300'000);
  WindowMap map(budget);
  map.Grow(kSectors * 512);
  for (int step = 0; step < 3000; ++step) {
    const uint64_t window = random.Below(kWindows);
    const uint64_t first = window * (kWindowBytes / 512);
    const uint64_t end = std::min(first + kWindowBytes / 512, kSectors);
    std::vector<ChainRun> expected;
    if (!map.knows(window) || random.Below(20) == 0) {
      for (uint64_t i = first; i < end; ++i) AppendRun(expected, run_at(i));
      if (!map.knows(window)) map.Store(window, expected);
      std::vector<ChainRun> known;
      ASSERT_TRUE(!map.knows(window) || map.Append(first * 512, end * 512, known));
      if (map.knows(window)) {
        ASSERT_EQ(known, expected);
      }
      ASSERT_LE(budget.used_bytes(), budget.limit_bytes());
    }
    const uint64_t unit = uint64_t{1} << random.Below(8);
    const uint64_t begin = first + random.Below(end - first) / unit * unit;
    const uint64_t length = std::min(end - begin, unit * (1 + random.Below(4)));
    const auto state = static_cast<ChainState>(random.Below(3));
    const auto source = static_cast<uint32_t>(random.Below(1 << 22));
    const bool in_file = random.Below(8) != 0;
    const uint64_t place = 1 + random.Below(uint64_t{1} << 39);
    for (uint64_t i = 0; i < length; ++i)
      model[begin + i] = {state, source, in_file ? place + i : 0};
    ChainRun run = run_at(begin);
    run.length_bytes = length * 512;
    map.Set(run);
  }
}

TEST(ChainRuns, LayTheLowerLinkIntoHolesOnly) {
  const std::vector<ChainRun> upper = {{.offset_bytes = 0, .length_bytes = 100},
                                       DataRun(100, 50, 2, 0),
                                       {.offset_bytes = 150, .length_bytes = 150}};
  const std::vector<ChainRun> lower = {DataRun(50, 200, 1, 1000)};
  const std::vector<ChainRun> expected = {{.offset_bytes = 0, .length_bytes = 50},
                                          DataRun(50, 50, 1, 1000),
                                          DataRun(100, 50, 2, 0),
                                          DataRun(150, 100, 1, 1100),
                                          {.offset_bytes = 250, .length_bytes = 50}};
  EXPECT_EQ(LayBelow(upper, lower), expected);
}

}  // namespace
}  // namespace disklib
