#include "fs/base/digest.h"

#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace base {
namespace {

// FIPS 180-2, appendices A and B: the message "abc".
TEST(Digest, IsThatOfTheStandardsExample) {
  EXPECT_EQ(DigestOf(DigestKind::kSha256, "abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(DigestOf(DigestKind::kSha1, "abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(DigestOf(DigestKind::kSha512, "abc").substr(0, 32), "ddaf35a193617abacc417349ae204131");
}

TEST(Digest, DoesNotDependOnHowTheBytesCome) {
  Digest digest(DigestKind::kSha256);
  digest.Add("a");
  digest.Add("");
  digest.Add("bc");
  EXPECT_EQ(digest.Finish(), DigestOf(DigestKind::kSha256, "abc"));
}

TEST(Digest, CountsZerosAsBytes) {
  constexpr size_t kCount = 200'001;
  Digest digest(DigestKind::kSha1);
  digest.AddZeros(kCount);
  EXPECT_EQ(digest.Finish(), DigestOf(DigestKind::kSha1, std::string(kCount, '\0')));
}

// RFC 4231, test case 2.
TEST(Digest, WithAKeyIsThatOfTheStandardsExample) {
  const std::array<std::byte, 32> made = KeyedDigest("Jefe", "what do ya want for nothing?");
  constexpr unsigned char kExpected[] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e};
  EXPECT_EQ(std::memcmp(made.data(), kExpected, sizeof(kExpected)), 0);
}

}  // namespace
}  // namespace base
