// Golden tests of journal blocks: ESXi's empty form, and our own contents.
#include <gtest/gtest.h>

#include "tests/support/bytes.h"
#include "tests/support/sample.h"
#include "vmfs/format/journal_block.h"

namespace vmfs {
namespace {

using base::Code;
using testing_support::AsBlock;
using testing_support::ExpectError;
using testing_support::ReadSampleVolume;
using testing_support::With;

TEST(EmptyJournal, IsWhatEsxiLeavesButForItsRandomBytes) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  const uint64_t address = 461 * kMebibyte + 0x18000;
  auto esxi = ReadSampleVolume(address, kJournalBlockBytes);
  EXPECT_EQ(ClassifyJournal(esxi), JournalContent::kEmpty);
  std::fill_n(esxi.begin() + 8, 8, std::byte{0});
  std::vector<std::byte> ours(kJournalBlockBytes, std::byte{0xaa});
  EncodeEmptyJournal(address, ours);
  EXPECT_EQ(ours, esxi);
  EXPECT_TRUE(IsEmptyJournalSlot(std::span(esxi).subspan(4096, 4096)));
}

TEST(EmptyJournal, IsToldFromOtherContents) {
  std::vector<std::byte> sector(512);
  EXPECT_EQ(ClassifyJournal(sector), JournalContent::kNeverUsed);
  EXPECT_EQ(ClassifyJournal(With(sector, 100, uint8_t{1})), JournalContent::kForeign);
  EncodeJournalHeader({}, sector);
  EXPECT_EQ(ClassifyJournal(sector), JournalContent::kOurs);
  EXPECT_EQ(ClassifyJournal({}), JournalContent::kForeign);
}

JournalHeader SomeHeader() {
  JournalHeader header;
  header.volume_uuid = base::NewUuid(1'700'000'000'000'000);
  header.owner = base::NewUuid(1'700'000'000'000'000);
  header.own_address = 0x1000000;
  header.tail_sequence = 9;
  header.tail_slot = 511;
  return header;
}

TEST(JournalHeaderFormat, ReadsBackAndNamesEachBrokenField) {
  const JournalHeader header = SomeHeader();
  std::vector<std::byte> sector(512);
  EncodeJournalHeader(header, sector);
  const auto decode = [&](std::span<const std::byte> bytes) {
    return DecodeJournalHeader(bytes, header.volume_uuid, 0x1000000);
  };
  const auto read = decode(sector);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(read->tail_sequence, 9u);
  ExpectError(decode(With(sector, 0, uint8_t{0})), Code::kNotRecognized, "not one of ours");
  for (size_t offset = 8; offset < 512; offset += 4) {
    ExpectError(decode(With(sector, offset, uint32_t{0xdeadbeef})), Code::kChecksumMismatch,
                "header CRC");
  }
  ExpectError(DecodeJournalHeader(sector, base::NewUuid(1), 0x1000000), Code::kCorrupt,
              "of volume");
  ExpectError(DecodeJournalHeader(sector, header.volume_uuid, 0x2000000), Code::kCorrupt,
              "its address");
  JournalHeader bad_tail = header;
  bad_tail.tail_slot = 512;
  EncodeJournalHeader(bad_tail, sector);
  ExpectError(decode(sector), Code::kCorrupt, "tail slot 512");
}

class TransactionFormat : public testing::Test {
 protected:
  TransactionFormat() {
    round_ = {base::NewUuid(1'700'000'000'000'000), 0x1000000, 7};
    transaction_.sequence = 41;
    for (uint32_t i = 0; i < kTransactionImagesMax; ++i) {
      transaction_.entries.push_back({0x700000 + i * uint64_t{4096}, 0x710000, i, i * 3});
    }
    for (uint32_t i = 0; i < kOrphansMax; ++i) transaction_.orphans.push_back({i, i + 1});
    transaction_.scan_descriptors = true;
    EncodeTransaction(transaction_, round_, 5, std::span<std::byte>(block_).first<4096>());
  }

  base::Result<TransactionDescriptor> Decode(const std::vector<std::byte>& bytes) {
    return DecodeTransaction(AsBlock(bytes), round_, 5, 41);
  }

  JournalRound round_;
  TransactionDescriptor transaction_;
  std::vector<std::byte> block_ = std::vector<std::byte>(4096);
};

TEST_F(TransactionFormat, ReadsBackAtItsLargest) {
  const auto read = Decode(block_);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(*read, transaction_);
}

TEST_F(TransactionFormat, AnyChangedByteEndsTheLog) {
  for (size_t offset = 0; offset < 4096; ++offset) {
    const auto value = static_cast<uint8_t>(std::to_integer<int>(block_[offset]) ^ 0x40);
    ExpectError(Decode(With(block_, offset, value)), Code::kJournalTorn, "the log ends here");
  }
}

TEST_F(TransactionFormat, AnotherPlaceRoundOrSequenceEndsTheLog) {
  ExpectError(DecodeTransaction(AsBlock(block_), round_, 6, 41), Code::kJournalTorn, "place");
  ExpectError(DecodeTransaction(AsBlock(block_), round_, 5, 40), Code::kJournalTorn, "sequence");
  JournalRound other = round_;
  other.heartbeat_generation = 9;
  ExpectError(DecodeTransaction(AsBlock(block_), other, 5, 41), Code::kJournalTorn, "round");
  ExpectError(Decode(std::vector<std::byte>(4096)), Code::kJournalTorn, "no transaction");
}

TEST_F(TransactionFormat, ImageChecksumsCoverWhereTheImageBelongs) {
  const std::vector<std::byte> image(4096, std::byte{1});
  const uint32_t crc = ImageCrc(round_, 41, 6, 0x700000, image);
  EXPECT_EQ(ImageCrc(round_, 41, 6, 0x700000, image), crc);
  EXPECT_NE(ImageCrc(round_, 42, 6, 0x700000, image), crc);
  EXPECT_NE(ImageCrc(round_, 41, 7, 0x700000, image), crc);
  EXPECT_NE(ImageCrc(round_, 41, 6, 0x701000, image), crc);
  EXPECT_NE(ImageCrc(round_, 41, 6, 0x700000, With(image, 4095, uint8_t{2})), crc);
}

TEST(JournalSlots, WrapBehindTheLastOne) {
  EXPECT_EQ(NextJournalSlot(1), 2u);
  EXPECT_EQ(NextJournalSlot(511), 1u);
  EXPECT_EQ(NextJournalSlot(510, 3), 2u);
  EXPECT_EQ(JournalSlotAddress(0x1000000, 511), 0x1000000u + 511 * 4096);
}

}  // namespace
}  // namespace vmfs
