#include "disklib/snapshot_intent.h"

#include <gtest/gtest.h>

namespace disklib {
namespace {

using base::Code;

SnapshotIntent Example() {
  return {
      .guards = {"vm-flat.vmdk"},
      .replacements = {{.name = "vm.vmx", .old_mark = MarkOf("old\n"), .contents = "new\n"},
                       {.name = "vm.vmsd", .old_mark = std::nullopt, .contents = "a"}},
      .removals = {
          {.name = "vm-000002.vmdk", .parent = "vm.vmdk", .files = {"vm-000002-sesparse.vmdk"}}}};
}

constexpr std::string_view kText =
    "# Strata snapshot intent\n"
    "version=1\n"
    "crc=c05fb208\n"
    "guard \"vm-flat.vmdk\"\n"
    "replace \"vm.vmx\" 4:fefa5677 4:b58d096c\n"
    "replace \"vm.vmsd\" - 1:c1d04330\n"
    "remove \"vm-000002.vmdk\" \"vm.vmdk\"\n"
    "file \"vm-000002-sesparse.vmdk\"\n"
    "contents\n"
    "new\n"
    "a";

TEST(SnapshotIntent, ReadsAndWritesTheSameBytes) {
  EXPECT_EQ(*WriteIntent(Example()), kText);
  const auto parsed = ParseIntent(kText);
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_EQ(*parsed, Example());
  EXPECT_EQ(*ParseIntent(*WriteIntent({})), SnapshotIntent());
}

TEST(SnapshotIntent, NoticesEveryChangedByte) {
  for (size_t i = 0; i < kText.size(); ++i) {
    std::string text(kText);
    text[i] = static_cast<char>(text[i] ^ 1);
    EXPECT_FALSE(ParseIntent(text)) << "byte " << i;
    EXPECT_FALSE(ParseIntent(kText.substr(0, i))) << "cut at byte " << i;
  }
}

TEST(SnapshotIntent, RefusesNamesThatWouldBreakALine) {
  SnapshotIntent intent = Example();
  intent.removals[0].files[0] = "a\"b";
  EXPECT_EQ(WriteIntent(intent).error().code(), Code::kNameInvalid);
  intent.removals[0].files[0] = "a\nb";
  EXPECT_EQ(WriteIntent(intent).error().code(), Code::kNameInvalid);
  intent.removals[0].files[0] = "";
  EXPECT_EQ(WriteIntent(intent).error().code(), Code::kNameInvalid);
}

TEST(SnapshotIntent, RefusesOtherVersions) {
  std::string text(kText);
  text.replace(text.find("=1"), 2, "=2");
  EXPECT_EQ(ParseIntent(text).error().code(), Code::kVersionUnsupported);
  EXPECT_EQ(ParseIntent("").error().code(), Code::kNotRecognized);
}

}  // namespace
}  // namespace disklib
