#include "fs/daemon/volume_hold.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "fs/base/file_device.h"
#include "fs/base/uring_executor.h"
#include "vmfs/lock/heartbeat.h"

namespace stratad {
namespace {

class VolumeHoldTest : public testing::Test {
 protected:
  void SetUp() override {
    base::FileDeviceOptions options;
    options.create_size_bytes = 1 << 20;
    device_ = *base::OpenFileDevice(*executor_, paths_[0], options);
  }

  void TearDown() override {
    EXPECT_TRUE(base::RunSync(*executor_, device_->Close()).has_value());
    device_.reset();
    std::filesystem::remove(paths_[0]);
  }

  std::unique_ptr<base::UringExecutor> executor_ = *base::UringExecutor::Create();
  const std::vector<std::string> paths_{testing::TempDir() + "/volume-hold." +
                                        std::to_string(getpid())};
  std::unique_ptr<base::FileDevice> device_;
};

TEST_F(VolumeHoldTest, NamesTheSlotOfARunningDaemon) {
  ASSERT_TRUE(*device_->TryLockByte(vmfs::kGuardByteOffset + 17));
  VolumeHold hold;
  const auto holder = hold.Take(paths_);
  ASSERT_TRUE(holder.has_value()) << holder.error().message();
  ASSERT_TRUE(holder->has_value());
  EXPECT_EQ((*holder)->slot, 17u);
}

TEST_F(VolumeHoldTest, TellsAnotherCheckFromADaemon) {
  VolumeHold check;
  EXPECT_FALSE(check.Take(paths_)->has_value());
  VolumeHold repair;
  const auto holder = repair.Take(paths_, /*exclusive=*/true);
  ASSERT_TRUE(holder.has_value()) << holder.error().message();
  ASSERT_TRUE(holder->has_value());
  EXPECT_EQ((*holder)->slot, std::nullopt);
}

TEST_F(VolumeHoldTest, KeepsDaemonsAwayButNotOtherChecks) {
  {
    VolumeHold first, second;
    EXPECT_FALSE(first.Take(paths_)->has_value());
    EXPECT_FALSE(second.Take(paths_)->has_value());
    EXPECT_FALSE(*device_->TryLockByte(vmfs::kGuardByteOffset + 5));
  }
  EXPECT_TRUE(*device_->TryLockByte(vmfs::kGuardByteOffset + 5)) << "free again";
}

TEST_F(VolumeHoldTest, SaysThatAFileIsMissing) {
  VolumeHold hold;
  const std::vector<std::string> missing{"/nonexistent/volume"};
  const auto holder = hold.Take(missing);
  ASSERT_FALSE(holder.has_value());
  EXPECT_EQ(holder.error().code(), base::Code::kNotFound);
}

}  // namespace
}  // namespace stratad
