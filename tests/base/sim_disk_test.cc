#include "tests/support/sim_disk.h"

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fs/base/sim_executor.h"
#include "tests/support/crash_sweep.h"

namespace base {
namespace {

using Fate = SimDisk::Fate;

constexpr uint64_t kBlock = 512;

Task<Status> WriteFill(BlockDevice& device, uint64_t offset, size_t size, uint8_t value,
                       bool fua = false) {
  std::vector<std::byte> data(size, std::byte{value});
  const IoVec piece{data.data(), data.size()};
  IoRequest request;
  request.offset_bytes = offset;
  request.buffers = std::span(&piece, 1);
  request.fua = fua;
  const Status status = co_await device.Write(request);
  co_return status;
}

uint8_t PeekByte(const SimDisk& disk, uint64_t offset) {
  std::byte byte{};
  disk.Peek(offset, std::span(&byte, 1));
  return static_cast<uint8_t>(byte);
}

class SimDiskTest : public testing::Test {
 protected:
  void Write(uint64_t offset, size_t size, uint8_t value, bool fua = false) {
    EXPECT_TRUE(RunSync(executor_, WriteFill(disk_, offset, size, value, fua)).has_value());
  }

  void Flush() { EXPECT_TRUE(RunSync(executor_, disk_.Flush()).has_value()); }

  SimExecutor executor_{1};
  SimDisk disk_{executor_, SimDisk::Options()};
};

TEST_F(SimDiskTest, FlushedWritesSurviveEveryCrash) {
  Write(0, kBlock, 1);
  Flush();
  EXPECT_TRUE(disk_.OpenChanges(2).empty());
  EXPECT_EQ(PeekByte(*disk_.CrashImage(executor_, 2, {}), 0), 1);
}

TEST_F(SimDiskTest, UnflushedWritesSurviveOrNotEachByItself) {
  Write(0, kBlock, 1);
  Write(kBlock, kBlock, 2);
  ASSERT_EQ(disk_.OpenChanges(2), (std::vector<size_t>{0, 1}));
  const std::vector<Fate> second_only = {{Fate::Kind::kLost, 0}, {Fate::Kind::kKept, 0}};
  const auto image = disk_.CrashImage(executor_, 2, second_only);
  EXPECT_EQ(PeekByte(*image, 0), 0);
  EXPECT_EQ(PeekByte(*image, kBlock), 2);
}

TEST_F(SimDiskTest, FuaSurvivesAloneAndBelowLaterWrites) {
  Write(0, kBlock, 1);
  Write(0, kBlock, 2, /*fua=*/true);
  Write(0, kBlock, 3);
  const std::vector<size_t> open = disk_.OpenChanges(3);
  ASSERT_EQ(open, (std::vector<size_t>{0, 2}));
  const std::vector<Fate> first_kept = {{Fate::Kind::kKept, 0}, {Fate::Kind::kLost, 0}};
  EXPECT_EQ(PeekByte(*disk_.CrashImage(executor_, 3, first_kept), 0), 2);
  const std::vector<Fate> all_kept(2, Fate{Fate::Kind::kKept, 0});
  EXPECT_EQ(PeekByte(*disk_.CrashImage(executor_, 3, all_kept), 0), 3);
}

TEST_F(SimDiskTest, TornWritesAreTornBySector) {
  Write(0, 64 * kBlock, 9);
  std::set<std::string> shapes;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const std::vector<Fate> torn = {{Fate::Kind::kTorn, seed}};
    const auto image = disk_.CrashImage(executor_, 1, torn);
    std::string shape;
    for (uint64_t at = 0; at < 64 * kBlock; at += kBlock) {
      const uint8_t first = PeekByte(*image, at);
      EXPECT_EQ(first, PeekByte(*image, at + kBlock - 1));
      shape += first == 9 ? 'x' : '.';
    }
    shapes.insert(shape);
  }
  EXPECT_EQ(shapes.size(), 20u);
}

TEST_F(SimDiskTest, AFlushCoversOnlyWhatWasAnsweredBeforeItBegan) {
  SimDisk::Options options;
  options.latency_us_min = 10;
  options.latency_us_max = 10;
  SimDisk disk(executor_, options);
  auto flush = disk.Flush();
  flush.Start();
  auto write = WriteFill(disk, 0, kBlock, 1);
  write.Start();
  while (!flush.Done() || !write.Done()) ASSERT_TRUE(executor_.RunOnce(/*may_wait=*/true));
  EXPECT_EQ(disk.log().size(), 2u);
  EXPECT_EQ(disk.OpenChanges(2).size(), 1u);
}

TEST_F(SimDiskTest, WritesInFlightAtTheCrashMayHaveLanded) {
  SimDisk::Options options;
  options.latency_us_min = 10;
  options.latency_us_max = 10;
  SimDisk disk(executor_, options);
  auto first = WriteFill(disk, 0, kBlock, 1);
  auto second = WriteFill(disk, kBlock, kBlock, 2);
  first.Start();
  second.Start();
  while (!first.Done() || !second.Done()) ASSERT_TRUE(executor_.RunOnce(/*may_wait=*/true));
  EXPECT_EQ(disk.OpenChanges(0).size(), 2u);
}

TEST_F(SimDiskTest, FailsTheCallItWasToldTo) {
  Write(0, kBlock, 1);
  disk_.FailNth(2, Code::kIo);
  Write(0, kBlock, 2);
  const Status failed = RunSync(executor_, WriteFill(disk_, 0, kBlock, 3));
  EXPECT_EQ(failed.error().code(), Code::kIo);
  EXPECT_EQ(PeekByte(disk_, 0), 2);
  disk_.FailNth(1, Code::kTimedOut, /*after_effect=*/true);
  EXPECT_FALSE(RunSync(executor_, WriteFill(disk_, 0, kBlock, 4)).has_value());
  EXPECT_EQ(PeekByte(disk_, 0), 4);
  Write(0, kBlock, 5);
}

TEST_F(SimDiskTest, HoldsSixtyFourTebibytesSparsely) {
  SimDisk::Options options;
  options.size_bytes = uint64_t{64} << 40;
  SimDisk disk(executor_, options);
  const uint64_t last = options.size_bytes - kBlock;
  EXPECT_TRUE(RunSync(executor_, WriteFill(disk, last, kBlock, 7)).has_value());
  EXPECT_TRUE(RunSync(executor_, disk.WriteZeroes(0, last, true)).has_value());
  EXPECT_TRUE(RunSync(executor_, disk.Flush()).has_value());
  const auto image = disk.CrashImage(executor_, 3, {});
  EXPECT_EQ(PeekByte(*image, last), 7);
  EXPECT_TRUE(RunSync(executor_, image->Unmap(0, options.size_bytes)).has_value());
  EXPECT_EQ(PeekByte(*image, last), 0);
}

// A record that says "the data is there" must not survive without its data.
constexpr uint64_t kDataAt = 64 * 1024;
constexpr size_t kDataBytes = 16 * 1024;

Task<Status> CommitOnce(BlockDevice& device, uint8_t value) {
  CO_TRY_STATUS(co_await WriteFill(device, kDataAt, kDataBytes, value));
  CO_TRY_STATUS(co_await device.Flush());
  CO_TRY_STATUS(co_await WriteFill(device, 0, kBlock, value));
  CO_TRY_STATUS(co_await device.Flush());
  co_return Ok();
}

std::string RecordHasItsData(SimExecutor&, SimDisk& disk, const CrashCase&) {
  const uint8_t record = PeekByte(disk, 0);
  if (record == 0) return "";
  for (uint64_t at = kDataAt; at < kDataAt + kDataBytes; at += kBlock) {
    if (PeekByte(disk, at) != record) return "the record is there, its data is not";
  }
  return "";
}

TEST(CrashSweep, AcceptsTheRightOrderAndTriesEveryCase) {
  SimExecutor executor(1);
  SimDisk disk(executor, SimDisk::Options());
  ASSERT_TRUE(RunSync(executor, CommitOnce(disk, 1)).has_value());
  const CrashSweepResult result = SweepCrashes(disk, CrashSweepOptions(), RecordHasItsData);
  EXPECT_TRUE(result.ok()) << result.failure;
  EXPECT_GT(result.cases, 20u);
}

TEST(CrashSweep, FindsAPlantedMissingFlush) {
  SimExecutor executor(1);
  SimDisk disk(executor, SimDisk::Options());
  disk.mutations().ignore_flush = true;
  ASSERT_TRUE(RunSync(executor, CommitOnce(disk, 1)).has_value());
  const CrashSweepResult result = SweepCrashes(disk, CrashSweepOptions(), RecordHasItsData);
  EXPECT_FALSE(result.ok());
  EXPECT_NE(result.failure.find("replay with only_prefix"), std::string::npos);
}

TEST(CrashSweep, ReplaysOneCaseAlone) {
  SimExecutor executor(1);
  SimDisk disk(executor, SimDisk::Options());
  for (uint64_t i = 0; i < 20; ++i) {
    ASSERT_TRUE(RunSync(executor, WriteFill(disk, i * 4096, 4096, 1)).has_value());
  }
  std::vector<std::string> first;
  const auto note = [&first](SimExecutor&, SimDisk&, const CrashCase& crash) {
    first.push_back(crash.ToString());
    return std::string();
  };
  CrashSweepOptions options;
  options.first_prefix = 15;
  SweepCrashes(disk, options, note);
  const std::vector<std::string> all = first;
  first.clear();
  options.only_prefix = 18;
  options.only_case = 36;
  SweepCrashes(disk, options, note);
  ASSERT_EQ(first.size(), 1u);
  EXPECT_NE(std::ranges::find(all, first.front()), all.end());
}

}  // namespace
}  // namespace base
