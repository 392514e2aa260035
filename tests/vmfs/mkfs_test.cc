// mkfs against its judges: independent readers, ESXi's own bytes, and a cut at every write.
#include "vmfs/mkfs/mkfs.h"

#include <gtest/gtest.h>

#include <chrono>

#include "fs/base/device_filter.h"
#include "tests/support/bytes.h"
#include "tests/support/sample.h"
#include "tests/support/volume_file.h"
#include "vmfs/format/heartbeat_slot.h"
#include "vmfs/lvm_device.h"
#include "vmfs/mkfs/existing.h"
#include "vmfs/mkfs/image.h"

namespace vmfs {
namespace {

using base::Code;
using base::RunSync;
using testing_support::ExpectError;
using testing_support::HasProgram;
using testing_support::ReadSampleVolume;
using testing_support::RunCommand;
using testing_support::VolumeFiles;

constexpr uint64_t kGibibyte = uint64_t{1} << 30;

// Sets bytes that must differ between two volumes to the same.
void Equalise(std::vector<std::byte>& ours, const std::vector<std::byte>& theirs, size_t offset,
              size_t size_bytes) {
  std::copy_n(theirs.begin() + static_cast<std::ptrdiff_t>(offset), size_bytes,
              ours.begin() + static_cast<std::ptrdiff_t>(offset));
}

TEST(Mkfs, MakesAVolumeThatItsReadersRecognise) {
  VolumeFiles files;
  files.Add(ImageBytesFor(kUnitBytes));
  const MkfsReport report = files.Format("small");
  EXPECT_EQ(report.volume_bytes, kUnitBytes);
  EXPECT_GE(report.free_bytes, 184 * kMebibyte);
  const std::string& image = files.path();
  if (HasProgram("blkid")) {
    const auto output = RunCommand("PATH=$PATH:/sbin:/usr/sbin blkid -p " + image);
    EXPECT_NE(output.text.find("VMFS_volume_member"), std::string::npos) << output.text;
  }
  if (!HasProgram("debugvmfs6")) GTEST_SKIP() << "no debugvmfs6";
  const auto root = RunCommand("debugvmfs6 " + image + " ls /");
  EXPECT_EQ(root.status, 0) << root.text;
  EXPECT_NE(root.text.find(".fbb.sf"), std::string::npos) << root.text;
  EXPECT_NE(root.text.find(".jbc.sf"), std::string::npos) << root.text;
  const auto volume = RunCommand("debugvmfs6 " + image + " show label");
  EXPECT_NE(volume.text.find("Label: small"), std::string::npos) << volume.text;
}

TEST(Mkfs, MakesAVolumeThatAnotherReaderMounts) {
  if (!HasProgram("vmfs6-fuse") || !HasProgram("fusermount")) GTEST_SKIP() << "no vmfs6-fuse";
  if (access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "no /dev/fuse";
  for (const uint64_t bytes : {kUnitBytes, 3 * kGibibyte, 200 * kGibibyte}) {
    VolumeFiles files;
    files.Add(ImageBytesFor(bytes));
    files.Format("mounted");
    const std::string mount = files.folder() + "/mnt";
    RunCommand("mkdir " + mount);
    const auto mounted = RunCommand("timeout 20 vmfs6-fuse " + files.path() + " " + mount);
    EXPECT_EQ(mounted.status, 0) << mounted.text;
    const auto listing = RunCommand("ls -la " + mount);
    EXPECT_NE(listing.text.find(".sbc.sf"), std::string::npos) << listing.text;
    EXPECT_NE(listing.text.find(".sdd.sf"), std::string::npos) << listing.text;
    RunCommand("fusermount -u " + mount + "; rmdir " + mount);
  }
}

TEST(Mkfs, MakesATebibyteInUnderASecond) {
  VolumeFiles files;
  files.Add(ImageBytesFor(1024 * kGibibyte));
  const auto begin = std::chrono::steady_clock::now();
  const MkfsReport report = files.Format("1T");
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(report.volume_bytes, 1024 * kGibibyte);
  EXPECT_LT(report.written_bytes, 64 * kMebibyte);
  RecordProperty("seconds", std::to_string(elapsed.count()));
  std::printf("1 TiB: %.3f s, %lu bytes written\n", elapsed.count(),
              static_cast<unsigned long>(report.written_bytes));
}

TEST(Mkfs, MakesTheLargestVolumeOfSparseDevices) {
  VolumeFiles files;
  for (int i = 0; i < 5; ++i) files.Add(ImageBytesFor(13108 * kGibibyte));
  MkfsOptions options;
  options.label = "largest";
  options.volume_bytes = kVolumeBytesMax;
  const MkfsReport report = files.Format(options);
  EXPECT_EQ(report.volume_bytes, kVolumeBytesMax);
  const auto volume = RunSync(files.executor(), ReadLvm(files.devices()));
  ASSERT_TRUE(volume) << volume.error().message();
  EXPECT_EQ(volume->runs.size(), 5u);
}

TEST(Mkfs, WritesWhatEsxiWritesForTheSameGeometry) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  VolumeFiles files;
  files.Add(ImageBytesFor(3 * kUnitBytes));
  MkfsOptions options;
  options.label = "VMFS6 Test";
  files.Format(options);
  // The superblock, but for UUIDs, creation time and our mark.
  auto ours = files.ReadVolume(kSuperblockOffset, 4096);
  const auto theirs = ReadSampleVolume(kSuperblockOffset, 4096);
  Equalise(ours, theirs, 0x09, 16);
  Equalise(ours, theirs, 0xa9, 4);
  Equalise(ours, theirs, 0xb1, 16);
  Equalise(ours, theirs, 0xed, 16);
  Equalise(ours, theirs, kMarkOffset, sizeof(StrataMark));
  EXPECT_EQ(ours, theirs);
  // Heartbeat slots: slot 120 has been in use in the sample.
  auto slots = files.ReadVolume(kHeartbeatOffset, kHeartbeatSlotCount * 4096);
  const auto sample_slots = ReadSampleVolume(kHeartbeatOffset, kHeartbeatSlotCount * 4096);
  Equalise(slots, sample_slots, 120 * 4096, 4096);
  EXPECT_EQ(slots, sample_slots);
  // `.fbb.sf`: headers and the large-block cluster lie at the same place; the lock counts on.
  auto fbb = files.ReadVolume(0x900000, 0x12000);
  const auto sample_fbb = ReadSampleVolume(0x900000, 0x12000);
  Equalise(fbb, sample_fbb, 0x10038, 8);
  EXPECT_EQ(fbb, sample_fbb);
}

TEST(Mkfs, WritesTheDescriptorsThatEsxiWrites) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  VolumeFiles files;
  files.Add(ImageBytesFor(3 * kUnitBytes));
  files.Format("descriptors");
  // `.fbb.sf` and `.vh.sf` lie where ESXi puts them: all but times and the lock's counter agree.
  for (const FdAddress fd : {kFbbFd, kVhFd}) {
    const uint64_t address = 0x720000 + fd.item() * uint64_t{kInodeBytes};
    auto ours = files.ReadVolume(address, kInodeBytes);
    const auto theirs = ReadSampleVolume(address, kInodeBytes);
    Equalise(ours, theirs, 0x38, 8);
    Equalise(ours, theirs, 0x102c, 12);
    EXPECT_EQ(ours, theirs) << fd.ToString();
  }
  // The root differs in its link count (the sample has a user directory), times and lock.
  auto root = files.ReadVolume(0x720000, kInodeBytes);
  const auto sample_root = ReadSampleVolume(0x720000, kInodeBytes);
  Equalise(root, sample_root, 0x0c, 0x34);
  Equalise(root, sample_root, 0x1008, 4);
  Equalise(root, sample_root, 0x102c, 12);
  EXPECT_EQ(root, sample_root);
}

TEST(Mkfs, GivesTheRootToTheFormattingUser) {
  VolumeFiles files;
  files.Add(ImageBytesFor(kUnitBytes));
  MkfsOptions options;
  options.uid = 1000;
  options.gid = 100;
  files.Format(options);
  const auto root = DecodeInode(files.ReadVolume(0x721000, 4096), kRootFd);
  ASSERT_TRUE(root) << root.error().message();
  EXPECT_EQ(root->uid, 1000u);
  EXPECT_EQ(root->gid, 100u);
}

TEST(Mkfs, ZeroesMetadataOfAUsedDeviceWithoutDiscard) {
  VolumeFiles files;
  files.Add(ImageBytesFor(kUnitBytes));
  const std::vector<std::byte> old(kMebibyte, std::byte{0xaa});
  for (uint64_t block = 0; block < 60; ++block) files.WriteVolume(block * kMebibyte, old);
  MkfsOptions options;
  options.discard = false;
  files.Format(options);
  const auto layout = PlanVolume(kUnitBytes);
  ASSERT_TRUE(layout);
  const uint64_t first_sub_block = layout->file(kSbcFd).VolumeBlock(0) * kMebibyte +
                                   layout->sub_blocks.ItemOffset(0, 0);
  EXPECT_TRUE(IsZero(files.ReadVolume(first_sub_block, kSubBlockBytes)));
  EXPECT_TRUE(IsZero(files.ReadVolume(0x720000 + 9 * kInodeBytes, 40 * kInodeBytes)));
}

TEST(Mkfs, RefusesLabelsThatCannotBeFolders) {
  EXPECT_TRUE(CheckLabel(""));
  EXPECT_TRUE(CheckLabel("ds1 é"));
  ExpectError(CheckLabel(std::string(128, 'x')), Code::kNameTooLong, "128 bytes");
  ExpectError(CheckLabel("a/b"), Code::kNameInvalid, "label");
  ExpectError(CheckLabel("a\nb"), Code::kNameInvalid, "label");
  ExpectError(CheckLabel(".."), Code::kNameInvalid, "label");
  ExpectError(CheckLabel("\xff\xfe"), Code::kNameInvalid, "UTF-8");
}

TEST(Mkfs, LeavesNothingRecognisableWhenCanceled) {
  VolumeFiles files;
  files.Add(ImageBytesFor(kUnitBytes));
  files.Format("old");
  MkfsOptions options;
  int asked = 0;
  options.is_canceled = [&asked] { return ++asked == 40; };
  const auto report =
      RunSync(files.executor(), MakeFileSystem(files.executor(), files.devices(), options));
  ExpectError(report, Code::kInterrupted, "no volume was made");
  const auto probe = RunSync(files.executor(), ProbeExistingContent(*files.devices()[0]));
  ASSERT_TRUE(probe);
  EXPECT_EQ(*probe, std::nullopt);
  EXPECT_TRUE(IsZero(files.ReadVolume(kSuperblockOffset, 4096)));
}

// Fails every write behind the first `allowed` ones: the power goes.
class CutDevice final : public base::DeviceFilter {
 public:
  CutDevice(base::BlockDevice& child, uint64_t allowed)
      : DeviceFilter(child), left_(allowed) {}
  base::Task<base::Status> Write(base::IoRequest request) override {
    if (left_ == 0) return Fail();
    --left_;
    return child().Write(request);
  }
  bool cut() const { return left_ == 0; }

 private:
  static base::Task<base::Status> Fail() { co_return Code::kIo; }
  uint64_t left_;
};

TEST(Mkfs, IsNoVolumeUntilTheLastWrite) {
  VolumeFiles files;
  files.Add(ImageBytesFor(kUnitBytes));
  for (uint64_t allowed = 0;; ++allowed) {
    CutDevice device(*files.devices()[0], allowed);
    base::BlockDevice* const devices[] = {&device};
    MkfsOptions options;
    const auto report =
        RunSync(files.executor(), MakeFileSystem(files.executor(), devices, options));
    const auto volume = RunSync(files.executor(), ReadLvm(files.devices()));
    EXPECT_EQ(volume.has_value(), report.has_value()) << "after " << allowed << " writes";
    if (report) break;
    EXPECT_EQ(report.error().code(), Code::kIo);
    ASSERT_LT(allowed, 1000u);
  }
}

}  // namespace
}  // namespace vmfs
