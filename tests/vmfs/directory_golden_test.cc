// Directories that ESXi wrote, byte by byte: what we build the same way is the same, and what ESXi
// built we read.
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "tests/support/test_directory.h"

namespace vmfs {
namespace {

// Reads rows of "offset hex [x count]"; what no row names is zero.
std::vector<std::byte> ReadGolden(const std::string& name, size_t size_bytes) {
  std::ifstream stream(std::string(STRATA_GOLDEN_FOLDER) + "/" + name);
  EXPECT_TRUE(stream.good()) << name;
  std::vector<std::byte> bytes(size_bytes);
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with('#')) continue;
    std::istringstream fields(line);
    std::string offset_text, hex, times;
    size_t count = 1;
    fields >> offset_text >> hex >> times >> count;
    if (times.empty()) count = 1;
    size_t offset = std::stoul(offset_text, nullptr, 16);
    for (; count > 0; --count) {
      for (size_t i = 0; i < hex.size(); i += 2) {
        bytes.at(offset++) = static_cast<std::byte>(std::stoul(hex.substr(i, 2), nullptr, 16));
      }
    }
  }
  return bytes;
}

void ExpectSame(std::span<const std::byte> actual, std::span<const std::byte> expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_EQ(static_cast<int>(actual[i]), static_cast<int>(expected[i])) << "offset " << i;
  }
}

constexpr size_t kBirthBytes = 18 * kMetadataBlockBytes;
const DirectoryTarget kDirectory{InodeType::kDirectory, FdAddress(0x02400004), 1};

struct Entry {
  const char* name;
  DirectoryTarget target;
};

const Entry kEntries[] = {
    {"file1", {InodeType::kFile, FdAddress(0x02800004), 2}},
    {"file2", {InodeType::kFile, FdAddress(0x02c00004), 3}},
    {"file3", {InodeType::kFile, FdAddress(0x03000004), 4}},
    {"file4", {InodeType::kFile, FdAddress(0x03400004), 5}},
    {"symlink", {InodeType::kSymlink, FdAddress(0x03800004), 6}},
    {"file5", {InodeType::kFile, FdAddress(0x03c00004), 7}},
};

TEST(DirectoryGolden, OurRootWithOneNameIsTheRootThatEsxiWrote) {
  TestDirectory root(RootDirectory());
  ASSERT_TRUE(root.Insert("directory", kDirectory).has_value());
  ExpectSame(root.file.bytes(), ReadGolden("directory_root.hex", kBirthBytes));
}

TEST(DirectoryGolden, OurDirectoryWithSixNamesIsTheOneThatEsxiWrote) {
  TestDirectory directory;
  for (const Entry& entry : kEntries) {
    ASSERT_TRUE(directory.Insert(entry.name, entry.target).has_value());
  }
  ExpectSame(directory.file.bytes(), ReadGolden("directory_with_files.hex", kBirthBytes));
}

TEST(DirectoryGolden, OurSddDirectoryIsTheOneThatEsxiWrote) {
  const NewDirectory sdd{.kind = NewDirectoryKind::kSddSystem,
                         .self = kSddFd,
                         .parent = kRootFd,
                         .self_generation = 1,
                         .parent_generation = 1};
  ExpectSame(NewDirectoryBytes(sdd),
             ReadGolden("directory_sdd.hex", 17 * size_t{kMetadataBlockBytes}));
}

TEST(DirectoryGolden, FindsAndListsWhatEsxiWrote) {
  TestDirectory directory(ReadGolden("directory_with_files.hex", kBirthBytes), false, 18);
  for (const Entry& entry : kEntries) {
    const auto found = directory.Find(entry.name);
    ASSERT_TRUE(found.has_value()) << entry.name;
    EXPECT_EQ(*found, entry.target);
  }
  EXPECT_EQ(directory.Find("file6").error().code(), base::Code::kNotFound);
  CollectingSink sink;
  ASSERT_TRUE(directory.List(0, sink).has_value());
  ASSERT_EQ(sink.entries.size(), 8u);
  EXPECT_EQ(sink.entries[0].name, ".");
  EXPECT_EQ(sink.entries[0].target, kDirectory);
  EXPECT_EQ(sink.entries[1].name, "..");
  EXPECT_EQ(sink.entries[1].target.address, kRootFd);
  for (size_t i = 0; i < std::size(kEntries); ++i) {
    EXPECT_EQ(sink.entries[i + 2].name, kEntries[i].name);
    EXPECT_EQ(sink.entries[i + 2].target, kEntries[i].target);
  }
  EXPECT_TRUE(directory.Verify().faults.empty()) << directory.Verify().Text();
}

TEST(DirectoryGolden, FindsSystemNamesInTheRootThatEsxiWrote) {
  TestDirectory root(ReadGolden("directory_root.hex", kBirthBytes), true, 18);
  EXPECT_EQ(root.Find(".fbb.sf")->address, kFbbFd);
  EXPECT_EQ(root.Find(".jbc.sf")->address, kJbcFd);
  EXPECT_EQ(root.Find(".jbc.sf")->type, InodeType::kSystem);
  EXPECT_EQ(root.Find(".unmap.sf").error().code(), base::Code::kNotFound);
  EXPECT_EQ(*root.Find("directory"), kDirectory);
  EXPECT_TRUE(root.Verify().faults.empty()) << root.Verify().Text();
}

}  // namespace
}  // namespace vmfs
