// Bytes of vmfsSparse, hosted sparse and streamOptimized headers: golden, and each field broken.
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "disklib/sparse/cowd_format.h"
#include "disklib/sparse/hosted_format.h"
#include "disklib/sparse/stream_format.h"
#include "tests/support/bytes.h"

namespace disklib {
namespace {

using base::Code;
using testing_support::ExpectError;
using testing_support::With;

std::vector<std::byte> Bytes(std::span<const std::byte> bytes) {
  return {bytes.begin(), bytes.end()};
}

// The first `count` bytes as hex, four to a group.
std::string Hex(std::span<const std::byte> bytes, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    if (i > 0 && i % 4 == 0) text += ' ';
    constexpr char kDigits[] = "0123456789abcdef";
    text += kDigits[static_cast<uint8_t>(bytes[i]) >> 4];
    text += kDigits[static_cast<uint8_t>(bytes[i]) & 15];
  }
  return text;
}

bool IsZeroFrom(std::span<const std::byte> bytes, size_t offset) {
  for (size_t i = offset; i < bytes.size(); ++i) {
    if (bytes[i] != std::byte{0}) return false;
  }
  return true;
}

// 100 MiB in grains of 4 KiB: 7 tables, so that the directory takes one sector.
TEST(CowdHeader, HasTheBytesOfTheFormat) {
  const CowdHeader header = MakeCowdHeader(204'800, 8, /*all_tables=*/false);
  const auto bytes = base::BytesOf(header);
  EXPECT_EQ(Hex(bytes, 32),
            "434f5744 01000000 03000000 00200300 08000000 04000000 07000000 05000000");
  EXPECT_TRUE(IsZeroFrom(bytes, 32));
  EXPECT_TRUE(DecodeCowdHeader(bytes, 5));
}

TEST(CowdHeader, CountsItsTablesInWhenTheyAreAllMade) {
  const CowdHeader header = MakeCowdHeader(204'800, 8, /*all_tables=*/true);
  EXPECT_EQ(header.free_sector, 5u + 7 * 32);
  EXPECT_EQ(MakeCowdHeader(kSectorFormatBytesMax / 512, 1, false).directory_entry_count,
            1'040'384u);
}

TEST(CowdHeader, NamesTheFieldThatCannotBe) {
  const auto good = Bytes(base::BytesOf(MakeCowdHeader(204'800, 8, false)));
  const auto decode = [](const std::vector<std::byte>& bytes) {
    return DecodeCowdHeader(bytes, 1000);
  };
  ASSERT_TRUE(decode(good));
  ExpectError(decode(With<uint32_t>(good, 0, 1)), Code::kNotRecognized, "magic");
  ExpectError(decode(With<uint32_t>(good, 4, 3)), Code::kUnsupported, "Workstation 3");
  ExpectError(decode(With<uint32_t>(good, 4, 2)), Code::kVersionUnsupported, "version 2");
  ExpectError(decode(With<uint32_t>(good, 12, 0)), Code::kCorrupt, "numSectors");
  ExpectError(decode(With<uint32_t>(good, 16, 0)), Code::kCorrupt, "grainSize");
  ExpectError(decode(With<uint32_t>(good, 16, 3)), Code::kCorrupt, "grainSize");
  ExpectError(decode(With<uint32_t>(good, 16, 4096)), Code::kCorrupt, "grainSize");
  ExpectError(decode(With<uint32_t>(good, 20, 3)), Code::kCorrupt, "gdOffset");
  ExpectError(decode(With<uint32_t>(good, 20, 1000)), Code::kCorrupt, "gdOffset");
  ExpectError(decode(With<uint32_t>(good, 24, 8)), Code::kCorrupt, "numGDEntries");
  ExpectError(DecodeCowdHeader(good, 4), Code::kCorrupt, "gdOffset");
  ExpectError(DecodeCowdHeader(std::span(good).first(2047), 1000), Code::kNotRecognized, "2047");
}

TEST(CowdTables, LieBehindTheDirectoryAndInsideTheFile) {
  const CowdHeader header = MakeCowdHeader(204'800, 8, false);
  EXPECT_TRUE(CheckCowdTable(header, 0, 0, 100));
  EXPECT_TRUE(CheckCowdTable(header, 0, 68, 100));
  ExpectError(CheckCowdTable(header, 3, 4, 100), Code::kCorrupt, "entry 3");
  ExpectError(CheckCowdTable(header, 3, 69, 100), Code::kCorrupt, "entry 3");
  ExpectError(CheckCowdTable(header, 3, 0xffffffff, 100), Code::kCorrupt, "entry 3");
  EXPECT_TRUE(CheckCowdGrain(header, 9, 99, 100));
  ExpectError(CheckCowdGrain(header, 9, 1, 100), Code::kCorrupt, "grain 9");
  ExpectError(CheckCowdGrain(header, 9, 100, 100), Code::kCorrupt, "grain 9");
}

HostedHeader MakeHosted(uint64_t capacity_sectors, uint32_t flags, uint32_t version) {
  const HostedLayout layout = PlanHostedLayout(capacity_sectors, 128, /*is_redundant=*/true);
  return MakeHostedHeader({.capacity_sectors = capacity_sectors,
                           .grain_sectors = 128,
                           .version = version,
                           .flags = flags,
                           .has_descriptor = true},
                          layout);
}

// The header qemu-img makes for 5 GiB has the same places: 160 tables in each set.
TEST(HostedHeader, HasTheBytesOfTheFormat) {
  const HostedHeader header = MakeHosted(10'485'760, 3, 1);
  const auto bytes = base::BytesOf(header);
  EXPECT_EQ(Hex(bytes, 80),
            "4b444d56 01000000 03000000 0000a000 00000000 80000000 00000000 01000000 00000000 "
            "14000000 00000000 00020000 15000000 00000000 97020000 00000000 80050000 00000000 "
            "000a200d 0a000000");
  EXPECT_TRUE(IsZeroFrom(bytes, 80));
  const auto decoded = DecodeHostedHeader(bytes);
  ASSERT_TRUE(decoded) << decoded.error().message();
  EXPECT_EQ(decoded->table_count(), 160u);
  EXPECT_TRUE(CheckHostedDirectories(*decoded, 1408));
}

TEST(HostedHeader, NamesTheFieldThatCannotBe) {
  const auto good = Bytes(base::BytesOf(MakeHosted(10'485'760, 3, 1)));
  const auto decode = [](const std::vector<std::byte>& bytes) { return DecodeHostedHeader(bytes); };
  ASSERT_TRUE(decode(good));
  ExpectError(decode(With<uint32_t>(good, 0, 1)), Code::kNotRecognized, "magic");
  ExpectError(decode(With<uint32_t>(good, 4, 4)), Code::kVersionUnsupported, "version");
  ExpectError(decode(With<uint32_t>(good, 4, 0)), Code::kVersionUnsupported, "version");
  ExpectError(decode(With<uint32_t>(good, 8, 0x40003)), Code::kVersionUnsupported, "flag");
  EXPECT_TRUE(decode(With<uint32_t>(good, 8, 0x8003))) << "unknown low flags are compatible";
  ExpectError(decode(With<uint64_t>(good, 12, uint64_t{1} << 60)), Code::kCorrupt, "capacity");
  ExpectError(decode(With<uint64_t>(good, 20, 0)), Code::kCorrupt, "grainSize");
  ExpectError(decode(With<uint64_t>(good, 20, 96)), Code::kCorrupt, "grainSize");
  ExpectError(decode(With<uint64_t>(good, 28, uint64_t{1} << 40)), Code::kCorrupt,
              "descriptorOffset");
  ExpectError(decode(With<uint64_t>(good, 36, 4096)), Code::kCorrupt, "descriptorSize");
  ExpectError(decode(With<uint32_t>(good, 44, 511)), Code::kCorrupt, "numGTEsPerGT");
  ExpectError(decode(With<uint64_t>(good, 48, 0)), Code::kCorrupt, "rgdOffset");
  ExpectError(decode(With<uint32_t>(good, 73, 0x0a0a0a0a)), Code::kCorrupt, "text");
  ExpectError(decode(With<uint16_t>(good, 77, 1)), Code::kVersionUnsupported, "compressAlgorithm");
  ExpectError(DecodeHostedHeader(std::span(good).first(511)), Code::kNotRecognized, "511");
  const auto carrier = decode(With<uint64_t>(good, 12, 0));
  ASSERT_TRUE(carrier);
  EXPECT_TRUE(carrier->is_descriptor_carrier());
  ExpectError(decode(With<uint64_t>(With<uint64_t>(good, 12, 0), 28, 0)), Code::kCorrupt,
              "capacity");
}

TEST(HostedHeader, BoundsDirectoriesByTheFile) {
  const HostedHeader good = MakeHosted(10'485'760, 3, 1);
  const auto check = [](const HostedHeader& header) {
    return CheckHostedDirectories(header, 1408);
  };
  HostedHeader broken = good;
  broken.directory_sector = 1407;
  ExpectError(check(broken), Code::kCorrupt, "gdOffset");
  broken.directory_sector = kDirectoryAtEnd;
  ExpectError(check(broken), Code::kCorrupt, "gdOffset");
  broken = good;
  broken.redundant_directory_sector = 5000;
  ExpectError(check(broken), Code::kCorrupt, "rgdOffset");
  broken = good;
  broken.grain_sectors = 1;
  broken.capacity_sectors = kCapacitySectorsMax;
  ExpectError(check(broken), Code::kTooLarge, "tables");
  ExpectError(CheckHostedTable(good, 7, 1405, 1408), Code::kCorrupt, "entry 7");
  EXPECT_TRUE(CheckHostedTable(good, 7, 1404, 1408));
  EXPECT_TRUE(CheckHostedGrain(good, 7, 1408, 1536));
  ExpectError(CheckHostedGrain(good, 7, 1, 1536), Code::kCorrupt, "grain 7");
  ExpectError(CheckHostedGrain(good, 7, 1407, 1536), Code::kCorrupt, "grain 7");
  ExpectError(CheckHostedGrain(good, 7, 1536, 1536), Code::kCorrupt, "grain 7");
  EXPECT_TRUE(CheckHostedGrain(MakeHosted(10'485'760, 7, 2), 7, 1, 1536)) << "zeros, by the flag";
}

// A grain at disk sector 256 with 100 compressed bytes; a table marker; the end.
TEST(StreamRecords, HaveTheBytesOfTheFormat) {
  const HostedHeader header = MakeHosted(10'485'760, kStreamFlags | kHostedFlagRedundant, 3);
  std::vector<std::byte> sector(512);
  base::StoreAs(std::span(sector), 0, StreamRecord{.value = 256, .size_bytes = 600});
  EXPECT_EQ(Hex(sector, 16), "00010000 00000000 58020000 00000000");
  const auto grain = DecodeStreamItem(header, sector, 10, 12);
  ASSERT_TRUE(grain) << grain.error().message();
  EXPECT_EQ(grain->kind, StreamItem::Kind::kGrain);
  EXPECT_EQ(grain->grain, 2u);
  EXPECT_EQ(grain->sector_count, 2u);
  ExpectError(DecodeStreamItem(header, sector, 10, 11), Code::kCorrupt, "sector 10");
  const StreamMarker table = MakeStreamMarker(kMarkerTable, 4);
  EXPECT_EQ(Hex(base::BytesOf(table), 16), "04000000 00000000 00000000 01000000");
  const auto marker = DecodeStreamItem(header, base::BytesOf(table), 10, 15);
  ASSERT_TRUE(marker);
  EXPECT_EQ(marker->kind, StreamItem::Kind::kMarker);
  EXPECT_EQ(marker->sector_count, 5u);
  const auto end = DecodeStreamItem(header, std::vector<std::byte>(512), 10, 11);
  ASSERT_TRUE(end);
  EXPECT_EQ(end->kind, StreamItem::Kind::kEnd);
}

TEST(StreamRecords, NameWhatCannotBe) {
  const HostedHeader header = MakeHosted(10'485'760, kStreamFlags | kHostedFlagRedundant, 3);
  const auto decode = [&header](uint64_t value, uint32_t size_bytes) {
    std::vector<std::byte> sector(512);
    base::StoreAs(std::span(sector), 0, StreamRecord{.value = value, .size_bytes = size_bytes});
    return DecodeStreamItem(header, sector, 10, 100'000);
  };
  EXPECT_TRUE(decode(10'485'632, 65'562));
  ExpectError(decode(10'485'760, 10), Code::kCorrupt, "disk sector");
  ExpectError(decode(129, 10), Code::kCorrupt, "disk sector");
  ExpectError(decode(128, 200'000), Code::kCorrupt, "compressed bytes");
  std::vector<std::byte> endless(512);
  base::StoreAs(std::span(endless), 0, MakeStreamMarker(4, ~uint64_t{0}));
  ExpectError(DecodeStreamItem(header, endless, 10, 100'000), Code::kCorrupt, "marker 4");
}

}  // namespace
}  // namespace disklib
