// Names: create, look up, list, rename, remove, and every error they have.
#include <algorithm>
#include <string>
#include <vector>

#include "tests/fss/file_system_conformance.h"

namespace fss {
namespace {

using base::Code;
using Listing = std::vector<std::string>;

TEST_P(FileSystemConformance, TheRootIsAnEmptyDirectory) {
  const Attributes attributes = Get(root());
  EXPECT_EQ(attributes.type, FileType::kDirectory);
  EXPECT_EQ(attributes.inode, root());
}

TEST_P(FileSystemConformance, ANewFileIsFoundWithItsAttributes) {
  NewInode wanted;
  wanted.mode = 0640;
  const base::Result<Attributes> made = Run(fs().CreateFile(root(), "a", wanted));
  ASSERT_TRUE(made.has_value()) << made.error().message();
  EXPECT_EQ(made->type, FileType::kRegular);
  EXPECT_EQ(made->mode, 0640u);
  EXPECT_EQ(made->size_bytes, 0u);
  EXPECT_EQ(made->link_count, 1u);
  const base::Result<Attributes> found = Find(root(), "a");
  ASSERT_TRUE(found.has_value()) << found.error().message();
  EXPECT_EQ(found->inode, made->inode);
  EXPECT_EQ(found->generation, made->generation);
  fs().Forget(made->inode, 1);
}

TEST_P(FileSystemConformance, AMissingNameIsNotFound) {
  EXPECT_EQ(FindCode(root(), "nothing"), Code::kNotFound);
}

TEST_P(FileSystemConformance, ALookupInAFileIsRefused) {
  EXPECT_EQ(FindCode(MakeFile(root(), "f"), "x"), Code::kNotDirectory);
}

TEST_P(FileSystemConformance, ANameIsTakenOnce) {
  MakeFile(root(), "taken");
  EXPECT_EQ(CodeOf(Run(fs().CreateFile(root(), "taken", NewInode{}))), Code::kExists);
  EXPECT_EQ(CodeOf(Run(fs().MakeDirectory(root(), "taken", NewInode{}))), Code::kExists);
  EXPECT_EQ(CodeOf(Run(fs().MakeSymlink(root(), "taken", "x", NewInode{}))), Code::kExists);
}

TEST_P(FileSystemConformance, TheLongestNameFitsAndOneByteMoreDoesNot) {
  const std::string longest(GetParam().name_bytes_max, 'n');
  MakeFile(root(), longest);
  EXPECT_TRUE(Find(root(), longest).has_value());
  EXPECT_EQ(CodeOf(Run(fs().CreateFile(root(), longest + "n", NewInode{}))), Code::kNameTooLong);
  EXPECT_EQ(FindCode(root(), longest + "n"), Code::kNameTooLong);
  EXPECT_EQ(CodeOf(RenameTo(root(), longest, root(), longest + "n")), Code::kNameTooLong);
}

TEST_P(FileSystemConformance, NamesKeepTheirBytes) {
  const Listing names{" ", "#", "a b", "\xc3\xa4\xe2\x82\xac", "~", "\xf0\x9f\x92\xbe"};
  for (const std::string& name : names) MakeFile(root(), name);
  Listing sorted = names;
  std::sort(sorted.begin(), sorted.end());
  const InodeNumber folder = MakeFolder(root(), "folder");
  for (const std::string& name : names) {
    EXPECT_TRUE(RenameTo(root(), name, folder, name).has_value()) << name;
  }
  EXPECT_EQ(Names(folder), sorted);
}

TEST_P(FileSystemConformance, NamesThatAreNotUtf8AreRefusedWhereTheFormatSaysSo) {
  if (!GetParam().names_are_utf8) GTEST_SKIP() << "names are any bytes here";
  EXPECT_EQ(CodeOf(Run(fs().CreateFile(root(), "\xff\xfe", NewInode{}))), Code::kNameInvalid);
}

TEST_P(FileSystemConformance, ADirectoryCountsItsSubdirectories) {
  const InodeNumber folder = MakeFolder(root(), "d");
  const uint32_t before = Get(folder).link_count;
  MakeFolder(folder, "e");
  EXPECT_EQ(Get(folder).link_count, before + 1);
  ASSERT_TRUE(Run(fs().RemoveDirectory(folder, "e")).has_value());
  EXPECT_EQ(Get(folder).link_count, before);
}

TEST_P(FileSystemConformance, AListingComesExactlyOnceInPiecesOfAnySize) {
  const InodeNumber folder = MakeFolder(root(), "many");
  Listing names;
  for (int i = 0; i < 300; ++i) names.push_back("file-" + std::to_string(i));
  for (const std::string& name : names) MakeFile(folder, name);
  std::sort(names.begin(), names.end());
  for (size_t piece : {1u, 2u, 7u, 1000u}) EXPECT_EQ(Names(folder, piece), names) << piece;
}

TEST_P(FileSystemConformance, AListingSurvivesRemovalOfWhatItHandedOut) {
  const InodeNumber folder = MakeFolder(root(), "shrinking");
  for (int i = 0; i < 100; ++i) MakeFile(folder, "file-" + std::to_string(i));
  int rounds = 0;
  while (!Names(folder).empty() && ++rounds <= 100) {
    const std::string name = Names(folder, 3).back();
    ASSERT_TRUE(Run(fs().Unlink(folder, name)).has_value()) << name;
  }
  EXPECT_EQ(rounds, 100);
}

TEST_P(FileSystemConformance, UnlinkRemovesTheName) {
  MakeFile(root(), "gone");
  ASSERT_TRUE(Run(fs().Unlink(root(), "gone")).has_value());
  EXPECT_EQ(FindCode(root(), "gone"), Code::kNotFound);
  EXPECT_EQ(CodeOf(Run(fs().Unlink(root(), "gone"))), Code::kNotFound);
}

TEST_P(FileSystemConformance, UnlinkAndRemoveDirectoryTellFilesFromDirectories) {
  MakeFile(root(), "file");
  MakeFolder(root(), "folder");
  EXPECT_EQ(CodeOf(Run(fs().Unlink(root(), "folder"))), Code::kIsDirectory);
  EXPECT_EQ(CodeOf(Run(fs().RemoveDirectory(root(), "file"))), Code::kNotDirectory);
  EXPECT_EQ(CodeOf(Run(fs().RemoveDirectory(root(), "none"))), Code::kNotFound);
}

TEST_P(FileSystemConformance, OnlyAnEmptyDirectoryGoes) {
  const InodeNumber folder = MakeFolder(root(), "folder");
  MakeFile(folder, "inside");
  EXPECT_EQ(CodeOf(Run(fs().RemoveDirectory(root(), "folder"))), Code::kNotEmpty);
  ASSERT_TRUE(Run(fs().Unlink(folder, "inside")).has_value());
  EXPECT_TRUE(Run(fs().RemoveDirectory(root(), "folder")).has_value());
  EXPECT_EQ(FindCode(root(), "folder"), Code::kNotFound);
}

TEST_P(FileSystemConformance, ANameCanBeUsedAgain) {
  for (int i = 0; i < 5; ++i) {
    MakeFileWith(root(), "again", std::to_string(i));
    ASSERT_TRUE(Run(fs().Unlink(root(), "again")).has_value());
    MakeFolder(root(), "again");
    ASSERT_TRUE(Run(fs().RemoveDirectory(root(), "again")).has_value());
  }
}

TEST_P(FileSystemConformance, RenameKeepsTheInodeAndItsBytes) {
  const InodeNumber file = MakeFileWith(root(), "old", "bytes");
  ASSERT_TRUE(RenameTo(root(), "old", root(), "new").has_value());
  EXPECT_EQ(FindCode(root(), "old"), Code::kNotFound);
  const base::Result<Attributes> found = Find(root(), "new");
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->inode, file);
  EXPECT_EQ(Content(file), "bytes");
}

TEST_P(FileSystemConformance, RenameReplacesAFile) {
  const InodeNumber from = MakeFileWith(root(), "from", "new bytes");
  MakeFileWith(root(), "to", "old bytes");
  ASSERT_TRUE(RenameTo(root(), "from", root(), "to").has_value());
  EXPECT_EQ(Find(root(), "to")->inode, from);
  EXPECT_EQ(Names(root()).size(), 1u);
}

TEST_P(FileSystemConformance, RenameReplacesAnEmptyDirectoryOnly) {
  const InodeNumber from = MakeFolder(root(), "from");
  const InodeNumber to = MakeFolder(root(), "to");
  MakeFile(to, "inside");
  EXPECT_EQ(CodeOf(RenameTo(root(), "from", root(), "to")), Code::kNotEmpty);
  ASSERT_TRUE(Run(fs().Unlink(to, "inside")).has_value());
  ASSERT_TRUE(RenameTo(root(), "from", root(), "to").has_value());
  EXPECT_EQ(Find(root(), "to")->inode, from);
}

TEST_P(FileSystemConformance, RenameDoesNotMixFilesAndDirectories) {
  MakeFile(root(), "file");
  MakeFolder(root(), "folder");
  EXPECT_EQ(CodeOf(RenameTo(root(), "file", root(), "folder")), Code::kIsDirectory);
  EXPECT_EQ(CodeOf(RenameTo(root(), "folder", root(), "file")), Code::kNotDirectory);
}

TEST_P(FileSystemConformance, RenameWithoutReplacementKeepsTheTarget) {
  MakeFileWith(root(), "from", "a");
  const InodeNumber to = MakeFileWith(root(), "to", "b");
  EXPECT_EQ(CodeOf(RenameTo(root(), "from", root(), "to", true)), Code::kExists);
  EXPECT_EQ(Content(to), "b");
  EXPECT_TRUE(RenameTo(root(), "from", root(), "free", true).has_value());
}

TEST_P(FileSystemConformance, RenameOntoItselfDoesNothing) {
  const InodeNumber file = MakeFileWith(root(), "same", "bytes");
  ASSERT_TRUE(RenameTo(root(), "same", root(), "same").has_value());
  EXPECT_EQ(Content(file), "bytes");
}

TEST_P(FileSystemConformance, RenameMovesADirectoryWithItsContent) {
  const InodeNumber left = MakeFolder(root(), "left");
  const InodeNumber right = MakeFolder(root(), "right");
  const InodeNumber moved = MakeFolder(left, "moved");
  MakeFileWith(moved, "inside", "bytes");
  const uint32_t links_before = Get(right).link_count;
  ASSERT_TRUE(RenameTo(left, "moved", right, "moved").has_value());
  EXPECT_EQ(Names(left), Listing{});
  EXPECT_EQ(Names(moved), Listing{"inside"});
  EXPECT_EQ(Get(right).link_count, links_before + 1);
  const base::Result<Attributes> parent = Find(moved, "inside");
  EXPECT_TRUE(parent.has_value());
}

TEST_P(FileSystemConformance, ADirectoryDoesNotMoveBelowItself) {
  const InodeNumber top = MakeFolder(root(), "top");
  const InodeNumber middle = MakeFolder(top, "middle");
  EXPECT_EQ(CodeOf(RenameTo(root(), "top", middle, "x")), Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(RenameTo(root(), "top", top, "x")), Code::kInvalidArgument);
}

TEST_P(FileSystemConformance, RenameOfAMissingNameIsNotFound) {
  EXPECT_EQ(CodeOf(RenameTo(root(), "none", root(), "x")), Code::kNotFound);
}

TEST_P(FileSystemConformance, ASymlinkKeepsItsTarget) {
  const InodeNumber link = MakeLink(root(), "link", "../some/where");
  EXPECT_EQ(Get(link).type, FileType::kSymlink);
  EXPECT_EQ(Get(link).size_bytes, 13u);
  const base::Result<std::string> target = Run(fs().ReadSymlink(link));
  ASSERT_TRUE(target.has_value()) << target.error().message();
  EXPECT_EQ(*target, "../some/where");
  EXPECT_EQ(Names(root()), Listing{"link"});
}

TEST_P(FileSystemConformance, OnlyASymlinkHasATarget) {
  const InodeNumber file = MakeFile(root(), "file");
  EXPECT_EQ(CodeOf(Run(fs().ReadSymlink(file))), Code::kInvalidArgument);
}

TEST_P(FileSystemConformance, ModeAndTimesAreKept) {
  const InodeNumber file = MakeFile(root(), "file");
  AttributeChange change;
  change.mode = 0751;
  change.modified_us = 1'234'567'890'000'000;
  change.accessed_us = 1'111'111'111'000'000;
  const base::Result<Attributes> changed = Run(fs().SetAttributes(file, change));
  ASSERT_TRUE(changed.has_value()) << changed.error().message();
  EXPECT_EQ(changed->mode, 0751u);
  EXPECT_EQ(changed->modified_us, 1'234'567'890'000'000u);
  EXPECT_EQ(changed->accessed_us, 1'111'111'111'000'000u);
  EXPECT_EQ(Get(file).modified_us, changed->modified_us);
}

TEST_P(FileSystemConformance, AChangeInADirectoryMovesItsTime) {
  const InodeNumber folder = MakeFolder(root(), "folder");
  AttributeChange change;
  change.modified_us = 1'000'000'000'000'000;
  ASSERT_TRUE(Run(fs().SetAttributes(folder, change)).has_value());
  MakeFile(folder, "new");
  EXPECT_GT(Get(folder).modified_us, 1'000'000'000'000'000u);
}

TEST_P(FileSystemConformance, StatFsTellsSizes) {
  const base::Result<StatFs> figures = Run(fs().GetStatFs());
  ASSERT_TRUE(figures.has_value()) << figures.error().message();
  EXPECT_GT(figures->block_size_bytes, 0u);
  EXPECT_GE(figures->blocks_total, figures->blocks_free);
  EXPECT_EQ(figures->name_bytes_max, GetParam().name_bytes_max);
}

}  // namespace
}  // namespace fss
