// Golden tests of descriptors.
#include <gtest/gtest.h>

#include "tests/support/bytes.h"
#include "tests/support/sample.h"
#include "vmfs/format/inode.h"

namespace vmfs {
namespace {

using base::Code;
using testing_support::AsBlock;
using testing_support::ExpectError;
using testing_support::ExpectSameBytes;
using testing_support::ReadSampleVolume;
using testing_support::With;

std::vector<std::byte> SampleInode(uint32_t item) {
  return ReadSampleVolume(0x721000 + item * uint64_t{kInodeBytes}, 4096);
}

TEST(InodeFormat, ReadsTheSystemFilesThatEsxiWrote) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  const auto bytes = SampleInode(0);
  const auto root = DecodeInode(bytes, kRootFd);
  ASSERT_TRUE(root) << root.error().message();
  EXPECT_EQ(root->type(), InodeType::kDirectory);
  EXPECT_EQ(root->length_bytes, 73728u);
  EXPECT_EQ(root->link_count, 4u);
  EXPECT_EQ(root->mode, 01755u);
  EXPECT_EQ(GetSlot(AsBlock(bytes), 0), Address::MakeFileBlock(8));
  ExpectSameBytes(*root, bytes);
  const auto sbc_bytes = SampleInode(4);
  const auto sbc = DecodeInode(sbc_bytes, kSbcFd);
  ASSERT_TRUE(sbc) << sbc.error().message();
  EXPECT_EQ(sbc->map_kind(), MapKind::kPb2);
  EXPECT_EQ(sbc->flags, kInodeMapsThroughPb2);
  EXPECT_EQ(sbc->pointer_block_count, 1u);
  EXPECT_EQ(GetSlot(AsBlock(sbc_bytes), 0), Address::MakePb2(0, 0));
}

TEST(InodeFormat, ReadsUserFilesThatEsxiWrote) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  for (uint32_t item = 0; item < 16; ++item) {
    const auto bytes = SampleInode(item);
    const auto inode = DecodeInode(bytes, FdAddress::Make(0, item));
    ASSERT_TRUE(inode) << inode.error().message();
    ExpectSameBytes(*inode, bytes);
  }
  const auto grown = DecodeInode(SampleInode(15), FdAddress::Make(0, 15));
  EXPECT_EQ(grown->map_kind(), MapKind::kSubBlocks);
  EXPECT_EQ(grown->flags, kInodeOutgrewInline);
  EXPECT_EQ(grown->length_bytes, 8193u);
  EXPECT_EQ(grown->parent(), FdAddress::Make(0, 9));
  EXPECT_EQ(GetSlot(AsBlock(SampleInode(15)), 0), Address::MakeSubBlock(0, 2));
  ExpectError(DecodeInode(SampleInode(16), FdAddress::Make(0, 16)), Code::kNotRecognized,
              "signature");
}

TEST(InodeFormat, NamesEachBrokenField) {
  const FdAddress address = FdAddress::Make(2, 30);
  std::vector<std::byte> block(4096);
  base::StoreAs(std::span<std::byte>(block), 0, MakeInode(address, 9, InodeType::kFile));
  const auto decode = [&](size_t offset, auto value) {
    return DecodeInode(With(block, offset, value), address);
  };
  ASSERT_TRUE(DecodeInode(block, address));
  ExpectError(decode(0x00, uint32_t{4}), Code::kCorrupt, "says it is fd 0x00000004");
  ExpectError(decode(0x0c, uint32_t{1}), Code::kCorrupt, "unknown type 1");
  ExpectError(decode(0x0c, uint32_t{7}), Code::kCorrupt, "unknown type 7");
  ExpectError(decode(0x14, uint64_t{3585}), Code::kCorrupt, "its map reaches 0xe00");
  ExpectError(decode(0x1c, uint64_t{8192}), Code::kCorrupt, "block size 0x2000");
  ExpectError(decode(0x44, uint32_t{4}), Code::kCorrupt, "unknown map kind");
  ExpectError(decode(0x64, uint32_t{0}), Code::kNotRecognized, "signature");
  ExpectError(decode(0x89, uint8_t{20}), Code::kCorrupt, "log2 20");
  ExpectError(decode(0x89, uint8_t{200}), Code::kCorrupt, "log2 200");
}

TEST(InodeFormat, MapKindsReachWhatTheyShould) {
  EXPECT_EQ(MapReachBytes(MapKind::kInline), 3584u);
  EXPECT_EQ(MapReachBytes(MapKind::kSubBlocks), 20 * kMebibyte);
  EXPECT_EQ(MapReachBytes(MapKind::kFileBlocks), 320 * kMebibyte);
  EXPECT_EQ(MapReachBytes(MapKind::kPointerBlocks), uint64_t{320} * 8192 * kMebibyte);
  EXPECT_EQ(MapReachBytes(MapKind::kDoubleIndirect), kFileBytesMax);
}

TEST(InodeFormat, SlotsLieAtTheEndOfTheBlock) {
  std::array<std::byte, 4096> block{};
  SetSlot(block, 0, Address::MakeFileBlock(8));
  SetSlot(block, 319, Address::MakeSubBlock(1, 2));
  EXPECT_EQ(base::LoadAs<base::Le64>(block, 0x600), 0x0040000000000001u);
  EXPECT_EQ(GetSlot(block, 319), Address::MakeSubBlock(1, 2));
  EXPECT_EQ(base::LoadAs<base::Le64>(block, 4088), Address::MakeSubBlock(1, 2).raw());
}

}  // namespace
}  // namespace vmfs
