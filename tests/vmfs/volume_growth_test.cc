// What growth ahead and flushes of a disk that has grown cost at the device.

#include <gtest/gtest.h>

#include <array>

#include "fs/base/log.h"
#include "tests/support/vmfs_volume.h"
#include "tests/support/volume_tree.h"

namespace vmfs {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kAhead = 16 * kMiB;

base::Task<base::Status> Pass(base::Executor& executor, uint64_t microseconds) {
  co_await executor.Sleep(microseconds);
  co_return base::Ok();
}

struct Cost {
  uint64_t writes = 0, flushes = 0, zeroings = 0, exchanges = 0;
  uint64_t written_bytes = 0, zeroed_bytes = 0;
};

class GrowingDisk : public testing::Test {
 protected:
  GrowingDisk() : volume_(executor_, 512 * kMiB, /*logging=*/true) {
    base::SetLogLevel(base::LogLevel::kOff);
    CHECK(volume_.MakeFileSystem().has_value());
    CHECK(volume_.Mount().has_value());
    CHECK(Run(client().Create("/delta")).has_value());
    file_ = *Run(client().Open("/delta", fss::OpenMode::kExclusiveDisk));
    Allocate(0);
  }

  ~GrowingDisk() override {
    EXPECT_TRUE(Run(file_->Close()).has_value());
    file_.reset();
    EXPECT_TRUE(volume_.Unmount().has_value());
    EXPECT_EQ(volume_.Check(), "");
  }

  template <typename T>
  T Run(base::Task<T> task) {
    return base::RunSync(executor_, std::move(task));
  }

  VolumeClient client() { return VolumeClient(volume_.volume()); }

  void Allocate(uint64_t offset_bytes) {
    CHECK(Run(file_->Allocate(fss::AllocateMode::kAllocate, offset_bytes, kAhead)).has_value());
    CHECK(Run(file_->Sync(/*data_only=*/false)).has_value());
  }

  void Write(uint64_t offset_bytes) {
    std::array<std::byte, 4096> bytes;
    bytes.fill(std::byte{9});
    const base::IoVec piece{bytes.data(), bytes.size()};
    const base::IoRequest request{offset_bytes, std::span(&piece, 1)};
    CHECK(Run(file_->Write(request)).has_value());
  }

  void SyncData() { CHECK(Run(file_->Sync(/*data_only=*/true)).has_value()); }

  void Wait(uint64_t microseconds) { CHECK(Run(Pass(executor_, microseconds)).has_value()); }

  void Begin() { begin_ = volume_.disk().log().size(); }

  // Since Begin.
  Cost Spent() {
    Cost cost;
    const auto& log = volume_.disk().log();
    for (size_t i = begin_; i < log.size(); ++i) {
      switch (log[i].change) {
        case base::SimDisk::Change::kWrite:
          ++cost.writes;
          cost.written_bytes += log[i].length_bytes;
          break;
        case base::SimDisk::Change::kZero:
          ++cost.zeroings;
          cost.zeroed_bytes += log[i].length_bytes;
          break;
        case base::SimDisk::Change::kCompareAndWrite: ++cost.exchanges; break;
        case base::SimDisk::Change::kFlush: ++cost.flushes; break;
      }
    }
    return cost;
  }

  uint64_t commit_count() { return volume_.volume().figures().journal.commit_count; }

  base::SimExecutor executor_{6};
  SimVolume volume_;
  std::unique_ptr<fss::File> file_;
  size_t begin_ = 0;
};

TEST_F(GrowingDisk, AFlushOfWritesIntoGrownSpaceIsOneFlush) {
  for (uint64_t i = 0; i < 50; ++i) {
    Begin();
    const uint64_t commits = commit_count();
    Write(i * 70'000 / 512 * 512);
    SyncData();
    EXPECT_EQ(Spent().flushes, 1u);
    EXPECT_EQ(Spent().writes, 1u);
    EXPECT_EQ(Spent().zeroings, 0u);
    EXPECT_EQ(commit_count(), commits);
  }
}

// The volume's clock puts times into the descriptor by itself, once a second; who asks for data
// alone does not wait for them.
TEST_F(GrowingDisk, AFlushDoesNotWaitForTimesThatChanged) {
  const uint64_t commits = commit_count();
  Begin();
  for (uint64_t i = 0; i < 40; ++i) {
    Write(i * 4096);
    Wait(100'000);
    SyncData();
  }
  EXPECT_EQ(commit_count(), commits);
  EXPECT_EQ(Spent().flushes, 40u);
}

TEST_F(GrowingDisk, AFullSyncStillMakesTimesDurable) {
  Wait(3'000'000);
  Write(0);
  Wait(1'500'000);  // the volume's clock has been there
  const uint64_t commits = commit_count();
  ASSERT_TRUE(Run(file_->Sync(/*data_only=*/false)).has_value());
  EXPECT_EQ(commit_count(), commits + 1);
}

TEST_F(GrowingDisk, GrowingAheadCostsOneCommit) {
  Begin();
  const uint64_t commits = commit_count();
  Allocate(kAhead);
  EXPECT_EQ(commit_count(), commits + 1);
  const Cost cost = Spent();
  EXPECT_LE(cost.flushes, 2u);
  EXPECT_LE(cost.writes, 2u);
  EXPECT_LE(cost.written_bytes, 40'000u);
  EXPECT_EQ(cost.zeroed_bytes, 0u);  // the device knows that nothing was there
}

TEST_F(GrowingDisk, AFirstWriteIntoABlockWritesNoMoreThanItsBytes) {
  Begin();
  Write(2 * kAhead);
  EXPECT_EQ(Spent().written_bytes, 4096u);
  EXPECT_EQ(Spent().zeroed_bytes, 0u);
  EXPECT_EQ(Spent().flushes, 0u);
  SyncData();
  EXPECT_EQ(Spent().flushes, 2u);  // of the data, and of the transaction that links the block
}

}  // namespace
}  // namespace vmfs
