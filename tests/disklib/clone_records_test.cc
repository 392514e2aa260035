// Linked clones beside the snapshots of their parents, and what a rename or a delete has to tell
// the records of VMs and the registries of parents.

#include "disklib/children.h"
#include "disklib/delete_chain.h"
#include "disklib/extent_places.h"
#include "disklib/linked_clone.h"
#include "disklib/operations.h"
#include "disklib/vm_folder/vmsd.h"
#include "tests/disklib/snapshot_support.h"

namespace disklib {
namespace {

using base::Code;
using base::Status;

constexpr uint64_t kSizeBytes = kMebi;

// A disk with one snapshot, and with data in both links.
struct CloneBench : SnapshotBench {
  CloneBench() {
    stand.Create("vm.vmdk", kSizeBytes);
    stand.Write("vm.vmdk", 0, Pattern(1, 4096));
    stand.Take("first");
    stand.Write("vm-000001.vmdk", 8192, Pattern(2, 4096));
  }

  void MakeFolder(std::string_view name) {
    const auto made = stand.Run(files.MakeDirectory(files.root(), name, {}));
    files.Forget(made->inode, 1);
  }

  void Clone(std::string_view parent, std::string_view path) {
    const auto made = stand.Run(CreateLinkedClone(stand.lib(), parent, path, {}));
    ASSERT_TRUE(made) << made.error().message();
  }

  Status Rename(std::string_view from, std::string_view to) {
    return stand.Run(RenameDisk(stand.lib(), from, to));
  }

  std::vector<std::string> ClonesOf(std::string_view parent) {
    return *stand.Run(RegisteredChildren(backend, parent));
  }
};

using Paths = std::vector<std::string>;

TEST(LinkedCloneBesideSnapshots, HasSnapshotsOfItsOwn) {
  CloneBench bench;
  bench.Clone("vm-000001.vmdk", "clone.vmdk");
  const Content content = bench.stand.ContentOf("vm-000001.vmdk");
  bench.stand.Take("of the clone", "clone.vmdk");
  EXPECT_EQ(bench.stand.Leaf("clone.vmdk"), "clone-000001.vmdk");
  EXPECT_EQ(bench.stand.Leaf("vm.vmdk"), "vm-000001.vmdk") << "the parent's disk is another one";
  EXPECT_EQ(bench.stand.Tree("vm.vmdk").snapshots.size(), 1u);
  EXPECT_EQ(bench.stand.Tree("clone.vmdk").vmsd_path, "clone.vmsd");
  EXPECT_TRUE(bench.stand.Tree("vm.vmdk").orphans.empty());
  bench.stand.Write("clone-000001.vmdk", 0, Pattern(3, 4096));
  bench.stand.Delete("of the clone", {}, "clone.vmdk");
  EXPECT_EQ(bench.stand.ContentOf("vm-000001.vmdk"), content);
  EXPECT_EQ(bench.stand.Leaf("clone.vmdk"), "clone.vmdk");
}

TEST(LinkedCloneBesideSnapshots, IsDeletedWithoutItsParent) {
  CloneBench bench;
  bench.Clone("vm-000001.vmdk", "clone.vmdk");
  const Content content = bench.stand.ContentOf("vm-000001.vmdk");
  bench.stand.Take("of the clone", "clone.vmdk");
  const auto deleted = bench.stand.Run(DeleteChain(bench.stand.lib(), "clone.vmdk"));
  ASSERT_TRUE(deleted) << deleted.error().message();
  EXPECT_EQ(deleted->deleted_paths, (Paths{"clone-000001.vmdk", "clone.vmdk"}));
  EXPECT_EQ(bench.stand.Files(),
            (std::set<std::string>{"vm.vmdk", "vm-flat.vmdk", "vm.vmsd", "vm-000001.vmdk",
                                   "vm-000001-sesparse.vmdk"}));
  EXPECT_EQ(bench.stand.ContentOf("vm-000001.vmdk"), content);
}

TEST(LinkedCloneElsewhere, IsDeletedWithItsSnapshotsAndItsRegistration) {
  CloneBench bench;
  bench.MakeFolder("clones");
  bench.Clone("vm-000001.vmdk", "clones/c.vmdk");
  const Content content = bench.stand.ContentOf("vm-000001.vmdk");
  bench.stand.Take("of the clone", "clones/c.vmdk");
  const auto deleted = bench.stand.Run(DeleteChain(bench.stand.lib(), "clones/c-000001.vmdk"));
  ASSERT_TRUE(deleted) << deleted.error().message();
  EXPECT_EQ(deleted->deleted_paths, (Paths{"clones/c-000001.vmdk", "clones/c.vmdk"}));
  ListingSink left;
  ASSERT_TRUE(bench.stand.Run(bench.backend.List("clones", left)));
  EXPECT_TRUE(left.names.empty());
  EXPECT_TRUE(bench.ClonesOf("vm-000001.vmdk").empty());
  EXPECT_EQ(bench.stand.ContentOf("vm-000001.vmdk"), content);
}

TEST(LinkedCloneBesideSnapshots, TakesNothingOfItsParentAlongWhereverItsDeleteIsCut) {
  using Crash = fss::MemoryFileSystem::Crash;
  for (const Crash crash : {Crash::kLosesNothing, Crash::kLosesAllUnsynced}) {
    bool was_cut = true;
    for (uint64_t call = 1; was_cut; ++call) {
      CloneBench bench;
      bench.Clone("vm-000001.vmdk", "clone.vmdk");
      bench.stand.Take("of the clone", "clone.vmdk");
      const Content content = bench.stand.ContentOf("vm-000001.vmdk");
      ASSERT_TRUE(bench.stand.Run(bench.files.SyncAll()));
      bench.files.CutAt(call);
      static_cast<void>(bench.stand.Run(DeleteChain(bench.stand.lib(), "clone.vmdk")));
      was_cut = bench.files.has_failed();
      bench.files.Recover(crash);
      const auto again = bench.stand.Run(DeleteChain(bench.stand.lib(), "clone.vmdk"));
      EXPECT_TRUE(again || again.error().code() == Code::kNotFound) << again.error().message();
      EXPECT_EQ(bench.stand.ContentOf("vm-000001.vmdk"), content) << "call " << call;
      EXPECT_TRUE(bench.stand.Run(LivingChildren(bench.backend, "vm-000001.vmdk"))->empty());
    }
  }
}

TEST(RevertToSnapshot, KeepsALeafThatACloneElsewhereStandsOn) {
  CloneBench bench;
  bench.MakeFolder("clones");
  bench.Clone("vm-000001.vmdk", "clones/c.vmdk");
  const Content content = bench.stand.ContentOf("clones/c.vmdk");
  bench.stand.Revert("first");
  EXPECT_EQ(bench.stand.Leaf(), "vm-000002.vmdk");
  EXPECT_EQ(bench.stand.ContentOf("clones/c.vmdk"), content);
}

TEST(RenameDisk, TakesALinkedCloneWithItsRegistrationToAnotherFolder) {
  CloneBench bench;
  bench.MakeFolder("clones");
  bench.Clone("vm-000001.vmdk", "clone.vmdk");
  const Content content = bench.stand.ContentOf("clone.vmdk");
  ASSERT_TRUE(bench.Rename("clone.vmdk", "other.vmdk"));
  EXPECT_EQ(bench.ClonesOf("vm-000001.vmdk"), Paths{"other.vmdk"});
  ASSERT_TRUE(bench.Rename("other.vmdk", "clones/c.vmdk"));
  EXPECT_EQ(bench.ClonesOf("vm-000001.vmdk"), Paths{"clones/c.vmdk"});
  const Descriptor moved = *ParseDescriptor(bench.stand.Load("clones/c.vmdk"));
  EXPECT_EQ(moved.parent_file_name_hint, "../vm-000001.vmdk");
  EXPECT_EQ(bench.stand.ContentOf("clones/c.vmdk"), content);
}

TEST(RenameDisk, KeepsTheParentOfALinkedCloneWhereverItIsCut) {
  using Crash = fss::MemoryFileSystem::Crash;
  for (const Crash crash : {Crash::kLosesNothing, Crash::kLosesAllUnsynced}) {
    bool was_cut = true;
    for (uint64_t call = 1; was_cut; ++call) {
      CloneBench bench;
      bench.MakeFolder("clones");
      bench.Clone("vm-000001.vmdk", "clone.vmdk");
      const Content content = bench.stand.ContentOf("clone.vmdk");
      ASSERT_TRUE(bench.stand.Run(bench.files.SyncAll()));
      bench.files.CutAt(call);
      static_cast<void>(bench.Rename("clone.vmdk", "clones/c.vmdk"));
      was_cut = bench.files.has_failed();
      bench.files.Recover(crash);
      const bool is_unmoved = *bench.stand.Run(Exists(bench.backend, "clone.vmdk"));
      EXPECT_EQ(bench.stand.ContentOf(is_unmoved ? "clone.vmdk" : "clones/c.vmdk"), content)
          << "call " << call;
      EXPECT_FALSE(bench.stand.Run(LivingChildren(bench.backend, "vm-000001.vmdk"))->empty())
          << "call " << call;
      const Status again = bench.Rename("clone.vmdk", "clones/c.vmdk");
      EXPECT_TRUE(again || again.error().code() == Code::kNotFound) << again.error().message();
      EXPECT_EQ(bench.ClonesOf("vm-000001.vmdk"), Paths{"clones/c.vmdk"}) << "call " << call;
      EXPECT_EQ(bench.stand.ContentOf("clones/c.vmdk"), content);
    }
  }
}

Descriptor Marked(const RenameMark& mark) {
  const RenameMarkNames names = NamesOfMark(mark);
  Descriptor descriptor;
  descriptor.disk_database = {{std::string(kRenamingFromKey), names.from},
                              {std::string(kRenamingToKey), names.to}};
  return descriptor;
}

TEST(RenameMark, HoldsFromEveryRoot) {
  const Descriptor beside = Marked({.from = "vm/a.vmdk", .to = "vm/b.vmdk"});
  EXPECT_EQ(*beside.FindDatabase(kRenamingFromKey), "a.vmdk");
  EXPECT_EQ(*beside.FindDatabase(kRenamingToKey), "b.vmdk");
  for (const std::string folder : {"", "vm/", "store/vm/"}) {
    for (const char* const name : {"a.vmdk", "b.vmdk"}) {
      const auto found = FindRenameMark(beside, folder + name);
      ASSERT_TRUE(found) << folder << name;
      EXPECT_EQ(found->from, folder + "a.vmdk");
      EXPECT_EQ(found->to, folder + "b.vmdk");
    }
    EXPECT_FALSE(FindRenameMark(beside, folder + "copy.vmdk")) << "a copy carries it in vain";
  }
  const Descriptor elsewhere = Marked({.from = "vm/a.vmdk", .to = "other/deep/a.vmdk"});
  for (const char* const path : {"vm/a.vmdk", "other/deep/a.vmdk"}) {
    const auto found = FindRenameMark(elsewhere, path);
    ASSERT_TRUE(found) << path;
    EXPECT_EQ(found->from, "vm/a.vmdk");
    EXPECT_EQ(found->to, "other/deep/a.vmdk");
  }
  EXPECT_FALSE(FindRenameMark(elsewhere, "other/a.vmdk"));
  EXPECT_FALSE(FindRenameMark(elsewhere, "a.vmdk"));
}

TEST(RenameDisk, TellsTheRecordOfSnapshotsWhereTheLeafIsNow) {
  CloneBench bench;
  const Content content = bench.stand.ContentOf("vm-000001.vmdk");
  ASSERT_TRUE(bench.Rename("vm-000001.vmdk", "now.vmdk"));
  EXPECT_EQ(bench.stand.Leaf(), "now.vmdk");
  EXPECT_NE(bench.stand.Load("vm.vmsd").find("strata.disk0.current = \"now.vmdk\""),
            std::string::npos);
  bench.stand.Revert("first");
  bench.stand.Delete("first");
  EXPECT_NE(bench.stand.ContentOf("vm.vmdk"), content);
}

TEST(RenameDisk, KeepsALinkOfASnapshotInItsFolder) {
  CloneBench bench;
  bench.MakeFolder("clones");
  const Status refused = bench.Rename("vm-000001.vmdk", "clones/now.vmdk");
  EXPECT_EQ(refused.error().code(), Code::kUnsupported);
  EXPECT_EQ(bench.stand.Leaf(), "vm-000001.vmdk");
}

TEST(RenameDisk, TellsTheVmThatHasTheDisk) {
  SnapshotBench bench;
  bench.stand.MakeVm(kSizeBytes);
  bench.stand.Take("both", "vm.vmx");
  ASSERT_TRUE(bench.stand.Run(RenameDisk(bench.stand.lib(), "vm_1-000001.vmdk", "b.vmdk")));
  const SnapshotTree tree = bench.stand.Tree("vm.vmx");
  ASSERT_EQ(tree.disks.size(), 2u);
  EXPECT_EQ(tree.disks[1].path, "b.vmdk");
  EXPECT_EQ(tree.disks[1].link_count, 2u);
}

TEST(RenameDisk, TakesTheRecordOfALoneDiskAlong) {
  CloneBench bench;
  bench.stand.Delete("first");
  ASSERT_TRUE(bench.Rename("vm.vmdk", "b.vmdk"));
  EXPECT_EQ(bench.stand.Files(), (std::set<std::string>{"b.vmdk", "b-flat.vmdk", "b.vmsd"}));
  bench.stand.Take("second", "b.vmdk");
  EXPECT_EQ(bench.stand.Tree("b.vmdk").snapshots.at(0).uid, 2u) << "numbers are never used again";
  bench.stand.Store("c.vmsd", "");
  bench.stand.Delete("second", {}, "b.vmdk");
  EXPECT_EQ(bench.Rename("b.vmdk", "c.vmdk").error().code(), Code::kExists);
}

TEST(DeleteDisk, IsForgottenByTheRecords) {
  SnapshotBench bench;
  bench.stand.MakeVm(kSizeBytes);
  bench.stand.Take("both", "vm.vmx");
  ASSERT_TRUE(bench.stand.Run(DeleteChain(bench.stand.lib(), "vm_1.vmdk")));
  const SnapshotList list = *ParseSnapshotList(bench.stand.Load("vm.vmsd"));
  ASSERT_EQ(list.snapshots.size(), 1u);
  ASSERT_EQ(list.snapshots[0].disks.size(), 1u);
  EXPECT_EQ(list.snapshots[0].disks[0].file_name, "vm.vmdk");
}

}  // namespace
}  // namespace disklib
