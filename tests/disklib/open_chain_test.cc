// Opening whole chains: which links, in which order, and what refuses them.
#include <cstring>

#include "disklib/children.h"
#include "tests/disklib/support.h"

namespace disklib {
namespace {

using base::Code;
using fds::GrainRun;
using fds::GrainState;

struct LinkText {
  std::string content_id = "1";
  std::string parent_id = "ffffffff";
  std::string hint = {};
  std::string extents = {};
};

// A descriptor with these keys, as text.
std::string TextOf(const LinkText& link) {
  std::string text = "# Disk DescriptorFile\nversion=1\nCID=" + link.content_id +
                     "\nparentCID=" + link.parent_id + "\ncreateType=\"custom\"\n";
  if (!link.hint.empty()) text += "parentFileNameHint=\"" + link.hint + "\"\n";
  return text + link.extents;
}

class OpenChain : public testing::Test {
 protected:
  void SetUp() override {
    bench.Store("base-flat", std::string(8 * 512, 'b'));
    bench.Store("base.vmdk",
                TextOf({.content_id = "a1", .extents = "RW 8 FLAT \"base-flat\" 0\n"}));
  }

  // A child of four sectors of its own data and four of zeros.
  void StoreChild(const std::string& name, const LinkText& link) {
    bench.Store(name + "-flat", std::string(4 * 512, 'c'));
    LinkText with_extents = link;
    with_extents.extents = "RW 4 FLAT \"" + name + "-flat\" 0\nRW 4 ZERO\n";
    bench.Store(name, TextOf(with_extents));
  }

  base::Error ErrorOf(std::string_view path, bool writable = false) {
    auto opened = bench.Run(bench.lib.Open(path, {.writable = writable, .user = "test"}));
    EXPECT_FALSE(opened);
    EXPECT_EQ(bench.files.lookups_held(), 0u);
    EXPECT_TRUE(bench.open_disks.List().empty());
    if (opened) static_cast<void>(bench.Run((*opened)->Close()));
    return opened ? base::Error(Code::kInternal) : opened.error();
  }

  Bench bench;
};

TEST_F(OpenChain, OpensAllLinksBaseFirstAndReadsTheLeaf) {
  StoreChild("one.vmdk", {.content_id = "b2", .parent_id = "a1", .hint = "base.vmdk"});
  StoreChild("two.vmdk", {.content_id = "c3", .parent_id = "b2", .hint = "./one.vmdk"});
  const auto chain = bench.Open("two.vmdk", true);
  ASSERT_EQ(chain->links().size(), 3u);
  EXPECT_EQ(chain->links()[0]->path(), "base.vmdk");
  EXPECT_EQ(chain->top().path(), "two.vmdk");
  std::vector<GrainRun> runs;
  ASSERT_TRUE(bench.Run(chain->links()[1]->Lookup(512, 7 * 512, runs)));
  EXPECT_EQ(runs, (std::vector<GrainRun>{{512, 3 * 512, GrainState::kData, 512},
                                         {4 * 512, 4 * 512, GrainState::kZero}}));
  std::vector<std::byte> bytes(8 * 512);
  ASSERT_TRUE(ReadBytes(bench, *chain, 0, bytes));
  EXPECT_EQ(bytes[0], std::byte{'c'});
  EXPECT_EQ(bytes[4 * 512], std::byte{0});
  ASSERT_TRUE(bench.Run(chain->Close()));
  EXPECT_EQ(bench.files.lookups_held(), 0u);
}

TEST_F(OpenChain, FollowsDotsInsideTheDatastoreOnly) {
  ASSERT_TRUE(bench.Run(bench.files.MakeDirectory(bench.files.root(), "clones", {})));
  bench.files.Forget(bench.Run(bench.files.Lookup(bench.files.root(), "clones"))->inode, 2);
  StoreChild("clones/x.vmdk", {.parent_id = "a1", .hint = "../base.vmdk"});
  bench.Store("clones/x.vmdk",
              TextOf({.parent_id = "a1", .hint = "../base.vmdk", .extents = "RW 8 ZERO\n"}));
  const auto chain = bench.Open("clones/x.vmdk", false);
  EXPECT_EQ(chain->links().size(), 2u);
  ASSERT_TRUE(bench.Run(chain->Close()));
  StoreChild("y.vmdk", {.parent_id = "a1", .hint = "../base.vmdk"});
  EXPECT_EQ(ErrorOf("y.vmdk").code(), Code::kNotPermitted);
  StoreChild("z.vmdk", {.parent_id = "a1", .hint = "/etc/base.vmdk"});
  EXPECT_EQ(ErrorOf("z.vmdk").code(), Code::kNameInvalid);
  StoreChild("v.vmdk", {.parent_id = "a1", .hint = "/vmfs/volumes/ds/base.vmdk"});
  EXPECT_EQ(ErrorOf("v.vmdk").code(), Code::kDeviceLost);
}

TEST_F(OpenChain, TellsBothContentIdsWhenTheyDoNotMatch) {
  StoreChild("one.vmdk", {.parent_id = "deadbeef", .hint = "base.vmdk"});
  const base::Error error = ErrorOf("one.vmdk");
  EXPECT_EQ(error.code(), Code::kCorrupt);
  EXPECT_NE(error.message().find("deadbeef"), std::string::npos);
  EXPECT_NE(error.message().find("000000a1"), std::string::npos);
  EXPECT_NE(error.message().find("strata disk check --explain one.vmdk"), std::string::npos);
}

TEST_F(OpenChain, WantsTheParentsNameAndItsContentIdTogether) {
  StoreChild("no-hint.vmdk", {.parent_id = "a1"});
  EXPECT_EQ(ErrorOf("no-hint.vmdk").code(), Code::kCorrupt);
  StoreChild("no-id.vmdk", {.hint = "base.vmdk"});
  EXPECT_EQ(ErrorOf("no-id.vmdk").code(), Code::kCorrupt);
}

TEST_F(OpenChain, NamesAMissingParent) {
  StoreChild("one.vmdk", {.parent_id = "a1", .hint = "gone.vmdk"});
  const base::Error error = ErrorOf("one.vmdk");
  EXPECT_EQ(error.code(), Code::kNotFound);
  EXPECT_NE(error.message().find("open one.vmdk: parent: gone.vmdk"), std::string::npos);
}

TEST_F(OpenChain, StopsAtCyclesAndAtThirtyTwoLinks) {
  StoreChild("one.vmdk", {.content_id = "b2", .parent_id = "c3", .hint = "two.vmdk"});
  StoreChild("two.vmdk", {.content_id = "c3", .parent_id = "b2", .hint = "one.vmdk"});
  EXPECT_EQ(ErrorOf("one.vmdk").code(), Code::kLoop);
  std::string below = "base.vmdk";
  std::string below_id = "a1";
  for (int i = 2; i <= 33; ++i) {
    const std::string name = "link" + std::to_string(i) + ".vmdk";
    StoreChild(name, {.content_id = std::to_string(i), .parent_id = below_id, .hint = below});
    below = name;
    below_id = std::to_string(i);
    if (i < 32) continue;
    if (i > 32) {
      EXPECT_EQ(ErrorOf(name).code(), Code::kTooManyLinks);
      continue;
    }
    const auto chain = bench.Open(name, true);
    EXPECT_EQ(chain->links().size(), 32u);
    ASSERT_TRUE(bench.Run(chain->Close()));
  }
}

TEST_F(OpenChain, OpensOneLinkAloneOnRequest) {
  StoreChild("one.vmdk", {.parent_id = "a1", .hint = "gone.vmdk"});
  auto opened = bench.Run(bench.lib.Open("one.vmdk", {.single_link = true}));
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_EQ((*opened)->links().size(), 1u);
  ASSERT_TRUE(bench.Run((*opened)->Close()));
  const auto written =
      bench.Run(bench.lib.Open("one.vmdk", {.writable = true, .single_link = true}));
  EXPECT_EQ(written.error().code(), Code::kInvalidArgument);
}

TEST_F(OpenChain, KeepsParentsFromWritersButNotFromReaders) {
  StoreChild("one.vmdk", {.content_id = "b2", .parent_id = "a1", .hint = "base.vmdk"});
  const uint64_t base_file = bench.Run(bench.backend.GetInfo("base-flat"))->id;
  const uint64_t leaf_file = bench.Run(bench.backend.GetInfo("one.vmdk-flat"))->id;
  const auto chain = bench.Open("one.vmdk", true);
  EXPECT_EQ(bench.open_disks.List().size(), 1u);
  EXPECT_TRUE(bench.open_disks.OpenFile(base_file, false));
  const base::Status written = bench.open_disks.OpenFile(base_file, true);
  EXPECT_EQ(written.error().code(), Code::kBusy);
  EXPECT_NE(written.error().message().find("disk one.vmdk stands on it (test)"), std::string::npos);
  EXPECT_EQ(bench.open_disks.OpenFile(leaf_file, false).error().code(), Code::kBusy);
  // A second disk on the same parent shares it.
  StoreChild("clone.vmdk", {.content_id = "d4", .parent_id = "a1", .hint = "base.vmdk"});
  const auto clone = bench.Open("clone.vmdk", true);
  ASSERT_TRUE(bench.Run(clone->Close()));
  ASSERT_TRUE(bench.Run(chain->Close()));
}

TEST_F(OpenChain, OpensAParentForWritingOnlyForTheNamedChild) {
  StoreChild("one.vmdk", {.content_id = "b2", .parent_id = "a1", .hint = "base.vmdk"});
  EXPECT_EQ(ErrorOf("base.vmdk", true).code(), Code::kUnsupported);
  const OpenOptions options{.writable = true, .user = "commit", .except_child = "one.vmdk"};
  auto opened = bench.Run(bench.lib.Open("base.vmdk", options));
  ASSERT_TRUE(opened) << opened.error().message();
  ASSERT_TRUE(bench.Run((*opened)->Close()));
}

TEST_F(OpenChain, KeepsAParentWhoseLinkedCloneLiesInAnotherFolder) {
  const auto made = bench.Run(bench.files.MakeDirectory(bench.files.root(), "clones", {}));
  ASSERT_TRUE(made);
  bench.files.Forget(made->inode, 1);
  bench.Store("clones/x.vmdk",
              TextOf({.parent_id = "a1", .hint = "../base.vmdk", .extents = "RW 8 ZERO\n"}));
  ASSERT_TRUE(bench.Run(RegisterChild(bench.backend, "base.vmdk", "clones/x.vmdk")));
  const base::Error error = ErrorOf("base.vmdk", true);
  EXPECT_EQ(error.code(), Code::kUnsupported);
  EXPECT_NE(error.message().find("clones/x.vmdk"), std::string::npos);
}

}  // namespace
}  // namespace disklib
