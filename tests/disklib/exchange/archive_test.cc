#include "disklib/exchange/archive.h"

#include <cstring>
#include <span>
#include <string>

#include <gtest/gtest.h>

namespace disklib {
namespace {

using base::Code;

std::span<const std::byte> Bytes(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// A header block made by hand: POSIX.1-1988 ustar.
std::string HeaderBlock(const std::string& name, char type, const std::string& octal_size) {
  std::string block(kArchiveBlockBytes, '\0');
  block.replace(0, name.size(), name);
  block.replace(100, 7, "0000644");
  block.replace(108, 7, "0000000");
  block.replace(116, 7, "0000000");
  block.replace(124, octal_size.size(), octal_size);
  block.replace(136, 11, "00000000000");
  block[156] = type;
  if (type == '1' || type == '2') block.replace(157, 6, "target");
  block.replace(257, 8,
                std::string("ustar\0"
                            "00",
                            8));
  block.replace(148, 8, "        ");
  unsigned sum = 0;
  for (const char letter : block) sum += static_cast<unsigned char>(letter);
  char digits[8];
  std::snprintf(digits, sizeof(digits), "%06o", sum);
  block.replace(148, 8, std::string(digits, 7) + ' ');
  return block;
}

TEST(ArchiveHeader, IsOneBlockThatReadsBack) {
  for (const uint64_t size_bytes :
       {uint64_t{0}, uint64_t{1}, uint64_t{8} << 30, (uint64_t{8} << 30) - 1, uint64_t{3} << 40}) {
    const auto header = EncodeArchiveHeader("vm-disk1.vmdk", size_bytes, 1'000'000'000);
    ASSERT_TRUE(header.has_value()) << header.error().message();
    EXPECT_EQ(header->size(), kArchiveBlockBytes);
    const auto member = DecodeArchiveHeader(Bytes(*header));
    ASSERT_TRUE(member.has_value()) << member.error().message();
    const ArchiveMember expected{"vm-disk1.vmdk", kArchiveBlockBytes, size_bytes};
    EXPECT_EQ(member->value(), expected);
  }
}

// POSIX.1-1988: name at 0, octal size at 124, "ustar" at 257.
TEST(ArchiveHeader, HasTheStandardsBytes) {
  const std::string header = EncodeArchiveHeader("vm.ovf", 513, 0).value();
  EXPECT_STREQ(header.c_str(), "vm.ovf");
  EXPECT_EQ(header.substr(100, 7), "000644 ");
  EXPECT_EQ(header.substr(124, 11), "00000001001");
  EXPECT_EQ(header[156], '0');
  EXPECT_EQ(std::memcmp(header.data() + 257, "ustar\00000", 8), 0);
}

TEST(ArchiveHeader, OfAHandMadeArchiveIsRead) {
  const auto member = DecodeArchiveHeader(Bytes(HeaderBlock("./vm.ovf", '0', "00000000012")));
  ASSERT_TRUE(member.has_value()) << member.error().message();
  EXPECT_EQ(member->value(), (ArchiveMember{"vm.ovf", kArchiveBlockBytes, 10}));
}

TEST(ArchiveHeader, CountsItsExtensions) {
  const std::string record = "25 path=a-longer-name.vmd\n";
  std::string extended = HeaderBlock("x", 'x', "00000000032") + record;
  extended.resize(2 * kArchiveBlockBytes);
  const auto member = DecodeArchiveHeader(Bytes(extended + HeaderBlock("a", '0', "00000000012")));
  ASSERT_FALSE(member.has_value() && member->has_value() && (*member)->name == "a");
  const std::string right = "26 path=a-longer-name.vmd\n";
  extended.replace(kArchiveBlockBytes, right.size(), right);
  const auto found = DecodeArchiveHeader(Bytes(extended + HeaderBlock("a", '0', "00000000012")));
  ASSERT_TRUE(found.has_value()) << found.error().message();
  EXPECT_EQ(found->value(), (ArchiveMember{"a-longer-name.vmd", 3 * kArchiveBlockBytes, 10}));
}

TEST(ArchiveHeader, EndsWithZeros) {
  const auto member = DecodeArchiveHeader(Bytes(std::string(kArchiveEndBytes, '\0')));
  ASSERT_TRUE(member.has_value()) << member.error().message();
  EXPECT_FALSE(member->has_value());
}

TEST(ArchiveHeader, RefusesWhatIsNoPlainFile) {
  for (const char type : {'1', '2', '3', '5', '6'}) {
    const auto member = DecodeArchiveHeader(Bytes(HeaderBlock("a", type, "00000000000")));
    ASSERT_FALSE(member.has_value()) << type;
    EXPECT_EQ(member.error().code(), Code::kUnsupported) << type;
  }
}

TEST(ArchiveHeader, RefusesNamesThatLeadElsewhere) {
  for (const char* name : {"../a", "/etc/passwd", "a/b", "..", "a/../../b"}) {
    const auto member = DecodeArchiveHeader(Bytes(HeaderBlock(name, '0', "00000000000")));
    ASSERT_FALSE(member.has_value()) << name;
    EXPECT_EQ(member.error().code(), Code::kNameInvalid) << name;
  }
}

TEST(ArchiveHeader, RefusesDamage) {
  std::string broken = HeaderBlock("a", '0', "00000000012");
  broken[0] = 'b';
  EXPECT_FALSE(DecodeArchiveHeader(Bytes(broken)).has_value());
  EXPECT_FALSE(DecodeArchiveHeader(Bytes(std::string(100, 'x'))).has_value());
  EXPECT_FALSE(DecodeArchiveHeader(Bytes(std::string(4096, 'x'))).has_value());
  EXPECT_FALSE(DecodeArchiveHeader(Bytes(HeaderBlock("x", 'x', "77777777777"))).has_value());
}

TEST(ArchiveHeader, RefusesToWriteAPath) {
  EXPECT_EQ(EncodeArchiveHeader("a/b", 1, 0).error().code(), Code::kNameInvalid);
  EXPECT_EQ(EncodeArchiveHeader(std::string(101, 'a'), 1, 0).error().code(), Code::kNameTooLong);
}

}  // namespace
}  // namespace disklib
