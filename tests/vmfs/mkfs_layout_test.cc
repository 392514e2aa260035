#include "vmfs/mkfs/layout.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/bytes.h"

namespace vmfs {
namespace {

using base::Code;
using testing_support::ExpectError;

constexpr uint64_t kGibibyte = uint64_t{1} << 30;
constexpr uint64_t kTebibyte = uint64_t{1} << 40;

TEST(MkfsLayout, ScalesMetadataToTheVolume) {
  const auto small = PlanVolume(kVolumeBytesMin);
  ASSERT_TRUE(small);
  EXPECT_EQ(small->fds.resource_count, 2048u);
  EXPECT_EQ(small->sub_blocks.resource_count, 256u);
  EXPECT_EQ(small->journal.resource_count, 4u);
  EXPECT_EQ(small->pb2.resource_count, 16u);
  EXPECT_EQ(small->file(kFdcFd).block_count(), 17u);
  EXPECT_EQ(small->file(kSbcFd).block_count(), 17u);
  EXPECT_EQ(small->file(kJbcFd).block_count(), 9u);
  EXPECT_EQ(small->file(kPb2Fd).block_count(), 2u);
  EXPECT_GE(small->free_block_count(), 184u);
  const auto large = PlanVolume(kTebibyte);
  ASSERT_TRUE(large);
  EXPECT_EQ(large->fds.resource_count, 16384u);
  EXPECT_EQ(large->sub_blocks.resource_count, 16384u);
  EXPECT_EQ(large->journal.resource_count, 128u);
  EXPECT_EQ(large->pb2.resource_count, 256u);
  EXPECT_EQ(large->file(kFbbFd).block_count(), 18u);
}

TEST(MkfsLayout, UsesPb2WhereAMapWouldNotFitADescriptor) {
  const auto small = PlanVolume(64 * kGibibyte);
  ASSERT_TRUE(small);
  EXPECT_EQ(small->file(kSbcFd).map_kind, MapKind::kPb2);
  EXPECT_EQ(small->file(kFbbFd).map_kind, MapKind::kFileBlocks);
  EXPECT_EQ(small->pb2_used_count, 1u);
  const auto large = PlanVolume(64 * kTebibyte);
  ASSERT_TRUE(large);
  EXPECT_EQ(large->file(kFbbFd).map_kind, MapKind::kPb2);
  EXPECT_EQ(large->pb2_used_count, 2u);
  EXPECT_NE(large->file(kFbbFd).pb2_item, large->file(kSbcFd).pb2_item);
}

TEST(MkfsLayout, GivesEveryBlockOnceAtAnySize) {
  for (uint64_t units : {1, 2, 3, 7, 16, 511, 512, 4096, 100000, 262144}) {
    const auto layout = PlanVolume(units * kUnitBytes);
    ASSERT_TRUE(layout) << units;
    uint64_t total = 0;
    std::vector<BlockRun> runs;
    for (const PlannedFile& file : layout->files) {
      EXPECT_EQ(file.block_count(), (file.length_bytes + kMebibyte - 1) / kMebibyte);
      runs.insert(runs.end(), file.runs.begin(), file.runs.end());
    }
    std::ranges::sort(runs, {}, &BlockRun::first);
    for (const BlockRun& run : runs) {
      EXPECT_EQ(run.first, total) << units;
      total += run.count;
    }
    EXPECT_EQ(total, layout->used_block_count);
    EXPECT_LE(total, layout->block_count());
  }
}

TEST(MkfsLayout, RefusesOtherSizes) {
  ExpectError(PlanVolume(0), Code::kInvalidArgument, "256 MiB to 64 TiB");
  ExpectError(PlanVolume(kUnitBytes + 1), Code::kInvalidArgument, "steps");
  ExpectError(PlanVolume(65 * kTebibyte), Code::kInvalidArgument, "64 TiB");
}

TEST(MkfsUnits, TakesAllThatFitsOrWhatWasAskedFor) {
  const uint64_t gibibyte_device[] = {kGibibyte};
  EXPECT_EQ(*PlanUnits(gibibyte_device, std::nullopt), std::vector<uint64_t>{3});
  EXPECT_EQ(*PlanUnits(gibibyte_device, kUnitBytes + 1), std::vector<uint64_t>{2});
  const uint64_t smallest[] = {273 * kMebibyte};
  EXPECT_EQ(*PlanUnits(smallest, std::nullopt), std::vector<uint64_t>{1});
  const uint64_t two[] = {kGibibyte, kGibibyte};
  EXPECT_EQ(*PlanUnits(two, std::nullopt), (std::vector<uint64_t>{3, 3}));
  EXPECT_EQ(*PlanUnits(two, 4 * kUnitBytes), (std::vector<uint64_t>{3, 1}));
}

TEST(MkfsUnits, SaysWhatIsMissing) {
  const uint64_t too_small[] = {273 * kMebibyte - 1};
  ExpectError(PlanUnits(too_small, std::nullopt), Code::kNoSpace, "273 MiB");
  const uint64_t one[] = {kGibibyte};
  ExpectError(PlanUnits(one, kGibibyte), Code::kNoSpace, "devices hold 768 MiB");
  const uint64_t two[] = {kGibibyte, kGibibyte};
  ExpectError(PlanUnits(two, kUnitBytes), Code::kInvalidArgument, "does not need 2 devices");
  const uint64_t huge[] = {100 * kTebibyte};
  ExpectError(PlanUnits(huge, std::nullopt), Code::kTooLarge, "64 TiB");
  ExpectError(PlanUnits({}, std::nullopt), Code::kInvalidArgument, "0 devices");
}

}  // namespace
}  // namespace vmfs
