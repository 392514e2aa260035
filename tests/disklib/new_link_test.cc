#include "disklib/new_link.h"

#include "disklib/names.h"
#include "tests/disklib/support.h"

namespace disklib {
namespace {

using base::Code;
using base::Status;

Descriptor Made(std::string_view path, const NewLink& link) {
  base::Random random(7);
  return MakeDescriptor(path, link, random);
}

std::string FirstExtent(std::string_view path, const NewLink& link) {
  return FormatExtentLine(Made(path, link).extents.at(0));
}

TEST(NewLink, NamesItsExtentAsItsFormatDoes) {
  const auto line = [](DiskLayout layout) {
    return FirstExtent("vm/a.vmdk", {.size_bytes = kMebi, .layout = layout});
  };
  EXPECT_EQ(line(DiskLayout::kVmfs), "RW 2048 VMFS \"a-flat.vmdk\"");
  EXPECT_EQ(line(DiskLayout::kMonolithicFlat), "RW 2048 FLAT \"a-flat.vmdk\" 0");
  EXPECT_EQ(line(DiskLayout::kTwoGbMaxExtentFlat), "RW 2048 FLAT \"a-f001.vmdk\" 0");
  EXPECT_EQ(line(DiskLayout::kMonolithicSparse), "RW 2048 SPARSE \"a.vmdk\"");
  EXPECT_EQ(line(DiskLayout::kTwoGbMaxExtentSparse), "RW 2048 SPARSE \"a-s001.vmdk\"");
  EXPECT_EQ(line(DiskLayout::kVmfsSparse), "RW 2048 VMFSSPARSE \"a-delta.vmdk\"");
  EXPECT_EQ(line(DiskLayout::kSeSparse), "RW 2048 SESPARSE \"a-sesparse.vmdk\"");
}

TEST(NewLink, SplitsSparseDisksAsItSplitsFlatOnes) {
  const Descriptor descriptor =
      Made("a.vmdk", {.size_bytes = 5000 * kMebi, .layout = DiskLayout::kTwoGbMaxExtentSparse});
  ASSERT_EQ(descriptor.extents.size(), 3u);
  EXPECT_EQ(descriptor.extents[2].file_name, "a-s003.vmdk");
  EXPECT_EQ(descriptor.extents[0].sector_count, kSplitSectors);
  EXPECT_EQ(descriptor.capacity_sectors(), 5000 * kMebi / kSectorBytes);
}

TEST(NewLink, OfADeltaHoldsOnlyItsLongContentId) {
  const Descriptor child = Made("vm/a-000001.vmdk", {.size_bytes = kMebi,
                                                     .layout = DiskLayout::kSeSparse,
                                                     .parent_path = "vm/a.vmdk",
                                                     .parent_content_id = 0x7f3a1c09});
  EXPECT_EQ(child.create_type, "seSparse");
  EXPECT_EQ(child.parent_content_id, 0x7f3a1c09u);
  EXPECT_EQ(child.content_id, 0x7f3a1c09u) << "it has its parent's content";
  EXPECT_EQ(child.parent_file_name_hint, "a.vmdk");
  ASSERT_EQ(child.disk_database.size(), 1u);
  EXPECT_EQ(child.disk_database[0].key, "ddb.longContentID");
  EXPECT_TRUE(child.disk_database[0].value.ends_with("7f3a1c09"));
}

TEST(NewLink, OfAHostedChildHoldsWhatHostedReadersLookFor) {
  const Descriptor child = Made("b/c.vmdk", {.size_bytes = kMebi,
                                             .layout = DiskLayout::kMonolithicSparse,
                                             .adapter_type = "ide",
                                             .parent_path = "a/p.vmdk",
                                             .parent_content_id = 1});
  EXPECT_EQ(child.parent_file_name_hint, "../a/p.vmdk");
  EXPECT_EQ(*child.FindDatabase("ddb.adapterType"), "ide");
  EXPECT_NE(child.FindDatabase("ddb.geometry.cylinders"), nullptr);
  EXPECT_EQ(child.FindDatabase("ddb.uuid"), nullptr) << "the uuid is the disk's, not the link's";
}

TEST(NewLink, DrawsAnIdOfItsOwnWhenAsked) {
  const Descriptor child = Made("c.vmdk", {.size_bytes = kMebi,
                                           .layout = DiskLayout::kSeSparse,
                                           .parent_path = "p.vmdk",
                                           .parent_content_id = 1,
                                           .content_id = 0xabcd});
  EXPECT_EQ(child.content_id, 0xabcdu);
}

TEST(NewLink, IsRefusedWhereItsFormatEnds) {
  constexpr uint64_t kLimit = uint64_t{2'032} << 30;
  const auto check = [](DiskLayout layout, uint64_t size_bytes) {
    return CheckNewLink("vm/big.vmdk", {.size_bytes = size_bytes, .layout = layout});
  };
  for (const DiskLayout layout : {DiskLayout::kVmfsSparse, DiskLayout::kMonolithicSparse}) {
    EXPECT_TRUE(check(layout, kLimit));
    const Status refused = check(layout, kLimit + kSectorBytes);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), Code::kTooLarge);
    EXPECT_NE(refused.error().message().find("vm/big.vmdk"), std::string::npos);
    EXPECT_NE(refused.error().message().find("seSparse"), std::string::npos);
  }
  EXPECT_TRUE(check(DiskLayout::kSeSparse, uint64_t{62} << 40));
  EXPECT_EQ(check(DiskLayout::kSeSparse, (uint64_t{62} << 40) + 1).error().code(), Code::kTooLarge);
}

TEST(NewLink, HasTheGrainsAndTablesOfItsFormatOnly) {
  const auto code = [](DiskLayout layout, uint64_t grain_bytes, bool all_tables) {
    const base::Status checked = CheckNewLink("vm.vmdk", {.size_bytes = kMebi,
                                                          .layout = layout,
                                                          .grain_bytes = grain_bytes,
                                                          .all_tables = all_tables});
    return checked ? Code::kIo : checked.error().code();
  };
  EXPECT_EQ(code(DiskLayout::kVmfs, 4096, false), Code::kInvalidArgument);
  EXPECT_EQ(code(DiskLayout::kTwoGbMaxExtentFlat, 0, true), Code::kInvalidArgument);
  EXPECT_EQ(code(DiskLayout::kSeSparse, 65536, false), Code::kInvalidArgument);
  EXPECT_EQ(code(DiskLayout::kSeSparse, 4096, true), Code::kInvalidArgument);
  EXPECT_EQ(code(DiskLayout::kSeSparse, 4096, false), Code::kIo) << "accepted";
  EXPECT_EQ(code(DiskLayout::kVmfsSparse, 512, true), Code::kIo) << "accepted";
  EXPECT_EQ(code(DiskLayout::kMonolithicSparse, 65536, false), Code::kIo) << "accepted";
}

TEST(NewLink, OfAFlatLayoutIsNoChild) {
  const Status refused = CheckNewLink("c.vmdk", {.size_bytes = kMebi, .parent_path = "p.vmdk"});
  EXPECT_EQ(refused.error().code(), Code::kInvalidArgument);
}

TEST(RelativeName, LeadsBackToThePath) {
  for (const char* folder : {"", "vm", "vm/deep/er", "v"}) {
    for (const char* path : {"p.vmdk", "vm/p.vmdk", "vm2/p.vmdk", "vm/deep/p.vmdk", "a/b/p.vmdk"}) {
      EXPECT_EQ(*ResolveName(folder, RelativeName(folder, path)), path) << folder;
    }
  }
  EXPECT_EQ(RelativeName("vm", "vm/p.vmdk"), "p.vmdk");
  EXPECT_EQ(RelativeName("vm", "base/p.vmdk"), "../base/p.vmdk");
  EXPECT_EQ(RelativeName("a/b", "a/c/d.vmdk"), "../c/d.vmdk");
  EXPECT_EQ(RelativeName("vm2", "vm/vm.vmdk"), "../vm/vm.vmdk");
}

TEST(PlanExtend, EndsWhereTheFormatOfTheLastExtentDoes) {
  const Descriptor redo_log =
      Made("a.vmdk", {.size_bytes = kMebi, .layout = DiskLayout::kVmfsSparse});
  EXPECT_TRUE(PlanExtend(redo_log, "a.vmdk", kSparse32BytesMax / kSectorBytes));
  const auto refused = PlanExtend(redo_log, "a.vmdk", kSparse32BytesMax / kSectorBytes + 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kTooLarge);
  EXPECT_NE(refused.error().message().find("seSparse"), std::string::npos);
}

}  // namespace
}  // namespace disklib
