#include "disklib/descriptor.h"

#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

#include "disklib/descriptor_edit.h"

namespace disklib {
namespace {

using base::Code;

// The canonical forms of FORMAT.md, "Worked example".
constexpr std::string_view kBase =
    "# Disk DescriptorFile\n"
    "version=1\n"
    "encoding=\"UTF-8\"\n"
    "CID=7f3a1c09\n"
    "parentCID=ffffffff\n"
    "isNativeSnapshot=\"no\"\n"
    "createType=\"vmfs\"\n"
    "\n"
    "# Extent description\n"
    "RW 83886080 VMFS \"vm1-flat.vmdk\"\n"
    "\n"
    "# The Disk Data Base\n"
    "#DDB\n"
    "\n"
    "ddb.adapterType = \"lsilogic\"\n"
    "ddb.geometry.cylinders = \"5221\"\n"
    "ddb.geometry.heads = \"255\"\n"
    "ddb.geometry.sectors = \"63\"\n"
    "ddb.longContentID = \"0123456789abcdef012345677f3a1c09\"\n"
    "ddb.thinProvisioned = \"1\"\n"
    "ddb.uuid = \"60 00 C2 9a 11 22 33 44-55 66 77 88 99 aa bb cc\"\n"
    "ddb.virtualHWVersion = \"14\"\n";

constexpr std::string_view kChild =
    "# Disk DescriptorFile\n"
    "version=1\n"
    "encoding=\"UTF-8\"\n"
    "CID=0000beef\n"
    "parentCID=7f3a1c09\n"
    "isNativeSnapshot=\"no\"\n"
    "createType=\"seSparse\"\n"
    "parentFileNameHint=\"vm1.vmdk\"\n"
    "\n"
    "# Extent description\n"
    "RW 83886080 SESPARSE \"vm1-000001-sesparse.vmdk\"\n"
    "\n"
    "# The Disk Data Base\n"
    "#DDB\n"
    "\n"
    "ddb.longContentID = \"0123456789abcdef012345670000beef\"\n";

std::string Minimal(std::string_view extra) {
  return "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"vmfs\"\n" +
         std::string(extra);
}

constexpr std::string_view kExtent = "RW 2048 VMFS \"a-flat.vmdk\"\n";

Code ErrorOf(std::string_view text) {
  const auto parsed = ParseDescriptor(text);
  return parsed ? Code{} : parsed.error().code();
}

TEST(Descriptor, CanonicalBaseIsReadAndWrittenByteForByte) {
  const auto parsed = ParseDescriptor(kBase);
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_EQ(parsed->content_id, 0x7f3a1c09u);
  EXPECT_FALSE(parsed->has_parent());
  EXPECT_EQ(parsed->capacity_sectors(), 83886080u);
  EXPECT_EQ(*parsed->FindDatabase("DDB.THINPROVISIONED"), "1");
  EXPECT_EQ(*WriteDescriptor(*parsed), kBase);
}

TEST(Descriptor, CanonicalChildIsReadAndWrittenByteForByte) {
  const auto parsed = ParseDescriptor(kChild);
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_TRUE(parsed->has_parent());
  EXPECT_EQ(parsed->parent_file_name_hint, "vm1.vmdk");
  EXPECT_EQ(parsed->extents[0].type, ExtentType::kSeSparse);
  EXPECT_EQ(*WriteDescriptor(*parsed), kChild);
}

TEST(Descriptor, ToleratesCrLfCaseBlanksShortIdsAndPadding) {
  std::string text =
      "# disk descriptorfile\r\nVersion = 3\r\ncid=AbC\r\nPARENTCID = ffffffff\r\n"
      "CreateType=\"2GbMaxExtentFlat\"\r\nchangeTrackPath=\"a-ctk.vmdk\"\r\n"
      "rw 4192256 flat \"a b-f001.vmdk\" 0\r\nRDONLY 8 FLAT \"c\" 16\r\nNOACCESS 4 ZERO\r\n"
      "ddb.uuid=\"60 00\"\r\nstrange.key=\"kept\"\r\n";
  text += std::string(100, '\0') + "RW rubbish behind the padding";
  const auto parsed = ParseDescriptor(text);
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_EQ(parsed->version, 3u);
  EXPECT_EQ(parsed->content_id, 0xabcu);
  ASSERT_EQ(parsed->extents.size(), 3u);
  EXPECT_EQ(parsed->extents[0].file_name, "a b-f001.vmdk");
  EXPECT_EQ(parsed->extents[1].offset_sectors, 16u);
  EXPECT_EQ(parsed->extents[1].access, ExtentAccess::kReadOnly);
  EXPECT_EQ(parsed->extents[2].type, ExtentType::kZero);
  EXPECT_EQ(parsed->capacity_sectors(), 4192256u + 8 + 4);
  ASSERT_EQ(parsed->other_keys.size(), 1u);
  EXPECT_EQ(parsed->other_keys[0].value, "kept");
}

TEST(Descriptor, KeepsDeviceWordsOfAnExtent) {
  const auto parsed = ParseDescriptor(Minimal("RW 63 FLAT \"/dev/x\" 7 \"uuid\" id\n"));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->extents[0].device_words, "\"uuid\" id");
  EXPECT_EQ(FormatExtentLine(parsed->extents[0]), "RW 63 FLAT \"/dev/x\" 7 \"uuid\" id");
}

TEST(Descriptor, NamesEachKindOfDamage) {
  EXPECT_EQ(ErrorOf(""), Code::kNotRecognized);
  EXPECT_EQ(ErrorOf("KDMV\x01 binary"), Code::kNotRecognized);
  EXPECT_EQ(ErrorOf("# Disk DescriptorFile\nversion=4\n"), Code::kVersionUnsupported);
  EXPECT_EQ(ErrorOf(Minimal("")), Code::kCorrupt) << "no extent";
  EXPECT_EQ(ErrorOf(Minimal("CID=2\n" + std::string(kExtent))), Code::kCorrupt) << "twice";
  EXPECT_EQ(ErrorOf("version=1\nCID=1\nparentCID=0\n" + std::string(kExtent)), Code::kCorrupt);
  EXPECT_EQ(ErrorOf(Minimal("what is this\n")), Code::kParseError);
  EXPECT_EQ(ErrorOf(Minimal("RW x VMFS \"a\"\n")), Code::kParseError);
  EXPECT_EQ(ErrorOf(Minimal("RW 1 ODD \"a\"\n")), Code::kParseError);
  EXPECT_EQ(ErrorOf(Minimal("RW 1 VMFS\n")), Code::kParseError);
  EXPECT_EQ(ErrorOf(Minimal("RW 1 VMFS \"\"\n")), Code::kParseError);
  EXPECT_EQ(ErrorOf(Minimal("RW 1 FLAT \"a\" -1\n")), Code::kParseError);
  EXPECT_EQ(ErrorOf(Minimal("RW 0 VMFS \"a\"\n")), Code::kCorrupt);
  EXPECT_EQ(ErrorOf(Minimal("RW 18446744073709551615 VMFS \"a\"\n")), Code::kCorrupt);
  EXPECT_EQ(ErrorOf("version=1\nCID=123456789\n"), Code::kParseError);
}

TEST(Descriptor, BoundsTheCapacityTheExtentsAndTheKeys) {
  const std::string half = "RW 68719476736 ZERO\n";  // 32 TiB
  EXPECT_EQ(ErrorOf(Minimal(half + half)), Code::kCorrupt);
  std::string many;
  for (size_t i = 0; i <= kExtentCountMax; ++i) many += "RW 1 ZERO\n";
  EXPECT_EQ(ErrorOf(Minimal(many)), Code::kTooLarge);
  many.clear();
  for (size_t i = 0; i <= kKeyCountMax; ++i) many += "k=\"v\"\n";
  EXPECT_EQ(ErrorOf(Minimal(many)), Code::kTooLarge);
  EXPECT_EQ(ErrorOf(std::string(kDescriptorReadBytesMax + 1, ' ')), Code::kTooLarge);
}

TEST(Descriptor, RefusesToWriteWhatReadersWouldMisread) {
  Descriptor descriptor = *ParseDescriptor(kBase);
  descriptor.extents[0].file_name = "a\"b";
  EXPECT_EQ(WriteDescriptor(descriptor).error().code(), Code::kNameInvalid);
  descriptor.extents[0].file_name = "a\nb";
  EXPECT_EQ(WriteDescriptor(descriptor).error().code(), Code::kNameInvalid);
  descriptor.extents.assign(
      400, {.sector_count = 1, .type = ExtentType::kFlat, .file_name = "some-long-name-f001.vmdk"});
  EXPECT_EQ(WriteDescriptor(descriptor).error().code(), Code::kTooLarge);
  descriptor.extents.clear();
  EXPECT_EQ(WriteDescriptor(descriptor).error().code(), Code::kInvalidArgument);
}

TEST(DescriptorEdit, ChangesItsLinesAndNothingElse) {
  const std::string text =
      "# Disk DescriptorFile\r\nVERSION=3\r\nodd=\"x\"\r\nCID=12\r\nparentCID=ffffffff\r\n"
      "createType=\"vmfs\"\r\n# CID in a comment\r\nrw  2048   VMFS \"a-flat.vmdk\"\r\n"
      "changeTrackPath=\"a-ctk.vmdk\"\r\nddb.comment = \"mine\"\r\n# tail\r\n";
  base::Random random(7);
  DescriptorEdit edit(text + std::string(512, '\0'));
  edit.SetContentId(0xbeef, random);
  edit.SetDatabase("ddb.geometry.heads", "255");
  edit.SetExtents(ParseDescriptor(text)->extents);
  edit.EndChangeTracking();
  const auto changed = edit.Finish();
  ASSERT_TRUE(changed) << changed.error().message();
  EXPECT_EQ(*changed,
            "# Disk DescriptorFile\r\nversion=1\r\nodd=\"x\"\r\nCID=0000beef\r\n"
            "parentCID=ffffffff\r\ncreateType=\"vmfs\"\r\n# CID in a comment\r\n"
            "rw  2048   VMFS \"a-flat.vmdk\"\r\nddb.comment = \"mine\"\r\n"
            "ddb.geometry.heads = \"255\"\r\n# tail\r\n");
}

TEST(DescriptorEdit, KeepsTheLongContentIdInStep) {
  base::Random random(7);
  DescriptorEdit edit(kBase);
  edit.SetContentId(0x00c0ffee, random);
  const Descriptor changed = *ParseDescriptor(*edit.Finish());
  EXPECT_EQ(changed.content_id, 0x00c0ffeeu);
  EXPECT_TRUE(changed.FindDatabase("ddb.longContentID")->ends_with("00c0ffee"));
  EXPECT_EQ(changed.FindDatabase("ddb.longContentID")->size(), 32u);
}

TEST(DescriptorEdit, ReplacesAddsAndRemovesExtentLines) {
  DescriptorEdit edit(kBase);
  std::vector<ExtentLine> extents = ParseDescriptor(kBase)->extents;
  extents.push_back({.sector_count = 8, .type = ExtentType::kZero});
  edit.SetExtents(extents);
  EXPECT_EQ(ParseDescriptor(*edit.Finish())->extents, extents);
  extents.erase(extents.begin());
  edit.SetExtents(extents);
  EXPECT_EQ(ParseDescriptor(*edit.Finish())->extents, extents);
}

TEST(DescriptorEdit, RefusesToGrowPastWhatReadersLookAt) {
  DescriptorEdit edit(kBase);
  edit.SetDatabase("ddb.comment", std::string(kDescriptorBytesMax, 'x'));
  EXPECT_EQ(edit.Finish().error().code(), Code::kTooLarge);
}

TEST(ContentIds, NeverDrawTheReservedOnes) {
  base::Random random(1);
  for (int i = 0; i < 10'000; ++i) ASSERT_LT(DrawContentId(random), kFreshContentId);
  const std::string uuid = DrawDiskUuid(random);
  EXPECT_TRUE(uuid.starts_with("60 00 C2 9")) << uuid;
  EXPECT_EQ(uuid.size(),
            std::string_view("60 00 C2 9a 11 22 33 44-55 66 77 88 99 aa bb cc").size());
  EXPECT_EQ(uuid[23], '-');
}

TEST(Geometry, FollowsTheCapacityAsEsxDoes) {
  EXPECT_EQ(GeometryFor(83886080, "lsilogic"), (Geometry{5221, 255, 63}));
  EXPECT_EQ(GeometryFor(1, "lsilogic"), (Geometry{1, 64, 32}));
  EXPECT_EQ(GeometryFor(1048576, "pvscsi"), (Geometry{512, 64, 32}));
  EXPECT_EQ(GeometryFor(3145728, "lsilogic"), (Geometry{768, 128, 32}));
  EXPECT_EQ(GeometryFor(83886080, "ide"), (Geometry{16383, 16, 63}));
}

// Random bytes and random damage: the parser answers, and what it takes survives a rewrite.
TEST(Descriptor, AnswersToRandomDamage) {
  const char* const given = std::getenv("SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : 20260101;
  SCOPED_TRACE("replay with SEED=" + std::to_string(seed));
  base::Random random(seed);
  for (int round = 0; round < 20'000; ++round) {
    std::string text(random.OneIn(2) ? kBase : kChild);
    for (uint64_t hits = random.Below(6); hits > 0; --hits) {
      const size_t at = random.Below(text.size());
      switch (random.Below(4)) {
        case 0: text[at] = static_cast<char>(random.Next()); break;
        case 1: text.erase(at, random.Below(40)); break;
        case 2: text.insert(at, text.substr(random.Below(text.size()), random.Below(60))); break;
        default: text.resize(at + 1); break;
      }
    }
    const auto parsed = ParseDescriptor(text);
    if (!parsed) {
      ASSERT_FALSE(parsed.error().message().empty());
      continue;
    }
    ASSERT_LE(parsed->capacity_sectors(), kCapacitySectorsMax);
    DescriptorEdit edit(text);
    edit.SetContentId(7, random);
    const auto edited = edit.Finish();
    if (!edited) continue;
    Descriptor expected = *parsed;
    expected.content_id = 7;
    const Descriptor found = *ParseDescriptor(*edited);
    ASSERT_EQ(found.extents, expected.extents) << text;
    ASSERT_EQ(found.content_id, 7u) << text;
    ASSERT_EQ(found.other_keys, expected.other_keys) << text;
  }
}

}  // namespace
}  // namespace disklib
