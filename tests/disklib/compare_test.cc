#include "disklib/compare.h"

#include <cstring>

#include "fs/base/digest.h"
#include "tests/disklib/support.h"

namespace disklib {
namespace {

using base::Code;

void Put(Bench& bench, std::string_view path, uint64_t offset_bytes, std::vector<std::byte> bytes) {
  const auto chain = bench.Open(path, true);
  EXPECT_TRUE(WriteBytes(bench, *chain, offset_bytes, bytes));
  EXPECT_TRUE(bench.Run(chain->Close()));
}

CompareResult Compare(Bench& bench, std::string_view first, std::string_view second,
                      CompareOptions options = {}) {
  const auto result =
      bench.Run(CompareDisks(bench.lib, first, bench.lib, second, options, nullptr));
  EXPECT_TRUE(result) << result.error().message();
  return result ? *result : CompareResult();
}

TEST(CompareDisks, CallsEqualContentTheSameWhateverTheSpace) {
  Bench bench;
  bench.Create("thin.vmdk", {.size_bytes = 8 * kMebi});
  bench.Create("eager.vmdk",
               {.size_bytes = 8 * kMebi, .provisioning = Provisioning::kEagerZeroedThick});
  EXPECT_TRUE(Compare(bench, "thin.vmdk", "eager.vmdk").is_same());
  for (const char* path : {"thin.vmdk", "eager.vmdk"}) Put(bench, path, kMebi, Pattern(1, 4096));
  EXPECT_TRUE(Compare(bench, "thin.vmdk", "eager.vmdk").is_same());
}

TEST(CompareDisks, FindsTheFirstByteAndCountsSectors) {
  Bench bench;
  bench.Create("a.vmdk", {.size_bytes = 8 * kMebi});
  bench.Create("b.vmdk", {.size_bytes = 8 * kMebi});
  std::vector<std::byte> bytes = Pattern(1, 4096);
  Put(bench, "a.vmdk", 5 * kMebi, bytes);
  bytes[700] ^= std::byte{1};
  bytes[4000] ^= std::byte{1};
  Put(bench, "b.vmdk", 5 * kMebi, bytes);
  Put(bench, "b.vmdk", 7 * kMebi, Pattern(2, 512));
  for (const bool is_swapped : {false, true}) {
    const CompareResult result =
        is_swapped ? Compare(bench, "b.vmdk", "a.vmdk") : Compare(bench, "a.vmdk", "b.vmdk");
    EXPECT_FALSE(result.is_same());
    EXPECT_EQ(result.differing_sectors, 3u);
    EXPECT_EQ(result.first_difference_bytes, 5 * kMebi + 700);
  }
  EXPECT_EQ(Compare(bench, "a.vmdk", "b.vmdk", {.stops_at_first = true}).is_same(), false);
}

TEST(CompareDisks, TakesZerosBehindTheEndOfTheShorterOne) {
  Bench bench;
  bench.Create("a.vmdk", {.size_bytes = 3 * kMebi + 512});
  bench.Create("b.vmdk", {.size_bytes = 8 * kMebi});
  EXPECT_TRUE(Compare(bench, "a.vmdk", "b.vmdk").is_same());
  Put(bench, "b.vmdk", 3 * kMebi, Pattern(1, 1024));
  const CompareResult result = Compare(bench, "a.vmdk", "b.vmdk");
  EXPECT_EQ(result.differing_sectors, 2u);
  EXPECT_EQ(result.first_size_bytes, 3 * kMebi + 512);
  EXPECT_EQ(result.second_size_bytes, 8 * kMebi);
}

TEST(CompareDisks, LetsGoOfBothWhenOneCannotBeOpened) {
  Bench bench;
  bench.Create("a.vmdk", {.size_bytes = kMebi});
  EXPECT_EQ(bench.Run(CompareDisks(bench.lib, "a.vmdk", bench.lib, "none.vmdk", {}, nullptr))
                .error()
                .code(),
            Code::kNotFound);
  const auto chain = bench.Open("a.vmdk", true);
  ASSERT_NE(chain, nullptr);
  ASSERT_TRUE(bench.Run(chain->Close()));
}

TEST(HashDisk, SaysWhatTheRawImageWouldHash) {
  Bench bench;
  bench.Create("a.vmdk", {.size_bytes = 20 * kMebi + 512});
  const std::vector<std::byte> bytes = Pattern(1, 3 * kMebi);
  Put(bench, "a.vmdk", 7 * kMebi - 512, bytes);
  std::string raw(20 * kMebi + 512, '\0');
  std::memcpy(raw.data() + 7 * kMebi - 512, bytes.data(), bytes.size());
  const auto hash = bench.Run(HashDisk(bench.lib, "a.vmdk", nullptr));
  ASSERT_TRUE(hash) << hash.error().message();
  EXPECT_EQ(hash->sha256, base::DigestOf(base::DigestKind::kSha256, raw));
  EXPECT_EQ(hash->size_bytes, raw.size());
  EXPECT_LE(hash->read_bytes, 4 * kMebi) << "holes are not read";
}

}  // namespace
}  // namespace disklib
