// `volume info` and `dump` on a fresh volume and on ESXi's.
#include "vmfs/info.h"

#include <gtest/gtest.h>

#include "tests/support/bytes.h"
#include "tests/support/fsck_volume.h"
#include "tests/support/sample.h"
#include "vmfs/dump.h"

namespace vmfs {
namespace {

using base::RunSync;
using testing_support::FsckVolume;
using testing_support::VolumeFiles;

constexpr uint64_t kTebibyte = uint64_t{1} << 40;

void ExpectHas(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "no \"" << part << "\" in:\n" << text;
}

TEST(VolumeInfo, DescribesAFreshVolume) {
  VolumeFiles files;
  files.Add(ImageBytesFor(kUnitBytes));
  files.Add(ImageBytesFor(kUnitBytes));
  const MkfsReport made = files.Format("two devices");
  const auto info = RunSync(files.executor(), ReadVolumeInfo(files.devices()));
  ASSERT_TRUE(info) << info.error().message();
  EXPECT_EQ(info->label, "two devices");
  EXPECT_EQ(info->uuid, made.uuid);
  EXPECT_TRUE(info->is_ours);
  EXPECT_TRUE(info->is_clean());
  EXPECT_EQ(info->free_bytes, made.free_bytes);
  EXPECT_EQ(info->volume_bytes, 2 * kUnitBytes);
  ASSERT_EQ(info->extents.size(), 2u);
  EXPECT_EQ(info->extents[1].first_unit, 1u);
  const std::string text = ToText(*info);
  ExpectHas(text, "VMFS-6.82, LVM 6.21");
  ExpectHas(text, "vmfs6-tools: yes");
  ExpectHas(text, "state              clean");
}

TEST(VolumeInfo, SaysThatLargeVolumesAreBeyondOneReader) {
  VolumeFiles files;
  for (int i = 0; i < 2; ++i) files.Add(ImageBytesFor(11 * kTebibyte));
  files.Format("large");
  const auto info = RunSync(files.executor(), ReadVolumeInfo(files.devices()));
  ASSERT_TRUE(info) << info.error().message();
  ExpectHas(ToText(*info), "vmfs6-tools: no, .fbb.sf is larger than 320 blocks");
}

class OnSample : public testing::Test {
 protected:
  void SetUp() override {
    REQUIRE_SAMPLE("esxi-vmfs6.bin");
    executor_ = *base::UringExecutor::Create();
    base::FileDeviceOptions options;
    options.read_only = true;
    device_ = *base::OpenFileDevice(*executor_, testing_support::UnpackedSample("esxi-vmfs6.bin"),
                                    options);
    devices_[0] = device_.get();
    volume_ = *RunSync(*executor_, OpenLvm(devices_));
    raw_ = *RunSync(*executor_, RawVolume::Open(*volume_));
    ASSERT_TRUE(RunSync(*executor_, raw_->LoadSystemFiles()));
  }
  void TearDown() override {
    if (!device_) return;
    EXPECT_TRUE(RunSync(*executor_, device_->Close()));
  }
  std::string Text(base::Task<base::Result<std::string>> task) {
    const auto text = RunSync(*executor_, std::move(task));
    return text ? *text : text.error().message();
  }

  std::unique_ptr<base::UringExecutor> executor_;
  std::unique_ptr<base::FileDevice> device_;
  base::BlockDevice* devices_[1] = {};
  std::unique_ptr<base::BlockDevice> volume_;
  std::unique_ptr<RawVolume> raw_;
};

TEST_F(OnSample, InfoSaysThatItIsForeignAndFull) {
  const auto info = RunSync(*executor_, ReadVolumeInfo(devices_));
  ASSERT_TRUE(info) << info.error().message();
  EXPECT_EQ(info->label, "VMFS6 Test");
  EXPECT_FALSE(info->is_ours);
  EXPECT_EQ(info->free_bytes, 0u);
  ExpectHas(ToText(*info), "another system: mounts read-only");
}

TEST_F(OnSample, DumpPutsStructuresInWords) {
  ExpectHas(DumpSuperblock(*raw_), "VMFS6 Test");
  ExpectHas(DumpLvm(*RunSync(*executor_, ReadLvm(devices_))), "vmhba0:2:0");
  ExpectHas(Text(DumpHeartbeats(*raw_)), "10.199.5.140");
  ExpectHas(Text(DumpHeartbeats(*raw_)), "1023 slots never used");
  const std::string root = Text(DumpInode(*raw_, kRootFd));
  ExpectHas(root, "2 (directory)");
  ExpectHas(root, "file block 8");
  ExpectHas(root, "0 (free)");
  ExpectHas(Text(DumpInode(*raw_, kVhFd)), "slots 0 to 6");
  ExpectHas(Text(DumpDirectory(*raw_, kRootFd)), "\".fbb.sf\" fd 0x00400004");
  ExpectHas(Text(DumpCluster(*raw_, ResourceKind::kSmallBlock, 0)), "fd 0x00800004: 129 blocks");
  ExpectHas(Text(DumpCluster(*raw_, ResourceKind::kLargeBlock, 0)), "4 (broken up)");
  ExpectHas(Text(DumpCluster(*raw_, ResourceKind::kFd, 0)), "items 0 to 15");
  ExpectHas(Text(DumpCluster(*raw_, ResourceKind::kFd, 64)), "there are 64");
  ExpectHas(Text(DumpJournal(*raw_, 461 * kMebibyte + 0x18000)), "empty");
  ExpectHas(Text(DumpLock(*raw_, 0x720000)), "token                      3");
  ExpectHas(Text(DumpInode(*raw_, FdAddress::Make(0, 200))), "problem");
}

TEST(Dump, KnowsKindsByTheirNames) {
  EXPECT_EQ(ParseResourceKind("fd"), ResourceKind::kFd);
  EXPECT_EQ(ParseResourceKind("small-block"), ResourceKind::kSmallBlock);
  EXPECT_EQ(ParseResourceKind("nothing"), std::nullopt);
}

}  // namespace
}  // namespace vmfs
