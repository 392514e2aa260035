#include "fs/daemon/mount_point.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace stratad {
namespace {

constexpr char kTable[] =
    "24 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"
    "30 24 0:26 / /mnt/a\\040b rw,nosuid shared:2 master:1 - fuse.strata /images/x.img rw\n"
    "31 30 0:27 / /mnt/a\\040b/devices rw - fuse.strata /images/x.img rw\n"
    "32 24 0:28 / /mnt/other rw - tmpfs tmpfs rw\n"
    "garbage\n";

TEST(MountTable, IsReadWithEscapesAndOptionalFields) {
  const std::vector<MountEntry> entries = ParseMountInfo(kTable);
  ASSERT_EQ(entries.size(), 4u);
  EXPECT_EQ(entries[1].device, "0:26");
  EXPECT_EQ(entries[1].mount_point, "/mnt/a b");
  EXPECT_EQ(entries[1].type, "fuse.strata");
  EXPECT_EQ(entries[1].source, "/images/x.img");
}

TEST(MountTable, FindsTheOuterMountOfAPath) {
  const std::vector<MountEntry> entries = ParseMountInfo(kTable);
  EXPECT_EQ(MountContaining(entries, "/mnt/a b"), "/mnt/a b");
  EXPECT_EQ(MountContaining(entries, "/mnt/a b/volumes/demo/x"), "/mnt/a b");
  EXPECT_EQ(MountContaining(entries, "/mnt/a b/devices/vdisks/demo/x.vmdk"), "/mnt/a b");
}

TEST(MountTable, KnowsThatANeighbourIsNotInside) {
  const std::vector<MountEntry> entries = ParseMountInfo(kTable);
  EXPECT_EQ(MountContaining(entries, "/mnt/a bc"), "");
  EXPECT_EQ(MountContaining(entries, "/mnt"), "");
  EXPECT_EQ(MountContaining(entries, "/mnt/other/x"), "");
}

TEST(MountPoint, MissingOnesAreErrors) {
  const auto missing = CanonicalMountPoint("/nowhere/at/all");
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code(), base::Code::kNotFound);
}

TEST(MountPoint, MustBeADirectory) {
  const base::Status prepared = PrepareMountPoint("/etc/passwd");
  ASSERT_FALSE(prepared.has_value());
  EXPECT_EQ(prepared.error().code(), base::Code::kNotDirectory);
}

}  // namespace
}  // namespace stratad
