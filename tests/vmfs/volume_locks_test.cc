// What opens of disks leave in the locks on the volume, and raw device maps.

#include <gtest/gtest.h>

#include <cstring>

#include "fs/base/log.h"
#include "fs/base/on_disk.h"
#include "tests/support/vmfs_volume.h"
#include "tests/support/volume_tree.h"
#include "vmfs/format/lvm.h"

namespace vmfs {
namespace {

using base::Code;
using Mode = fss::LockState::Mode;

constexpr uint64_t kMiB = uint64_t{1} << 20;

class LocksOfVolume : public testing::Test {
 protected:
  LocksOfVolume() : volume_(executor_, 256 * kMiB, /*logging=*/false) {
    base::SetLogLevel(base::LogLevel::kOff);
    CHECK(volume_.MakeFileSystem().has_value());
    CHECK(volume_.Mount().has_value());
    CHECK(Run(client().Create("/disk")).has_value());
    inode_ = *Run(client().Resolve("/disk"));
  }

  ~LocksOfVolume() override {
    EXPECT_TRUE(volume_.Unmount().has_value());
    EXPECT_EQ(volume_.Check(), "");
  }

  template <typename T>
  T Run(base::Task<T> task) {
    return base::RunSync(executor_, std::move(task));
  }

  VolumeClient client() { return VolumeClient(volume_.volume()); }

  std::unique_ptr<fss::File> Open(fss::OpenMode mode) {
    auto opened = Run(volume_.volume().Open(inode_, mode));
    CHECK(opened.has_value());
    return *std::move(opened);
  }

  void Close(std::unique_ptr<fss::File> file) { EXPECT_TRUE(Run(file->Close()).has_value()); }

  fss::LockState Lock() { return *Run(volume_.volume().GetLockState(inode_)); }

  base::SimExecutor executor_{4};
  SimVolume volume_;
  fss::InodeNumber inode_ = 0;
};

TEST_F(LocksOfVolume, ADiskOpenForWritingIsHeldAlone) {
  std::unique_ptr<fss::File> file = Open(fss::OpenMode::kExclusiveDisk);
  const fss::LockState state = Lock();
  EXPECT_EQ(state.mode, Mode::kExclusive);
  ASSERT_EQ(state.owners.size(), 1u);
  const std::string uuid = volume_.options().identity.owner.ToString();
  EXPECT_EQ(state.owners[0].host_uuid, uuid);
  ASSERT_EQ(state.owners[0].mac.size(), 17u);
  EXPECT_EQ(state.owners[0].mac.substr(0, 2), uuid.substr(uuid.size() - 12, 2));
  EXPECT_EQ(state.owners[0].mac.substr(15), uuid.substr(uuid.size() - 2));
  EXPECT_NE(state.owners[0].heartbeat_address, 0u);
  Close(std::move(file));
  EXPECT_EQ(Lock().mode, Mode::kFree);
  EXPECT_GT(Lock().token, state.token);
}

TEST_F(LocksOfVolume, AFrozenDiskIsReadTogether) {
  std::unique_ptr<fss::File> one = Open(fss::OpenMode::kSharedDisk);
  std::unique_ptr<fss::File> two = Open(fss::OpenMode::kSharedDisk);
  EXPECT_EQ(Lock().mode, Mode::kReadOnly);
  EXPECT_EQ(Lock().owners.size(), 1u);
  const std::byte byte{1};
  const base::IoVec piece{const_cast<std::byte*>(&byte), 1};
  const base::IoRequest request{0, std::span(&piece, 1)};
  EXPECT_EQ(Run(one->Write(request)).error().code(), Code::kReadOnly);
  Close(std::move(one));
  EXPECT_EQ(Lock().mode, Mode::kReadOnly);
  Close(std::move(two));
  EXPECT_EQ(Lock().mode, Mode::kFree);
}

TEST_F(LocksOfVolume, AFrozenDiskWhoseAttributesChangeStaysReadable) {
  std::unique_ptr<fss::File> file = Open(fss::OpenMode::kSharedDisk);
  fss::AttributeChange change;
  change.mode = 0400;
  ASSERT_TRUE(Run(volume_.volume().SetAttributes(inode_, change)).has_value());
  EXPECT_EQ(Lock().mode, Mode::kExclusive);  // as the only reader
  Close(std::move(file));
  ASSERT_TRUE(Run(volume_.volume().SyncAll()).has_value());
  EXPECT_EQ(Run(volume_.volume().GetAttributes(inode_))->mode, 0400u);
}

TEST_F(LocksOfVolume, ADiskIsWrittenDeletedAndClosedUnderItsLock) {
  std::unique_ptr<fss::File> file = Open(fss::OpenMode::kExclusiveDisk);
  std::vector<std::byte> bytes(3 * kMiB, std::byte{7});
  const base::IoVec piece{bytes.data(), bytes.size()};
  const base::IoRequest request{0, std::span(&piece, 1)};
  ASSERT_TRUE(Run(file->Write(request)).has_value());
  ASSERT_TRUE(Run(client().Unlink("/disk")).has_value());
  Close(std::move(file));
  EXPECT_EQ(Run(volume_.volume().GetAttributes(inode_)).error().code(), Code::kStale);
}

class RawDevices : public LocksOfVolume {
 protected:
  static constexpr std::string_view kId = "naa.600508b1001c4d41e6f2a9a5b7c3d001";

  base::Result<fss::Attributes> Make(std::string_view id) {
    const fss::RawDevice device{id, uint64_t{3} << 40};
    return Run(volume_.volume().MakeRawDeviceMap(Volume::kRootInode, "vm-rdm.vmdk", device, {}));
  }
};

TEST_F(RawDevices, AreFilesOfTheDevicesSizeThatAreNotRead) {
  const auto made = Make(kId);
  ASSERT_TRUE(made.has_value()) << made.error().message();
  EXPECT_EQ(made->type, fss::FileType::kRegular);
  EXPECT_EQ(made->size_bytes, uint64_t{3} << 40);
  EXPECT_EQ(made->allocated_bytes, 0u);
  ASSERT_TRUE(volume_.Unmount().has_value());
  EXPECT_EQ(volume_.Check(), "");
  ASSERT_TRUE(volume_.Mount().has_value());
  inode_ = *Run(client().Resolve("/vm-rdm.vmdk"));
  EXPECT_EQ(*Run(volume_.volume().GetRawDeviceId(inode_)), kId);
  for (const fss::OpenMode mode : {fss::OpenMode::kRead, fss::OpenMode::kExclusiveDisk}) {
    EXPECT_EQ(Run(volume_.volume().Open(inode_, mode)).error().code(), Code::kUnsupported);
  }
  fss::AttributeChange change;
  change.size_bytes = 0;
  EXPECT_EQ(Run(volume_.volume().SetAttributes(inode_, change)).error().code(),
            Code::kInvalidArgument);
  ASSERT_TRUE(Run(client().Unlink("/vm-rdm.vmdk")).has_value());
}

TEST_F(RawDevices, HaveAnIdThatFits) {
  EXPECT_EQ(Make("").error().code(), Code::kInvalidArgument);
  EXPECT_EQ(Make(std::string(45, 'x')).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(Run(volume_.volume().GetRawDeviceId(inode_)).error().code(), Code::kInvalidArgument);
  EXPECT_TRUE(Make(std::string(44, 'x')).has_value());
}

TEST_F(RawDevices, LieOnTheVolumeAsDocumented) {
  const auto made = Make(kId);
  ASSERT_TRUE(made.has_value());
  const uint64_t lock_address = Run(volume_.volume().GetLockState(made->inode))->address;
  ASSERT_TRUE(volume_.Unmount().has_value());
  std::array<std::byte, 8192> bytes;
  volume_.disk().Peek(kLvmDataOffset + lock_address, bytes);
  const auto metadata = std::span<const std::byte>(bytes).subspan(4096);
  EXPECT_EQ(base::LoadAs<base::Le32>(metadata, 0x0c), 6u);
  EXPECT_EQ(base::LoadAs<base::Le64>(metadata, 0x14), uint64_t{3} << 40);
  EXPECT_EQ(base::LoadAs<base::Le64>(metadata, 0x24), 0u);
  EXPECT_EQ(base::LoadAs<base::Le32>(metadata, 0x44), 0x10D1u);
  std::array<std::byte, 78> expected{};
  expected[1] = std::byte{36};
  std::memcpy(&expected[34], kId.data(), kId.size());
  EXPECT_EQ(std::memcmp(&metadata[0x200], expected.data(), expected.size()), 0);
  ASSERT_TRUE(volume_.Mount().has_value());
}

}  // namespace
}  // namespace vmfs
