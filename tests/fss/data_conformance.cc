// Bytes of files: reading, writing, holes, truncation, allocation, and life after unlink.
#include <string>
#include <utility>
#include <vector>

#include "tests/fss/file_system_conformance.h"

namespace fss {
namespace {

using base::Code;

TEST_P(FileSystemConformance, WhatIsWrittenIsRead) {
  const InodeNumber inode = MakeFile(root(), "f");
  std::unique_ptr<File> file = OpenFile(inode);
  ASSERT_NE(file, nullptr);
  const base::Result<uint64_t> written = WriteAt(*file, 0, "hello, world");
  ASSERT_TRUE(written.has_value()) << written.error().message();
  EXPECT_EQ(*written, 12u);
  EXPECT_EQ(file->size_bytes(), 12u);
  EXPECT_EQ(ReadAt(*file, 7, 100), "world");
  EXPECT_EQ(ReadAt(*file, 12, 10), "");
  EXPECT_EQ(ReadAt(*file, 1'000'000, 10), "");
  CloseFile(std::move(file));
  EXPECT_EQ(Get(inode).size_bytes, 12u);
}

TEST_P(FileSystemConformance, EveryOffsetAndLengthWorks) {
  const InodeNumber inode = MakeFile(root(), "f");
  std::unique_ptr<File> file = OpenFile(inode);
  std::string model;
  base::Random random(7);
  for (int round = 0; round < 200; ++round) {
    const size_t offset = random.Below(300'000);
    const std::string bytes(1 + random.Below(20'000), static_cast<char>('a' + round % 26));
    ASSERT_TRUE(WriteAt(*file, offset, bytes).has_value());
    if (model.size() < offset + bytes.size()) model.resize(offset + bytes.size(), '\0');
    model.replace(offset, bytes.size(), bytes);
  }
  EXPECT_TRUE(ReadAt(*file, 0, model.size() + 10) == model);
  CloseFile(std::move(file));
  EXPECT_TRUE(Content(inode) == model);
}

TEST_P(FileSystemConformance, ScatteredPiecesOfMemoryAreOneTransfer) {
  const InodeNumber inode = MakeFile(root(), "f");
  std::unique_ptr<File> file = OpenFile(inode);
  std::string first = "abc", second = "defgh";
  const base::IoVec pieces[] = {{reinterpret_cast<std::byte*>(first.data()), first.size()},
                                {reinterpret_cast<std::byte*>(second.data()), second.size()}};
  base::IoRequest request;
  request.buffers = pieces;
  ASSERT_TRUE(Run(file->Write(request)).has_value());
  EXPECT_EQ(ReadAt(*file, 0, 100), "abcdefgh");
  first = second = std::string(5, '?');
  const base::Result<uint64_t> count = Run(file->Read(request));
  ASSERT_TRUE(count.has_value());
  EXPECT_EQ(*count, 8u);
  EXPECT_EQ(first.substr(0, 3) + second, "abcdefgh");
  CloseFile(std::move(file));
}

TEST_P(FileSystemConformance, AHoleReadsAsZeros) {
  const InodeNumber inode = MakeFile(root(), "sparse");
  std::unique_ptr<File> file = OpenFile(inode);
  const uint64_t far = 5 * GetParam().hole_bytes;
  ASSERT_TRUE(WriteAt(*file, far, "end").has_value());
  EXPECT_EQ(ReadAt(*file, 1000, 100), std::string(100, '\0'));
  EXPECT_EQ(ReadAt(*file, far - 2, 10), std::string("\0\0end", 5));
  CloseFile(std::move(file));
  EXPECT_LT(Get(inode).allocated_bytes, far);
}

TEST_P(FileSystemConformance, TruncateShrinksAndGrowsWithZeros) {
  const InodeNumber inode = MakeFileWith(root(), "f", std::string(10'000, 'x'));
  AttributeChange change;
  change.size_bytes = 5'000;
  ASSERT_TRUE(Run(fs().SetAttributes(inode, change)).has_value());
  EXPECT_EQ(Get(inode).size_bytes, 5'000u);
  change.size_bytes = 12'000;
  ASSERT_TRUE(Run(fs().SetAttributes(inode, change)).has_value());
  EXPECT_TRUE(Content(inode) == std::string(5'000, 'x') + std::string(7'000, '\0'));
  change.size_bytes = 0;
  ASSERT_TRUE(Run(fs().SetAttributes(inode, change)).has_value());
  EXPECT_EQ(Content(inode), "");
}

TEST_P(FileSystemConformance, TruncatingADirectoryIsRefused) {
  AttributeChange change;
  change.size_bytes = 0;
  EXPECT_EQ(CodeOf(Run(fs().SetAttributes(MakeFolder(root(), "d"), change))), Code::kIsDirectory);
}

TEST_P(FileSystemConformance, AnUnlinkedFileLivesWhileItIsOpen) {
  const InodeNumber inode = MakeFileWith(root(), "f", "before");
  std::unique_ptr<File> file = OpenFile(inode);
  ASSERT_TRUE(Run(fs().Unlink(root(), "f")).has_value());
  EXPECT_EQ(Get(inode).link_count, 0u);
  ASSERT_TRUE(WriteAt(*file, 6, " and after").has_value());
  EXPECT_EQ(ReadAt(*file, 0, 100), "before and after");
  MakeFileWith(root(), "f", "another");
  EXPECT_EQ(ReadAt(*file, 0, 100), "before and after");
  CloseFile(std::move(file));
}

TEST_P(FileSystemConformance, AReplacedFileLivesWhileItIsOpen) {
  std::unique_ptr<File> file = OpenFile(MakeFileWith(root(), "target", "old"), OpenMode::kRead);
  MakeFileWith(root(), "source", "new");
  ASSERT_TRUE(RenameTo(root(), "source", root(), "target").has_value());
  EXPECT_EQ(ReadAt(*file, 0, 100), "old");
  CloseFile(std::move(file));
}

TEST_P(FileSystemConformance, TwoOpensSeeEachOthersWrites) {
  const InodeNumber inode = MakeFile(root(), "f");
  std::unique_ptr<File> writer = OpenFile(inode);
  std::unique_ptr<File> reader = OpenFile(inode, OpenMode::kRead);
  ASSERT_TRUE(WriteAt(*writer, 0, "shared").has_value());
  EXPECT_EQ(ReadAt(*reader, 0, 100), "shared");
  EXPECT_EQ(reader->size_bytes(), 6u);
  CloseFile(std::move(writer));
  CloseFile(std::move(reader));
}

TEST_P(FileSystemConformance, OpeningADirectoryAsAFileIsRefused) {
  EXPECT_EQ(CodeOf(Run(fs().Open(MakeFolder(root(), "d"), OpenMode::kWrite))), Code::kIsDirectory);
}

TEST_P(FileSystemConformance, ContentsOfSeveralFilesAreReplacedTogether) {
  const InodeNumber one = MakeFileWith(root(), "one", "first");
  const InodeNumber two = MakeFileWith(root(), "two", std::string(40'000, 'o'));
  const InodeNumber three = MakeFileWith(root(), "three", std::string(2'000'000, 'o'));
  std::unique_ptr<File> open = OpenFile(two);
  const std::string longer(30'000, 'n');
  const Replacement replacements[] = {{two, "new"}, {one, longer}, {three, ""}};
  const base::Status replaced = Run(fs().ReplaceContents(replacements));
  if (!GetParam().replaces_contents) {
    EXPECT_EQ(CodeOf(replaced), Code::kUnsupported);
    EXPECT_EQ(Content(one), "first");
  } else {
    ASSERT_TRUE(replaced.has_value()) << replaced.error().message();
    EXPECT_EQ(Content(one), longer);
    EXPECT_EQ(ReadAt(*open, 0, 10), "new");
    EXPECT_EQ(open->size_bytes(), 3u);
    EXPECT_EQ(Get(three).size_bytes, 0u);
    EXPECT_EQ(*WriteAt(*open, 70'000, "end"), 3u);
    EXPECT_EQ(ReadAt(*open, 2, 70'001), "w" + std::string(69'997, '\0') + "end");
  }
  CloseFile(std::move(open));
}

TEST_P(FileSystemConformance, AReplacementThatIsNotPossibleChangesNothing) {
  if (!GetParam().replaces_contents) return;
  const InodeNumber one = MakeFileWith(root(), "one", "first");
  const InodeNumber two = MakeFileWith(root(), "two", "second");
  const std::string half(kReplacementBytesMax / 2 + 1, 'x');
  const Replacement twice[] = {{one, "a"}, {two, "b"}, {one, "c"}};
  const Replacement too_large[] = {{one, half}, {two, half}};
  const Replacement folder[] = {{one, "a"}, {MakeFolder(root(), "d"), "b"}};
  EXPECT_EQ(CodeOf(Run(fs().ReplaceContents(twice))), Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(Run(fs().ReplaceContents(too_large))), Code::kTooLarge);
  EXPECT_EQ(CodeOf(Run(fs().ReplaceContents(folder))), Code::kIsDirectory);
  EXPECT_EQ(Content(one), "first");
  EXPECT_EQ(Content(two), "second");
}

TEST_P(FileSystemConformance, AllocationReservesAndGrowsOnlyWhenAsked) {
  const InodeNumber inode = MakeFileWith(root(), "f", "abc");
  std::unique_ptr<File> file = OpenFile(inode);
  ASSERT_TRUE(Run(file->Allocate(AllocateMode::kAllocateKeepSize, 0, 3'000'000)).has_value());
  EXPECT_EQ(file->size_bytes(), 3u);
  ASSERT_TRUE(Run(file->Allocate(AllocateMode::kAllocate, 0, 2'000'000)).has_value());
  EXPECT_EQ(file->size_bytes(), 2'000'000u);
  EXPECT_EQ(ReadAt(*file, 0, 6), std::string("abc\0\0\0", 6));
  EXPECT_GE(Get(inode).allocated_bytes, 2'000'000u);
  CloseFile(std::move(file));
}

TEST_P(FileSystemConformance, APunchedRangeReadsAsZeros) {
  const uint64_t hole = GetParam().hole_bytes;
  const InodeNumber inode = MakeFileWith(root(), "f", std::string(4 * hole, 'x'));
  const uint64_t allocated_before = Get(inode).allocated_bytes;
  std::unique_ptr<File> file = OpenFile(inode);
  ASSERT_TRUE(Run(file->Allocate(AllocateMode::kPunchHole, hole, 2 * hole)).has_value());
  EXPECT_EQ(file->size_bytes(), 4 * hole);
  EXPECT_EQ(ReadAt(*file, hole - 1, 3), std::string("x\0\0", 3));
  EXPECT_EQ(ReadAt(*file, 3 * hole - 2, 3), std::string("\0\0x", 3));
  if (GetParam().punches_holes) {
    EXPECT_LT(Get(inode).allocated_bytes, allocated_before);
  }
  CloseFile(std::move(file));
}

TEST_P(FileSystemConformance, APunchOfOddBytesZeroesExactlyThem) {
  const InodeNumber inode = MakeFileWith(root(), "f", std::string(20'000, 'x'));
  std::unique_ptr<File> file = OpenFile(inode);
  ASSERT_TRUE(Run(file->Allocate(AllocateMode::kPunchHole, 1'001, 10'002)).has_value());
  const std::string expected =
      std::string(1'001, 'x') + std::string(10'002, '\0') + std::string(8'997, 'x');
  EXPECT_TRUE(ReadAt(*file, 0, 30'000) == expected);
  CloseFile(std::move(file));
}

TEST_P(FileSystemConformance, AZeroedRangeReadsAsZerosAndMayGrowTheFile) {
  const InodeNumber inode = MakeFileWith(root(), "f", std::string(10'000, 'x'));
  std::unique_ptr<File> file = OpenFile(inode);
  ASSERT_TRUE(Run(file->Allocate(AllocateMode::kZeroRangeKeepSize, 9'000, 5'000)).has_value());
  EXPECT_EQ(file->size_bytes(), 10'000u);
  ASSERT_TRUE(Run(file->Allocate(AllocateMode::kZeroRange, 8'000, 10'000)).has_value());
  EXPECT_EQ(file->size_bytes(), 18'000u);
  EXPECT_TRUE(ReadAt(*file, 0, 20'000) == std::string(8'000, 'x') + std::string(10'000, '\0'));
  CloseFile(std::move(file));
}

TEST_P(FileSystemConformance, SeekFindsDataAndHoles) {
  const uint64_t hole = GetParam().hole_bytes;
  const InodeNumber inode = MakeFile(root(), "f");
  std::unique_ptr<File> file = OpenFile(inode);
  ASSERT_TRUE(WriteAt(*file, 2 * hole, std::string(hole, 'x')).has_value());
  ASSERT_TRUE(WriteAt(*file, 6 * hole, std::string(hole, 'y')).has_value());
  EXPECT_EQ(*Run(file->Seek(SeekKind::kData, 0)), 2 * hole);
  EXPECT_EQ(*Run(file->Seek(SeekKind::kHole, 0)), 0u);
  EXPECT_EQ(*Run(file->Seek(SeekKind::kHole, 2 * hole + 5)), 3 * hole);
  EXPECT_EQ(*Run(file->Seek(SeekKind::kData, 3 * hole)), 6 * hole);
  EXPECT_EQ(*Run(file->Seek(SeekKind::kHole, 6 * hole)), 7 * hole);
  EXPECT_EQ(CodeOf(Run(file->Seek(SeekKind::kData, 7 * hole))), Code::kNoData);
  EXPECT_EQ(CodeOf(Run(file->Seek(SeekKind::kHole, 8 * hole))), Code::kNoData);
  CloseFile(std::move(file));
}

TEST_P(FileSystemConformance, MapStatusCoversTheRangeWithoutGaps) {
  const uint64_t hole = GetParam().hole_bytes;
  const InodeNumber inode = MakeFile(root(), "f");
  std::unique_ptr<File> file = OpenFile(inode);
  ASSERT_TRUE(WriteAt(*file, hole, std::string(hole, 'x')).has_value());
  std::vector<base::MapRun> runs;
  ASSERT_TRUE(Run(file->MapStatus(0, 2 * hole, runs)).has_value());
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[0], (base::MapRun{0, hole, base::MapState::kHole}));
  EXPECT_EQ(runs[1], (base::MapRun{hole, hole, base::MapState::kData}));
  CloseFile(std::move(file));
}

TEST_P(FileSystemConformance, SyncAndSyncAllSucceed) {
  std::unique_ptr<File> file = OpenFile(MakeFile(root(), "f"));
  ASSERT_TRUE(WriteAt(*file, 0, "bytes").has_value());
  EXPECT_TRUE(Run(file->Sync(false)).has_value());
  EXPECT_TRUE(Run(file->Sync(true)).has_value());
  EXPECT_TRUE(Run(fs().SyncAll()).has_value());
  CloseFile(std::move(file));
}

TEST_P(FileSystemConformance, AWriteMovesTheTimeOfModification) {
  const InodeNumber inode = MakeFile(root(), "f");
  AttributeChange change;
  change.modified_us = 1'000'000'000'000'000;
  ASSERT_TRUE(Run(fs().SetAttributes(inode, change)).has_value());
  std::unique_ptr<File> file = OpenFile(inode);
  ASSERT_TRUE(WriteAt(*file, 0, "x").has_value());
  CloseFile(std::move(file));
  EXPECT_GT(Get(inode).modified_us, 1'000'000'000'000'000u);
}

}  // namespace
}  // namespace fss
