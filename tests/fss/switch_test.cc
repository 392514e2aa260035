#include "fs/fss/switch.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fs/base/sim_executor.h"
#include "fs/fss/devfs.h"

namespace fss {
namespace {

class Names final : public DirectorySink {
 public:
  bool Add(const DirectoryEntry& entry) override {
    names.emplace_back(entry.name);
    inodes.push_back(entry.inode);
    return true;
  }

  std::vector<std::string> names;
  std::vector<InodeNumber> inodes;
};

// root/volumes with two small trees grafted at a and b, each with one symlink and one directory.
class SwitchTest : public testing::Test {
 protected:
  SwitchTest() : upper_({"upper", 0, 0, 0}), first_({"a", 0, 0, 0}), second_({"b", 0, 0, 0}) {
    volumes_ = upper_.AddDirectory(upper_.root(), "volumes");
    upper_.AddDirectory(upper_.root(), "devices");
    first_.AddSymlink(first_.root(), "link", "target");
    second_.AddDirectory(second_.root(), "folder");
    tree_.Graft(upper_.AddDirectory(volumes_, "a"), first_);
    tree_.Graft(upper_.AddDirectory(volumes_, "b"), second_);
  }

  template <typename T>
  T Run(base::Task<T> task) {
    return base::RunSync(executor_, std::move(task));
  }

  InodeNumber Walk(std::vector<std::string> names) {
    InodeNumber at = tree_.root();
    for (const std::string& name : names) {
      const auto found = Run(tree_.Lookup(at, name));
      EXPECT_TRUE(found.has_value()) << name;
      at = found ? found->inode : 0;
    }
    return at;
  }

  base::SimExecutor executor_{1};
  DevFs upper_, first_, second_;
  Switch tree_{upper_};
  InodeNumber volumes_ = 0;
};

TEST_F(SwitchTest, TheRootIsInodeOne) {
  EXPECT_EQ(tree_.root(), 1u);
}

TEST_F(SwitchTest, GraftedTreesHaveTheirOwnNumbers) {
  const InodeNumber a = Walk({"volumes", "a"});
  const InodeNumber b = Walk({"volumes", "b"});
  EXPECT_EQ(a, tree_.RootOf(first_));
  EXPECT_EQ(b, tree_.RootOf(second_));
  EXPECT_NE(a, b);
  EXPECT_NE(Walk({"volumes", "a", "link"}), Walk({"volumes", "b", "folder"}));
  EXPECT_EQ(Run(tree_.GetAttributes(a))->inode, a);
}

TEST_F(SwitchTest, SymlinksAndListingsComeFromTheGraft) {
  EXPECT_EQ(*Run(tree_.ReadSymlink(Walk({"volumes", "a", "link"}))), "target");
  Names names;
  ASSERT_TRUE(Run(tree_.ReadDirectory(Walk({"volumes", "b"}), 0, names)).has_value());
  EXPECT_EQ(names.names, (std::vector<std::string>{".", "..", "folder"}));
  EXPECT_EQ(names.inodes[1], volumes_);
  EXPECT_EQ(names.inodes[2], Walk({"volumes", "b", "folder"}));
}

TEST_F(SwitchTest, NothingMovesBetweenFileSystems) {
  const auto moved =
      Run(tree_.Rename(Walk({"volumes", "a"}), "link", Walk({"volumes", "b"}), "link", false));
  ASSERT_FALSE(moved.has_value());
  EXPECT_EQ(moved.error().code(), base::Code::kCrossDevice);
}

TEST_F(SwitchTest, TheUpperTreeCannotBeChanged) {
  const auto made = Run(tree_.MakeDirectory(tree_.root(), "x", NewInode{}));
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().code(), base::Code::kNotPermitted);
}

TEST_F(SwitchTest, ANumberOfNoMemberIsStale) {
  const auto attributes = Run(tree_.GetAttributes(InodeNumber{77} << 32 | 1));
  ASSERT_FALSE(attributes.has_value());
  EXPECT_EQ(attributes.error().code(), base::Code::kStale);
}

}  // namespace
}  // namespace fss
