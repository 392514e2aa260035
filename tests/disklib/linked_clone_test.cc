#include "disklib/linked_clone.h"

#include "disklib/children.h"
#include "tests/disklib/support.h"

namespace disklib {
namespace {

using base::Code;
using base::Status;

void MakeFolder(Bench& bench, std::string_view name) {
  const auto made = bench.Run(bench.files.MakeDirectory(bench.files.root(), name, {}));
  bench.files.Forget(made->inode, 1);
}

Status Link(Bench& bench, std::string_view parent, std::string_view path) {
  const auto made = bench.Run(CreateLinkedClone(bench.lib, parent, path, {}));
  return made ? base::Ok() : Status(made.error());
}

std::vector<std::string> Children(Bench& bench, std::string_view parent) {
  return *bench.Run(LivingChildren(bench.backend, parent));
}

TEST(LinkedClone, StandsOnItsParentAndIsRegisteredThere) {
  Bench bench;
  MakeFolder(bench, "b");
  bench.Create("a.vmdk", {.size_bytes = 8 * kMebi});
  ASSERT_TRUE(Link(bench, "a.vmdk", "b/c.vmdk"));
  ASSERT_TRUE(Link(bench, "a.vmdk", "d.vmdk"));
  const Descriptor child = *ParseDescriptor(bench.Load("b/c.vmdk"));
  EXPECT_EQ(child.parent_file_name_hint, "../a.vmdk");
  EXPECT_EQ(child.parent_content_id, kFreshContentId);
  EXPECT_EQ(child.capacity_sectors(), 8 * kMebi / kSectorBytes);
  EXPECT_EQ(child.create_type, "seSparse");
  EXPECT_EQ(Children(bench, "a.vmdk"), (std::vector<std::string>{"b/c.vmdk", "d.vmdk"}));
}

TEST(LinkedClone, IsRegisteredByAPathThatHoldsFromEveryRoot) {
  Bench bench;
  MakeFolder(bench, "vm");
  MakeFolder(bench, "clones");
  bench.Create("vm/a.vmdk", {.size_bytes = kMebi});
  ASSERT_TRUE(Link(bench, "vm/a.vmdk", "vm/b.vmdk"));
  ASSERT_TRUE(Link(bench, "vm/a.vmdk", "clones/c.vmdk"));
  const std::string registry = bench.Load("vm/a.vmdk.children");
  EXPECT_EQ(registry,
            "# Strata: disks that stand on this one, from this folder\nb.vmdk\n../clones/c.vmdk\n");
  // Where the VM's folder is served alone, nobody can say whether the clone outside still lives.
  bench.Create("d.vmdk", {.size_bytes = kMebi});
  bench.Store("d.vmdk.children", "gone.vmdk\n../clones/c.vmdk\n");
  EXPECT_EQ(Children(bench, "d.vmdk"), std::vector<std::string>{"../clones/c.vmdk"});
  const Status refused = bench.Run(DeleteDisk(bench.lib, "d.vmdk"));
  EXPECT_EQ(refused.error().code(), Code::kUnsupported);
}

TEST(LinkedClone, KeepsItsParentFromBeingDeletedOrRenamed) {
  Bench bench;
  MakeFolder(bench, "b");
  bench.Create("a.vmdk", {.size_bytes = 8 * kMebi});
  ASSERT_TRUE(Link(bench, "a.vmdk", "b/c.vmdk"));
  const Status deleted = bench.Run(DeleteDisk(bench.lib, "a.vmdk"));
  EXPECT_EQ(deleted.error().code(), Code::kUnsupported);
  EXPECT_NE(deleted.error().message().find("b/c.vmdk"), std::string::npos);
  EXPECT_EQ(bench.Run(RenameDisk(bench.lib, "a.vmdk", "e.vmdk")).error().code(),
            Code::kUnsupported);
}

TEST(LinkedClone, ThatIsGoneIsNoLongerCounted) {
  Bench bench;
  bench.Create("a.vmdk", {.size_bytes = 8 * kMebi});
  ASSERT_TRUE(Link(bench, "a.vmdk", "b.vmdk"));
  ASSERT_TRUE(bench.Run(bench.backend.Remove("b.vmdk")));
  EXPECT_TRUE(Children(bench, "a.vmdk").empty());
  EXPECT_EQ(bench.Run(RegisteredChildren(bench.backend, "a.vmdk"))->size(), 1u);
  ASSERT_TRUE(Link(bench, "a.vmdk", "c.vmdk"));
  EXPECT_EQ(*bench.Run(RegisteredChildren(bench.backend, "a.vmdk")),
            (std::vector<std::string>{"c.vmdk"}))
      << "the stale entry went with the next change";
  // Another disk of the same name that stands on something else does not count either.
  bench.Create("b.vmdk", {.size_bytes = kMebi});
  EXPECT_EQ(Children(bench, "a.vmdk").size(), 1u);
}

TEST(LinkedClone, IsRefusedWhileItsParentIsWritten) {
  Bench bench;
  bench.Create("a.vmdk", {.size_bytes = 8 * kMebi});
  const auto chain = bench.Open("a.vmdk", true);
  const Status refused = Link(bench, "a.vmdk", "b.vmdk");
  EXPECT_EQ(refused.error().code(), Code::kBusy);
  EXPECT_NE(refused.error().message().find("test"), std::string::npos);
  ASSERT_TRUE(bench.Run(chain->Close()));
  EXPECT_EQ(bench.Listing().size(), 2u);
}

TEST(LinkedClone, LeavesNothingWhenTheNameIsTaken) {
  Bench bench;
  bench.Create("a.vmdk", {.size_bytes = 8 * kMebi});
  bench.Store("b-sesparse.vmdk", "precious");
  const auto before = bench.Listing();
  EXPECT_EQ(Link(bench, "a.vmdk", "b.vmdk").error().code(), Code::kExists);
  EXPECT_EQ(Link(bench, "a.vmdk", "a.vmdk").error().code(), Code::kExists);
  EXPECT_EQ(bench.Listing(), before);
}

TEST(LinkedClone, IsWholeOrAbsentWhereverItIsCut) {
  using Crash = fss::MemoryFileSystem::Crash;
  for (const Crash crash :
       {Crash::kLosesNothing, Crash::kLosesUnsyncedData, Crash::kLosesAllUnsynced}) {
    bool was_cut = true;
    for (uint64_t call = 1; was_cut; ++call) {
      Bench bench;
      bench.Create("a.vmdk", {.size_bytes = kMebi});
      ASSERT_TRUE(bench.Run(bench.files.SyncAll()));
      bench.files.CutAt(call);
      static_cast<void>(Link(bench, "a.vmdk", "b.vmdk"));
      was_cut = bench.files.has_failed();
      bench.files.Recover(crash);
      const bool is_there = *bench.Run(Exists(bench.backend, "b.vmdk"));
      EXPECT_EQ(Children(bench, "a.vmdk").size(), is_there ? 1u : 0u) << "call " << call;
      const Status again = Link(bench, "a.vmdk", "b.vmdk");
      EXPECT_TRUE(again || again.error().code() == Code::kExists) << again.error().message();
      EXPECT_EQ(Children(bench, "a.vmdk").size(), 1u);
      EXPECT_EQ(bench.Listing().size(), 5u) << "nothing unfinished is left, call " << call;
    }
  }
}

TEST(LinkedClone, SurvivesOneFailureAtEveryCall) {
  bool has_failed = true;
  for (uint64_t call = 1; has_failed; ++call) {
    Bench bench;
    bench.Create("a.vmdk", {.size_bytes = kMebi});
    bench.files.FailAt(call);
    const Status first = Link(bench, "a.vmdk", "b.vmdk");
    has_failed = bench.files.has_failed();
    bench.files.StopFailing();
    if (*bench.Run(Exists(bench.backend, "b.vmdk"))) {
      EXPECT_EQ(Children(bench, "a.vmdk").size(), 1u) << "call " << call;
    }
    const Status again = Link(bench, "a.vmdk", "b.vmdk");
    EXPECT_TRUE(again || again.error().code() == Code::kExists) << "call " << call;
    EXPECT_EQ(bench.files.lookups_held(), 0u);
  }
}

}  // namespace
}  // namespace disklib
