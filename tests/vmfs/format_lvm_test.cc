// Golden tests of the LVM structures and the superblock, against bytes that ESXi wrote.
#include <gtest/gtest.h>

#include "tests/support/bytes.h"
#include "tests/support/sample.h"
#include "vmfs/format/lvm.h"
#include "vmfs/format/superblock.h"

namespace vmfs {
namespace {

using base::Code;
using testing_support::ExpectError;
using testing_support::ExpectSameBytes;
using testing_support::ReadSampleDevice;
using testing_support::ReadSampleVolume;
using testing_support::With;

TEST(LvmFormat, ReadsTheDeviceHeaderThatEsxiWrote) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  const auto bytes = ReadSampleDevice(kLvmHeaderOffset, 512);
  const auto header = DecodeLvmDeviceHeader(bytes);
  ASSERT_TRUE(header) << header.error().message();
  EXPECT_EQ(TextOf(header->disk_id.id), "vmhba0:2:0");
  EXPECT_EQ(header->device_bytes, 0x3fe00200u);
  EXPECT_EQ(header->generation, 3u);
  EXPECT_EQ(header->unit_count, 3u);
  ExpectSameBytes(*header, bytes);
}

TEST(LvmFormat, NamesEachBrokenFieldOfTheDeviceHeader) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  const auto bytes = ReadSampleDevice(kLvmHeaderOffset, 512);
  const auto decode = [&](size_t offset, auto value) {
    return DecodeLvmDeviceHeader(With(bytes, offset, value));
  };
  ExpectError(decode(0x00, uint32_t{7}), Code::kNotRecognized, "magic");
  ExpectError(decode(0x04, uint32_t{4}), Code::kVersionUnsupported, "major version 4");
  ExpectError(decode(0xca, uint32_t{8192}), Code::kVersionUnsupported, "alignment");
  ExpectError(decode(0xc2, uint64_t{4096}), Code::kVersionUnsupported, "extended header");
  ExpectError(decode(0x7a, uint64_t{0x2000000}), Code::kCorrupt, "data offset");
  ExpectError(decode(0x66, uint32_t{2}), Code::kCorrupt, "volumes");
  ExpectError(decode(0x6a, uint32_t{0}), Code::kCorrupt, "extents in the table");
  ExpectError(decode(0xce, uint32_t{0}), Code::kCorrupt, "units");
  ExpectError(DecodeLvmDeviceHeader(std::span(bytes).first(100)), Code::kNotRecognized, "bytes");
}

TEST(LvmFormat, ReadsTheVolumeAndExtentEntriesThatEsxiWrote) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  const auto bytes = ReadSampleDevice(kLvmHeaderOffset + kLvmVolumeTableOffset, 512);
  const auto volume = DecodeLvmVolumeEntry(bytes);
  ASSERT_TRUE(volume) << volume.error().message();
  EXPECT_EQ(volume->volume_bytes, 3 * kUnitBytes);
  EXPECT_EQ(TextOf(volume->name), volume->volume_uuid.ToString());
  EXPECT_EQ(volume->device_count, 1u);
  ExpectSameBytes(*volume, bytes);
  const auto pe_bytes = ReadSampleDevice(kLvmHeaderOffset + kLvmPeTableOffset, 128);
  const auto extent = DecodeLvmPeEntry(pe_bytes);
  ASSERT_TRUE(extent) << extent.error().message();
  EXPECT_EQ(extent->length_bytes, 3 * kUnitBytes);
  EXPECT_EQ(extent->physical_offset, kLvmDataOffset);
  ExpectSameBytes(*extent, pe_bytes);
}

TEST(LvmFormat, NamesEachBrokenFieldOfVolumeAndExtentEntries) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  const auto bytes = ReadSampleDevice(kLvmHeaderOffset + kLvmVolumeTableOffset, 512);
  const auto volume = [&](size_t offset, auto value) {
    return DecodeLvmVolumeEntry(With(bytes, offset, value));
  };
  ExpectError(volume(0x00, uint64_t{12345}), Code::kCorrupt, "size");
  ExpectError(volume(0x10, uint32_t{9}), Code::kCorrupt, "state");
  ExpectError(volume(0x90, uint32_t{33}), Code::kCorrupt, "33 devices");
  ExpectError(volume(0x78, uint64_t{1}), Code::kCorrupt, "units 1 to 2");
  ExpectError(volume(0x80, uint64_t{9}), Code::kCorrupt, "units 0 to 9");
  ExpectError(volume(0x74, uint32_t{2}), Code::kCorrupt, "count 2");
  ExpectError(volume(0x110, uint32_t{0}), Code::kCorrupt, "0 extents");
  const auto pe_bytes = ReadSampleDevice(kLvmHeaderOffset + kLvmPeTableOffset, 128);
  const auto extent = [&](size_t offset, auto value) {
    return DecodeLvmPeEntry(With(pe_bytes, offset, value));
  };
  ExpectError(extent(0x00, uint8_t{0}), Code::kCorrupt, "used byte");
  ExpectError(extent(0x19, uint64_t{1}), Code::kCorrupt, "length");
  ExpectError(extent(0x11, uint64_t{512}), Code::kCorrupt, "logical offset 0x200");
  ExpectError(extent(0x09, uint64_t{512}), Code::kCorrupt, "physical offset 0x200");
}

TEST(SuperblockFormat, ReadsWhatEsxiWrote) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  const auto bytes = ReadSampleVolume(kSuperblockOffset, 4096);
  const auto superblock = DecodeSuperblock(bytes);
  ASSERT_TRUE(superblock) << superblock.error().message();
  EXPECT_TRUE(superblock->is_vmfs6());
  EXPECT_EQ(TextOf(superblock->label), "VMFS6 Test");
  EXPECT_EQ(superblock->lease_ms, 16000u);
  EXPECT_EQ(superblock->reclaim_window_ms, 4000u);
  EXPECT_EQ(superblock->unmap_priority, 1u);
  EXPECT_EQ(superblock->pb2_volume_address, 0x72c000u);
  ExpectSameBytes(*superblock, bytes);
  ExpectError(DecodeMark(bytes, superblock->uuid), Code::kNotRecognized, "not a volume of ours");
}

TEST(SuperblockFormat, NamesEachBrokenField) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  const auto bytes = ReadSampleVolume(kSuperblockOffset, 4096);
  const auto decode = [&](size_t offset, auto value) {
    return DecodeSuperblock(With(bytes, offset, value));
  };
  ExpectError(decode(0x00, uint32_t{0x2FABF15D}), Code::kNotRecognized, "magic 0x2fabf15d");
  ExpectError(decode(0x00, uint32_t{0x2FABF160}), Code::kVersionUnsupported, "layout is not known");
  ExpectError(decode(0x00, uint32_t{0x2FABF161}), Code::kVersionUnsupported, "magic 0x2fabf161");
  ExpectError(decode(0x04, uint32_t{25}), Code::kVersionUnsupported, "major version 25");
  ExpectError(decode(0x134, uint32_t{8192}), Code::kVersionUnsupported, "metadata alignment 8192");
  ExpectError(decode(0x9d, uint32_t{4096}), Code::kCorrupt, "disk block size");
  ExpectError(decode(0xa1, uint64_t{1}), Code::kCorrupt, "file block size");
  ExpectError(decode(0xd1, uint32_t{1}), Code::kCorrupt, "group offset");
  ExpectError(decode(0xd5, uint32_t{64}), Code::kCorrupt, "clusters per group");
  ExpectError(decode(0xd9, uint32_t{8192}), Code::kCorrupt, "sub-block size");
  ExpectError(decode(0xe9, uint32_t{4}), Code::kCorrupt, ".pb2.sf");
  ExpectError(decode(0x10d, uint32_t{4}), Code::kCorrupt, ".sdd.sf");
  ExpectError(decode(0x138, uint16_t{8}), Code::kCorrupt, "small blocks per large");
  ExpectError(decode(0x13e, uint16_t{12}), Code::kCorrupt, "pointer block");
  ExpectError(decode(0x148, uint32_t{1}), Code::kCorrupt, "journal block size");
}

TEST(SuperblockFormat, SaysWhatForbidsWriting) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  const auto bytes = ReadSampleVolume(kSuperblockOffset, 4096);
  EXPECT_TRUE(ReadOnlyReasons(*DecodeSuperblock(bytes)).empty());
  const auto reason = [&](size_t offset, auto value) {
    const auto superblock = DecodeSuperblock(With(bytes, offset, value));
    if (!superblock) return superblock.error().message();
    const std::vector<std::string> reasons = ReadOnlyReasons(*superblock);
    return reasons.size() == 1 ? reasons.front() : std::to_string(reasons.size()) + " reasons";
  };
  EXPECT_EQ(reason(0x00, kSuperblockMagicLocal), "VMFS-L, made by ESXi alone");
  EXPECT_EQ(reason(0x08, uint8_t{83}), "minor version 83, newer than 82");
  EXPECT_EQ(reason(0x111, uint8_t{1}),
            "metadata checksums of type 1, which are neither verified nor kept");
  EXPECT_EQ(reason(0x19, uint32_t{0x46}), "unknown configuration flags 0x40");
  EXPECT_EQ(reason(0x08, uint8_t{81}), "0 reasons");
}

TEST(SuperblockFormat, RecognisesTheOlderVersion) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  const auto bytes =
      With(ReadSampleVolume(kSuperblockOffset, 4096), 0x04, uint32_t{kVmfs5Major});
  const auto superblock = DecodeSuperblock(bytes);
  ASSERT_TRUE(superblock);
  EXPECT_FALSE(superblock->is_vmfs6());
}

TEST(StrataMark, ReadsBackAndNamesEachBrokenField) {
  std::vector<std::byte> block(4096);
  StrataMark mark;
  mark.uuid = base::NewUuid(1'700'000'000'000'000);
  EncodeMark(mark, block);
  const auto read = DecodeMark(block, mark.uuid);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(read->uuid, mark.uuid);
  EXPECT_EQ(std::to_integer<char>(block[0x200]), 'S');
  ExpectError(DecodeMark(With(block, 0x200, uint8_t{0}), mark.uuid), Code::kNotRecognized, "none");
  for (size_t offset = 0x208; offset < 0x300; offset += 4) {
    ExpectError(DecodeMark(With(block, offset, uint32_t{0xdead}), mark.uuid),
                Code::kChecksumMismatch, "CRC");
  }
  ExpectError(DecodeMark(block, base::NewUuid(1)), Code::kCorrupt, "made for volume");
  mark.major = uint16_t{2};
  EncodeMark(mark, block);
  ExpectError(DecodeMark(block, mark.uuid), Code::kVersionUnsupported, "major version 2");
  mark.major = kMarkMajor;
  mark.incompatible_features = uint64_t{4};
  EncodeMark(mark, block);
  ExpectError(DecodeMark(block, mark.uuid), Code::kVersionUnsupported, "features 0x4");
}

}  // namespace
}  // namespace vmfs
