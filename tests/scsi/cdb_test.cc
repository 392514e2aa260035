#include "vscsi/scsi/cdb.h"

#include <gtest/gtest.h>

#include "tests/scsi/hex.h"

namespace scsi {
namespace {

std::string HexOf(const Cdb& cdb) {
  return scsi_test::Hex(std::span(cdb.bytes).first(cdb.size_bytes));
}

TEST(Cdb, BlockRange16HasGoldenBytesBothWays) {
  const BlockRangeCdb range{0x0102030405060708, 0x0A0B0C0D, kFlagFua};
  const Cdb cdb = EncodeBlockRange16(Opcode::kRead16, range);
  EXPECT_EQ(HexOf(cdb), "88 08 01 02 03 04 05 06 07 08 0a 0b 0c 0d 00 00");
  EXPECT_EQ(DecodeBlockRange(cdb), range);
}

TEST(Cdb, BlockRange10HasGoldenBytesBothWays) {
  const BlockRangeCdb range{0x01020304, 0x0506, 0x10};
  const Cdb cdb = EncodeBlockRange10(Opcode::kWrite10, range);
  EXPECT_EQ(HexOf(cdb), "2a 10 01 02 03 04 00 05 06 00");
  EXPECT_EQ(DecodeBlockRange(cdb), range);
}

TEST(Cdb, Read12KeepsItsCountAtByteSix) {
  const std::array<uint8_t, 12> bytes = {0xA8, 0, 1, 2, 3, 4, 0, 1, 0, 2, 0, 0};
  EXPECT_EQ(DecodeBlockRange(CdbOf(bytes)), (BlockRangeCdb{0x01020304, 0x00010002, 0}));
}

TEST(Cdb, SixByteReadsHold21BitsOfLbaAndZeroMeans256) {
  const std::array<uint8_t, 6> bytes = {0x08, 0xFF, 0x23, 0x45, 0x00, 0x00};
  EXPECT_EQ(DecodeBlockRange(CdbOf(bytes)), (BlockRangeCdb{0x1F2345, 256, 0}));
}

TEST(Cdb, CompareAndWriteCountsInOneByte) {
  std::array<uint8_t, 16> bytes{};
  bytes[0] = 0x89;
  bytes[9] = 0x11;
  bytes[10] = 0xFF;  // reserved
  bytes[13] = 0x08;
  EXPECT_EQ(DecodeBlockRange(CdbOf(bytes)), (BlockRangeCdb{0x11, 8, 0}));
}

TEST(Cdb, InquiryHasGoldenBytesBothWays) {
  const InquiryCdb inquiry{true, 0x83, 0x01FC};
  EXPECT_EQ(HexOf(EncodeInquiry(inquiry)), "12 01 83 01 fc 00");
  EXPECT_EQ(DecodeInquiry(EncodeInquiry(inquiry)), inquiry);
}

TEST(Cdb, ServiceActionInHasGoldenBytesBothWays) {
  const ServiceActionInCdb action{kServiceActionReadCapacity16, 0x10, 32, 1};
  EXPECT_EQ(HexOf(EncodeServiceActionIn(action)),
            "9e 10 00 00 00 00 00 00 00 10 00 00 00 20 01 00");
  EXPECT_EQ(DecodeServiceActionIn(EncodeServiceActionIn(action)), action);
}

TEST(Cdb, UnmapHasGoldenBytesBothWays) {
  const UnmapCdb unmap{true, 0x0118};
  EXPECT_EQ(HexOf(EncodeUnmap(unmap)), "42 01 00 00 00 00 00 01 18 00");
  EXPECT_EQ(DecodeUnmap(EncodeUnmap(unmap)), unmap);
}

TEST(Cdb, ModeSenseHasGoldenBytesBothWays) {
  ModeSenseCdb mode;
  mode.no_block_descriptors = true;
  mode.page_control = 1;
  mode.page_code = 0x3F;
  mode.subpage_code = 0xFF;
  mode.allocation_bytes = 192;
  EXPECT_EQ(HexOf(EncodeModeSense6(mode)), "1a 08 7f ff c0 00");
  EXPECT_EQ(DecodeModeSense(EncodeModeSense6(mode)), mode);
  mode.long_lba_accepted = true;
  EXPECT_EQ(HexOf(EncodeModeSense10(mode)), "5a 18 7f ff 00 00 00 00 c0 00");
  EXPECT_EQ(DecodeModeSense(EncodeModeSense10(mode)), mode);
}

TEST(Cdb, SmallCommandsHaveGoldenBytesBothWays) {
  EXPECT_EQ(HexOf(EncodeTestUnitReady()), "00 00 00 00 00 00");
  const RequestSenseCdb request{true, 252};
  EXPECT_EQ(HexOf(EncodeRequestSense(request)), "03 01 00 00 fc 00");
  EXPECT_EQ(DecodeRequestSense(EncodeRequestSense(request)), request);
  const ReportLunsCdb report{2, 0x1000};
  EXPECT_EQ(HexOf(EncodeReportLuns(report)), "a0 00 02 00 00 00 00 00 10 00 00 00");
  EXPECT_EQ(DecodeReportLuns(EncodeReportLuns(report)), report);
  const ReadCapacity10Cdb read{0x01020304, true};
  EXPECT_EQ(HexOf(EncodeReadCapacity10(read)), "25 00 01 02 03 04 00 00 01 00");
  EXPECT_EQ(DecodeReadCapacity10(EncodeReadCapacity10(read)), read);
  const StartStopCdb stop{3, true, true, true};
  EXPECT_EQ(HexOf(EncodeStartStop(stop)), "1b 00 00 00 37 00");
  EXPECT_EQ(DecodeStartStop(EncodeStartStop(stop)), stop);
}

TEST(Cdb, SizesFollowTheGroupCode) {
  EXPECT_EQ(CdbSizeOf(0x12), 6);
  EXPECT_EQ(CdbSizeOf(0x28), 10);
  EXPECT_EQ(CdbSizeOf(0x42), 10);
  EXPECT_EQ(CdbSizeOf(0x88), 16);
  EXPECT_EQ(CdbSizeOf(0xA0), 12);
  EXPECT_EQ(CdbSizeOf(0xC0), 0);
}

}  // namespace
}  // namespace scsi
