#include "disklib/rebase.h"

#include "disklib/attach.h"
#include "tests/disklib/snapshot_support.h"

namespace disklib {
namespace {

using base::Code;

constexpr uint64_t kTestDiskBytes = 2 * kMebi;

// vm.vmdk with a child, and other.vmdk, a copy of the base that may differ.
struct RebaseBench : SnapshotBench {
  RebaseBench() {
    stand.Create("vm.vmdk", kTestDiskBytes);
    stand.Create("other.vmdk", kTestDiskBytes);
    stand.Write("vm.vmdk", 0, Pattern(1, 64 * 1024));
    stand.Write("other.vmdk", 0, Pattern(1, 64 * 1024));
    stand.Take("s");
    EXPECT_TRUE(stand.Run(backend.Remove("vm.vmsd"))) << "a link that no snapshot is below";
    stand.Write("vm-000001.vmdk", 8192, Pattern(2, 4096));
  }

  base::Result<RebaseResult> Rebase(RebaseMode mode, std::string_view onto = "other.vmdk") {
    return stand.Run(
        RebaseLink(stand.lib(), "vm-000001.vmdk", {.new_parent = onto, .mode = mode}, nullptr));
  }

  Descriptor Child() { return *ParseDescriptor(stand.Load("vm-000001.vmdk")); }

  std::string Parent() { return Child().parent_file_name_hint; }
};

TEST(RebaseLink, ChangesThePointerWhereBothParentsHoldTheSame) {
  RebaseBench bench;
  const Content content = bench.stand.ContentOf("vm-000001.vmdk");
  const auto rebased = bench.Rebase(RebaseMode::kProve);
  ASSERT_TRUE(rebased) << rebased.error().message();
  EXPECT_FALSE(rebased->was_proven_by_id);
  EXPECT_EQ(bench.Parent(), "other.vmdk");
  EXPECT_EQ(bench.stand.ContentOf("vm-000001.vmdk"), content);
  EXPECT_TRUE(bench.Rebase(RebaseMode::kProve)->was_proven_by_id) << "run again";
}

TEST(RebaseLink, RefusesAParentThatDiffersAndNamesTheByte) {
  RebaseBench bench;
  bench.stand.Write("other.vmdk", kMebi, Pattern(3, 512));
  const auto refused = bench.Rebase(RebaseMode::kProve);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kMiscompare);
  EXPECT_NE(refused.error().message().find("differ at byte 1048576"), std::string::npos);
  EXPECT_EQ(bench.Parent(), "vm.vmdk");
}

TEST(RebaseLink, CopiesTheDifference) {
  RebaseBench bench;
  bench.stand.Write("other.vmdk", 4096, Pattern(3, 16 * 1024));
  bench.stand.Write("other.vmdk", kMebi + 512, Pattern(4, 512));
  const Content content = bench.stand.ContentOf("vm-000001.vmdk");
  const auto rebased = bench.Rebase(RebaseMode::kCopy);
  ASSERT_TRUE(rebased) << rebased.error().message();
  EXPECT_GE(rebased->copied_bytes, 12u * 1024);
  EXPECT_LT(rebased->copied_bytes, 20u * 1024);
  EXPECT_EQ(bench.Parent(), "other.vmdk");
  EXPECT_EQ(bench.stand.ContentOf("vm-000001.vmdk"), content);
}

TEST(RebaseLink, ReadsTheNewParentWhenForced) {
  RebaseBench bench;
  bench.stand.Write("other.vmdk", kMebi, Pattern(3, 512));
  Content content = bench.stand.ContentOf("other.vmdk");
  const Content own = Pattern(2, 4096);
  std::copy(own.begin(), own.end(), content.begin() + 8192);
  ASSERT_TRUE(bench.Rebase(RebaseMode::kForce));
  EXPECT_EQ(bench.stand.ContentOf("vm-000001.vmdk"), content);
}

TEST(RebaseLink, RefusesCyclesAndBases) {
  RebaseBench bench;
  bench.stand.Take("t");
  EXPECT_EQ(bench.Rebase(RebaseMode::kForce, "vm-000002.vmdk").error().code(), Code::kLoop);
  const auto base = bench.stand.Run(
      RebaseLink(bench.stand.lib(), "vm.vmdk", {.new_parent = "other.vmdk"}, nullptr));
  EXPECT_EQ(base.error().code(), Code::kUnsupported);
}

TEST(RebaseLink, GivesALinkThatReadsDifferentlyANewContentId) {
  RebaseBench bench;
  const uint32_t before = bench.Child().content_id;
  ASSERT_TRUE(bench.Rebase(RebaseMode::kProve));
  EXPECT_EQ(bench.Child().content_id, before);
  ASSERT_TRUE(bench.Rebase(RebaseMode::kForce, "vm.vmdk"));
  EXPECT_NE(bench.Child().content_id, before);
}

TEST(RebaseLink, TrustsNoOldParentThatWasModified) {
  RebaseBench bench;
  std::string text = bench.stand.Load("vm.vmdk");
  const size_t at = text.find("\nCID=");
  ASSERT_NE(at, std::string::npos);
  text.replace(at, 13, "\nCID=12345678");
  bench.stand.Store("vm.vmdk", text);
  const auto refused = bench.Rebase(RebaseMode::kProve);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kMiscompare);
  EXPECT_NE(refused.error().message().find("vm.vmdk has 12345678"), std::string::npos);
  EXPECT_FALSE(bench.Rebase(RebaseMode::kCopy));
  EXPECT_TRUE(bench.Rebase(RebaseMode::kForce));
}

TEST(RebaseLink, LeavesOnlyForceWhereTheOldParentIsLost) {
  RebaseBench bench;
  ASSERT_TRUE(bench.stand.Run(bench.backend.Remove("vm.vmdk")));
  const auto refused = bench.Rebase(RebaseMode::kProve);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kNotFound);
  EXPECT_NE(refused.error().message().find("vm.vmdk is not there"), std::string::npos);
  EXPECT_TRUE(bench.Rebase(RebaseMode::kForce));
}

TEST(RebaseLink, MakesNoChainThatIsTooLongToOpen) {
  RebaseBench bench;
  for (size_t links = 1; links < kChainLinksMax; ++links) {
    bench.stand.Take("s" + std::to_string(links), "other.vmdk");
  }
  const std::string leaf = bench.stand.Leaf("other.vmdk");
  const std::string below = ParseDescriptor(bench.stand.Load(leaf))->parent_file_name_hint;
  const auto refused = bench.Rebase(RebaseMode::kForce, leaf);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kTooManyLinks);
  const auto deepest = bench.Rebase(RebaseMode::kForce, below);
  EXPECT_TRUE(deepest) << deepest.error().message();
  EXPECT_TRUE(bench.stand.TryContentOf("vm-000001.vmdk"));
}

TEST(RebaseLink, LeavesASnapshotItsLastChild) {
  RebaseBench bench;
  bench.stand.Take("kept", "vm-000001.vmdk");
  const std::string leaf = bench.stand.Leaf("vm-000001.vmdk");
  ASSERT_NE(leaf, "vm-000001.vmdk");
  const auto rebase = [&bench, &leaf] {
    return bench.stand.Run(RebaseLink(bench.stand.lib(), leaf,
                                      {.new_parent = "other.vmdk", .mode = RebaseMode::kForce},
                                      nullptr));
  };
  const auto refused = rebase();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kUnsupported);
  EXPECT_NE(refused.error().message().find("snapshot kept"), std::string::npos);
  const base::Status detached = bench.stand.Run(DetachLink(bench.stand.lib(), leaf, nullptr));
  ASSERT_FALSE(detached);
  EXPECT_NE(detached.error().message().find("snapshot kept"), std::string::npos);
  const AttachOptions options{.changes_content = true};
  const base::Status attached =
      bench.stand.Run(AttachLink(bench.stand.lib(), leaf, "other.vmdk", options));
  ASSERT_FALSE(attached);
  EXPECT_NE(attached.error().message().find("snapshot kept"), std::string::npos);
  ASSERT_TRUE(bench.stand.Run(bench.backend.Remove("vm.vmsd")));
  EXPECT_TRUE(rebase()) << "no snapshot names the parent any more";
}

TEST(RebaseLink, RefusesAParentThatSomebodyWritesTo) {
  RebaseBench bench;
  const auto writer =
      bench.stand.Run(bench.stand.lib().Open("other.vmdk", {.writable = true, .user = "a guest"}));
  ASSERT_TRUE(writer);
  for (const RebaseMode mode : {RebaseMode::kProve, RebaseMode::kCopy, RebaseMode::kForce}) {
    const auto refused = bench.Rebase(mode);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), Code::kBusy);
  }
  ASSERT_TRUE(bench.stand.Run((*writer)->Close()));
}

}  // namespace
}  // namespace disklib
