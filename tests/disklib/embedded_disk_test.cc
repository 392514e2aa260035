// Disks of one file, with the descriptor inside: every operation that rewrites a descriptor leaves
// the grains around it alone.
#include "disklib/attach.h"
#include "disklib/compare.h"
#include "disklib/defragment.h"
#include "disklib/linked_clone.h"
#include "disklib/names.h"
#include "disklib/rebase.h"
#include "disklib/snapshot.h"
#include "tests/disklib/check_support.h"

namespace disklib {
namespace {

using base::Code;

constexpr uint64_t kDiskBytes = 4 * kMebi;

class EmbeddedDisk : public testing::Test {
 protected:
  void SetUp() override { Make("a.vmdk", 1); }

  // A disk of one file with some grains, written in no order.
  void Make(std::string_view path, uint64_t seed) {
    bench_.Create(path, {.size_bytes = kDiskBytes, .layout = DiskLayout::kMonolithicSparse});
    Put(path, 3 * kMebi, seed);
    Put(path, kMebi / 2, seed + 1);
  }

  void MakeChild(std::string_view parent_path, std::string_view path) {
    const LinkedCloneOptions options{.layout = DiskLayout::kMonolithicSparse};
    const auto made = bench_.Run(CreateLinkedClone(bench_.lib, parent_path, path, options));
    ASSERT_TRUE(made) << made.error().message();
  }

  void Put(std::string_view path, uint64_t offset_bytes, uint64_t seed) {
    const auto chain = bench_.Open(path, true);
    ASSERT_NE(chain, nullptr);
    std::vector<std::byte> bytes = Pattern(seed, 102'400);
    EXPECT_TRUE(WriteBytes(bench_, *chain, offset_bytes, bytes));
    EXPECT_TRUE(bench_.Run(chain->Close()));
  }

  // Of the first 4 MiB, so that a grown disk has it, too.
  std::vector<std::byte> ContentOf(std::string_view path) {
    std::vector<std::byte> bytes(kDiskBytes);
    const auto chain = bench_.Open(path, false);
    if (chain == nullptr) return {};
    EXPECT_TRUE(ReadBytes(bench_, *chain, 0, bytes));
    EXPECT_TRUE(bench_.Run(chain->Close()));
    return bytes;
  }

  void ExpectSound(std::string_view path, const Names& leaks = {}) {
    const CheckReport report = bench_.Check(path);
    EXPECT_EQ(NamesIn(report), leaks) << TextOf(report);
  }

  CheckBench bench_;
};

TEST_F(EmbeddedDisk, IsExtended) {
  const auto before = ContentOf("a.vmdk");
  const auto extended = bench_.Run(
      ExtendDisk(bench_.lib, "a.vmdk", {.size_bytes = 600 * kMebi, .user = "test"}, nullptr));
  ASSERT_TRUE(extended) << extended.error().message();
  EXPECT_EQ(bench_.Run(bench_.lib.GetInfo("a.vmdk"))->capacity_bytes, 600 * kMebi);
  EXPECT_EQ(ContentOf("a.vmdk"), before);
  EXPECT_EQ(bench_.Listing().size(), 1u);
  Put("a.vmdk", 590 * kMebi, 9);
  EXPECT_EQ(ContentOf("a.vmdk"), before);
  ExpectSound("a.vmdk", {"H7"});  // the moved directories end before a grain does
}

TEST_F(EmbeddedDisk, IsRenamedByUsAndByOthers) {
  const auto before = ContentOf("a.vmdk");
  const auto renamed = bench_.Run(RenameDisk(bench_.lib, "a.vmdk", "b.vmdk"));
  ASSERT_TRUE(renamed) << renamed.error().message();
  EXPECT_EQ(ContentOf("b.vmdk"), before);
  const auto read = bench_.Run(ReadDescriptorAt(bench_.backend, "b.vmdk"));
  EXPECT_NE(read->text.find("SPARSE \"b.vmdk\""), std::string::npos) << read->text;
  EXPECT_EQ(read->text.find("renaming"), std::string::npos);
  ASSERT_TRUE(bench_.Run(bench_.backend.Rename("b.vmdk", "c.vmdk")));
  EXPECT_EQ(ContentOf("c.vmdk"), before);
  EXPECT_EQ(bench_.Listing().size(), 1u);
  ExpectSound("c.vmdk");
}

TEST_F(EmbeddedDisk, IsNotTakenForItsCopy) {
  const auto before = ContentOf("a.vmdk");
  bench_.Store("copy.vmdk", bench_.Load("a.vmdk"));
  Put("a.vmdk", 0, 7);
  EXPECT_EQ(ContentOf("copy.vmdk"), before);
  Put("copy.vmdk", 2 * kMebi, 8);
  EXPECT_NE(ContentOf("a.vmdk"), ContentOf("copy.vmdk"));
}

TEST_F(EmbeddedDisk, IsCommittedInto) {
  for (const std::string_view layout : {"seSparse", "vmfsSparse"}) {
    const CreateSnapshotOptions options{.name = "one", .layout = *ParseDiskLayout(layout)};
    const auto made = bench_.Run(CreateSnapshot(bench_.lib, "a.vmdk", options, nullptr));
    ASSERT_TRUE(made) << made.error().message();
    Put("a-000001.vmdk", kMebi, 5);
    Put("a-000001.vmdk", kMebi / 2, 6);
    const auto wanted = ContentOf("a-000001.vmdk");
    const auto gone = bench_.Run(DeleteAllSnapshots(bench_.lib, "a.vmdk", {}, nullptr));
    ASSERT_TRUE(gone) << gone.error().message();
    EXPECT_EQ(ContentOf("a.vmdk"), wanted);
    EXPECT_FALSE(bench_.Listing().contains("a-000001.vmdk"));
    ExpectSound("a.vmdk");
  }
}

TEST_F(EmbeddedDisk, IsCommittedAsAChild) {
  MakeChild("a.vmdk", "middle.vmdk");
  Put("middle.vmdk", kMebi, 5);
  MakeChild("middle.vmdk", "top.vmdk");
  Put("top.vmdk", 2 * kMebi, 6);
  const auto wanted = ContentOf("top.vmdk");
  // As snapshots made elsewhere look: nobody registered them.
  EXPECT_TRUE(bench_.Run(bench_.backend.Remove("a.vmdk.children")));
  EXPECT_TRUE(bench_.Run(bench_.backend.Remove("middle.vmdk.children")));
  const auto done = bench_.Run(ConsolidateLink(bench_.lib, "middle.vmdk", {}, nullptr));
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(ContentOf("top.vmdk"), wanted);
  EXPECT_FALSE(bench_.Listing().contains("middle.vmdk"));
  ExpectSound("top.vmdk");
}

TEST_F(EmbeddedDisk, IsRebased) {
  MakeChild("a.vmdk", "child.vmdk");
  Put("child.vmdk", kMebi, 5);
  const auto before = ContentOf("child.vmdk");
  bench_.Store("same.vmdk", bench_.Load("a.vmdk"));
  const RebaseOptions options{.new_parent = "same.vmdk"};
  const auto rebased = bench_.Run(RebaseLink(bench_.lib, "child.vmdk", options, nullptr));
  ASSERT_TRUE(rebased) << rebased.error().message();
  EXPECT_EQ(ContentOf("child.vmdk"), before);
  const auto read = bench_.Run(ReadDescriptorAt(bench_.backend, "child.vmdk"));
  EXPECT_NE(read->text.find("parentFileNameHint=\"same.vmdk\""), std::string::npos) << read->text;
  ExpectSound("child.vmdk", {"H7"});  // the copy of the parent has no holes
}

TEST_F(EmbeddedDisk, IsAttachedAndDetached) {
  MakeChild("a.vmdk", "child.vmdk");
  Put("child.vmdk", kMebi, 5);
  const auto before = ContentOf("child.vmdk");
  bench_.Store("other.vmdk", bench_.Load("a.vmdk"));
  const auto attached = bench_.Run(AttachLink(bench_.lib, "child.vmdk", "other.vmdk", {}));
  ASSERT_TRUE(attached) << attached.error().message();
  EXPECT_EQ(ContentOf("child.vmdk"), before);
  const auto refused = bench_.Run(DetachLink(bench_.lib, "child.vmdk", nullptr));
  EXPECT_FALSE(refused) << "it reads from its parent";
  bench_.Create("empty.vmdk", {.size_bytes = kDiskBytes, .layout = DiskLayout::kMonolithicSparse});
  MakeChild("empty.vmdk", "alone.vmdk");
  Put("alone.vmdk", kMebi, 5);
  const auto alone = ContentOf("alone.vmdk");
  const auto detached = bench_.Run(DetachLink(bench_.lib, "alone.vmdk", nullptr));
  ASSERT_TRUE(detached) << detached.error().message();
  EXPECT_EQ(ContentOf("alone.vmdk"), alone);
  EXPECT_TRUE(bench_.Run(bench_.lib.GetInfo("alone.vmdk"))->parent.empty());
}

TEST_F(EmbeddedDisk, IsDefragmentedWithItsDescriptor) {
  const auto before = ContentOf("a.vmdk");
  const std::string text = bench_.Run(ReadDescriptorAt(bench_.backend, "a.vmdk"))->text;
  const auto done = bench_.Run(DefragmentLink(bench_.lib, "a.vmdk", nullptr));
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(ContentOf("a.vmdk"), before);
  EXPECT_EQ(bench_.Run(ReadDescriptorAt(bench_.backend, "a.vmdk"))->text, text);
  ExpectSound("a.vmdk");
}

TEST_F(EmbeddedDisk, IsDeleted) {
  const auto deleted = bench_.Run(DeleteDisk(bench_.lib, "a.vmdk"));
  ASSERT_TRUE(deleted) << deleted.error().message();
  EXPECT_TRUE(bench_.Listing().empty());
}

}  // namespace
}  // namespace disklib
