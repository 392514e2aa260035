// Golden tests of directory structures and the name hash.
#include <gtest/gtest.h>

#include "tests/support/bytes.h"
#include "tests/support/sample.h"
#include "vmfs/format/directory.h"

namespace vmfs {
namespace {

using base::Code;
using testing_support::AsBlock;
using testing_support::ExpectError;
using testing_support::ExpectSameBytes;
using testing_support::ReadSampleVolume;
using testing_support::With;

constexpr uint64_t kRootAddress = 8 * kMebibyte;  // the root's file block in the sample
constexpr uint64_t kSddAddress = 460 * kMebibyte;

struct SampleRecord {
  std::vector<std::byte> bytes;
  DirectoryRecord record;
  uint64_t file_offset;
};

// The used records of a directory's first record block.
std::vector<SampleRecord> RecordsAt(uint64_t address) {
  std::vector<SampleRecord> records;
  const auto block = ReadSampleVolume(address + DirectoryBlockOffset(1), 4096);
  const auto header = DecodeBlockHeader(block, DirectoryBlockKind::kRecords);
  if (!header) return records;
  for (uint32_t slot = 0; slot < kRecordsPerBlock; ++slot) {
    if (header->is_free(slot)) continue;
    const auto bytes = std::span(block).subspan(RecordOffsetInBlock(slot), 0x120);
    records.push_back({{bytes.begin(), bytes.end()},
                       base::LoadAs<DirectoryRecord>(bytes),
                       RecordFileOffset(1, slot)});
  }
  return records;
}

Location BucketAt(uint64_t address, uint32_t bucket) {
  const uint64_t piece = HashSlotPiece(bucket) * uint64_t{4096};
  return GetHashSlot(AsBlock(ReadSampleVolume(address + piece, 4096)), bucket);
}

TEST(DirectoryFormat, ReadsTheRootThatEsxiWrote) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  const auto piece = ReadSampleVolume(kRootAddress, 4096);
  const auto header = DecodeDirectoryHeader(piece);
  ASSERT_TRUE(header) << header.error().message();
  ExpectSameBytes(*header, piece);
  const auto records = RecordsAt(kRootAddress);
  EXPECT_EQ(header->entry_count, records.size() + 2);
  for (const SampleRecord& sample : records) {
    const auto record = DecodeRecord(sample.bytes, sample.file_offset);
    ASSERT_TRUE(record) << record.error().message();
    ExpectSameBytes(*record, sample.bytes);
    const std::string_view name = record->name();
    const auto system_bucket = SystemNameBucket(name);
    const uint64_t hash = HashName(name);
    EXPECT_EQ(record->hash, system_bucket ? 0 : RecordHash(hash)) << name;
    const Location found = BucketAt(kRootAddress, system_bucket.value_or(HashBucket(hash, true)));
    EXPECT_EQ(found.kind, DirectoryBlockKind::kRecords) << name;
    EXPECT_EQ(RecordFileOffset(found.block, found.slot), sample.file_offset) << name;
  }
}

TEST(NameHash, FindsEveryUserNameOfTheSample) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  // The user directory lies in sub-blocks 0 and 1; `.sbc.sf` begins at file block 139.
  const uint64_t address = 139 * kMebibyte + StandardGeometry(ResourceKind::kSubBlock, 5916)
                                                 .ItemOffset(0, 0);
  const auto records = RecordsAt(address);
  EXPECT_EQ(records.size(), 6u);
  for (const SampleRecord& sample : records) {
    const std::string_view name = sample.record.name();
    const uint64_t hash = HashName(name);
    EXPECT_EQ(sample.record.hash, RecordHash(hash)) << name;
    const Location found = BucketAt(address, HashBucket(hash, false));
    EXPECT_EQ(RecordFileOffset(found.block, found.slot), sample.file_offset) << name;
  }
}

TEST(NameHash, TakesEveryLengthAndKeepsSystemBucketsApart) {
  EXPECT_NE(HashName(std::string(127, 'x')), HashName(std::string(126, 'x')));
  EXPECT_NE(HashName(std::string(255, 'x')), HashName(std::string(254, 'x')));
  EXPECT_LT(HashBucket(HashName("some name"), true), kRootHashBucketCount);
  EXPECT_EQ(SystemNameBucket(".fbb.sf"), 0x3E66u);
  EXPECT_EQ(SystemNameBucket(".dfd.sf"), 0x3E66u + 9);
  EXPECT_EQ(SystemNameBucket("fbb.sf"), std::nullopt);
}

TEST(DirectoryFormat, MakesTheEmptyDirectoryThatEsxiWrote) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  std::array<std::byte, 4096> block{};
  EncodeFirstMapBlock(false, block);
  const auto map = ReadSampleVolume(kSddAddress + DirectoryBlockOffset(0), 4096);
  EXPECT_TRUE(std::ranges::equal(block, map));
  EncodeFirstMapBlock(true, block);
  EXPECT_EQ(block[64], std::byte{0x35});
  EXPECT_EQ(block[65], std::byte{0x88});
  const auto root_map = ReadSampleVolume(kRootAddress + DirectoryBlockOffset(0), 4096);
  EXPECT_TRUE(std::ranges::equal(block, root_map));
}

TEST(DirectoryFormat, MakesTheHeaderThatEsxiWrote) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  const auto piece = ReadSampleVolume(kSddAddress, 4096);
  const auto self = MakeRecord(InodeType::kSystem, kSddFd, 1, 0, 0, ".");
  const auto parent = MakeRecord(InodeType::kDirectory, kRootFd, 1, 0, 0, "..");
  ExpectSameBytes(MakeDirectoryHeader(self, parent), piece);
}

TEST(DirectoryFormat, NamesEachBrokenFieldOfTheHeader) {
  const auto record = MakeRecord(InodeType::kDirectory, kRootFd, 1, 0, 0, ".");
  const DirectoryHeader header = MakeDirectoryHeader(record, record);
  const auto bytes = base::BytesOf(header);
  const auto decode = [&](size_t offset, uint32_t value) {
    return DecodeDirectoryHeader(With(bytes, offset, value));
  };
  ASSERT_TRUE(DecodeDirectoryHeader(bytes));
  ExpectError(decode(0x00, 1), Code::kCorrupt, "version");
  ExpectError(decode(0x04, 1), Code::kCorrupt, "1 entries");
  ExpectError(decode(0x0c, 0), Code::kCorrupt, "0 map blocks");
  ExpectError(decode(0x0c, 129), Code::kCorrupt, "129 map blocks");
  ExpectError(decode(0x10, 1), Code::kCorrupt, "first map block");
  ExpectError(decode(0x3b8 + 0x18, 'x'), Code::kCorrupt, "own records");
}

TEST(DirectoryFormat, NamesEachBrokenFieldOfARecord) {
  const auto record = MakeRecord(InodeType::kFile, FdAddress::Make(0, 20), 5, 77, 0x12040, "name");
  const auto bytes = base::BytesOf(record);
  const auto decode = [&](size_t offset, auto value) {
    return DecodeRecord(With(bytes, offset, value), 0x12040);
  };
  ASSERT_TRUE(DecodeRecord(bytes, 0x12040));
  ExpectError(decode(0x00, uint32_t{1}), Code::kCorrupt, "unknown type");
  ExpectError(decode(0x04, uint32_t{3}), Code::kCorrupt, "no descriptor address");
  ExpectError(decode(0x10, uint64_t{64}), Code::kCorrupt, "says it is at 0x40");
  ExpectError(decode(0x18, uint8_t{0}), Code::kCorrupt, "name of 0 bytes");
}

TEST(DirectoryFormat, NamesEachBrokenFieldOfABlockHeader) {
  std::vector<std::byte> block(4096);
  EncodeEmptyBlock(DirectoryBlockKind::kLinks, std::span<std::byte>(block).first<4096>());
  const auto decode = [&](size_t offset, auto value) {
    return DecodeBlockHeader(With(block, offset, value), DirectoryBlockKind::kLinks);
  };
  ASSERT_TRUE(DecodeBlockHeader(block, DirectoryBlockKind::kLinks));
  ExpectError(decode(0, uint16_t{2}), Code::kCorrupt, "version 2");
  ExpectError(decode(2, uint16_t{1}), Code::kCorrupt, "kind 1, expected 2");
  ExpectError(decode(4, uint16_t{49}), Code::kCorrupt, "49 slots");
  ExpectError(decode(6, uint16_t{47}), Code::kCorrupt, "47 slots free");
  ExpectError(decode(8, uint8_t{0xfe}), Code::kCorrupt, "48 slots free, 47");
}

TEST(DirectoryFormat, NamesEachBrokenFieldOfALinkGroup) {
  LinkGroup group;
  group.bucket = uint16_t{9};
  group.link_count = kLinksPerGroup;
  group.free_count = 10;
  const auto bytes = base::BytesOf(group);
  ASSERT_TRUE(DecodeLinkGroup(bytes, 9));
  ExpectError(DecodeLinkGroup(bytes, 8), Code::kCorrupt, "bucket 9, expected 8");
  ExpectError(DecodeLinkGroup(With(bytes, 2, uint8_t{11}), 9), Code::kCorrupt, "11 links");
  ExpectError(DecodeLinkGroup(With(bytes, 3, uint8_t{13}), 9), Code::kCorrupt, "13 free");
}

TEST(DirectoryFormat, LocationsAndNibblesReadBack) {
  const Location location{DirectoryBlockKind::kLinks, 0x3fffff, 47};
  EXPECT_EQ(Location::Decode(location.Encode()), location);
  EXPECT_EQ((Location{DirectoryBlockKind::kRecords, 1, 3}.Encode()), 0x03000005u);
  std::array<std::byte, 4096> block{};
  EncodeFirstMapBlock(true, block);
  const MapNibble nibble{DirectoryBlockKind::kRecords, false, false};
  SetMapNibble(block, 8063, nibble);
  EXPECT_EQ(GetMapNibble(block, 8063), nibble);
  EXPECT_TRUE(GetMapNibble(block, 8062).never_written);
}

TEST(DirectoryFormat, MarksSlotsOfABlock) {
  std::array<std::byte, 4096> block{};
  EncodeEmptyBlock(DirectoryBlockKind::kRecords, block);
  auto header = base::LoadAs<DirectoryBlockHeader>(block);
  EXPECT_EQ(header.FirstFree(), 0u);
  for (uint32_t slot = 0; slot < kRecordsPerBlock; ++slot) header.Mark(slot, false);
  EXPECT_EQ(header.free_count, 0u);
  EXPECT_EQ(header.FirstFree(), kRecordsPerBlock);
  header.Mark(13, true);
  EXPECT_EQ(header.FirstFree(), 13u);
}

}  // namespace
}  // namespace vmfs
