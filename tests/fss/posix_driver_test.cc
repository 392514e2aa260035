#include "fs/fss/posix_driver.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/base/uring_executor.h"
#include "tests/fss/file_system_conformance.h"

namespace fss {
namespace {

// A folder that goes away with its content.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = std::filesystem::temp_directory_path() / "strata-posix.XXXXXX";
    path_ = mkdtemp(pattern.data());
  }

  ~TemporaryFolder() { std::filesystem::remove_all(path_); }

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class PosixUnderTest final : public FileSystemUnderTest {
 public:
  PosixUnderTest() : executor_(*base::UringExecutor::Create()) {
    PosixFileSystem::Options options;
    options.folder_path = folder_.path();
    file_system_ = *PosixFileSystem::Create(*executor_, options);
  }

  base::Executor& executor() override { return *executor_; }

  FileSystem& file_system() override { return *file_system_; }

 private:
  TemporaryFolder folder_;
  std::unique_ptr<base::UringExecutor> executor_;
  std::unique_ptr<PosixFileSystem> file_system_;
};

FileSystemFactory PosixFactory() {
  FileSystemFactory factory;
  factory.name = "Posix";
  factory.make = [] { return std::make_unique<PosixUnderTest>(); };
  factory.hole_bytes = 64 * 1024;
  return factory;
}

INSTANTIATE_TEST_SUITE_P(Driver, FileSystemConformance, testing::Values(PosixFactory()),
                         FactoryName);

class PosixDriver : public testing::Test {
 protected:
  base::Result<std::unique_ptr<PosixFileSystem>> Mount(bool read_only = false) {
    PosixFileSystem::Options options;
    options.folder_path = folder_.path();
    options.read_only = read_only;
    return PosixFileSystem::Create(*executor_, options);
  }

  TemporaryFolder folder_;
  std::unique_ptr<base::UringExecutor> executor_ = *base::UringExecutor::Create();
};

TEST_F(PosixDriver, ShowsWhatTheHostMade) {
  std::ofstream(folder_.path() + "/host.txt") << "from the host";
  const auto file_system = Mount();
  ASSERT_TRUE(file_system.has_value());
  const auto found =
      base::RunSync(*executor_, (*file_system)->Lookup((*file_system)->root(), "host.txt"));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->size_bytes, 13u);
  EXPECT_EQ((*file_system)->label(), std::filesystem::path(folder_.path()).filename());
}

TEST_F(PosixDriver, ReadOnlyRefusesEveryChange) {
  const auto file_system = Mount(/*read_only=*/true);
  ASSERT_TRUE(file_system.has_value());
  FileSystem& fs = **file_system;
  const auto made = base::RunSync(*executor_, fs.CreateFile(fs.root(), "x", NewInode{}));
  EXPECT_EQ(CodeOf(made), base::Code::kReadOnly);
  const auto removed = base::RunSync(*executor_, fs.Unlink(fs.root(), "x"));
  EXPECT_EQ(CodeOf(removed), base::Code::kReadOnly);
}

TEST_F(PosixDriver, AMissingFolderIsAnError) {
  PosixFileSystem::Options options;
  options.folder_path = folder_.path() + "/none";
  EXPECT_EQ(CodeOf(PosixFileSystem::Create(*executor_, options)), base::Code::kNotFound);
}

TEST_F(PosixDriver, AnInodeIsUnknownAfterItsLastForget) {
  const auto file_system = Mount();
  FileSystem& fs = **file_system;
  const auto made = base::RunSync(*executor_, fs.CreateFile(fs.root(), "x", NewInode{}));
  ASSERT_TRUE(made.has_value());
  const auto again = base::RunSync(*executor_, fs.Lookup(fs.root(), "x"));
  fs.Forget(made->inode, 1);
  EXPECT_TRUE(base::RunSync(*executor_, fs.GetAttributes(made->inode)).has_value());
  fs.Forget(again->inode, 1);
  const auto gone = base::RunSync(*executor_, fs.GetAttributes(made->inode));
  EXPECT_EQ(CodeOf(gone), base::Code::kStale);
}

TEST_F(PosixDriver, InodeNumbersFitIn32Bits) {
  const auto file_system = Mount();
  FileSystem& fs = **file_system;
  EXPECT_LT(fs.root(), uint64_t{1} << 32);
  const auto made = base::RunSync(*executor_, fs.CreateFile(fs.root(), "x", NewInode{}));
  EXPECT_LT(made->inode, uint64_t{1} << 32);
}

}  // namespace
}  // namespace fss
