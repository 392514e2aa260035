#include <string>

#include <gtest/gtest.h>

#include "vmfs/directory/name.h"
#include "vmfs/format/name_hash.h"

namespace vmfs {
namespace {

base::Code CodeOf(std::string_view name) {
  const base::Status status = ValidateName(name);
  return status ? base::Code{} : status.error().code();
}

TEST(DirectoryName, AcceptsWhatMayBeStored) {
  for (const std::string_view name :
       {"a", "...", ".hidden", "with space", "-", "\x01", "caf\xC3\xA9", "\xE2\x82\xAC",
        "\xF0\x9F\x92\xBE", "\xF4\x8F\xBF\xBF", "\xED\x9F\xBF", "\xEE\x80\x80"}) {
    EXPECT_TRUE(ValidateName(name).has_value()) << name;
  }
  EXPECT_TRUE(ValidateName(std::string(127, 'x')).has_value());
}

TEST(DirectoryName, RefusesWhatIsNoEntry) {
  EXPECT_EQ(CodeOf(""), base::Code::kInvalidArgument);
  EXPECT_EQ(CodeOf("."), base::Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(".."), base::Code::kInvalidArgument);
  EXPECT_EQ(CodeOf("a/b"), base::Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(std::string_view("a\0b", 3)), base::Code::kInvalidArgument);
}

TEST(DirectoryName, RefusesLongNames) {
  EXPECT_EQ(CodeOf(std::string(128, 'x')), base::Code::kNameTooLong);
  EXPECT_EQ(CodeOf(std::string(100'000, 'x')), base::Code::kNameTooLong);
}

TEST(DirectoryName, RefusesWhatIsNotUtf8) {
  for (const std::string_view name :
       {"\x80", "\xC0\x80", "\xC1\xBF", "\xC3", "a\xC3", "\xC3(", "\xE2\x82", "\xE0\x9F\xBF",
        "\xED\xA0\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF"}) {
    EXPECT_EQ(CodeOf(name), base::Code::kNameInvalid) << testing::PrintToString(name);
  }
}

TEST(DirectoryName, KnowsTheSystemNames) {
  for (const std::string_view name : {".fbb.sf", ".fdc.sf", ".pbc.sf", ".sbc.sf", ".vh.sf",
                                      ".pb2.sf", ".sdd.sf", ".jbc.sf", ".unmap.sf", ".dfd.sf"}) {
    EXPECT_TRUE(IsSystemName(name)) << name;
  }
  EXPECT_FALSE(IsSystemName(".fbb.s"));
  EXPECT_FALSE(IsSystemName("fbb.sf"));
}

TEST(DirectoryName, HasTheBucketThatEsxiGaveIt) {
  EXPECT_EQ(KeyOfName("directory", /*is_root=*/true).bucket, 0x3C82u);
  EXPECT_EQ(KeyOfName("directory", /*is_root=*/true).record_hash, 0x0DBC9F66u);
  EXPECT_EQ(KeyOfName("file1", /*is_root=*/false).bucket, 4348u);
  EXPECT_EQ(KeyOfName("symlink", /*is_root=*/false).bucket, 6767u);
  EXPECT_EQ(KeyOfName("symlink", /*is_root=*/false).record_hash, 0xFCDD1580u);
  EXPECT_EQ(KeyOfName("symlink", /*is_root=*/false).link_hash, 0xFCDDu);
}

TEST(DirectoryName, KeepsTheLastBucketsOfTheRootForSystemNames) {
  EXPECT_EQ(KeyOfName(".fbb.sf", /*is_root=*/true).bucket, 0x3E66u);
  EXPECT_EQ(KeyOfName(".dfd.sf", /*is_root=*/true).bucket, 0x3E6Fu);
  EXPECT_EQ(KeyOfName(".fbb.sf", /*is_root=*/true).record_hash, 0u);
  EXPECT_NE(KeyOfName(".fbb.sf", /*is_root=*/false).record_hash, 0u);
  for (int i = 0; i < 20'000; ++i) {
    ASSERT_LT(KeyOfName(std::to_string(i), /*is_root=*/true).bucket, kRootHashBucketCount);
  }
}

}  // namespace
}  // namespace vmfs
