#include "disklib/link_tree.h"

#include <gtest/gtest.h>

#include "disklib/chain.h"

namespace disklib {
namespace {

using base::Code;

void Add(LinkTree& tree, std::string path, std::string parent_path) {
  Descriptor descriptor;
  if (!parent_path.empty()) descriptor.parent_content_id = 7;
  tree.Add({.path = std::move(path),
            .parent_path = std::move(parent_path),
            .descriptor = std::move(descriptor)});
}

std::vector<std::string> PathsOf(const std::vector<const TreeLink*>& links) {
  std::vector<std::string> paths;
  for (const TreeLink* const link : links) paths.push_back(link->path);
  return paths;
}

using Paths = std::vector<std::string>;

TEST(LinkTree, FollowsChainsAndBranches) {
  LinkTree tree;
  Add(tree, "v/a.vmdk", "");
  Add(tree, "v/a-000001.vmdk", "v/a.vmdk");
  Add(tree, "v/a-000002.vmdk", "v/a-000001.vmdk");
  Add(tree, "v/a-000003.vmdk", "v/a.vmdk");
  Add(tree, "v/b.vmdk", "");
  EXPECT_EQ(PathsOf(tree.ChildrenOf("v/a.vmdk")), (Paths{"v/a-000001.vmdk", "v/a-000003.vmdk"}));
  EXPECT_EQ(PathsOf(*tree.ChainOf("v/a-000002.vmdk")),
            (Paths{"v/a-000002.vmdk", "v/a-000001.vmdk", "v/a.vmdk"}));
  EXPECT_EQ(*tree.DiskBaseOf("v/a-000003.vmdk"), "v/a.vmdk");
  EXPECT_EQ(tree.LinksOn("v/a.vmdk").size(), 4u);
  EXPECT_EQ(tree.LinksOn("v/b.vmdk").size(), 1u);
}

TEST(LinkTree, TakesALinkedCloneForADiskOfItsOwn) {
  LinkTree tree;
  Add(tree, "v/a.vmdk", "");
  Add(tree, "v/a-000001.vmdk", "v/a.vmdk");
  Add(tree, "v/clone.vmdk", "v/a.vmdk");
  Add(tree, "v/clone-000001.vmdk", "v/clone.vmdk");
  Add(tree, "w/far.vmdk", "v/a.vmdk");
  tree.MarkClone("v/clone.vmdk", "v/a.vmdk");
  tree.MarkClone("v/a-000001.vmdk", "v/other.vmdk");
  tree.MarkClone("v/gone.vmdk", "v/a.vmdk");
  EXPECT_EQ(*tree.DiskBaseOf("v/clone-000001.vmdk"), "v/clone.vmdk");
  EXPECT_EQ(*tree.DiskBaseOf("v/a-000001.vmdk"), "v/a.vmdk") << "a stale entry counts for nothing";
  EXPECT_EQ(*tree.DiskBaseOf("w/far.vmdk"), "w/far.vmdk");
  EXPECT_EQ(PathsOf(tree.LinksOn("v/a.vmdk")), (Paths{"v/a-000001.vmdk", "v/a.vmdk"}));
  EXPECT_EQ(PathsOf(tree.LinksOn("v/clone.vmdk")), (Paths{"v/clone-000001.vmdk", "v/clone.vmdk"}));
  EXPECT_EQ(PathsOf(tree.BranchesOf("v/a.vmdk")), Paths{"v/a-000001.vmdk"});
  EXPECT_EQ(PathsOf(tree.Clones()), Paths{"v/clone.vmdk"});
}

TEST(LinkTree, NamesWhatIsWrongWithAChain) {
  LinkTree tree;
  Add(tree, "a.vmdk", "b.vmdk");
  Add(tree, "b.vmdk", "a.vmdk");
  Add(tree, "c.vmdk", "gone.vmdk");
  EXPECT_EQ(tree.ChainOf("a.vmdk").error().code(), Code::kLoop);
  EXPECT_EQ(tree.ChainOf("c.vmdk").error().code(), Code::kNotFound);
  EXPECT_NE(tree.ChainOf("c.vmdk").error().message().find("gone.vmdk"), std::string::npos);
  Add(tree, "l.vmdk", "");
  std::string below = "l.vmdk";
  for (uint32_t i = 1; i <= kChainLinksMax; ++i) {
    const std::string path = NumberedLinkPath("l.vmdk", i);
    EXPECT_TRUE(tree.ChainOf(below)) << i;
    Add(tree, path, below);
    below = path;
  }
  EXPECT_EQ(tree.ChainOf(below).error().code(), Code::kTooManyLinks);
}

TEST(LinkTree, NumbersNewLinks) {
  EXPECT_EQ(NumberedLinkPath("vm/vm.vmdk", 12), "vm/vm-000012.vmdk");
}

}  // namespace
}  // namespace disklib
