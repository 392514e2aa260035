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

TEST(SparseFile, WritesAtMost150PercentWithAFlushAfterEach) {
  SparseBench bench(256 * kMebi);
  bench.Open();
  base::Random random(8);
  bench.figures = {};
  for (int i = 0; i < 256; ++i) {
    auto bytes = PatternOf(random.Next(), kGrain);
    const uint64_t grain = random.Below(256) * 256 + static_cast<uint64_t>(i);
    ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, grain * kGrain, bytes));
    const uint64_t syncs_before = bench.figures.sync_count;
    ASSERT_TRUE(Await(bench.executor, bench.extent->Sync()));
    ASSERT_EQ(bench.figures.sync_count - syncs_before, 2u) << "write " << i;
  }
  const double ratio = static_cast<double>(bench.figures.sectors_written) * 512 / (256 * kGrain);
  EXPECT_LE(ratio, 1.5) << bench.figures.sectors_written << " sectors";
  RecordProperty("bytes_per_guest_byte", fmt::format("{:.3f}", ratio));
  bench.Close();
}

TEST(SparseFile, FlushesOnceWhenNothingWasAllocated) {
  SparseBench bench(64 * kMebi);
  bench.Open();
  auto bytes = PatternOf(1, kGrain);
  ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, 0, bytes));
  ASSERT_TRUE(Await(bench.executor, bench.extent->Sync()));
  bench.figures = {};
  ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, 0, bytes));
  ASSERT_TRUE(Await(bench.executor, bench.extent->Sync()));
  EXPECT_EQ(bench.figures.sync_count, 1u);
  EXPECT_EQ(bench.figures.sectors_written, 8u);
  bench.Close();
}

TEST(SparseFile, FlushesTwiceAtMostHoweverMuchWasAllocated) {
  SparseBench bench(1024 * kMebi);
  bench.Open();
  auto bytes = PatternOf(1, 4 * kMebi);
  for (uint64_t i = 0; i < 12; ++i) {
    ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, i * 80 * kMebi, bytes));
  }
  const uint64_t syncs_before = bench.figures.sync_count;
  ASSERT_TRUE(Await(bench.executor, bench.extent->Sync()));
  EXPECT_EQ(bench.figures.sync_count - syncs_before, 2u);
  EXPECT_GT(syncs_before, 2u) << "room was made ahead, outside of the flush";
  bench.Close();
}

TEST(SparseFile, KeepsOrderOnTheDiskAndWritesNeighboursAtOnce) {
  SparseBench bench(64 * kMebi);
  bench.Open();
  auto bytes = PatternOf(1, kMebi);
  bench.figures = {};
  for (uint64_t i = 0; i < 8; ++i) {
    ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, i * kMebi, bytes));
  }
  EXPECT_EQ(bench.figures.write_count, 8u);
  EXPECT_EQ(RunsOf(bench, 0, 8 * kMebi).size(), 1u);
  bench.Close();
}

TEST(SparseFile, TakesWholeGrainsWhereNothingIsAllocated) {
  SparseBench bench(kMebi + 512);
  bench.Open();
  auto sector = PatternOf(1, 512);
  EXPECT_EQ(WriteAt(bench.executor, *bench.extent, 512, sector).error().code(), Code::kMisaligned);
  ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, kMebi, sector)) << "up to the end";
  auto grain = PatternOf(2, kGrain);
  ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, 0, grain));
  ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, 512, sector)) << "inside a grain with data";
  std::copy(sector.begin(), sector.end(), grain.begin() + 512);
  bench.Reopen();
  EXPECT_EQ(ReadAt(bench.executor, *bench.extent, 0, kGrain), grain);
  EXPECT_EQ(ReadAt(bench.executor, *bench.extent, kMebi, 512), sector);
  EXPECT_EQ(Await(bench.executor, bench.extent->WriteZeroes(512, 512, true)).error().code(),
            Code::kMisaligned);
  bench.Close();
}

TEST(SparseFile, IsReadOnlyWhenOpenedToRead) {
  SparseBench bench(kMebi);
  bench.Open(/*can_write=*/false);
  auto grain = PatternOf(2, kGrain);
  EXPECT_EQ(WriteAt(bench.executor, *bench.extent, 0, grain).error().code(), Code::kReadOnly);
  EXPECT_EQ(Await(bench.executor, bench.extent->Release(0, kGrain)).error().code(),
            Code::kReadOnly);
  bench.figures = {};
  ASSERT_TRUE(Await(bench.executor, bench.extent->Sync()));
  bench.Close();
  EXPECT_EQ(bench.figures.sync_count + bench.figures.write_count, 0u);
}

TEST(SparseFile, GivesFreedSpaceBackToTheVolumeAndUsesItAgain) {
  SparseBench bench(256 * kMebi);
  bench.Open();
  auto bytes = PatternOf(1, 32 * kMebi);
  ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, 0, bytes));
  bench.Reopen();
  const uint64_t full_bytes = bench.allocated_bytes();
  ASSERT_TRUE(Await(bench.executor, bench.extent->Release(0, 24 * kMebi)));
  ASSERT_TRUE(Await(bench.executor, bench.extent->Sync()));
  EXPECT_LE(bench.allocated_bytes(), full_bytes - 23 * kMebi);
  EXPECT_EQ(RunsOf(bench, 0, 24 * kMebi).at(0).state, GrainState::kUnallocated);
  const uint64_t length_bytes = bench.file_bytes();
  bytes.resize(20 * kMebi);
  ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, 100 * kMebi, bytes));
  EXPECT_EQ(bench.file_bytes(), length_bytes) << "the freed grains were taken first";
  bench.Reopen();
  EXPECT_EQ(ReadAt(bench.executor, *bench.extent, 100 * kMebi, bytes.size()), bytes);
  bench.Close();
}

TEST(SparseFile, DoesNotGrowByBeingOpenedAgain) {
  SparseBench bench(64 * kMebi);
  auto bytes = PatternOf(1, kGrain);
  for (uint64_t i = 0; i < 20; ++i) {
    bench.Open();
    ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, i * 5 * kGrain, bytes));
    bench.Close();
  }
  EXPECT_LE(bench.file_bytes(), 12288 * 512 + 17 * kMebi);
  EXPECT_LE(bench.allocated_bytes(), 2 * kMebi) << "what was allocated ahead is given back";
  bench.Open();
  for (uint64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(ReadAt(bench.executor, *bench.extent, i * 5 * kGrain, kGrain), bytes);
  }
  bench.Close();
}

TEST(SparseFile, NeverTakesAGrainThatTheBitmapForgot) {
  SparseBench bench(64 * kMebi);
  bench.Open();
  auto bytes = PatternOf(1, 64 * kGrain);
  ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, 0, bytes));
  bench.Close();
  bench.Poke(8192 * 512, std::string(8, '\0'));
  bench.Open();
  auto other = PatternOf(2, 64 * kGrain);
  ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, kMebi, other));
  bench.Reopen();
  EXPECT_EQ(ReadAt(bench.executor, *bench.extent, 0, bytes.size()), bytes);
  EXPECT_EQ(ReadAt(bench.executor, *bench.extent, kMebi, other.size()), other);
  bench.Close();
}

TEST(SparseFile, NeverTakesATableThatTheHeaderForgot) {
  SparseBench bench(64 * kMebi);
  bench.Open();
  auto bytes = PatternOf(1, kGrain);
  ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, 0, bytes));
  bench.Close();
  bench.Poke(512 + 8, std::string(8, '\0'));
  bench.Open();
  ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, 20 * kMebi, bytes));
  bench.Reopen();
  EXPECT_EQ(ReadAt(bench.executor, *bench.extent, 0, kGrain), bytes);
  EXPECT_EQ(ReadAt(bench.executor, *bench.extent, 20 * kMebi, kGrain), bytes);
  bench.Close();
}

TEST(SparseFile, ClearsATableThatHoldsOldBytes) {
  SparseBench bench(64 * kMebi);
  bench.Poke(6144 * 512, std::string(32 * 1024, '\x30'));
  bench.Open();
  auto bytes = PatternOf(1, kGrain);
  ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, 8 * kGrain, bytes));
  bench.Reopen();
  const auto runs = RunsOf(bench, 0, 16 * kMebi);
  ASSERT_EQ(runs.size(), 3u);
  EXPECT_EQ(runs[1].offset_bytes, 8 * kGrain);
  bench.Close();
}

TEST(SparseFile, RefusesEntriesThatLeadOutOfTheFileOrMeetAnother) {
  SparseBench bench(64 * kMebi);
  bench.Open();
  auto bytes = PatternOf(1, kGrain);
  ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, 0, bytes));
  bench.Close();
  const auto entry = [](uint64_t word) {
    return std::string(reinterpret_cast<const char*>(&word), sizeof(word));
  };
  bench.Poke(6144 * 512 + 8, entry(0x3fff000000000000));
  bench.Open();
  std::vector<GrainRun> runs;
  const auto found = Await(bench.executor, bench.extent->grain_map()->Lookup(0, kMebi, runs));
  EXPECT_EQ(found ? Code::kInternal : found.error().code(), Code::kInternal)
      << "grain 4095 lies inside the file, which was made 16 MiB longer ahead";
  bench.Close();
  bench.Poke(6144 * 512 + 8, entry(0x3fff000000000001));
  bench.Open();
  runs.clear();
  EXPECT_EQ(Await(bench.executor, bench.extent->grain_map()->Lookup(0, kMebi, runs)).error().code(),
            Code::kCorrupt);
  bench.Close();
  bench.Poke(4096 * 512 + 8, entry(0x1000000000000000));
  EXPECT_EQ(bench.TryOpen().error().code(), Code::kCorrupt) << "one table, two entries";
}

TEST(SparseFile, SaysWhenSpaceRunsOutAndKeepsEverything) {
  SparseBench bench(256 * kMebi, /*blocks_max=*/1000);
  bench.Open();
  std::map<uint64_t, std::vector<std::byte>> written;
  base::Random random(3);
  base::Status status = base::Ok();
  while (status) {
    const uint64_t offset_bytes = random.Below(65536) * kGrain;
    if (written.contains(offset_bytes)) continue;
    auto bytes = PatternOf(random.Next(), kGrain);
    status = WriteAt(bench.executor, *bench.extent, offset_bytes, bytes);
    if (status) written[offset_bytes] = bytes;
    ASSERT_LT(written.size(), 1000u);
  }
  EXPECT_EQ(status.error().code(), Code::kNoSpace) << status.error().message();
  EXPECT_GT(written.size(), 400u) << "the space was used before it ran out";
  const base::Status synced = Await(bench.executor, bench.extent->Sync());
  EXPECT_TRUE(synced) << synced.error().message();
  bench.Reopen();
  for (const auto& [offset_bytes, bytes] : written) {
    ASSERT_EQ(ReadAt(bench.executor, *bench.extent, offset_bytes, kGrain), bytes) << offset_bytes;
  }
  bench.Close();
}

TEST(SparseFile, GrowsByOneSectorAndShowsNothingOld) {
  SparseBench bench(kMebi + 512);
  bench.Open();
  auto grain = PatternOf(1, kGrain);
  auto sector = PatternOf(2, 512);
  ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, 0, grain));
  ASSERT_TRUE(Await(bench.executor, bench.extent->Sync()));
  ASSERT_TRUE(Await(bench.executor, bench.extent->Release(0, kGrain)));
  ASSERT_TRUE(Await(bench.executor, bench.extent->Sync()));
  ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, kMebi, sector)) << "on the freed grain";
  bench.Close();
  bench.figures = {};
  bench.Grow(3 * kMebi);
  EXPECT_EQ(bench.figures.sectors_written, 1u);
  bench.Open();
  EXPECT_EQ(bench.extent->size_bytes(), 3 * kMebi);
  std::vector<std::byte> expected(kGrain);
  std::copy(sector.begin(), sector.end(), expected.begin());
  EXPECT_EQ(ReadAt(bench.executor, *bench.extent, kMebi, kGrain), expected);
  EXPECT_EQ(RunsOf(bench, kMebi + kGrain, kMebi).at(0).state, GrainState::kUnallocated);
  bench.Close();
  const auto object = bench.OpenFile();
  EXPECT_EQ(Await(bench.executor, GrowSeSparse(*object, uint64_t{1} << 40)).error().code(),
            Code::kTooLarge);
  EXPECT_EQ(Await(bench.executor, GrowSeSparse(*object, kMebi)).error().code(),
            Code::kInvalidArgument);
  EXPECT_TRUE(Await(bench.executor, object->Close()));
}

TEST(SparseFile, ReachesTheLastGrainOf62Tebibytes) {
  constexpr uint64_t kSize = uint64_t{62} << 40;
  SparseBench bench(kSize);
  bench.Open();
  auto bytes = PatternOf(1, kGrain);
  ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, kSize - kGrain, bytes));
  ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, 0, bytes));
  bench.Reopen();
  EXPECT_EQ(ReadAt(bench.executor, *bench.extent, kSize - kGrain, kGrain), bytes);
  EXPECT_EQ(*Await(bench.executor, bench.extent->Seek(fss::SeekKind::kData, kGrain)),
            kSize - kGrain);
  bench.Close();
  EXPECT_LT(bench.allocated_bytes(), 64 * kMebi);
}

}  // namespace
}  // namespace disklib
