#include "disklib/vm_folder/vmsd.h"

#include <gtest/gtest.h>

namespace disklib {
namespace {

using base::Code;

// Two snapshots of a VM with one disk, the second taken on the first; one foreign key each.
constexpr std::string_view kText =
    ".encoding = \"UTF-8\"\n"
    "snapshot.lastUID = \"4\"\n"
    "snapshot.current = \"4\"\n"
    "snapshot.mru0.uid = \"4\"\n"
    "snapshot.mru1.uid = \"1\"\n"
    "snapshot.needConsolidate = \"FALSE\"\n"
    "snapshot0.uid = \"1\"\n"
    "snapshot0.filename = \"vm-Snapshot1.vmsn\"\n"
    "snapshot0.displayName = \"before |22update|22\"\n"
    "snapshot0.description = \"two|0Alines\"\n"
    "snapshot0.createTimeHigh = \"378073\"\n"
    "snapshot0.createTimeLow = \"-1234567\"\n"
    "snapshot0.numDisks = \"1\"\n"
    "snapshot0.disk0.fileName = \"vm.vmdk\"\n"
    "snapshot0.disk0.node = \"scsi0:0\"\n"
    "snapshot1.uid = \"4\"\n"
    "snapshot1.parent = \"1\"\n"
    "snapshot1.displayName = \"after\"\n"
    "snapshot1.numDisks = \"1\"\n"
    "snapshot1.disk0.fileName = \"vm-000001.vmdk\"\n"
    "snapshot1.disk0.node = \"scsi0:0\"\n"
    "snapshot1.disk0.strange = \"kept\"\n"
    "snapshot.numSnapshots = \"2\"\n"
    "strata.disk0.current = \"vm-000002.vmdk\"\n"
    "strata.deleting.uid = \"1\"\n"
    "strata.deleting.disk0.child = \"vm-000001.vmdk\"\n";

SnapshotList Parsed(std::string_view text) {
  auto parsed = ParseSnapshotList(text);
  EXPECT_TRUE(parsed) << parsed.error().message();
  return parsed ? *std::move(parsed) : SnapshotList();
}

TEST(SnapshotList, ReadsAndWritesTheSameBytes) {
  const SnapshotList list = Parsed(kText);
  EXPECT_TRUE(CheckSnapshotList(list));
  EXPECT_EQ(WriteSnapshotList(list), kText);
  ASSERT_EQ(list.snapshots.size(), 2u);
  EXPECT_EQ(list.snapshots[0].display_name, "before \"update\"");
  EXPECT_EQ(list.snapshots[0].created_us, (uint64_t{378073} << 32) + (0x100000000 - 1234567));
  EXPECT_EQ(list.snapshots[1].parent_uid, 1u);
  EXPECT_EQ(list.snapshots[1].disks.at(0).file_name, "vm-000001.vmdk");
  EXPECT_EQ(list.current_disks, std::vector<std::string>{"vm-000002.vmdk"});
  EXPECT_EQ(list.unfinished_delete->children, std::vector<std::string>{"vm-000001.vmdk"});
  EXPECT_EQ(list.recently_used, (std::vector<uint32_t>{4, 1}));
}

TEST(SnapshotList, TakesAnEmptyFileForNoSnapshots) {
  const SnapshotList list = Parsed("");
  EXPECT_TRUE(CheckSnapshotList(list));
  EXPECT_EQ(WriteSnapshotList(list),
            ".encoding = \"UTF-8\"\nsnapshot.lastUID = \"0\"\nsnapshot.numSnapshots = \"0\"\n");
}

TEST(SnapshotList, AddsBehindTheCurrentOneAndNeverUsesANumberTwice) {
  SnapshotList list = Parsed(kText);
  EXPECT_EQ(list.Add("third", "", 7).uid, 5u);
  EXPECT_EQ(list.current_uid, 5u);
  EXPECT_EQ(list.Find(5)->parent_uid, 4u);
  list.Remove(5);
  EXPECT_EQ(list.current_uid, 4u);
  EXPECT_EQ(list.Add("fourth", "", 7).uid, 6u);
  list.Remove(4);
  EXPECT_EQ(list.Find(6)->parent_uid, 1u) << "the children of a removed one become its parent's";
  EXPECT_EQ(list.recently_used, (std::vector<uint32_t>{6, 1}));
  const SnapshotList again = Parsed(WriteSnapshotList(list));
  EXPECT_EQ(again.snapshots, list.snapshots) << "numbered from 0 anew";
  EXPECT_EQ(again.other_keys, list.other_keys);
}

TEST(SnapshotList, KeepsOrderAcrossGapsInTheNumbers) {
  const SnapshotList list = Parsed("snapshot7.uid = \"2\"\nsnapshot3.uid = \"1\"\n");
  ASSERT_EQ(list.snapshots.size(), 2u);
  EXPECT_EQ(list.snapshots[0].uid, 1u);
}

TEST(SnapshotList, RefusesNumbersThatAreNone) {
  const auto code = [](std::string_view text) { return ParseSnapshotList(text).error().code(); };
  EXPECT_EQ(code("snapshot0.uid = \"one\"\n"), Code::kParseError);
  EXPECT_EQ(code("snapshot0.uid = \"-1\"\n"), Code::kParseError);
  EXPECT_EQ(code("snapshot0.uid = \"4294967296\"\n"), Code::kParseError);
  EXPECT_EQ(code("snapshot0.createTimeLow = \"1e3\"\n"), Code::kParseError);
  EXPECT_EQ(code("snapshot.current = \"\"\n"), Code::kParseError);
  std::string many;
  for (size_t i = 0; i <= kSnapshotCountMax; ++i) {
    many += "snapshot" + std::to_string(i) + ".uid = \"1\"\n";
  }
  EXPECT_EQ(code(many), Code::kTooLarge);
}

TEST(SnapshotList, NamesWhatCannotBe) {
  const auto fault = [](std::string_view text) {
    const base::Status checked = CheckSnapshotList(Parsed(text));
    return checked ? std::string("none") : checked.error().message();
  };
  EXPECT_NE(fault("snapshot0.uid = \"1\"\nsnapshot1.uid = \"1\"\n").find("given twice"),
            std::string::npos);
  EXPECT_NE(fault("snapshot0.uid = \"0\"\n").find("zero"), std::string::npos);
  EXPECT_NE(fault("snapshot0.uid = \"1\"\nsnapshot0.parent = \"9\"\n").find("not in the list"),
            std::string::npos);
  EXPECT_NE(fault("snapshot0.uid = \"1\"\nsnapshot0.parent = \"2\"\nsnapshot1.uid = \"2\"\n"
                  "snapshot1.parent = \"1\"\n")
                .find("cycle"),
            std::string::npos);
  EXPECT_NE(fault("snapshot.current = \"3\"\n").find("current"), std::string::npos);
  EXPECT_NE(fault("snapshot.numSnapshots = \"3\"\n").find("3 are said, 0 are there"),
            std::string::npos);
  EXPECT_NE(fault("snapshot0.uid = \"4294967295\"\n").find("too large"), std::string::npos);
  EXPECT_EQ(fault(kText), "none");
}

TEST(SnapshotList, FindsByNameAndByNumber) {
  SnapshotList list = Parsed(kText);
  EXPECT_EQ(*FindSnapshot(list, "after"), 4u);
  EXPECT_EQ(*FindSnapshot(list, "1"), 1u);
  EXPECT_EQ(FindSnapshot(list, "2").error().code(), Code::kNotFound);
  list.Add("after", "", 0);
  const auto several = FindSnapshot(list, "after");
  EXPECT_EQ(several.error().code(), Code::kInvalidArgument);
  EXPECT_NE(several.error().message().find("4, 5"), std::string::npos);
}

}  // namespace
}  // namespace disklib
