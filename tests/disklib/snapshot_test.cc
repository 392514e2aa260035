#include "disklib/snapshot.h"

#include "tests/disklib/snapshot_support.h"

namespace disklib {
namespace {

constexpr uint64_t kTestDiskBytes = 4 * kMebi;

using base::Code;

TEST(CreateSnapshot, FreezesADiskAndRecordsItsLeaf) {
  SnapshotBench bench;
  bench.stand.Create("vm.vmdk", kTestDiskBytes);
  bench.stand.Write("vm.vmdk", 0, Pattern(1, 8192));
  const Content before = bench.stand.ContentOf("vm.vmdk");
  const SnapshotInfo made = bench.stand.Take("first");
  EXPECT_EQ(made.uid, 1u);
  EXPECT_TRUE(made.is_current);
  EXPECT_EQ(made.disks.at(0).path, "vm.vmdk");
  EXPECT_EQ(bench.stand.Leaf(), "vm-000001.vmdk");
  EXPECT_EQ(bench.stand.ContentOf("vm-000001.vmdk"), before);
  bench.stand.Write("vm-000001.vmdk", 4096, Pattern(2, 100 * 512));
  EXPECT_EQ(bench.stand.ContentOf("vm.vmdk"), before) << "the frozen link stays as it was";
  EXPECT_NE(bench.stand.ContentOf("vm-000001.vmdk"), before);
  const auto written =
      bench.stand.Run(bench.stand.lib().Open("vm.vmdk", {.writable = true, .user = "test"}));
  EXPECT_FALSE(written) << "a link with a child is never written";
  EXPECT_EQ(bench.stand.Files(), (std::set<std::string>{"vm.vmdk", "vm-flat.vmdk", "vm-000001.vmdk",
                                                        "vm-000001-sesparse.vmdk", "vm.vmsd"}));
  EXPECT_NE(bench.stand.Load("vm.vmsd").find("strata.disk0.current = \"vm-000001.vmdk\"\n"),
            std::string::npos);
}

TEST(CreateSnapshot, MovesAllDisksOfAVm) {
  SnapshotBench bench;
  bench.stand.MakeVm(kTestDiskBytes);
  const SnapshotInfo made = bench.stand.Take("first", "vm.vmx");
  ASSERT_EQ(made.disks.size(), 2u);
  EXPECT_EQ(bench.stand.Load("vm.vmx"),
            "#!/usr/bin/vmware\n.encoding = \"UTF-8\"\nscsi0:0.fileName = \"vm-000001.vmdk\"\n"
            "scsi0:1.fileName = \"vm_1-000001.vmdk\"\nmemSize = \"64\"\n");
  EXPECT_EQ(bench.stand.Load("vm.vmsd").find("strata"), std::string::npos);
  bench.stand.Take("second", "vm_1.vmdk");
  const SnapshotTree tree = bench.stand.Tree("vm-000001.vmdk");
  EXPECT_EQ(tree.vmx_path, "vm.vmx");
  ASSERT_EQ(tree.snapshots.size(), 2u);
  EXPECT_EQ(tree.snapshots[1].parent_uid, 1u);
  EXPECT_EQ(tree.snapshots[1].disks.at(1).path, "vm_1-000001.vmdk");
  EXPECT_EQ(tree.disks.at(1).path, "vm_1-000002.vmdk");
  EXPECT_EQ(tree.disks.at(1).link_count, 3u);
  EXPECT_TRUE(tree.orphans.empty());
}

TEST(CreateSnapshot, RunAgainAnswersWhatWasMade) {
  SnapshotBench bench;
  bench.stand.Create("vm.vmdk", kTestDiskBytes);
  EXPECT_EQ(bench.stand.Take("a").uid, 1u);
  EXPECT_EQ(bench.stand.Take("a").uid, 1u) << "nothing was written since";
  bench.stand.Write("vm-000001.vmdk", 0, Pattern(1, 512));
  EXPECT_EQ(bench.stand.Take("a").uid, 2u);
}

TEST(CreateSnapshot, RefusesByName) {
  SnapshotBench bench;
  bench.stand.MakeVm(kTestDiskBytes);
  const auto refusal = [&bench](std::string_view path, CreateSnapshotOptions options = {}) {
    const auto made = bench.stand.Run(CreateSnapshot(bench.stand.lib(), path, options, nullptr));
    return made ? std::string("made") : made.error().message();
  };
  const auto writer =
      *bench.stand.Run(bench.stand.lib().Open("vm_1.vmdk", {.writable = true, .user = "test"}));
  EXPECT_NE(refusal("vm.vmx").find("vm_1.vmdk is open for writing (test)"), std::string::npos);
  ASSERT_TRUE(bench.stand.Run(writer->Close()));
  EXPECT_NE(refusal("vm.vmx", {.layout = DiskLayout::kMonolithicFlat}).find("no format"),
            std::string::npos);
  bench.stand.Store("vm.vmx",
                    bench.stand.Load("vm.vmx") + "scsi0:1.mode = \"independent-persistent\"\n");
  EXPECT_NE(refusal("vm.vmx").find("scsi0:1 is independent"), std::string::npos);
  bench.stand.Store("r.vmdk",
                    "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n"
                    "createType=\"vmfsPassthroughRawDeviceMap\"\nRW 8 VMFSRDM \"r-rdmp.vmdk\"\n");
  EXPECT_NE(refusal("r.vmdk"), "made");
  EXPECT_EQ(bench.stand.Files().count("vm.vmsd"), 0u) << "nothing was left behind";
}

TEST(CreateSnapshot, EndsAtThirtyTwoLinks) {
  SnapshotBench bench;
  bench.stand.Create("vm.vmdk", kTestDiskBytes);
  for (uint64_t i = 0; i < 31; ++i) {
    bench.stand.Take("s" + std::to_string(i));
    bench.stand.Write(bench.stand.Leaf(), i * 4096, Pattern(i, 4096));
  }
  const auto more =
      bench.stand.Run(CreateSnapshot(bench.stand.lib(), "vm.vmdk", {.name = "more"}, nullptr));
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code(), Code::kTooManyLinks);
  const Content content = bench.stand.ContentOf(bench.stand.Leaf());
  const auto all = bench.stand.Run(DeleteAllSnapshots(bench.stand.lib(), "vm.vmdk", {}, nullptr));
  ASSERT_TRUE(all) << all.error().message();
  EXPECT_EQ(all->removed_links.size(), 31u);
  EXPECT_EQ(bench.stand.Leaf(), "vm.vmdk");
  EXPECT_EQ(bench.stand.ContentOf("vm.vmdk"), content);
}

TEST(RevertToSnapshot, DropsWhatWasWrittenSince) {
  SnapshotBench bench;
  bench.stand.Create("vm.vmdk", kTestDiskBytes);
  bench.stand.Write("vm.vmdk", 0, Pattern(1, 8192));
  const Content before = bench.stand.ContentOf("vm.vmdk");
  bench.stand.Take("first");
  bench.stand.Write("vm-000001.vmdk", 0, Pattern(2, 8192));
  bench.stand.Revert("first");
  EXPECT_EQ(bench.stand.Leaf(), "vm-000002.vmdk");
  EXPECT_EQ(bench.stand.ContentOf("vm-000002.vmdk"), before);
  EXPECT_EQ(bench.stand.Files().count("vm-000001.vmdk"), 0u);
  EXPECT_EQ(bench.stand.Files().count("vm-000001-sesparse.vmdk"), 0u);
  EXPECT_EQ(bench.stand.Files().size(), 5u);
}

TEST(DeleteSnapshot, CommitsTheLeafIntoItsParent) {
  SnapshotBench bench;
  bench.stand.Create("vm.vmdk", kTestDiskBytes);
  bench.stand.Write("vm.vmdk", 0, Pattern(1, kMebi));
  bench.stand.Take("first");
  bench.stand.Write("vm-000001.vmdk", 4096, Pattern(2, 512));
  bench.stand.Write("vm-000001.vmdk", 3 * kMebi, Pattern(3, 4096));
  bench.stand.Zero("vm-000001.vmdk", 512 * 1024, 8192);
  const Content content = bench.stand.ContentOf("vm-000001.vmdk");
  const CommitSummary summary = bench.stand.Delete("first");
  EXPECT_EQ(summary.data_bytes, 8192u);
  EXPECT_EQ(summary.zero_bytes, 8192u);
  EXPECT_EQ(summary.removed_links, std::vector<std::string>{"vm-000001.vmdk"});
  EXPECT_EQ(bench.stand.Leaf(), "vm.vmdk");
  EXPECT_EQ(bench.stand.ContentOf("vm.vmdk"), content);
  EXPECT_EQ(bench.stand.Load("vm.vmdk").find("strata"), std::string::npos);
  EXPECT_EQ(bench.stand.Files().size(), 3u);
  EXPECT_TRUE(bench.stand.Tree().snapshots.empty());
}

TEST(DeleteSnapshot, KeepsTheOtherSnapshotsAndTheCurrentState) {
  for (const bool reclaim : {false, true}) {
    SnapshotBench bench;
    bench.stand.MakeVm(kTestDiskBytes);
    std::map<std::string, Content> contents;
    for (const char* name : {"one", "two", "three"}) {
      const SnapshotTree tree = bench.stand.Tree();
      for (const SnapshotDiskInfo& disk : tree.disks) {
        bench.stand.Write(disk.path, 4096 * contents.size(),
                          Pattern(contents.size() + 1, 64 * 1024));
      }
      contents[name] = bench.stand.ContentOf(tree.disks.at(1).path);
      bench.stand.Take(name);
    }
    bench.stand.Write(bench.stand.Leaf(), kMebi, Pattern(9, 4096));
    contents["now"] = bench.stand.ContentOf(bench.stand.Tree().disks.at(1).path);
    bench.stand.Delete("two", {.reclaim = reclaim});
    const SnapshotTree tree = bench.stand.Tree();
    ASSERT_EQ(tree.snapshots.size(), 2u);
    EXPECT_EQ(tree.snapshots[1].parent_uid, 1u);
    EXPECT_EQ(bench.stand.ContentOf(tree.snapshots[0].disks.at(1).path), contents["one"]);
    EXPECT_EQ(bench.stand.ContentOf(tree.snapshots[1].disks.at(1).path), contents["three"]);
    EXPECT_EQ(bench.stand.ContentOf(tree.disks.at(1).path), contents["now"]);
    EXPECT_TRUE(tree.orphans.empty());
  }
}

TEST(DeleteSnapshot, RefusesToRuinBranchesAndClones) {
  SnapshotBench bench;
  bench.stand.Create("vm.vmdk", kTestDiskBytes);
  bench.stand.Take("root");
  bench.stand.Take("branch");
  bench.stand.Revert("root");
  const auto branched =
      bench.stand.Run(DeleteSnapshot(bench.stand.lib(), "vm.vmdk", "root", {}, nullptr));
  ASSERT_FALSE(branched);
  EXPECT_EQ(branched.error().code(), Code::kUnsupported);
  EXPECT_NE(branched.error().message().find("vm-000001.vmdk (snapshot branch)"), std::string::npos);
  bench.stand.Delete("branch");
  EXPECT_EQ(bench.stand.Files().count("vm-000001.vmdk"), 0u) << "the branch's link went";
  bench.stand.Store("vm.vmdk.children", "../clones/c.vmdk\n");
  const auto cloned =
      bench.stand.Run(DeleteSnapshot(bench.stand.lib(), "vm.vmdk", "root", {}, nullptr));
  ASSERT_FALSE(cloned);
  EXPECT_NE(cloned.error().message().find("../clones/c.vmdk"), std::string::npos);
  EXPECT_FALSE(bench.stand.Tree().snapshots.at(0).is_being_deleted) << "nothing was begun";
}

TEST(DeleteSnapshot, SaysTheSpaceItNeedsBeforeItBegins) {
  SnapshotBench bench(/*blocks_max=*/10'000);
  bench.stand.Create("vm.vmdk", kTestDiskBytes);
  bench.stand.Take("first");
  bench.stand.Write(bench.stand.Leaf(), 0, Pattern(1, 3 * kMebi));
  const auto measured = bench.stand.Run(MeasureDelete(bench.stand.lib(), "vm.vmdk", "first"));
  ASSERT_TRUE(measured) << measured.error().message();
  EXPECT_EQ(measured->needed_bytes, 3 * kMebi);
  const ObjectSpace space = *bench.stand.Run(bench.backend.GetSpace());
  bench.stand.Store("filler", std::string(space.free_bytes - 2 * kMebi, 'f'));
  const Content content = bench.stand.ContentOf(bench.stand.Leaf());
  const auto refused =
      bench.stand.Run(DeleteSnapshot(bench.stand.lib(), "vm.vmdk", "first", {}, nullptr));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kNoSpace);
  EXPECT_NE(refused.error().message().find("3145728 bytes are needed"), std::string::npos);
  EXPECT_FALSE(bench.stand.Tree().snapshots.at(0).is_being_deleted);
  EXPECT_EQ(bench.stand.ContentOf(bench.stand.Leaf()), content);
}

TEST(ConsolidateLink, PutsALinkNobodyNamesIntoItsParent) {
  SnapshotBench bench;
  bench.stand.Create("vm.vmdk", kTestDiskBytes);
  for (int i = 0; i < 3; ++i) {
    bench.stand.Take("s" + std::to_string(i));
    bench.stand.Write(bench.stand.Leaf(), 4096 * static_cast<uint64_t>(i), Pattern(7, 8192));
  }
  const auto named =
      bench.stand.Run(ConsolidateLink(bench.stand.lib(), "vm-000002.vmdk", {}, nullptr));
  ASSERT_FALSE(named) << "its parent is a snapshot";
  EXPECT_NE(named.error().message().find("its parent is snapshot s1"), std::string::npos);
  const Content content = bench.stand.ContentOf("vm-000003.vmdk");
  ASSERT_TRUE(bench.stand.Run(bench.backend.Remove("vm.vmsd")));
  const auto merged =
      bench.stand.Run(ConsolidateLink(bench.stand.lib(), "vm-000002.vmdk", {}, nullptr));
  ASSERT_TRUE(merged) << merged.error().message();
  EXPECT_EQ(bench.stand.Tree().disks.at(0).link_count, 3u);
  EXPECT_EQ(bench.stand.ContentOf("vm-000003.vmdk"), content);
  EXPECT_EQ(bench.stand.Files().count("vm.vmsd"), 0u);
}

}  // namespace
}  // namespace disklib
