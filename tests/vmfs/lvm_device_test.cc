#include "vmfs/lvm_device.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/support/bytes.h"
#include "tests/support/volume_file.h"

namespace vmfs {
namespace {

using base::Code;
using base::RunSync;
using testing_support::ExpectError;
using testing_support::VolumeFiles;

constexpr uint64_t kDeviceBytes = kLvmDataOffset + kUnitBytes;

class LvmDeviceTest : public testing::Test {
 protected:
  LvmDeviceTest() {
    for (int i = 0; i < 3; ++i) files_.Add(kDeviceBytes);
    files_.Format("three devices");
    devices_.assign(files_.devices().begin(), files_.devices().end());
  }

  base::Result<LvmVolume> Read() { return RunSync(files_.executor(), ReadLvm(devices_)); }

  std::unique_ptr<base::BlockDevice> Open() {
    auto device = RunSync(files_.executor(), OpenLvm(devices_));
    CHECK(device.has_value());
    return *std::move(device);
  }

  VolumeFiles files_;
  std::vector<base::BlockDevice*> devices_;
};

TEST_F(LvmDeviceTest, PutsDevicesInOrderWhateverOrderTheyAreGivenIn) {
  std::swap(devices_[0], devices_[2]);
  const auto volume = Read();
  ASSERT_TRUE(volume) << volume.error().message();
  EXPECT_EQ(volume->size_bytes, 3 * kUnitBytes);
  ASSERT_EQ(volume->runs.size(), 3u);
  EXPECT_EQ(volume->runs[0], (LvmRun{0, kUnitBytes, 2, kLvmDataOffset}));
  EXPECT_EQ(volume->runs[2], (LvmRun{2 * kUnitBytes, kUnitBytes, 0, kLvmDataOffset}));
}

TEST_F(LvmDeviceTest, NamesMissingForeignAndDoubledDevices) {
  devices_.pop_back();
  ExpectError(Read(), Code::kNotFound, "has 3 devices, 2 given");
  devices_.push_back(devices_.front());
  ExpectError(Read(), Code::kInvalidArgument, "are the same");
  VolumeFiles other;
  other.Add(kDeviceBytes);
  ExpectError(RunSync(other.executor(), ReadLvm(other.devices())), Code::kNotRecognized, "magic");
  other.Format("other");
  const auto own = RunSync(files_.executor(), ReadLvmDevice(*devices_[0]));
  const auto foreign = RunSync(other.executor(), ReadLvmDevice(*other.devices()[0]));
  ASSERT_TRUE(own && foreign);
  ExpectError(AssembleLvm({*own, *foreign}), Code::kInvalidArgument, "belongs to volume");
}

TEST_F(LvmDeviceTest, NamesContradictionsBetweenHeaders) {
  const auto volume = Read();
  ASSERT_TRUE(volume);
  const auto broken = [&](auto change) {
    std::vector<LvmDeviceInfo> devices = volume->devices;
    change(devices);
    return AssembleLvm(std::move(devices));
  };
  ExpectError(broken([](auto& devices) { devices[1].volume.generation = uint64_t{9}; }),
              Code::kCorrupt, "generation is 9");
  ExpectError(broken([](auto& devices) { devices[1].volume.volume_bytes = kUnitBytes; }),
              Code::kCorrupt, "the volume's size");
  ExpectError(broken([](auto& devices) { devices[2].volume.device_count = 2u; }), Code::kCorrupt,
              "number of devices");
  ExpectError(broken([](auto& devices) { devices[1].extents[0].logical_offset = uint64_t{0}; }),
              Code::kCorrupt, "two extents hold");
  ExpectError(
      broken([](auto& devices) { devices[1].extents[0].logical_offset = 2 * kUnitBytes; }),
      Code::kCorrupt, "no extent holds");
  ExpectError(broken([](auto& devices) { devices[1].size_bytes -= 512; }), Code::kOutOfRange,
              "the device has");
}

TEST_F(LvmDeviceTest, SplitsRequestsWhereDevicesMeet) {
  const auto volume = Open();
  EXPECT_EQ(volume->size_bytes(), 3 * kUnitBytes);
  std::vector<std::byte> written(64 << 10);
  for (size_t i = 0; i < written.size(); ++i) written[i] = static_cast<std::byte>(i / 512 + 1);
  const uint64_t offset = 2 * kUnitBytes - (24 << 10);
  const base::IoVec pieces[] = {{written.data(), 8192}, {written.data() + 8192, 57344}};
  ASSERT_TRUE(RunSync(files_.executor(), volume->Write({offset, pieces})));
  std::vector<std::byte> read(written.size());
  const base::IoVec target[] = {{read.data(), 40960}, {read.data() + 40960, 24576}};
  ASSERT_TRUE(RunSync(files_.executor(), volume->Read({offset, target})));
  EXPECT_EQ(read, written);
  const auto behind = files_.ReadDevice(kLvmDataOffset, 512, 2);
  EXPECT_TRUE(std::equal(behind.begin(), behind.end(), written.begin() + (24 << 10)));
}

TEST_F(LvmDeviceTest, ZeroesUnmapsAndMapsAcrossDevices) {
  const auto volume = Open();
  const uint64_t offset = 2 * kUnitBytes - (64 << 10);
  std::vector<std::byte> ones(128 << 10, std::byte{1});
  const base::IoVec piece{ones.data(), ones.size()};
  ASSERT_TRUE(RunSync(files_.executor(), volume->Write({offset, std::span(&piece, 1)})));
  std::vector<base::MapRun> runs;
  const uint64_t begin = offset - (64 << 10);
  ASSERT_TRUE(RunSync(files_.executor(), volume->MapStatus(begin, 256 << 10, runs)));
  ASSERT_EQ(runs.size(), 3u);
  EXPECT_EQ(runs[1], (base::MapRun{offset, 128 << 10, base::MapState::kData}));
  EXPECT_EQ(runs[2].offset_bytes, offset + (128 << 10));
  ASSERT_TRUE(RunSync(files_.executor(), volume->WriteZeroes(offset, 128 << 10, true)));
  ASSERT_TRUE(RunSync(files_.executor(), volume->Read({offset, std::span(&piece, 1)})));
  EXPECT_TRUE(IsZero(ones));
  EXPECT_TRUE(RunSync(files_.executor(), volume->Unmap(offset, 128 << 10)));
}

TEST_F(LvmDeviceTest, ComparesAndWritesOnTheRightDevice) {
  const auto volume = Open();
  std::vector<std::byte> old_bytes(512);
  std::vector<std::byte> new_bytes(512, std::byte{7});
  const uint64_t offset = kUnitBytes;
  ASSERT_TRUE(
      RunSync(files_.executor(), volume->CompareAndWrite(offset, old_bytes, new_bytes)));
  EXPECT_EQ(files_.ReadDevice(kLvmDataOffset, 512, 1), new_bytes);
  const auto again =
      RunSync(files_.executor(), volume->CompareAndWrite(offset, old_bytes, new_bytes));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code(), Code::kMiscompare);
}

TEST_F(LvmDeviceTest, RefusesWhatLiesBehindTheEnd) {
  const auto volume = Open();
  std::vector<std::byte> bytes(4096);
  const base::IoVec piece{bytes.data(), bytes.size()};
  const auto status =
      RunSync(files_.executor(), volume->Read({3 * kUnitBytes, std::span(&piece, 1)}));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Code::kOutOfRange);
}

}  // namespace
}  // namespace vmfs
