#include "disklib/names.h"

#include <gtest/gtest.h>

#include "disklib/disk_size.h"

namespace disklib {
namespace {

using base::Code;

Code ErrorOf(std::string_view folder, std::string_view name) {
  const auto resolved = ResolveName(folder, name);
  return resolved ? Code{} : resolved.error().code();
}

TEST(Names, ResolveInsideTheDatastoreOnly) {
  EXPECT_EQ(*ResolveName("vm", "vm-flat.vmdk"), "vm/vm-flat.vmdk");
  EXPECT_EQ(*ResolveName("", "a//./b.vmdk"), "a/b.vmdk");
  EXPECT_EQ(*ResolveName("clones/c", "../../base/b.vmdk"), "base/b.vmdk");
  EXPECT_EQ(ErrorOf("vm", "../../etc/passwd"), Code::kNotPermitted);
  EXPECT_EQ(ErrorOf("", ".."), Code::kNotPermitted);
  EXPECT_EQ(ErrorOf("vm", ".."), Code::kNameInvalid);
  EXPECT_EQ(ErrorOf("vm", "/etc/passwd"), Code::kNameInvalid);
  EXPECT_EQ(ErrorOf("vm", ""), Code::kNameInvalid);
  EXPECT_EQ(ErrorOf("vm", "a/"), Code::kNameInvalid);
  EXPECT_EQ(ErrorOf("vm", "a\\b"), Code::kNameInvalid);
  EXPECT_EQ(ErrorOf("vm", std::string("a\0b", 3)), Code::kNameInvalid);
  EXPECT_EQ(ErrorOf("vm", std::string(5000, 'a')), Code::kNameTooLong);
}

TEST(Names, LeadToOtherDatastoresByTheirPlaceInEsx) {
  EXPECT_EQ(*ResolveName("vm", "/vmfs/volumes/u1/a//b/../c.vmdk"), "/vmfs/volumes/u1/a/c.vmdk");
  EXPECT_EQ(*ResolveName("/vmfs/volumes/u1/vm", "a-flat.vmdk"), "/vmfs/volumes/u1/vm/a-flat.vmdk");
  EXPECT_EQ(*ResolveName("/vmfs/volumes/u1", "a-flat.vmdk"), "/vmfs/volumes/u1/a-flat.vmdk");
  EXPECT_EQ(*ResolveName("/vmfs/volumes/u1/vm", "../b.vmdk"), "/vmfs/volumes/u1/b.vmdk");
  EXPECT_EQ(*ResolveName("/vmfs/volumes/u1/vm", "/vmfs/volumes/u2/b.vmdk"),
            "/vmfs/volumes/u2/b.vmdk");
  EXPECT_EQ(ErrorOf("/vmfs/volumes/u1/vm", "../../u2/b.vmdk"), Code::kNotPermitted);
  EXPECT_EQ(ErrorOf("vm", "/vmfs/volumes/u1/../../../etc/passwd"), Code::kNotPermitted);
  for (const char* bad : {"/vmfs/volumes/../etc/passwd", "/vmfs/volumes/./a.vmdk",
                          "/vmfs/volumes//a.vmdk", "/vmfs/volumes/u1", "/vmfs/volumes/u1/",
                          "/vmfs/volumes", "/vmfs/volumes/u1/a/", "/vmfs/devices/a.vmdk"}) {
    EXPECT_EQ(ErrorOf("vm", bad), Code::kNameInvalid) << bad;
  }
}

TEST(Names, OfOtherDatastoresAreTheirOwn) {
  EXPECT_EQ(RelativeName("vm", "/vmfs/volumes/u1/b/b.vmdk"), "/vmfs/volumes/u1/b/b.vmdk");
  EXPECT_EQ(VolumeOf("/vmfs/volumes/u1/b/b.vmdk"), "u1");
  EXPECT_EQ(VolumeOf("vmfs/volumes/u1/b.vmdk"), "");
  EXPECT_EQ(JoinVolumePath({.volume = "u1", .path = "b.vmdk"}), "/vmfs/volumes/u1/b.vmdk");
  EXPECT_EQ(JoinVolumePath({.volume = "u1", .path = ""}), "/vmfs/volumes/u1");
  EXPECT_EQ(CheckDiskPath("/vmfs/volumes/u1/b.vmdk").error().code(), Code::kNotPermitted);
}

TEST(Names, OfExtentsFollowTheDescriptor) {
  EXPECT_EQ(FlatExtentName("vm.vmdk"), "vm-flat.vmdk");
  EXPECT_EQ(SplitFlatExtentName("vm.vmdk", 7), "vm-f007.vmdk");
  EXPECT_EQ(SplitFlatExtentName("vm.vmdk", 1234), "vm-f1234.vmdk");
  EXPECT_EQ(DeltaExtentName("vm-000001.vmdk"), "vm-000001-delta.vmdk");
  EXPECT_EQ(RenamedExtentName("a-flat.vmdk", "a.vmdk", "b.vmdk"), "b-flat.vmdk");
  EXPECT_EQ(RenamedExtentName("a-f002.vmdk", "a.vmdk", "bb.vmdk"), "bb-f002.vmdk");
  EXPECT_EQ(RenamedExtentName("a-b-flat.vmdk", "a.vmdk", "c.vmdk"), "a-b-flat.vmdk");
  EXPECT_EQ(RenamedExtentName("data.img", "a.vmdk", "b.vmdk"), "data.img");
}

TEST(Names, OfNewDisksAreChecked) {
  EXPECT_TRUE(CheckDiskPath("vm/vm.vmdk"));
  EXPECT_TRUE(CheckDiskPath(std::string(99, 'n') + ".vmdk"));
  EXPECT_FALSE(CheckDiskPath(std::string(100, 'n') + ".vmdk"));
  for (const char* bad : {"vm", ".vmdk", "vm/.vmdk", "/vm.vmdk", "a/../b.vmdk", "a\"b.vmdk"}) {
    EXPECT_FALSE(CheckDiskPath(bad)) << bad;
  }
}

TEST(Names, WhileAnOperationRunsFitIntoTheLimit) {
  EXPECT_EQ(UnfinishedPath("vm/a.vmdk"), "vm/a.vmdk.strata-unfinished");
  const std::string longest = "vm/" + std::string(122, 'n') + ".vmdk";
  EXPECT_LE(NameOf(ReplacementPath(longest)).size(), kNameBytesMax);
  EXPECT_NE(ReplacementPath(longest), ReplacementPath("vm/x" + longest.substr(4)));
}

TEST(DiskSize, UnderstandsWhatPeopleWrite) {
  EXPECT_EQ(*ParseDiskSize("1073741824"), uint64_t{1} << 30);
  EXPECT_EQ(*ParseDiskSize("10G"), uint64_t{10} << 30);
  EXPECT_EQ(*ParseDiskSize("512mb"), uint64_t{512} << 20);
  EXPECT_EQ(*ParseDiskSize("62TiB"), uint64_t{62} << 40);
  EXPECT_EQ(*ParseDiskSize("2048s"), uint64_t{1} << 20);
  EXPECT_EQ(*ParseDiskSize("1"), 512u);
  for (const char* bad : {"", "G", "10X", "-1", "1.5G", "10 G", "99999999999999999999", "kb"}) {
    EXPECT_FALSE(ParseDiskSize(bad)) << bad;
  }
  EXPECT_EQ(ParseDiskSize("0").error().code(), Code::kInvalidArgument);
  EXPECT_EQ(ParseDiskSize("63T").error().code(), Code::kTooLarge);
}

}  // namespace
}  // namespace disklib
