#include "vscsi/scsi/sense.h"

#include <gtest/gtest.h>

#include "tests/scsi/hex.h"

namespace scsi {
namespace {

using base::Code;

std::string HexOf(const SenseBuffer& buffer) {
  return scsi_test::Hex(buffer.view());
}

TEST(Sense, FixedFormatHasGoldenBytesBothWays) {
  Sense sense{.code = kMiscompareDuringVerify};
  sense.information = 0x01020304;
  const SenseBuffer buffer = EncodeSense(sense, SenseFormat::kFixed);
  EXPECT_EQ(HexOf(buffer), "f0 00 0e 01 02 03 04 0a 00 00 00 00 1d 00 00 00 00 00");
  EXPECT_EQ(*DecodeSense(buffer.view()), sense);
}

TEST(Sense, FixedFormatLeavesOutInformationThatDoesNotFit) {
  Sense sense{.code = kLbaOutOfRange};
  sense.information = uint64_t{1} << 32;
  const SenseBuffer buffer = EncodeSense(sense, SenseFormat::kFixed);
  EXPECT_EQ(buffer.bytes[0], 0x70);
  EXPECT_FALSE(DecodeSense(buffer.view())->information);
}

TEST(Sense, DescriptorFormatHasGoldenBytesBothWays) {
  Sense sense = InvalidCdbField(0x0102);
  sense.information = 0x0102030405060708;
  const SenseBuffer buffer = EncodeSense(sense, SenseFormat::kDescriptor);
  EXPECT_EQ(HexOf(buffer),
            "72 05 24 00 00 00 00 14 00 0a 80 00 01 02 03 04 05 06 07 08 "
            "02 06 00 00 c0 01 02 00");
  EXPECT_EQ(*DecodeSense(buffer.view()), sense);
}

TEST(Sense, FieldPointerSurvivesTheFixedFormat) {
  const Sense sense = InvalidCdbField(13);
  const SenseBuffer buffer = EncodeSense(sense, SenseFormat::kFixed);
  EXPECT_EQ(HexOf(buffer), "70 00 05 00 00 00 00 0a 00 00 00 00 24 00 00 c0 00 0d");
  EXPECT_EQ(*DecodeSense(buffer.view()), sense);
}

TEST(Sense, DeferredErrorsKeepTheirMark) {
  Sense sense{.code = {SenseKey::kMediumError, 0x11, 0}};
  sense.deferred = true;
  for (const SenseFormat format : {SenseFormat::kFixed, SenseFormat::kDescriptor}) {
    EXPECT_EQ(*DecodeSense(EncodeSense(sense, format).view()), sense);
  }
}

TEST(Sense, CutFixedSenseReadsAsZerosBehindItsEnd) {
  const std::array<uint8_t, 8> bytes = {0x70, 0, 0x06, 0, 0, 0, 0, 10};
  EXPECT_EQ(DecodeSense(bytes)->code, (SenseCode{SenseKey::kUnitAttention, 0, 0}));
}

TEST(Sense, RefusesWhatIsNoSense) {
  const std::array<uint8_t, 18> vendor = {0x7F};
  EXPECT_EQ(DecodeSense(vendor).error().code(), Code::kParseError);
  EXPECT_EQ(DecodeSense({}).error().code(), Code::kParseError);
  const std::array<uint8_t, 4> cut = {0x72, 5, 0x24, 0};
  EXPECT_EQ(DecodeSense(cut).error().code(), Code::kParseError);
}

// What a backing device may answer comes back as the same code on the other side of the wire.
TEST(Sense, CodesOfABlockDeviceSurviveTheRoundTrip) {
  for (const Code code : {Code::kOutOfRange, Code::kMisaligned, Code::kIo, Code::kMedium,
                          Code::kDeviceLost, Code::kTimedOut, Code::kCanceled, Code::kReadOnly,
                          Code::kNoSpace, Code::kUnsupported, Code::kMiscompare}) {
    EXPECT_EQ(CodeFromSense(SenseOf(code)), code) << base::InfoOf(code).name;
  }
}

TEST(Sense, UnknownTriplesFallBackByTheirKey) {
  EXPECT_EQ(CodeFromSense({SenseKey::kMediumError, 0x99, 0x77}), Code::kMedium);
  EXPECT_EQ(CodeFromSense({SenseKey::kHardwareError, 0x99, 0x77}), Code::kIo);
  EXPECT_EQ(CodeFromSense({SenseKey::kIllegalRequest, 0x99, 0x77}), Code::kInvalidArgument);
  EXPECT_EQ(CodeFromSense({SenseKey::kAbortedCommand, 0x47, 0x03}), Code::kIo);
  EXPECT_EQ(CodeFromSense({SenseKey::kVendorSpecific, 0, 0}), Code::kIo);
}

}  // namespace
}  // namespace scsi
