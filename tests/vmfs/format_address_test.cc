#include <gtest/gtest.h>

#include "vmfs/format/address.h"

namespace vmfs {
namespace {

TEST(Address, FileBlocksCarryClusterAndItemInTheirBitFields) {
  EXPECT_EQ(Address::MakeFileBlock(0).raw(), 0x1u);
  EXPECT_EQ(Address::MakeFileBlock(8).raw(), 0x0040000000000001u);
  EXPECT_EQ(Address::MakeFileBlock(512).raw(), 0x8001u);
  EXPECT_EQ(Address::MakeFileBlock(512).index(), (ResourceIndex{1, 0}));
  for (const uint64_t block : {uint64_t{0}, uint64_t{1}, uint64_t{511}, uint64_t{512},
                               uint64_t{1023}, uint64_t{67108863}}) {
    const Address address = Address::MakeFileBlock(block);
    EXPECT_EQ(address.kind(), AddressKind::kFileBlock);
    EXPECT_EQ(address.volume_block(), block);
    EXPECT_TRUE(address.is_canonical());
  }
}

TEST(Address, SubBlocksCarryClusterAndItemInTheirBitFields) {
  EXPECT_EQ(Address::MakeSubBlock(0, 0).raw(), 0x2u);
  EXPECT_EQ(Address::MakeSubBlock(0, 2).raw(), 0x0200000000000002u);
  EXPECT_EQ(Address::MakeSubBlock(255, 255).index(), (ResourceIndex{255, 255}));
  EXPECT_EQ(Address::MakePb2(0, 0).raw(), 0x5u);
  EXPECT_EQ(Address::MakePb2(3, 31).index(), (ResourceIndex{3, 31}));
}

TEST(Address, JournalBlocksFitInThirtyTwoBits) {
  const Address address = Address::MakeJournalBlock(15, 7);
  EXPECT_LE(address.raw(), UINT32_MAX);
  EXPECT_EQ(address.index(), (ResourceIndex{15, 7}));
  EXPECT_TRUE(address.is_canonical());
}

TEST(Address, LargeBlocksStandForFiveHundredAndTwelveSmallOnes) {
  const Address address = Address::MakeLargeBlock(3);
  EXPECT_EQ(address.raw(), 0x18007u);
  EXPECT_EQ(address.volume_block(), 1536u);
  EXPECT_TRUE(address.is_canonical());
}

TEST(Address, ExtraBitsAreToldAndAreNotCanonical) {
  const Address zeroed(Address::MakeFileBlock(5).raw() | 0x7f80);
  EXPECT_EQ(zeroed.to_be_zeroed(), 0xff);
  EXPECT_EQ(zeroed.volume_block(), 5u);
  EXPECT_FALSE(zeroed.is_canonical());
  const Address copied(Address::MakeSubBlock(1, 1).raw() | 0x20);
  EXPECT_TRUE(copied.copy_on_write());
  EXPECT_FALSE(copied.is_canonical());
  EXPECT_FALSE(Address(uint64_t{600} << 51 | 1).is_canonical());
  EXPECT_FALSE(Address(8).is_canonical());
  EXPECT_FALSE(Address().is_canonical());
  EXPECT_TRUE(Address().is_hole());
}

TEST(Address, SubBlockClustersHaveNoBitsToBeZeroed) {
  EXPECT_EQ(Address::MakeSubBlock(255, 0).to_be_zeroed(), 0);
}

TEST(FdAddress, SystemFilesHaveTheirKnownAddresses) {
  EXPECT_EQ(kRootFd.raw(), 0x00000004u);
  EXPECT_EQ(kFbbFd.raw(), 0x00400004u);
  EXPECT_EQ(kSbcFd.raw(), 0x01000004u);
  EXPECT_EQ(kJbcFd.raw(), 0x02000004u);
  const FdAddress address = FdAddress::Make(65535, 1023);
  EXPECT_EQ(address.cluster(), 65535u);
  EXPECT_EQ(address.item(), 1023u);
  EXPECT_TRUE(address.is_valid());
  EXPECT_FALSE(FdAddress(0x00400005).is_valid());
}

TEST(Address, NamesItselfForMessages) {
  EXPECT_EQ(Address::MakeFileBlock(1234).ToString(), "file block 1234");
  EXPECT_EQ(Address::MakeSubBlock(3, 17).ToString(), "sub-block 3/17");
  EXPECT_EQ(Address().ToString(), "hole");
  EXPECT_EQ(kFbbFd.ToString(), "fd 0x00400004");
}

}  // namespace
}  // namespace vmfs
