#include "fs/daemon/mount_tree.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fs/base/sim_executor.h"
#include "fs/daemon/commands/size.h"
#include "fs/daemon/commands/volume_task.h"
#include "fs/daemon/path_walk.h"
#include "fs/daemon/request_buffers.h"
#include "fs/fss/devfs.h"

namespace stratad {
namespace {

using Listing = std::vector<std::string>;

class MountTreeTest : public testing::Test {
 protected:
  Listing Names(fss::FileSystem& tree, const std::string& path) {
    PathWalk walk(tree);
    const auto found = base::RunSync(executor_, walk.Find(path));
    EXPECT_TRUE(found.has_value()) << path;
    std::vector<ListedEntry> entries;
    if (found) {
      EXPECT_TRUE(base::RunSync(executor_, ListDirectory(tree, found->inode, entries)).has_value());
    }
    Listing names;
    for (const ListedEntry& entry : entries) names.push_back(entry.name);
    return names;
  }

  base::SimExecutor executor_{1};
  MountTree tree_{MountTree::Options{}};
  fss::DevFs first_{{"demo", 0, 0, 0}};
  fss::DevFs second_{{"demo", 0, 0, 0}};
};

TEST_F(MountTreeTest, HasTheFixedFolders) {
  EXPECT_EQ(Names(tree_.volumes(), "/"), (Listing{"volumes", "devices"}));
  EXPECT_EQ(Names(tree_.devices(), "/"), (Listing{"disks", "vdisks", "deltadisks", "cbt", "svm"}));
}

TEST_F(MountTreeTest, ShowsVolumesOfOneLabelUnderDifferentNames) {
  EXPECT_EQ(tree_.AddVolume(first_), "demo");
  EXPECT_EQ(tree_.AddVolume(second_), "demo (1)");
  first_.AddDirectory(first_.root(), "inside");
  EXPECT_EQ(Names(tree_.volumes(), "/volumes/demo"), Listing{"inside"});
  EXPECT_EQ(Names(tree_.volumes(), "/volumes/demo (1)"), Listing{});
}

TEST_F(MountTreeTest, ShowsDisksUnderTheNameOfTheirVolume) {
  tree_.AddVirtualDisks("demo", first_);
  first_.AddDirectory(first_.root(), "vm");
  EXPECT_EQ(Names(tree_.devices(), "/vdisks/demo"), Listing{"vm"});
}

TEST(FolderName, IsAlwaysANameThatAFolderCanHave) {
  EXPECT_EQ(FolderNameOf("demo", "u"), "demo");
  EXPECT_EQ(FolderNameOf("a/b\n", "u"), "a_b_");
  EXPECT_EQ(FolderNameOf("", "u"), "u");
  EXPECT_EQ(FolderNameOf("..", "u"), "u");
}

TEST(Sizes, AreReadWithAndWithoutSuffix) {
  EXPECT_EQ(*ParseSize("0"), 0u);
  EXPECT_EQ(*ParseSize("1234"), 1234u);
  EXPECT_EQ(*ParseSize("512M"), uint64_t{512} << 20);
  EXPECT_EQ(*ParseSize("10g"), uint64_t{10} << 30);
  EXPECT_EQ(*ParseSize("64TiB"), uint64_t{64} << 40);
  EXPECT_EQ(*ParseSize("3kb"), 3072u);
}

TEST(Sizes, ThatMakeNoSenseAreErrors) {
  for (const char* text : {"", "M", "12X", "1.5G", "-1", "1 G", "12Mx", "99999999999999999999"}) {
    EXPECT_FALSE(ParseSize(text).has_value()) << text;
  }
  EXPECT_EQ(ParseSize("99999999P").error().code(), base::Code::kTooLarge);
}

TEST(TargetPaths, AreSplitAtTheColonBeforeTheSlash) {
  const TargetPath plain = ParseTargetPath("store.img:/vm/a");
  EXPECT_EQ(plain.target, "store.img");
  EXPECT_EQ(plain.path, "/vm/a");
  EXPECT_EQ(ParseTargetPath("store.img").path, "/");
  const TargetPath folder = ParseTargetPath("posix:/data:/vm");
  EXPECT_EQ(folder.target, "posix:/data");
  EXPECT_EQ(folder.path, "/vm");
  EXPECT_EQ(ParseTargetPath("posix:/data").target, "posix:/data");
}

TEST(RequestBuffersTest, PayloadsArePageAlignedAndTheNumberIsBounded) {
  RequestBuffers buffers(3);
  std::byte* first = buffers.Take();
  std::byte* second = buffers.Take();
  std::byte* third = buffers.Take();
  EXPECT_EQ(buffers.Take(), nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(RequestBuffers::PayloadOf(first)) % 4096, 0u);
  EXPECT_NE(first, second);
  first[RequestBuffers::kReceiveBytes - 1] = std::byte{1};
  buffers.Return(second);
  EXPECT_EQ(buffers.Take(), second);
  for (std::byte* buffer : {first, second, third}) buffers.Return(buffer);
  buffers.Trim(1);
  EXPECT_EQ(buffers.made_count(), 1u);
}

}  // namespace
}  // namespace stratad
