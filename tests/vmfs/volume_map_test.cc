// Every map kind at its borders, files and directories as they grow through all forms, and resource
// files that grow: written, read back after a remount, and checked.

#include <gtest/gtest.h>

#include <fmt/format.h>

#include "fs/base/log.h"
#include "tests/support/vmfs_volume.h"
#include "tests/support/volume_history.h"

namespace vmfs {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kGiB = uint64_t{1} << 30;
constexpr uint64_t kTiB = uint64_t{1} << 40;

class VolumeMap : public testing::Test {
 protected:
  explicit VolumeMap(uint64_t volume_bytes = 256 * kMiB)
      : volume_(executor_, volume_bytes, /*logging=*/false), history_(executor_, volume_) {
    base::SetLogLevel(base::LogLevel::kOff);
    CHECK(volume_.MakeFileSystem().has_value());
    CHECK(volume_.Mount().has_value());
  }

  // What was written is there, before and after a remount, and the check finds nothing.
  void ExpectWhole() {
    ASSERT_EQ(history_.failure(), "");
    ExpectTree();
    history_.Unmount();
    ASSERT_EQ(volume_.Check(), "");
    ASSERT_TRUE(volume_.Mount().has_value());
    ExpectTree();
    ASSERT_EQ(history_.failure(), "");
  }

  void TearDown() override {
    if (volume_.mounted()) history_.Unmount();
    EXPECT_EQ(history_.failure(), "");
    EXPECT_EQ(volume_.Check(), "");
  }

  base::SimExecutor executor_{5};
  SimVolume volume_;
  VolumeHistory history_;

 private:
  void ExpectTree() {
    Tree found;
    const base::Status read =
        base::RunSync(executor_, VolumeClient(volume_.volume()).ReadTree("", found));
    ASSERT_TRUE(read.has_value()) << read.error().message();
    ASSERT_EQ(DescribeDifference(history_.now(), found), "");
  }
};

TEST_F(VolumeMap, AFileGrowsThroughEveryForm) {
  history_.Create("/f");
  for (const uint64_t size : {uint64_t{1}, uint64_t{3583}, uint64_t{3584}, uint64_t{3585},
                              64 * kMiB / 1024, 64 * kMiB / 1024 + 1, kMiB, kMiB + 1, 5 * kMiB}) {
    const uint64_t now = history_.now().at("/f").size_bytes;
    history_.Write("/f", now, size - now);
    ExpectWhole();
  }
  history_.Write("/f", 320 * kMiB - 1, 2);
  ExpectWhole();
  history_.Write("/f", 2560 * kGiB - 1, 2);
  ExpectWhole();
}

TEST_F(VolumeMap, ASparseFileReachesToTheEndOfTheFormat) {
  history_.Create("/sparse");
  for (const uint64_t offset :
       {62 * kTiB, uint64_t{0}, 64 * kTiB - 3000, 8 * kGiB - 100, 16 * kGiB, 24 * kGiB - 1,
        2560 * kGiB + 12'345, 32 * kTiB + 1, 40 * kTiB - 700}) {
    history_.Write("/sparse", offset, 2999);
  }
  ExpectWhole();
  history_.Punch("/sparse", 8 * kGiB - 50, 100);
  history_.Punch("/sparse", 16 * kGiB, 8 * kGiB);
  history_.Punch("/sparse", 30 * kTiB, 30 * kTiB);
  ExpectWhole();
  history_.Truncate("/sparse", 8 * kGiB - 60);
  ExpectWhole();
  history_.Truncate("/sparse", 0);
  ExpectWhole();
}

TEST_F(VolumeMap, HolesArePunchedIntoDirectMaps) {
  history_.Create("/direct");
  history_.Write("/direct", 0, 9 * kMiB + 5);
  history_.Punch("/direct", 9 * kMiB, kMiB);
  history_.Punch("/direct", 7 * kMiB - 10, kMiB + 20);
  history_.Punch("/direct", 3 * kMiB, 2 * kMiB);
  ExpectWhole();
  history_.Write("/direct", 3 * kMiB + 100, 2 * kMiB);
  history_.Punch("/direct", 0, 20 * kMiB);
  ExpectWhole();
}

class VolumeGrowth : public VolumeMap {
 protected:
  VolumeGrowth() : VolumeMap(1024 * kMiB) {}

  void Expect(const base::Status& status, const std::string& what) {
    ASSERT_TRUE(status.has_value()) << what << ": " << status.error().message();
  }

  void Symlink(const std::string& path) {
    VolumeClient client(volume_.volume());
    Expect(base::RunSync(executor_, client.MakeSymlink(path, "target")), "symlink " + path);
  }

  void Unlink(const std::string& path) {
    VolumeClient client(volume_.volume());
    Expect(base::RunSync(executor_, client.Unlink(path)), "unlink " + path);
  }

  // The number of names below `top`, after a remount.
  size_t CountAgain(const std::string& top) {
    history_.Unmount();
    EXPECT_EQ(volume_.Check(), "");
    EXPECT_TRUE(volume_.Mount().has_value());
    Tree found;
    VolumeClient client(volume_.volume());
    Expect(base::RunSync(executor_, client.ReadTree(top, found)), "read " + top);
    return found.size();
  }

  static std::string LongName(int number) { return fmt::format("/d/{:0>120}", number); }
};

TEST_F(VolumeGrowth, ADirectoryMovesIntoFileBlocks) {
  history_.MakeDirectory("/d");
  for (int i = 0; i < 4500; ++i) Symlink(LongName(i));
  EXPECT_EQ(CountAgain("/d"), 4500U);
  for (int i = 0; i < 4500; i += 3) Unlink(LongName(i));
  EXPECT_EQ(CountAgain("/d"), 3000U);
  for (int i = 0; i < 4500; i += 3) Symlink(LongName(i));
  EXPECT_EQ(CountAgain("/d"), 4500U);
  for (int i = 0; i < 4500; ++i) Unlink(LongName(i));
  history_.RemoveDirectory("/d");
}

TEST_F(VolumeGrowth, DescriptorsGrow) {
  history_.MakeDirectory("/d");
  for (int i = 0; i < 5000; ++i) Symlink(fmt::format("/d/{}", i));
  EXPECT_EQ(CountAgain("/d"), 5000U);
}

// `.sbc.sf` outgrows the 320 slots of its descriptor and maps through `.pb2.sf` from then on.
TEST_F(VolumeGrowth, SubBlocksGrowThroughPointerBlocks) {
  const std::vector<std::byte> bytes = SeededBytes(1, 4000);
  VolumeClient client(volume_.volume());
  history_.MakeDirectory("/d");
  for (int i = 0; i < 5400; ++i) {
    const std::string path = fmt::format("/d/{}", i);
    Expect(base::RunSync(executor_, client.Create(path)), "create");
    const auto done = base::RunSync(executor_, client.Write(path, 0, bytes));
    ASSERT_TRUE(done.has_value()) << i << ": " << done.error().message();
  }
  EXPECT_EQ(CountAgain("/d"), 5400U);
  for (int i = 0; i < 5400; i += 2) Unlink(fmt::format("/d/{}", i));
  EXPECT_EQ(CountAgain("/d"), 2700U);
}

}  // namespace
}  // namespace vmfs
