// A sparse file against a model, and what it costs.
#include <algorithm>
#include <cstring>
#include <map>

#include <fmt/format.h>

#include "tests/disklib/sparse/support.h"

namespace disklib {
namespace {

using base::Code;
using fds::GrainRun;
using fds::GrainState;

std::vector<GrainRun> RunsOf(SparseBench& bench, uint64_t offset_bytes, uint64_t length_bytes) {
  std::vector<GrainRun> runs;
  EXPECT_TRUE(
      Await(bench.executor, bench.extent->grain_map()->Lookup(offset_bytes, length_bytes, runs)));
  return runs;
}

TEST(SparseFile, ShowsAWriteAtOnceAndAfterOpeningAgain) {
  SparseBench bench(100 * kMebi);
  bench.Open();
  auto bytes = PatternOf(1, 3 * kGrain);
  ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, 5 * kGrain, bytes));
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(ReadAt(bench.executor, *bench.extent, 5 * kGrain, bytes.size()), bytes);
    const auto runs = RunsOf(bench, 0, 100 * kMebi);
    ASSERT_EQ(runs.size(), 3u);
    EXPECT_EQ(runs[1], (GrainRun{5 * kGrain, 3 * kGrain, GrainState::kData, 12288 * 512}));
    EXPECT_EQ(runs[2].state, GrainState::kUnallocated);
    EXPECT_EQ(runs[2].offset_bytes + runs[2].length_bytes, 100 * kMebi);
    bench.Reopen();
  }
  bench.Close();
}

TEST(SparseFile, WritesAtMost115PercentForManyRandomGrainsAndOneFlush) {
  SparseBench bench(256 * kMebi);
  bench.Open();
  base::Random random(7);
  std::map<uint64_t, uint64_t> places;
  while (places.size() < 256) places.emplace(random.Below(65536), random.Next());
  bench.figures = {};
  for (const auto& [grain, seed] : places) {
    auto bytes = PatternOf(seed, kGrain);
    ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, grain * kGrain, bytes));
  }
  const uint64_t syncs_ahead = bench.figures.sync_count;
  ASSERT_TRUE(Await(bench.executor, bench.extent->Sync()));
  EXPECT_EQ(bench.figures.sync_count - syncs_ahead, 2u);
  const double ratio = static_cast<double>(bench.figures.sectors_written) * 512 / (256 * kGrain);
  EXPECT_LE(ratio, 1.15) << bench.figures.sectors_written << " sectors";
  RecordProperty("bytes_per_guest_byte", fmt::format("{:.3f}", ratio));
  bench.Close();
}

}  // namespace
}  // namespace disklib
