#include "fs/base/crc32c.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string_view>
#include <vector>

#include "fs/base/random.h"

namespace base {
namespace {

// RFC 3720 B.4 and the usual check value of the polynomial.
TEST(Crc32c, AgreesWithPublishedVectors) {
  const std::string_view check = "123456789";
  EXPECT_EQ(Crc32c(std::as_bytes(std::span(check))), 0xE3069283u);
  const std::vector<std::byte> zeros(32);
  EXPECT_EQ(Crc32c(zeros), 0x8A9136AAu);
}

TEST(Crc32c, FastAndPortableAgreeOnEveryLengthAndSplit) {
  Random random(7);
  std::vector<std::byte> bytes(300);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.Next());
  for (size_t length = 0; length <= bytes.size(); ++length) {
    const std::span<const std::byte> part(bytes.data(), length);
    const uint32_t whole = Crc32c(part);
    EXPECT_EQ(whole, Crc32cPortable(part));
    const size_t cut = length / 3;
    EXPECT_EQ(whole, Crc32c(part.subspan(cut), Crc32c(part.first(cut))));
  }
}

}  // namespace
}  // namespace base
