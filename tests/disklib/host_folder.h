// A folder of the host for tests with judges: files made there by us are read by other programs.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "disklib/file_backend.h"
#include "fs/base/uring_executor.h"
#include "fs/fss/posix_driver.h"

namespace disklib {

class HostFolder : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = std::filesystem::temp_directory_path() / "strata-judge.XXXXXX";
    folder_ = mkdtemp(pattern.data());
    fss::PosixFileSystem::Options options;
    options.folder_path = folder_;
    files_ = *fss::PosixFileSystem::Create(*executor_, options);
    backend_ = std::make_unique<FileBackend>(*files_);
  }

  void TearDown() override { std::filesystem::remove_all(folder_); }

  static bool Has(const std::string& command) {
    return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
  }

  static bool HasQemu() { return Has("qemu-img --version") && Has("qemu-io --version"); }

  // The system's Python has the binding of libvmdk, others may not.
  static bool HasLibvmdk() { return Has("/usr/bin/python3 -c 'import pyvmdk'"); }

  template <typename T>
  T Run(base::Task<T> task) {
    return base::RunSync(*executor_, std::move(task));
  }

  void Shell(const std::string& command) {
    const std::string line = fmt::format("cd {} && {} >out.txt 2>&1", folder_, command);
    EXPECT_EQ(std::system(line.c_str()), 0) << command << "\n" << Load("out.txt");
  }

  std::string Load(const std::string& name) {
    std::ifstream file(folder_ + "/" + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  void Store(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ + "/" + name, std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

  std::unique_ptr<Object> OpenObject(const std::string& name, fss::OpenMode mode) {
    auto object = Run(backend_->Open(name, mode));
    EXPECT_TRUE(object) << object.error().message();
    return object ? *std::move(object) : nullptr;
  }

  // libvmdk, another reader of these formats, sees `raw` in the disk of the descriptor `name`.
  void ExpectLibvmdkReads(const std::string& name, const std::string& raw) {
    Store("read.py",
          "import pyvmdk, sys\n"
          "disk = pyvmdk.handle()\n"
          "disk.open(sys.argv[1])\n"
          "disk.open_extent_data_files()\n"
          "want = open(sys.argv[2], 'rb').read()\n"
          "assert disk.get_media_size() == len(want), disk.get_media_size()\n"
          "for at in range(0, len(want), 1 << 20):\n"
          "    got = disk.read_buffer_at_offset(min(1 << 20, len(want) - at), at)\n"
          "    assert got == want[at:at + len(got)], at\n");
    Shell(fmt::format("/usr/bin/python3 read.py {} {}", name, raw));
  }

  std::string folder_;
  std::unique_ptr<base::UringExecutor> executor_ = *base::UringExecutor::Create();
  std::unique_ptr<fss::PosixFileSystem> files_;
  std::unique_ptr<FileBackend> backend_;
};

// A disk's content with data of every kind of neighbour: text, noise, zeros, an incomplete end.
inline std::string SomeDisk(uint64_t seed, size_t size_bytes) {
  std::string disk(size_bytes, '\0');
  base::Random random(seed);
  for (size_t at = 0; at < size_bytes; at += 1 + random.Below(900'000)) {
    const size_t length = std::min<size_t>(size_bytes - at, 1 + random.Below(300'000));
    const bool is_noise = random.OneIn(2);
    for (size_t i = at; i < at + length; ++i) {
      disk[i] = static_cast<char>(is_noise ? random.Next() : 'a' + i % 19);
    }
  }
  return disk;
}

}  // namespace disklib
