// A block device as a file: any offset and length, and what lies beside a write stays.
#include "fs/daemon/device_object.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "fs/base/align_filter.h"
#include "fs/base/random.h"
#include "fs/base/sim_executor.h"
#include "fs/base/sync.h"
#include "fs/base/task.h"
#include "fs/daemon/device_ids.h"
#include "tests/support/crash_sweep.h"
#include "tests/support/sim_disk.h"

namespace stratad {
namespace {

using base::Code;

constexpr uint64_t kSize = uint64_t{1} << 20;

using Bytes = std::vector<std::byte>;

Bytes RandomBytes(base::Random& random, uint64_t size_bytes) {
  Bytes bytes(size_bytes);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.Below(256));
  return bytes;
}

base::Task<void> WriteAll(DeviceObject* object, uint64_t offset_bytes, Bytes* bytes) {
  const base::IoVec piece{bytes->data(), bytes->size()};
  const base::IoRequest request{.offset_bytes = offset_bytes, .buffers = {&piece, 1}};
  const base::Result<uint64_t> written = co_await object->Write(request);
  EXPECT_TRUE(written && *written == bytes->size());
}

class DeviceObjectTest : public testing::TestWithParam<uint32_t> {
 protected:
  DeviceObjectTest() {
    base::SimDisk::Options options;
    options.size_bytes = kSize;
    options.block_size_bytes = GetParam();
    options.logging = false;
    options.latency_us_min = 1;
    options.latency_us_max = 50;
    auto disk = std::make_unique<base::SimDisk>(executor_, options);
    auto aligned = std::make_unique<base::AlignFilter>(executor_, std::move(disk));
    object_ = std::make_unique<DeviceObject>(executor_, std::move(aligned), /*hold=*/-1);
  }

  ~DeviceObjectTest() override { EXPECT_TRUE(Run(object_->Close())); }

  template <typename T>
  T Run(base::Task<T> task) {
    return base::RunSync(executor_, std::move(task));
  }

  base::Result<uint64_t> Write(uint64_t offset_bytes, Bytes bytes) {
    const base::IoVec piece{bytes.data(), bytes.size()};
    return Run(object_->Write({.offset_bytes = offset_bytes, .buffers = {&piece, 1}}));
  }

  Bytes Read(uint64_t offset_bytes, uint64_t length_bytes) {
    Bytes bytes(length_bytes);
    const base::IoVec piece{bytes.data(), bytes.size()};
    const auto read = Run(object_->Read({.offset_bytes = offset_bytes, .buffers = {&piece, 1}}));
    EXPECT_TRUE(read);
    bytes.resize(read ? *read : 0);
    return bytes;
  }

  const uint64_t seed_ = base::SeedFromEnvironment(1);
  base::SimExecutor executor_{seed_};
  std::unique_ptr<DeviceObject> object_;
};

TEST_P(DeviceObjectTest, ReadsAndWritesAtAnyPlace) {
  SCOPED_TRACE("replay: SEED=" + std::to_string(seed_) + " daemon_test");
  base::Random random(seed_);
  Bytes model(kSize);
  for (int round = 0; round < 200; ++round) {
    const uint64_t offset = random.Below(kSize);
    const uint64_t length = std::min(random.Below(300'000), kSize - offset);
    if (random.Below(2) == 0) {
      Bytes bytes = RandomBytes(random, length);
      std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<ptrdiff_t>(offset));
      ASSERT_EQ(*Write(offset, bytes), length);
    } else {
      const auto from = model.begin() + static_cast<ptrdiff_t>(offset);
      ASSERT_EQ(Read(offset, length), Bytes(from, from + static_cast<ptrdiff_t>(length)));
    }
  }
  EXPECT_EQ(Read(0, kSize), model);
}

// Neighbours in one sector, at the same time: none takes another's bytes back.
TEST_P(DeviceObjectTest, KeepsTheNeighboursOfConcurrentWrites) {
  constexpr uint64_t kPiece = 100;
  constexpr uint64_t kCount = 64;
  base::Random random(seed_);
  std::vector<Bytes> pieces;
  for (uint64_t i = 0; i < kCount; ++i) pieces.push_back(RandomBytes(random, kPiece));
  base::TaskGroup group(executor_);
  for (uint64_t i = 0; i < kCount; ++i) {
    group.Add(WriteAll(object_.get(), i * kPiece, &pieces[i]));
  }
  Run(group.Join());
  for (uint64_t i = 0; i < kCount; ++i) ASSERT_EQ(Read(i * kPiece, kPiece), pieces[i]) << i;
}

TEST_P(DeviceObjectTest, EndsWhereItsDeviceEnds) {
  EXPECT_EQ(Read(kSize - 10, 100).size(), 10u);
  EXPECT_EQ(Read(kSize, 100).size(), 0u);
  EXPECT_EQ(Write(kSize - 10, Bytes(11)).error().code(), Code::kTooLarge);
  EXPECT_EQ(Write(kSize + 512, Bytes(1)).error().code(), Code::kTooLarge);
  EXPECT_EQ(Run(object_->Allocate(fss::AllocateMode::kAllocate, 0, kSize + 1)).error().code(),
            Code::kTooLarge);
}

TEST_P(DeviceObjectTest, MakesZeros) {
  ASSERT_TRUE(Write(0, Bytes(8192, std::byte{7})));
  const auto zero = fss::AllocateMode::kZeroRangeKeepSize;
  ASSERT_TRUE(Run(object_->Allocate(zero, 512, 4096)));
  EXPECT_EQ(Read(512, 4096), Bytes(4096));
  EXPECT_EQ(Read(0, 512), Bytes(512, std::byte{7}));
  EXPECT_EQ(Read(4608, 512), Bytes(512, std::byte{7}));
  EXPECT_EQ(Run(object_->Allocate(zero, 1, 512)).error().code(), Code::kUnsupported);
}

INSTANTIATE_TEST_SUITE_P(Blocks, DeviceObjectTest, testing::Values(512u, 4096u));

TEST(DeviceIds, FitIntoAMap) {
  EXPECT_EQ(StoredDeviceId("naa.600508b1001c4d41"), "naa.600508b1001c4d41");
  EXPECT_EQ(StoredDeviceId("t10.ATA     QEMU  DISK   "), "t10.ATA_QEMU_DISK");
  EXPECT_EQ(StoredDeviceId("  \n"), "");
  const std::string at_most(kDeviceIdBytesMax, 'x');
  EXPECT_EQ(StoredDeviceId(at_most), at_most);
  const std::string digest = StoredDeviceId(at_most + "x");
  EXPECT_EQ(digest.substr(0, 7), "sha256.");
  EXPECT_LE(digest.size(), kDeviceIdBytesMax);
  EXPECT_NE(digest, StoredDeviceId(at_most + "y"));
}

TEST(DeviceIds, AreOfBlockNodesAlone) {
  EXPECT_EQ(CheckBlockNode("/dev/null").error().code(), Code::kInvalidArgument);
  EXPECT_EQ(DeviceIdOf("/etc/passwd").error().code(), Code::kInvalidArgument);
  EXPECT_EQ(DeviceIdOf("/dev/no-such-node").error().code(), Code::kNotFound);
  EXPECT_EQ(FindDeviceNode("naa.of-no-device-at-all"), std::nullopt);
}

}  // namespace
}  // namespace stratad
