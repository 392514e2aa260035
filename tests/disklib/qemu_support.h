// A folder of the host with our disks in it, and QEMU's tools as judges.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "disklib/file_backend.h"
#include "disklib/lib.h"
#include "disklib/operations.h"
#include "disklib/vdisk.h"
#include "fs/base/uring_executor.h"
#include "fs/fss/posix_driver.h"

namespace disklib {

inline constexpr uint64_t kMebi = uint64_t{1} << 20;

class Qemu : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(std::system("qemu-img --version >/dev/null"), 0) << "qemu-img is needed";
    std::string pattern = std::filesystem::temp_directory_path() / "strata-disk.XXXXXX";
    folder_ = mkdtemp(pattern.data());
    fss::PosixFileSystem::Options options;
    options.folder_path = folder_;
    files_ = *fss::PosixFileSystem::Create(*executor_, options);
    backend_ = std::make_unique<FileBackend>(*files_);
    lib_ = std::make_unique<Lib>(*executor_, *backend_, open_disks_);
  }

  void TearDown() override { std::filesystem::remove_all(folder_); }

  template <typename T>
  T Run(base::Task<T> task) {
    return base::RunSync(*executor_, std::move(task));
  }

  void Shell(const std::string& command) {
    const std::string line = fmt::format("cd {} && {} >out.txt 2>&1", folder_, command);
    EXPECT_EQ(std::system(line.c_str()), 0) << command << "\n" << ReadFile("out.txt");
  }

  // The end of a command's output when it fails; "" when it succeeds.
  std::string FailureOf(const std::string& command) {
    const std::string line = fmt::format("cd {} && {} >out.txt 2>&1", folder_, command);
    return std::system(line.c_str()) == 0 ? std::string() : ReadFile("out.txt");
  }

  std::string ReadFile(const std::string& name) {
    std::ifstream file(folder_ + "/" + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  // Writes `bytes` into the disk through its raw image.
  void WriteDisk(std::string_view path, uint64_t offset_bytes, std::string& bytes) {
    VDisks disks(*lib_);
    auto disk = Run(disks.Open(path, /*writable=*/true));
    ASSERT_TRUE(disk) << disk.error().message();
    const base::IoVec piece{reinterpret_cast<std::byte*>(bytes.data()), bytes.size()};
    const auto written =
        Run((*disk)->Write({.offset_bytes = offset_bytes, .buffers = {&piece, 1}}));
    ASSERT_TRUE(written) << written.error().message();
    EXPECT_EQ(*written, bytes.size());
    EXPECT_TRUE(Run((*disk)->Sync(true)));
    EXPECT_TRUE(Run((*disk)->Close()));
  }

  std::string ReadDisk(std::string_view path, uint64_t offset_bytes, size_t size_bytes) {
    std::string bytes(size_bytes, '\0');
    VDisks disks(*lib_);
    auto disk = Run(disks.Open(path, /*writable=*/false));
    EXPECT_TRUE(disk) << disk.error().message();
    if (!disk) return {};
    const base::IoVec piece{reinterpret_cast<std::byte*>(bytes.data()), bytes.size()};
    const auto read = Run((*disk)->Read({.offset_bytes = offset_bytes, .buffers = {&piece, 1}}));
    EXPECT_TRUE(read && *read == size_bytes);
    EXPECT_TRUE(Run((*disk)->Close()));
    return bytes;
  }

  std::string folder_;
  std::unique_ptr<base::UringExecutor> executor_ = *base::UringExecutor::Create();
  std::unique_ptr<fss::PosixFileSystem> files_;
  std::unique_ptr<FileBackend> backend_;
  OpenDisks open_disks_;
  std::unique_ptr<Lib> lib_;
};

}  // namespace disklib
