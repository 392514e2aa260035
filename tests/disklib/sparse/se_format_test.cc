// seSparse bytes: golden headers and entries in both directions, and each field broken in turn.
#include "disklib/sparse/se_format.h"

#include <functional>

#include <fmt/format.h>

#include "fs/base/on_disk.h"
#include "tests/disklib/sparse/support.h"

namespace disklib {
namespace {

using base::Code;
using base::Le64;

constexpr uint64_t kTebi = uint64_t{1} << 40;

uint64_t WordAt(std::span<const std::byte> bytes, size_t index) {
  return base::LoadAs<Le64>(bytes, index * 8);
}

// The words of a 100 MiB file's constant header: places and sizes are those of public samples, but
// that the grains have room for four times the capacity.
constexpr uint64_t kGoldenHeader[26] = {
    0xcafebabe, 0x200000001, 204800, 8,    64,   0,    0,    0,    0,     0,    1,     1,     2, 2,
    2048,       2048,        4096,   2048, 6144, 2048, 8192, 2048, 10240, 2048, 12288, 819200};

TEST(SeHeader, HasTheGoldenBytes) {
  const SeHeader header = *PlanSeHeader(100 * kMebi);
  const SeSector sector = EncodeSeHeader(header);
  for (size_t i = 0; i < 64; ++i) {
    EXPECT_EQ(WordAt(sector, i), i < 26 ? kGoldenHeader[i] : 0) << "word " << i;
  }
  EXPECT_EQ(*DecodeSeHeader(sector), header);
  const SeSector changing = EncodeSeVolatileHeader({.free_table = 7});
  EXPECT_EQ(WordAt(changing, 0), 0xcafecafe);
  EXPECT_EQ(WordAt(changing, 1), 7u);
  for (size_t i = 2; i < 64; ++i) EXPECT_EQ(WordAt(changing, i), 0u);
  EXPECT_EQ(DecodeSeVolatileHeader(changing)->free_table, 7u);
}

TEST(SeHeader, PlansRegionsForEveryCapacity) {
  for (const uint64_t size_bytes : {uint64_t{512}, 4097 * uint64_t{512}, kTebi, 62 * kTebi}) {
    const SeHeader header = *PlanSeHeader(size_bytes);
    const auto again = DecodeSeHeader(EncodeSeHeader(header));
    ASSERT_TRUE(again) << again.error().message();
    const uint64_t grown_bytes = std::min(4 * size_bytes, 62 * kTebi);
    EXPECT_TRUE(CheckSeCapacity(header, grown_bytes)) << size_bytes;
  }
  EXPECT_EQ(PlanSeHeader(62 * kTebi + 512).error().code(), Code::kTooLarge);
  EXPECT_EQ(PlanSeHeader(0).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(PlanSeHeader(1000).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(CheckSeCapacity(*PlanSeHeader(kTebi), 5 * kTebi).error().code(), Code::kTooLarge);
}

TEST(SeHeader, NamesTheFieldThatIsWrong) {
  struct Broken {
    size_t word;
    uint64_t value;
    Code code;
    const char* named;
  };

  const Broken broken[] = {
      {0, 0xcafecafe, Code::kNotRecognized, "magic"},
      {1, 0x200000002, Code::kVersionUnsupported, "version 2.2"},
      {2, 0, Code::kCorrupt, "capacity"},
      {2, 62 * kTebi / 512 + 1, Code::kCorrupt, "capacity"},
      {2, 819201, Code::kCorrupt, "grains of"},
      {3, 16, Code::kCorrupt, "grains of 16"},
      {4, 32, Code::kCorrupt, "tables of 32"},
      {5, 1, Code::kCorrupt, "flags"},
      {9, 1, Code::kCorrupt, "reserved"},
      {11, 0, Code::kCorrupt, "volatile header: 0"},
      {12, 1, Code::kCorrupt, "journal header"},
      {16, 2048, Code::kCorrupt, "grain directory"},
      {17, ~uint64_t{0}, Code::kCorrupt, "grain directory"},
      {19, 4096, Code::kCorrupt, "free bitmap"},
      {21, 0, Code::kCorrupt, "free bitmap"},
      {23, 1, Code::kCorrupt, "back map"},
      {24, 12000, Code::kCorrupt, "grains"},
      {63, 1, Code::kCorrupt, "padding"},
  };
  for (const Broken& field : broken) {
    SeSector sector = EncodeSeHeader(*PlanSeHeader(100 * kMebi));
    base::StoreAs(sector, field.word * 8, Le64(field.value));
    const auto decoded = DecodeSeHeader(sector);
    ASSERT_FALSE(decoded) << "word " << field.word;
    EXPECT_EQ(decoded.error().code(), field.code) << "word " << field.word;
    EXPECT_NE(decoded.error().message().find(field.named), std::string::npos)
        << decoded.error().message();
  }
  SeSector changing = EncodeSeVolatileHeader({.replay_journal = 1});
  EXPECT_EQ(DecodeSeVolatileHeader(changing).error().code(), Code::kUnsupported);
  EXPECT_NE(DecodeSeVolatileHeader(changing).error().message().find("journal"), std::string::npos);
  changing = EncodeSeVolatileHeader({});
  changing[511] = std::byte{1};
  EXPECT_EQ(DecodeSeVolatileHeader(changing).error().code(), Code::kCorrupt);
}

TEST(SeEntries, PackTheGrainsIndexInTwoParts) {
  const SeHeader header = *PlanSeHeader(kTebi);
  const auto format = MakeSeFormat(header, {}, kTebi);
  const uint64_t first = header.grains.first_sector;
  const std::vector<uint64_t> entries = {kEntryNone, kEntryZero, first, first + 8 * 0x1234567};
  std::vector<std::byte> bytes(32);
  format->EncodeEntries(entries, bytes);
  EXPECT_EQ(WordAt(bytes, 0), 0u);
  EXPECT_EQ(WordAt(bytes, 1), 0x2000000000000000);
  EXPECT_EQ(WordAt(bytes, 2), 0x3000000000000000);
  EXPECT_EQ(WordAt(bytes, 3), 0x3567000000001234);
  std::vector<uint64_t> decoded(4);
  ASSERT_TRUE(format->DecodeEntries(bytes, decoded));
  EXPECT_EQ(decoded, entries);
}

TEST(SeEntries, TakesUnmappedAsZeroAndRefusesWhatCannotBe) {
  const SeHeader header = *PlanSeHeader(kMebi);
  const auto format = MakeSeFormat(header, {}, kMebi);
  std::vector<std::byte> bytes(8);
  std::vector<uint64_t> entry(1);
  std::vector<uint32_t> table(1);
  base::StoreAs<Le64>(bytes, 0, 0x1005000000000000);
  ASSERT_TRUE(format->DecodeEntries(bytes, entry));
  EXPECT_EQ(entry[0], kEntryZero);
  for (const uint64_t wrong :
       {uint64_t{1}, uint64_t{4} << 60, ~uint64_t{0}, uint64_t{3} << 60 | uint64_t{1} << 40}) {
    base::StoreAs<Le64>(bytes, 0, wrong);
    EXPECT_EQ(format->DecodeEntries(bytes, entry).error().code(), Code::kCorrupt) << wrong;
  }
  for (const uint64_t wrong :
       {uint64_t{1}, uint64_t{2} << 60, uint64_t{0x10000001} << 32, uint64_t{1} << 60 | 32}) {
    base::StoreAs<Le64>(bytes, 0, wrong);
    const auto decoded = format->DecodeDirectory(bytes, 9, table);
    ASSERT_FALSE(decoded) << wrong;
    EXPECT_NE(decoded.error().message().find("entry 9"), std::string::npos);
  }
}

TEST(SeFile, HasTheGoldenBytesOnceWritten) {
  SparseBench bench(100 * kMebi);
  bench.Open();
  auto bytes = PatternOf(1, 2 * kGrain);
  // The third table first: tables are numbered in the order in which they are needed.
  ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, 2 * 16 * kMebi + 5 * kGrain, bytes));
  ASSERT_TRUE(WriteAt(bench.executor, *bench.extent, 7 * kGrain, bytes));
  ASSERT_TRUE(
      Await(bench.executor, bench.extent->WriteZeroes(9 * kGrain, kGrain, /*may_unmap=*/true)));
  bench.Close();
  EXPECT_EQ(WordAt(bench.Raw(512, 16), 1), 2u) << "two tables";
  const auto directory = bench.Raw(4096 * 512, 512);
  EXPECT_EQ(WordAt(directory, 0), 0x1000000000000001);
  EXPECT_EQ(WordAt(directory, 1), 0u);
  EXPECT_EQ(WordAt(directory, 2), 0x1000000000000000);
  const auto tables = bench.Raw(6144 * 512, 64 * 1024);
  EXPECT_EQ(WordAt(tables, 5), 0x3000000000000000);
  EXPECT_EQ(WordAt(tables, 6), 0x3001000000000000);
  EXPECT_EQ(WordAt(tables, 4096 + 7), 0x3002000000000000);
  EXPECT_EQ(WordAt(tables, 4096 + 9), 0x2000000000000000);
  EXPECT_EQ(bench.Raw(8192 * 512, 1)[0], std::byte{0x0f}) << "bitmap";
  const auto back_map = bench.Raw(10240 * 512, 32);
  EXPECT_EQ(WordAt(back_map, 1), 0u);
  EXPECT_EQ(WordAt(back_map, 2), 1u);
  EXPECT_EQ(bench.Raw(12288 * 512 + 2 * kGrain, bytes.size()), bytes);
  EXPECT_EQ(bench.Raw(1024 * 512, 3072 * 512 / 2), std::vector<std::byte>(3072 * 512 / 2))
      << "journal and its header stay zero";
}

}  // namespace
}  // namespace disklib
