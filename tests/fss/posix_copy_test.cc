#include "fs/fss/posix_copy.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "fs/base/sync.h"
#include "fs/fss/posix_driver.h"

namespace fss {
namespace {

constexpr uint64_t kMebibyte = uint64_t{1} << 20;
constexpr uint64_t kFileBytes = 8 * kMebibyte + 1234;

// One folder of each kind there may be: on a disk, where copies go past the page cache, and in
// memory.
class PosixCopy : public testing::TestWithParam<const char*> {
 protected:
  PosixCopy() {
    std::string pattern = std::string(GetParam()) + "/strata-copy.XXXXXX";
    folder_path_ = mkdtemp(pattern.data());
    PosixFileSystem::Options options;
    options.folder_path = folder_path_;
    file_system_ = *PosixFileSystem::Create(*executor_, options);
  }

  ~PosixCopy() override {
    file_system_.reset();
    std::filesystem::remove_all(folder_path_);
  }

  // A new file, open for writing, full of bytes that follow from `seed`.
  std::unique_ptr<File> MakeFile(const std::string& name, unsigned seed) {
    bytes_.resize(kFileBytes);
    base::Random random(seed);
    for (std::byte& byte : bytes_) byte = static_cast<std::byte>(random.Below(256));
    FileSystem& fs = *file_system_;
    const auto made = Run(fs.CreateFile(fs.root(), name, NewInode{}));
    auto file = *Run(fs.Open(made->inode, OpenMode::kWrite));
    Write(*file, 0, bytes_);
    return file;
  }

  void Write(File& file, uint64_t offset_bytes, std::span<std::byte> bytes) {
    const base::IoVec piece{bytes.data(), bytes.size()};
    const auto written = Run(file.Write({.offset_bytes = offset_bytes, .buffers = {&piece, 1}}));
    ASSERT_EQ(written.value(), bytes.size());
  }

  std::vector<std::byte> ReadAll(File& file) {
    std::vector<std::byte> bytes(file.size_bytes());
    const base::IoVec piece{bytes.data(), bytes.size()};
    EXPECT_EQ(Run(file.Read({.offset_bytes = 0, .buffers = {&piece, 1}})).value(), bytes.size());
    return bytes;
  }

  template <typename T>
  T Run(base::Task<T> task) {
    return base::RunSync(*executor_, std::move(task));
  }

  std::unique_ptr<base::UringExecutor> executor_ = *base::UringExecutor::Create();
  std::string folder_path_;
  std::unique_ptr<PosixFileSystem> file_system_;
  std::vector<std::byte> bytes_;  // of the file that was made last
};

base::Task<void> CopyPiece(File& source, File& target, uint64_t offset_bytes, uint64_t length_bytes,
                           uint64_t& copied_bytes) {
  const base::Result<uint64_t> copied =
      co_await target.CopyFrom(source, offset_bytes, offset_bytes, length_bytes);
  EXPECT_TRUE(copied.has_value());
  if (copied) copied_bytes += *copied;
}

TEST_P(PosixCopy, CopiesManyPiecesAtOnceByteForByte) {
  const auto target = MakeFile("target", 1);
  const auto source = MakeFile("source", 2);
  ReadAll(*target);  // what the page cache holds of it must not be seen again
  uint64_t copied_bytes = 0;
  base::TaskGroup group(*executor_);
  for (uint64_t at = 0; at < kFileBytes; at += kMebibyte) {
    const uint64_t length_bytes = std::min(kMebibyte, kFileBytes - at);
    group.Add(CopyPiece(*source, *target, at, length_bytes, copied_bytes));
  }
  Run(group.Join());
  EXPECT_EQ(copied_bytes, kFileBytes);
  EXPECT_EQ(ReadAll(*target), bytes_);
  EXPECT_TRUE(Run(target->Close()).has_value());
  EXPECT_TRUE(Run(source->Close()).has_value());
}

TEST_P(PosixCopy, CopiesWhatNoCacheHolds) {
  const auto target = MakeFile("target", 1);
  const auto source = MakeFile("source", 2);
  EXPECT_TRUE(Run(source->Sync(/*data_only=*/false)).has_value());
  const int descriptor = open((folder_path_ + "/source").c_str(), O_RDONLY | O_CLOEXEC);
  posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
  close(descriptor);
  const uint64_t half_bytes = 4 * kMebibyte;
  uint64_t copied_bytes = 0;
  Run(CopyPiece(*source, *target, 0, half_bytes, copied_bytes));
  Run(CopyPiece(*source, *target, half_bytes, kFileBytes - half_bytes, copied_bytes));
  EXPECT_EQ(copied_bytes, kFileBytes);
  EXPECT_EQ(ReadAll(*target), bytes_);
}

TEST_P(PosixCopy, CopiesOddRangesAndBetweenDifferentPlaces) {
  const auto target = MakeFile("target", 1);
  const std::vector<std::byte> before = bytes_;
  const auto source = MakeFile("source", 2);
  std::vector<std::byte> expected = before;

  const struct {
    uint64_t from, to, length;
  } ranges[] = {{0, 4096, kMebibyte}, {511, 3 * kMebibyte, 777}, {8192, 5 * kMebibyte + 3, 65536}};

  for (const auto& range : ranges) {
    EXPECT_EQ(Run(target->CopyFrom(*source, range.from, range.to, range.length)).value(),
              range.length);
    std::copy_n(bytes_.begin() + static_cast<long>(range.from), range.length,
                expected.begin() + static_cast<long>(range.to));
  }
  EXPECT_EQ(ReadAll(*target), expected);
}

TEST_P(PosixCopy, SeesWhatWasWrittenJustBefore) {
  const auto target = MakeFile("target", 1);
  const auto source = MakeFile("source", 2);
  uint64_t copied_bytes = 0;
  Run(CopyPiece(*source, *target, 0, kMebibyte, copied_bytes));
  std::vector<std::byte> change(100, std::byte{0x77});
  Write(*source, 5000, change);
  Run(CopyPiece(*source, *target, 0, kMebibyte, copied_bytes));
  Write(*target, kMebibyte, change);
  const std::vector<std::byte> found = ReadAll(*target);
  EXPECT_EQ(found[4999], bytes_[4999]);
  EXPECT_EQ(found[5000], std::byte{0x77});
  EXPECT_EQ(found[5099], std::byte{0x77});
  EXPECT_EQ(found[5100], bytes_[5100]);
  EXPECT_EQ(found[kMebibyte], std::byte{0x77});
}

TEST_P(PosixCopy, StopsWhereTheSourceEnds) {
  const auto target = MakeFile("target", 1);
  const auto source = MakeFile("source", 2);
  const uint64_t offset_bytes = 8 * kMebibyte;
  const auto copied = Run(target->CopyFrom(*source, offset_bytes, offset_bytes, 16 * 4096));
  EXPECT_EQ(copied.value(), kFileBytes - offset_bytes);
  EXPECT_EQ(ReadAll(*target).size(), kFileBytes);
}

TEST_P(PosixCopy, TellsWhatThePageCacheHolds) {
  const auto file = MakeFile("file", 1);
  const int descriptor = open((folder_path_ + "/file").c_str(), O_RDONLY | O_CLOEXEC);
  EXPECT_TRUE(posix::IsCached(descriptor, 0, kFileBytes));
  EXPECT_TRUE(posix::IsCached(descriptor, 5000, 1));
  const bool is_on_disk = PastCache().Open(descriptor, /*writable=*/false);
  EXPECT_TRUE(Run(file->Sync(/*data_only=*/false)).has_value());
  posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
  EXPECT_FALSE(is_on_disk && posix::IsCached(descriptor, 0, kFileBytes));
  close(descriptor);
}

INSTANTIATE_TEST_SUITE_P(Folders, PosixCopy, testing::Values("/var/tmp", "/dev/shm"),
                         [](const auto& tested) {
                           return std::string(tested.param) == "/dev/shm" ? "InMemory" : "OnDisk";
                         });

}  // namespace
}  // namespace fss
