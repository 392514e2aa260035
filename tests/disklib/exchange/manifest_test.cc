#include "disklib/exchange/manifest.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace disklib {
namespace {

using base::Code;
using base::DigestKind;

const std::string kSha256(64, 'a');
const std::string kSha1(40, '0');

TEST(Manifest, IsWrittenByteForByteAsImportersCompareIt) {
  const std::vector<ManifestEntry> entries = {{DigestKind::kSha256, "vm.ovf", kSha256},
                                              {DigestKind::kSha1, "vm-disk1.vmdk", kSha1}};
  const std::string text = WriteManifest(entries);
  EXPECT_EQ(text, "SHA256(vm.ovf)= " + kSha256 + "\nSHA1(vm-disk1.vmdk)= " + kSha1 + "\n");
  EXPECT_EQ(ParseManifest(text).value(), entries);
}

TEST(Manifest, TakesTheFormsThatOthersWrite) {
  const std::string upper(64, 'A');
  for (const std::string& line :
       {"SHA256 (a b.vmdk) = " + upper + "\r\n", "\n\nsha256(a b.vmdk)=" + kSha256,
        "  SHA256(a b.vmdk)=\t" + kSha256 + "  \r\n\r\n"}) {
    const auto entries = ParseManifest(line);
    ASSERT_TRUE(entries.has_value()) << line << entries.error().message();
    ASSERT_EQ(entries->size(), 1U);
    EXPECT_EQ(entries->front(), (ManifestEntry{DigestKind::kSha256, "a b.vmdk", kSha256}));
  }
}

TEST(Manifest, TakesNamesWithBracketsAndEqualSigns) {
  const auto entries = ParseManifest("SHA1(a (1)=b.ovf)= " + kSha1);
  ASSERT_TRUE(entries.has_value()) << entries.error().message();
  EXPECT_EQ(entries->front().file_name, "a (1)=b.ovf");
}

TEST(Manifest, RefusesWhatItCannotVouchFor) {
  const struct {
    std::string text;
    Code code;
  } cases[] = {
      {"nonsense", Code::kParseError},
      {"SHA256 a.ovf = " + kSha256, Code::kParseError},
      {"SHA256(a.ovf)= " + kSha1, Code::kParseError},
      {"SHA256(a.ovf)= " + std::string(64, 'g'), Code::kParseError},
      {"MD5(a.ovf)= " + std::string(32, '0'), Code::kUnsupported},
      {"SHA1(../a.ovf)= " + kSha1, Code::kNameInvalid},
      {"SHA1(/etc/a)= " + kSha1, Code::kNameInvalid},
      {"SHA1()= " + kSha1, Code::kNameInvalid},
      {"SHA1(a)= " + kSha1 + "\nSHA256(a)= " + kSha256, Code::kCorrupt},
      {std::string(kManifestBytesMax + 1, ' '), Code::kTooLarge},
  };

  for (const auto& one : cases) {
    const auto entries = ParseManifest(one.text);
    ASSERT_FALSE(entries.has_value()) << one.text.substr(0, 100);
    EXPECT_EQ(entries.error().code(), one.code) << one.text.substr(0, 100);
  }
}

TEST(Manifest, NamesTheFileThatDiffers) {
  const ManifestEntry entry{DigestKind::kSha256, "vm-disk1.vmdk", kSha256};
  EXPECT_TRUE(CheckDigest(entry, kSha256).has_value());
  const base::Status differs = CheckDigest(entry, std::string(64, 'b'));
  ASSERT_FALSE(differs.has_value());
  EXPECT_EQ(differs.error().code(), Code::kChecksumMismatch);
  EXPECT_NE(differs.error().message().find("vm-disk1.vmdk"), std::string::npos);
}

TEST(MemberName, LeadsNowhereElse) {
  for (const char* name : {"a.ovf", "disk 1.vmdk", "ä.mf", "a=b"}) {
    EXPECT_TRUE(CheckMemberName(name).has_value()) << name;
  }
  for (const char* name : {"", ".", "..", ".hidden", "a/b", "/a", "a\\b", "a\nb", "a\"b"}) {
    EXPECT_FALSE(CheckMemberName(name).has_value()) << name;
  }
  EXPECT_EQ(CheckMemberName(std::string(128, 'a')).error().code(), Code::kNameTooLong);
}

}  // namespace
}  // namespace disklib
