#include "fs/base/on_disk.h"

#include <gtest/gtest.h>

#include "fs/base/result.h"
#include "fs/base/uuid.h"

namespace base {
namespace {

struct Sample {
  uint8_t first;
  Le32 little;
  Be16 big;
};
static_assert(OnDisk<Sample> && sizeof(Sample) == 7);

TEST(OnDisk, LittleAndBigEndianBytesLieWhereTheyShould) {
  const Sample sample{1, 0x04030201, 0x0506};
  const auto bytes = BytesOf(sample);
  const uint8_t expected[] = {1, 1, 2, 3, 4, 5, 6};
  for (size_t i = 0; i < sizeof(expected); ++i) {
    EXPECT_EQ(static_cast<uint8_t>(bytes[i]), expected[i]) << i;
  }
  EXPECT_EQ(LoadAs<Sample>(bytes).little, 0x04030201u);
}

TEST(Uuid, TextFormReadsBackAsTheSameBytes) {
  const Uuid uuid = NewUuid(1'700'000'000'000'000);
  const auto parsed = ParseUuid(uuid.ToString());
  ASSERT_TRUE(parsed);
  EXPECT_EQ(*parsed, uuid);
  EXPECT_FALSE(ParseUuid("5e3f-1"));
}

TEST(Errors, EveryCodeHasARow) {
  for (int code = 1; code <= static_cast<int>(Code::kMedium); ++code) {
    EXPECT_NE(InfoOf(static_cast<Code>(code)).errno_value, 0) << code;
  }
}

}  // namespace
}  // namespace base
