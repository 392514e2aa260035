// Golden tests of the VMFS-5 structures, against bytes that ESXi wrote.
#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/bytes.h"
#include "tests/support/sample.h"
#include "vmfs/format/lvm.h"
#include "vmfs/vmfs5/format.h"

namespace vmfs::vmfs5 {
namespace {

using base::Code;
using testing_support::ExpectError;
using testing_support::ExpectSameBytes;
using testing_support::With;

const UnitSizes kSizes;

std::vector<std::byte> Sample(uint64_t device_offset, size_t size_bytes) {
  std::ifstream file(testing_support::UnpackedSample("esxi-vmfs5.bin"), std::ios::binary);
  std::vector<std::byte> bytes(size_bytes);
  file.seekg(static_cast<std::streamoff>(device_offset));
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size_bytes));
  return bytes;
}

std::vector<std::byte> VolumeSample(uint64_t volume_offset, size_t size_bytes) {
  return Sample(kLvmDataOffset + volume_offset, size_bytes);
}

TEST(Lvm5Format, ReadsTheTablesThatEsxiWrote) {
  REQUIRE_SAMPLE("esxi-vmfs5.bin");
  const auto bytes = Sample(kLvmHeaderOffset, 512);
  const auto header = DecodeLvmDeviceHeader(bytes);
  ASSERT_TRUE(header) << header.error().message();
  EXPECT_TRUE(header->is_lvm5());
  EXPECT_EQ(header->pe_count, 1u);
  ExpectSameBytes(*header, bytes);
  const auto volume = DecodeLvmVolumeEntry(Sample(header->VolumeTableAt(), 512), kLvm5Major);
  ASSERT_TRUE(volume) << volume.error().message();
  EXPECT_EQ(volume->volume_bytes, kUnitBytes);
  const auto extent = DecodeLvmPeEntry(Sample(header->PeTableAt(), 128));
  ASSERT_TRUE(extent) << extent.error().message();
  EXPECT_EQ(extent->physical_offset, kLvmDataOffset);
  EXPECT_EQ(extent->length_bytes, kUnitBytes);
}

TEST(Lvm5Format, NamesEachBrokenField) {
  REQUIRE_SAMPLE("esxi-vmfs5.bin");
  const auto bytes = Sample(kLvmHeaderOffset, 512);
  const auto decode = [&](size_t offset, auto value) {
    return DecodeLvmDeviceHeader(With(bytes, offset, value));
  };
  ExpectError(decode(0xbe, uint32_t{33}), Code::kCorrupt, "maps of extents");
  ExpectError(decode(0x6a, uint32_t{8193}), Code::kCorrupt, "extents in the table");
  ExpectError(decode(0xc2, uint64_t{4096}), Code::kVersionUnsupported, "extended header");
}

TEST(Vmfs5Format, ReadsTheSuperblockThatEsxiWrote) {
  REQUIRE_SAMPLE("esxi-vmfs5.bin");
  const auto bytes = VolumeSample(kSuperblockOffset, 512);
  const auto superblock = DecodeSuperblock(bytes);
  ASSERT_TRUE(superblock) << superblock.error().message();
  EXPECT_TRUE(CheckSuperblock(*superblock));
  EXPECT_EQ(TextOf(superblock->label), "VMFS5 Test");
  EXPECT_EQ(superblock->config_flags & kDenseSubBlocks, kDenseSubBlocks);
  const auto check = [&](size_t offset, auto value) {
    return CheckSuperblock(*DecodeSuperblock(With(bytes, offset, value)));
  };
  EXPECT_TRUE(check(0xa1, uint64_t{8} << 20));
  EXPECT_EQ(check(0xa1, uint64_t{3} << 20).error().code(), Code::kCorrupt);
  EXPECT_EQ(check(0xd9, uint32_t{4096}).error().code(), Code::kCorrupt);
  EXPECT_EQ(check(0x9d, uint32_t{4096}).error().code(), Code::kCorrupt);
}

TEST(Vmfs5Format, FindsTheFirstBlockOfDescriptorsForEveryBlockSize) {
  EXPECT_EQ(FdcBase(1 << 20), 0x400000u);
  EXPECT_EQ(FdcBase(4 << 20), 0x400000u);
  EXPECT_EQ(FdcBase(8 << 20), 0x800000u);
}

TEST(Vmfs5Format, TakesAddressesApart) {
  const Address5 block(0x141);
  EXPECT_EQ(block.kind(), AddressKind::kFileBlock);
  EXPECT_EQ(block.file_block(), 5u);
  EXPECT_FALSE(block.is_zeroed());
  EXPECT_TRUE(Address5(0x161).is_zeroed());
  EXPECT_FALSE(Address5(0x122).is_zeroed());
  EXPECT_EQ(Address5(0x10000102).index(true), (ResourceIndex{4, 1}));
  EXPECT_EQ(Address5(0xf000011a).index(true), (ResourceIndex{4, 63}));
  EXPECT_EQ(Address5(0xf000011a).index(false), (ResourceIndex{4, 15}));
  EXPECT_EQ(Address5(0xf000011b).index(true), (ResourceIndex{4, 15}));
}

TEST(Vmfs5Format, ReadsTheResourceFilesThatEsxiWrote) {
  REQUIRE_SAMPLE("esxi-vmfs5.bin");
  const auto bytes = VolumeSample(0x400000, 512);
  const auto geometry = DecodeGeometry(bytes, kDescriptorBytes);
  ASSERT_TRUE(geometry) << geometry.error().message();
  EXPECT_EQ(geometry->resource_count, 64u);
  EXPECT_EQ(*geometry->ItemOffset({0, 0}), 0x20000u);
  EXPECT_EQ(*geometry->ItemOffset({1, 31}), 0x20000u + 63 * 2048);
  ExpectError(geometry->ItemOffset({1, 32}), Code::kCorrupt, "item 32 of cluster 1");
  ExpectError(geometry->ItemOffset({2, 0}), Code::kCorrupt, "cluster 2");
  EXPECT_EQ(*CountFree(VolumeSample(0x410000, 2048), 0, *geometry), 17u + 32u);
  ExpectError(CountFree(VolumeSample(0x410000, 2048), 1, *geometry), Code::kCorrupt, "cluster 1");
  const auto decode = [&](size_t offset, uint32_t value) {
    return DecodeGeometry(With(bytes, offset, value), kDescriptorBytes);
  };
  ExpectError(decode(0x00, 0), Code::kCorrupt, "items in a cluster");
  ExpectError(decode(0x04, 2), Code::kCorrupt, "clusters in a group");
  ExpectError(decode(0x08, 0x10200), Code::kCorrupt, "groups begin");
  ExpectError(decode(0x0c, 4096), Code::kCorrupt, "items of");
  ExpectError(decode(0x10, 4096), Code::kCorrupt, "groups of");
}

TEST(Vmfs5Format, ReadsTheDescriptorsThatEsxiWrote) {
  REQUIRE_SAMPLE("esxi-vmfs5.bin");
  const auto bytes = VolumeSample(0x420000 + 12 * 2048, kDescriptorBytes);
  const FdAddress fd = FdAddress::Make(0, 12);
  const auto descriptor = DecodeDescriptor(bytes, fd, kSizes);
  ASSERT_TRUE(descriptor) << descriptor.error().message();
  EXPECT_EQ(descriptor->length_bytes(), 8u);
  EXPECT_EQ(descriptor->metadata.map_kind(), MapKind::kInline);
  EXPECT_EQ(std::to_integer<char>(descriptor->data[0]), 'c');
  ExpectSameBytes(descriptor->metadata, std::span(bytes).subspan(512));
  const auto decode = [&](size_t offset, auto value) {
    return DecodeDescriptor(With(bytes, offset, value), fd, kSizes);
  };
  ExpectError(decode(0, uint32_t{0}), Code::kNotRecognized, "never used");
  ExpectError(decode(0, uint32_t{0x10C00002}), Code::kCorrupt, "lock of type");
  ExpectError(decode(0x200, uint32_t{4}), Code::kCorrupt, "holds address");
  ExpectError(decode(0x20c, uint32_t{7}), Code::kCorrupt, "type 7");
  ExpectError(decode(0x244, uint32_t{9}), Code::kCorrupt, "map kind 0x9");
  ExpectError(decode(0x214, uint64_t{1025}), Code::kCorrupt, "reaches 0x400");
}

TEST(Vmfs5Format, ReadsTheDirectoryThatEsxiWrote) {
  REQUIRE_SAMPLE("esxi-vmfs5.bin");
  const auto bytes = VolumeSample(0x500000 + 9 * sizeof(DirectoryRecord), sizeof(DirectoryRecord));
  const auto record = DecodeRecord(bytes);
  ASSERT_TRUE(record) << record.error().message();
  ASSERT_TRUE(record->has_value());
  EXPECT_EQ((*record)->name, "directory");
  EXPECT_EQ((*record)->target, FdAddress::Make(0, 8));
  EXPECT_EQ((*record)->type, InodeType::kDirectory);
  EXPECT_FALSE(DecodeRecord(With(bytes, 4, uint32_t{0}))->has_value());
  ExpectError(DecodeRecord(With(bytes, 4, uint32_t{5})), Code::kCorrupt, "no descriptor's");
  ExpectError(DecodeRecord(With(bytes, 0, uint32_t{1})), Code::kCorrupt, "type 1");
  ExpectError(DecodeRecord(With(bytes, 12, uint8_t{0})), Code::kCorrupt, "name");
  ExpectError(DecodeRecord(With(bytes, 12, uint8_t{'/'})), Code::kCorrupt, "name");
}

}  // namespace
}  // namespace vmfs::vmfs5
