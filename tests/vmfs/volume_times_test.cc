// Times of files whose kernel keeps them itself: nothing the volume does on its own moves them.

#include <gtest/gtest.h>

#include <array>

#include "fs/base/log.h"
#include "tests/support/vmfs_volume.h"
#include "tests/support/volume_tree.h"

namespace vmfs {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kSecond = 1'000'000;

base::Task<base::Status> Pass(base::Executor& executor, uint64_t microseconds) {
  co_await executor.Sleep(microseconds);
  co_return base::Ok();
}

class KeptTimes : public testing::Test {
 protected:
  KeptTimes() : volume_(executor_, 256 * kMiB, /*logging=*/false) {
    base::SetLogLevel(base::LogLevel::kOff);
    CHECK(volume_.MakeFileSystem().has_value());
    CHECK(volume_.Mount().has_value());
    CHECK(Run(client().Create("/f")).has_value());
    const std::array<std::byte, 5000> bytes{};
    CHECK(Run(client().Write("/f", 0, bytes)).has_value());
    inode_ = *Run(client().Resolve("/f"));
    before_ = Now();
    Wait();
  }

  ~KeptTimes() override { EXPECT_TRUE(volume_.Unmount().has_value()); }

  template <typename T>
  T Run(base::Task<T> task) {
    return base::RunSync(executor_, std::move(task));
  }

  void Wait() { CHECK(Run(Pass(executor_, 3 * kSecond)).has_value()); }

  VolumeClient client() { return VolumeClient(volume_.volume()); }

  fss::Attributes Now() { return *Run(volume_.volume().GetAttributes(inode_)); }

  base::Status Change(fss::AttributeChange change) {
    const auto changed = Run(volume_.volume().SetAttributes(inode_, change));
    if (!changed) return changed.error();
    return base::Ok();
  }

  // The times are those of before, also to the next mount.
  void ExpectUnmoved() {
    ExpectSame(Now());
    ASSERT_TRUE(volume_.Unmount().has_value());
    ASSERT_TRUE(volume_.Mount().has_value());
    ExpectSame(Now());
  }

  void ExpectSame(const fss::Attributes& now) {
    EXPECT_EQ(now.modified_us, before_.modified_us);
    EXPECT_EQ(now.changed_us, before_.changed_us);
  }

  base::SimExecutor executor_{3};
  SimVolume volume_;
  fss::InodeNumber inode_ = 0;
  fss::Attributes before_;
};

TEST_F(KeptTimes, StayWhenBlocksAreAllocatedPunchedOrZeroed) {
  {
    const auto opened = Run(client().Open("/f", fss::OpenMode::kWrite));
    ASSERT_TRUE(opened.has_value());
    for (const fss::AllocateMode mode :
         {fss::AllocateMode::kAllocate, fss::AllocateMode::kAllocateKeepSize,
          fss::AllocateMode::kPunchHole, fss::AllocateMode::kZeroRange,
          fss::AllocateMode::kZeroRangeKeepSize}) {
      Wait();
      EXPECT_TRUE(Run((*opened)->AllocateKeepingTimes(mode, 0, 2 * kMiB)).has_value());
    }
    EXPECT_EQ((*opened)->size_bytes(), 2 * kMiB);
    EXPECT_TRUE(Run((*opened)->Sync(/*data_only=*/false)).has_value());
    EXPECT_TRUE(Run((*opened)->Close()).has_value());
  }
  ExpectUnmoved();
}

TEST_F(KeptTimes, StayWhenTheLengthChanges) {
  fss::AttributeChange change;
  change.keeps_times = true;
  for (const uint64_t size : {5000, 700, 3'000'000, 0}) {
    Wait();
    change.size_bytes = size;
    EXPECT_TRUE(Change(change).has_value());
    EXPECT_EQ(Now().size_bytes, size);
  }
  ExpectUnmoved();
}

TEST_F(KeptTimes, AreThoseTheCallerGives) {
  fss::AttributeChange change;
  change.keeps_times = true;
  change.mode = 0600;
  change.size_bytes = 5000;
  EXPECT_TRUE(Change(change).has_value());
  ExpectSame(Now());
  change.modified_us = 77 * kSecond;
  change.changed_us = 78 * kSecond;
  EXPECT_TRUE(Change(change).has_value());
  EXPECT_EQ(Now().modified_us, 77 * kSecond);
  EXPECT_EQ(Now().changed_us, 78 * kSecond);
}

TEST_F(KeptTimes, MoveWhenNobodyElseKeepsThem) {
  Wait();
  ASSERT_TRUE(Run(client().Allocate("/f", fss::AllocateMode::kAllocate, 0, kMiB)).has_value());
  EXPECT_GT(Now().modified_us, before_.modified_us);
  before_ = Now();
  Wait();
  fss::AttributeChange change;
  change.size_bytes = Now().size_bytes;
  EXPECT_TRUE(Change(change).has_value());
  EXPECT_GT(Now().modified_us, before_.modified_us);
  EXPECT_GT(Now().changed_us, before_.changed_us);
}

TEST_F(KeptTimes, OfAFolderAreStillTheVolumes) {
  ASSERT_TRUE(Run(client().MakeDirectory("/d")).has_value());
  inode_ = *Run(client().Resolve("/d"));
  before_ = Now();
  Wait();
  fss::AttributeChange change;
  change.keeps_times = true;
  change.mode = 0700;
  EXPECT_TRUE(Change(change).has_value());
  EXPECT_GT(Now().changed_us, before_.changed_us);
}

}  // namespace
}  // namespace vmfs
