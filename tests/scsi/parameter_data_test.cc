#include "vscsi/scsi/parameter_data.h"

#include <gtest/gtest.h>

#include "tests/scsi/hex.h"
#include "vscsi/scsi/mode_data.h"

namespace scsi {
namespace {

using base::Code;
using scsi_test::Hex;

TEST(ParameterData, InquiryHasGoldenBytesBothWays) {
  InquiryData inquiry;
  inquiry.vendor = "STRATA";
  inquiry.product = "Virtual disk";
  inquiry.revision = "1.0";
  const Bytes bytes = EncodeInquiryData(inquiry);
  ASSERT_EQ(bytes.size(), 96u);
  EXPECT_EQ(Hex(std::span(bytes).first(36)),
            "00 00 06 12 5b 00 00 02 53 54 52 41 54 41 20 20 56 69 72 74 75 61 6c 20 64 69 73 6b "
            "20 20 20 20 31 2e 30 20");
  EXPECT_EQ(Hex(std::span(bytes).subspan(58, 6)), "00 a0 04 60 04 c0");
  EXPECT_EQ(*DecodeInquiryData(bytes), inquiry);
  EXPECT_EQ(DecodeInquiryData(std::span(bytes).first(35)).error().code(), Code::kParseError);
}

TEST(ParameterData, SupportedPagesHaveGoldenBytes) {
  constexpr VpdPage kPages[] = {VpdPage::kSupportedPages, VpdPage::kBlockLimits};
  EXPECT_EQ(Hex(EncodeSupportedPages(kPages)), "00 00 00 02 00 b0");
}

TEST(ParameterData, SerialNumberHasGoldenBytes) {
  EXPECT_EQ(Hex(EncodeSerialNumber("AB1")), "00 80 00 03 41 42 31");
}

TEST(ParameterData, DeviceIdentificationHasGoldenBytesBothWays) {
  const std::vector<Designator> designators = {
      {1, kDesignatorNaa, 0, {0x60, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}},
      {2, kDesignatorT10VendorId, 1, {'S', 'T'}}};
  const Bytes bytes = EncodeDeviceIdentification(designators);
  EXPECT_EQ(Hex(bytes),
            "00 83 00 1a 01 03 00 10 60 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f "
            "02 11 00 02 53 54");
  EXPECT_EQ(*DecodeDeviceIdentification(bytes), designators);
}

TEST(ParameterData, DeviceIdentificationRefusesAnEntryBehindThePage) {
  Bytes bytes = EncodeDeviceIdentification(std::vector<Designator>{{1, 3, 0, {1, 2, 3, 4}}});
  bytes[7] = std::byte{5};
  EXPECT_EQ(DecodeDeviceIdentification(bytes).error().code(), Code::kParseError);
  bytes.resize(6);
  EXPECT_EQ(DecodeDeviceIdentification(bytes).error().code(), Code::kParseError);
}

TEST(ParameterData, BlockLimitsHaveGoldenBytesBothWays) {
  BlockLimits limits;
  limits.write_same_nonzero = true;
  limits.compare_and_write_max = 8;
  limits.transfer_granularity = 8;
  limits.transfer_max = 0x800;
  limits.transfer_optimal = 0x400;
  limits.unmap_max = 0xFFFFFFFF;
  limits.unmap_descriptors_max = 0x100;
  limits.unmap_granularity = 0x10;
  limits.write_same_max = 0x200000;
  const Bytes bytes = EncodeBlockLimits(limits);
  EXPECT_EQ(Hex(bytes),
            "00 b0 00 3c 01 08 00 08 00 00 08 00 00 00 04 00 00 00 00 00 ff ff ff ff 00 00 01 00 "
            "00 00 00 10 00 00 00 00 00 00 00 00 00 20 00 00 00 00 00 00 00 00 00 00 00 00 00 00 "
            "00 00 00 00 00 00 00 00");
  EXPECT_EQ(*DecodeBlockLimits(bytes), limits);
}

TEST(ParameterData, ShortBlockLimitsOfOlderUnitsReadAsZeros) {
  BlockLimits limits;
  limits.transfer_max = 0x800;
  limits.unmap_max = 7;
  Bytes bytes = EncodeBlockLimits(limits);
  bytes.resize(4 + 12);
  bytes[3] = std::byte{12};
  EXPECT_EQ(DecodeBlockLimits(bytes)->transfer_max, 0x800u);
  EXPECT_EQ(DecodeBlockLimits(bytes)->unmap_max, 0u);
}

TEST(ParameterData, ProvisioningHasGoldenBytesBothWays) {
  const Provisioning provisioning{true, true, true, 2};
  EXPECT_EQ(Hex(EncodeProvisioning(provisioning)), "00 b2 00 04 00 c4 02 00");
  EXPECT_EQ(*DecodeProvisioning(EncodeProvisioning(provisioning)), provisioning);
}

TEST(ParameterData, CharacteristicsSayThatNothingRotates) {
  const Bytes bytes = EncodeBlockDeviceCharacteristics();
  EXPECT_EQ(Hex(std::span(bytes).first(6)), "00 b1 00 3c 00 01");
}

TEST(ParameterData, CapacityHasGoldenBytesBothWays) {
  const Capacity capacity{0x123456789A, 512, 3, true, true};
  const Bytes bytes = EncodeCapacity16(capacity);
  EXPECT_EQ(Hex(std::span(bytes).first(16)), "00 00 00 12 34 56 78 99 00 00 02 00 00 03 c0 00");
  EXPECT_EQ(bytes.size(), 32u);
  EXPECT_EQ(*DecodeCapacity16(bytes), capacity);
  EXPECT_EQ(Hex(EncodeCapacity10(capacity)), "ff ff ff ff 00 00 02 00");
  EXPECT_EQ(Hex(EncodeCapacity10({0x100, 4096, 0, false, false})), "00 00 00 ff 00 00 10 00");
}

TEST(ParameterData, CapacityRefusesImpossibleSizes) {
  Bytes bytes = EncodeCapacity16({8, 512, 0, false, false});
  bytes[10] = std::byte{0};
  EXPECT_EQ(DecodeCapacity16(bytes).error().code(), Code::kParseError);
  EXPECT_EQ(DecodeCapacity16(std::span(bytes).first(8)).error().code(), Code::kParseError);
}

TEST(ParameterData, LbaStatusHasGoldenBytesBothWays) {
  const std::vector<LbaRun> runs = {{0x10, 8, LbaState::kMapped},
                                    {0x18, 0x100, LbaState::kDeallocated},
                                    {0x118, 1, LbaState::kAnchored}};
  const Bytes bytes = EncodeLbaStatus(runs);
  EXPECT_EQ(Hex(bytes),
            "00 00 00 34 00 00 00 00 "
            "00 00 00 00 00 00 00 10 00 00 00 08 00 00 00 00 "
            "00 00 00 00 00 00 00 18 00 00 01 00 01 00 00 00 "
            "00 00 00 00 00 00 01 18 00 00 00 01 02 00 00 00");
  EXPECT_EQ(*DecodeLbaStatus(bytes), runs);
  EXPECT_EQ(DecodeLbaStatus(std::span(bytes).first(39))->size(), 1u);
}

TEST(ParameterData, UnmapListHasGoldenBytesBothWays) {
  const UnmapListOfOne list = EncodeUnmapList({0x1122, 0x33});
  EXPECT_EQ(Hex(list), "00 16 00 10 00 00 00 00 00 00 00 00 00 00 11 22 00 00 00 33 00 00 00 00");
  const auto ranges = DecodeUnmapList(list);
  ASSERT_EQ(ranges->size(), 1u);
  EXPECT_EQ(ranges->front(), (UnmapRange{0x1122, 0x33}));
}

TEST(ParameterData, UnmapListRefusesWhatEndsEarly) {
  UnmapListOfOne list = EncodeUnmapList({0, 1});
  list[3] = std::byte{32};
  EXPECT_EQ(DecodeUnmapList(list).error().code(), Code::kParseError);
  EXPECT_EQ(DecodeUnmapList(std::span(list).first(7)).error().code(), Code::kParseError);
}

TEST(ModeData, HasGoldenBytes) {
  const Bytes pages = EncodeModePages(ModePage::kAll, ModeValues::kCurrent);
  const Capacity capacity{0x800, 512, 0, false, false};
  EXPECT_EQ(Hex(EncodeModeData6({true, true}, &capacity, pages)),
            "2b 00 90 08 00 00 08 00 00 00 02 00 "
            "08 12 04 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 "
            "0a 0a 02 10 00 00 00 00 00 00 00 00");
  EXPECT_EQ(Hex(EncodeModeData10({false, true}, nullptr, {})), "00 06 00 10 00 00 00 00");
}

TEST(ModeData, HeaderReadsBack) {
  const Bytes bytes = EncodeModeData6({true, false}, nullptr, {});
  EXPECT_EQ(*DecodeModeHeader6(bytes), (ModeHeader{true, false}));
  EXPECT_EQ(DecodeModeHeader6({}).error().code(), Code::kParseError);
}

TEST(ModeData, NothingIsChangeable) {
  const Bytes pages = EncodeModePages(ModePage::kCaching, ModeValues::kChangeable);
  EXPECT_EQ(pages[2], std::byte{0});
  EXPECT_TRUE(EncodeModePages(static_cast<ModePage>(0x1C), ModeValues::kCurrent).empty());
}

}  // namespace
}  // namespace scsi
