#include "fs/base/checked.h"

#include <array>
#include <memory>

#include <gtest/gtest.h>

#include "fs/base/device_filter.h"
#include "fs/base/sim_executor.h"
#include "tests/support/sim_disk.h"

namespace base {
namespace {

constexpr uint64_t kBlock = 512;

// Answers a map with a gap in it.
class GappyDevice final : public DeviceFilter {
 public:
  explicit GappyDevice(BlockDevice& device) : DeviceFilter(device) {}

  Task<Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                         std::vector<MapRun>& runs) override {
    runs.push_back({offset_bytes + kBlock, length_bytes - kBlock, MapState::kData});
    co_return Ok();
  }
};

// The shortest filter there can be.
class NoFilter final : public DeviceFilter {
 public:
  explicit NoFilter(std::unique_ptr<BlockDevice> device) : DeviceFilter(std::move(device)) {}
};

class CheckedTest : public testing::Test {
 protected:
  Status Write(BlockDevice& device, uint64_t offset, size_t size) {
    std::array<std::byte, 2 * kBlock> data{};
    const IoVec piece{data.data(), size};
    IoRequest request;
    request.offset_bytes = offset;
    request.buffers = std::span(&piece, 1);
    return RunSync(executor_, device.Write(request));
  }

  SimExecutor executor_{1};
  SimDisk disk_{executor_, SimDisk::Options()};
  std::unique_ptr<BlockDevice> checked_ = CheckedView(disk_);
};

using CheckedDeathTest = CheckedTest;

TEST_F(CheckedTest, PassesGoodCallsAndErrorsOfTheDevice) {
  EXPECT_TRUE(Write(*checked_, 0, kBlock).has_value());
  EXPECT_EQ(Write(*checked_, disk_.size_bytes(), kBlock).error().code(), Code::kOutOfRange);
  disk_.FailNth(1, Code::kPathDead);
  EXPECT_EQ(Write(*checked_, 0, kBlock).error().code(), Code::kPathDead);
}

TEST_F(CheckedTest, FiltersForwardWithoutACoroutine) {
  const auto filtered =
      Checked(std::make_unique<NoFilter>(std::make_unique<SimDisk>(executor_, SimDisk::Options())));
  EXPECT_TRUE(Write(*filtered, kBlock, kBlock).has_value());
  EXPECT_EQ(filtered->size_bytes(), disk_.size_bytes());
}

TEST_F(CheckedDeathTest, StopsHalfBlocks) {
  EXPECT_DEATH((void)Write(*checked_, 100, kBlock), "check failed");
  EXPECT_DEATH((void)Write(*checked_, 0, 100), "check failed");
  EXPECT_DEATH((void)Write(*checked_, 0, 0), "check failed");
}

TEST_F(CheckedDeathTest, StopsUseAfterClose) {
  ASSERT_TRUE(RunSync(executor_, checked_->Close()).has_value());
  EXPECT_DEATH((void)Write(*checked_, 0, kBlock), "closed_");
}

TEST_F(CheckedDeathTest, StopsADeviceWhoseMapHasGaps) {
  GappyDevice gappy(disk_);
  const auto checked = CheckedView(gappy);
  std::vector<MapRun> runs;
  EXPECT_DEATH((void)RunSync(executor_, checked->MapStatus(0, 8 * kBlock, runs)), "offset_bytes");
}

TEST_F(CheckedDeathTest, StopsComparisonsOfUnequalSizes) {
  const std::array<std::byte, 2 * kBlock> bytes{};
  const auto half = std::span(bytes).first(kBlock);
  EXPECT_DEATH((void)RunSync(executor_, checked_->CompareAndWrite(0, bytes, half)),
               "replacement.size");
}

}  // namespace
}  // namespace base
