// A volume on a file or block node belongs to one machine: the first that mounts it writable.
// Another one is told so, may look, and may adopt it once nobody uses it.

#include <gtest/gtest.h>

#include <array>

#include "fs/base/log.h"
#include "tests/support/vmfs_volume.h"
#include "tests/support/volume_tree.h"
#include "vmfs/format/lvm.h"
#include "vmfs/format/superblock.h"

namespace vmfs {
namespace {

constexpr uint64_t kVolumeBytes = uint64_t{256} << 20;
constexpr uint64_t kSecond = 1'000'000;

class MachineOfVolume : public testing::Test {
 protected:
  MachineOfVolume() : volume_(executor_, kVolumeBytes, /*logging=*/true) {
    base::SetLogLevel(base::LogLevel::kOff);
    volume_.options().guard = &guard_;
    CHECK(volume_.MakeFileSystem().has_value());
  }

  static base::Uuid Machine(uint8_t fill) {
    base::Uuid uuid;
    uuid.bytes.fill(fill);
    return uuid;
  }

  base::Status MountOn(uint8_t machine, bool adopt = false, bool read_only = false) {
    volume_.options().machine = Machine(machine);
    volume_.options().adopt = adopt;
    volume_.options().read_only = read_only;
    return volume_.Mount();
  }

  void ExpectMountable(uint8_t machine, bool adopt = false, bool read_only = false) {
    const base::Status mounted = MountOn(machine, adopt, read_only);
    ASSERT_TRUE(mounted) << mounted.error().message();
    ASSERT_TRUE(volume_.Unmount());
  }

  base::Result<StrataMark> Mark() {
    std::array<std::byte, kMetadataBlockBytes> block;
    volume_.disk().Peek(kLvmDataOffset + kSuperblockOffset, block);
    TRY(const Superblock superblock, DecodeSuperblock(block));
    return DecodeMark(block, superblock.uuid);
  }

  void TearDown() override {
    if (!volume_.mounted()) {
      EXPECT_EQ(volume_.Check(), "");
    }
  }

  base::SimExecutor executor_{9};
  DeadGuard guard_;
  SimVolume volume_;
};

TEST_F(MachineOfVolume, IsTheFirstThatMountsItWritable) {
  EXPECT_TRUE(Mark()->machine.is_zero());
  ExpectMountable(1, /*adopt=*/false, /*read_only=*/true);
  EXPECT_TRUE(Mark()->machine.is_zero());
  ExpectMountable(1);
  EXPECT_EQ(Mark()->machine, Machine(1));
  std::array<std::byte, 18> bytes;  // the mark's 0x38 to 0x47, and one on either side
  volume_.disk().Peek(kLvmDataOffset + kSuperblockOffset + kMarkOffset + 0x37, bytes);
  EXPECT_EQ(bytes[1], std::byte{1});
  EXPECT_EQ(bytes[16], std::byte{1});
  EXPECT_EQ(bytes[17], std::byte{0});
  ExpectMountable(1);
}

TEST_F(MachineOfVolume, IsNamedToAnotherOneWithTheWaysOut) {
  ExpectMountable(1);
  const uint64_t writes = volume_.disk().write_count();
  const base::Status refused = MountOn(2);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), base::Code::kNotPermitted);
  const std::string text = refused.error().message();
  EXPECT_NE(text.find("belongs to another machine"), std::string::npos) << text;
  EXPECT_NE(text.find("--adopt"), std::string::npos) << text;
  EXPECT_NE(text.find("--read-only"), std::string::npos) << text;
  ExpectMountable(2, /*adopt=*/false, /*read_only=*/true);
  EXPECT_EQ(volume_.disk().write_count(), writes);
  EXPECT_EQ(Mark()->machine, Machine(1));
}

TEST_F(MachineOfVolume, ChangesWhenAnotherOneAdoptsIt) {
  ExpectMountable(1);
  ExpectMountable(2, /*adopt=*/true);
  EXPECT_EQ(Mark()->machine, Machine(2));
  EXPECT_FALSE(MountOn(1));
  ExpectMountable(2);
}

TEST_F(MachineOfVolume, DoesNotMatterOnMediaWithoutOne) {
  ExpectMountable(1);
  ExpectMountable(0);
  EXPECT_EQ(Mark()->machine, Machine(1));
}

// Here the guard says that the holder is dead, but it can only know of this machine's processes.
TEST_F(MachineOfVolume, IsWatchedBeforeAVolumeItLeftInUseIsAdopted) {
  ASSERT_TRUE(MountOn(1));
  ASSERT_TRUE(base::RunSync(executor_, VolumeClient(volume_.volume()).Create("/f")));
  ASSERT_TRUE(base::RunSync(executor_, volume_.volume().SyncAll()));
  auto left = volume_.disk().CrashImage(executor_, volume_.disk().log().size(),
                                        std::vector<base::SimDisk::Fate>(
                                            volume_.disk().OpenChanges(volume_.disk().log().size())
                                                .size()));
  ASSERT_TRUE(volume_.Unmount());
  base::SimExecutor later(10);
  SimVolume copy(later, *left);
  copy.options().guard = &guard_;
  copy.options().machine = Machine(2);
  EXPECT_FALSE(copy.Mount());
  copy.options().adopt = true;
  const uint64_t before_us = later.NowMicroseconds();
  const base::Status adopted = copy.Mount();
  ASSERT_TRUE(adopted) << adopted.error().message();
  EXPECT_GE(later.NowMicroseconds() - before_us, 20 * kSecond);
  Tree found;
  ASSERT_TRUE(base::RunSync(later, VolumeClient(copy.volume()).ReadTree("", found)));
  EXPECT_TRUE(found.contains("/f"));
  ASSERT_TRUE(copy.Unmount());
  EXPECT_EQ(copy.CheckAfterCrash(), "");
}

}  // namespace
}  // namespace vmfs
