// The conformance suite every `fss::FileSystem` passes: one fixture, run over each driver.
//
// A driver's test file instantiates it: `INSTANTIATE_TEST_SUITE_P(Posix, FileSystemConformance,
// testing::Values(factory), FactoryName)`, linked with the two `*_conformance.cc` files. Each test
// starts with an empty file system; the teardown closes, forgets, unmounts and checks it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "fs/base/executor.h"
#include "fs/fss/file_system.h"

namespace fss {

// One file system to test, with whatever it stands on.
class FileSystemUnderTest {
 public:
  virtual ~FileSystemUnderTest() = default;
  virtual base::Executor& executor() = 0;
  virtual FileSystem& file_system() = 0;

  // Called after Unmount: whatever check the driver has of what is left on its device.
  virtual void CheckUnmounted() {}
};

struct FileSystemFactory {
  std::string name;
  std::function<std::unique_ptr<FileSystemUnderTest>()> make;
  uint32_t name_bytes_max = 255;
  bool names_are_utf8 = false;    // anything else is refused with kNameInvalid
  bool punches_holes = true;      // punched whole blocks become holes that Seek sees
  bool replaces_contents = false;  // several files in one step; else kUnsupported
  uint64_t hole_bytes = 1 << 20;  // the size and alignment at which a hole is certain
  uint64_t time_step_us = 1;      // granularity of stored times
};

inline std::string FactoryName(const testing::TestParamInfo<FileSystemFactory>& info) {
  return info.param.name;
}

class FileSystemConformance : public testing::TestWithParam<FileSystemFactory> {
 protected:
  void SetUp() override;
  void TearDown() override;

  FileSystem& fs() { return under_test_->file_system(); }

  InodeNumber root() { return fs().root(); }

  template <typename T>
  T Run(base::Task<T> task) {
    return base::RunSync(under_test_->executor(), std::move(task));
  }

  // Each creates, counts the lookup for the teardown, and fails the test when it cannot.
  InodeNumber MakeFile(InodeNumber parent, std::string_view name);
  InodeNumber MakeFolder(InodeNumber parent, std::string_view name);
  InodeNumber MakeLink(InodeNumber parent, std::string_view name, std::string_view target);
  InodeNumber MakeFileWith(InodeNumber parent, std::string_view name, std::string_view content);

  // Looks up, counting the lookup for the teardown.
  base::Result<Attributes> Find(InodeNumber parent, std::string_view name);
  Attributes Get(InodeNumber inode);

  // The code of a lookup's error; fails the test when the name is there.
  base::Code FindCode(InodeNumber parent, std::string_view name);

  std::unique_ptr<File> OpenFile(InodeNumber inode, OpenMode mode = OpenMode::kWrite);
  void CloseFile(std::unique_ptr<File> file);
  base::Result<uint64_t> WriteAt(File& file, uint64_t offset_bytes, std::string_view bytes);
  std::string ReadAt(File& file, uint64_t offset_bytes, size_t length_bytes);
  std::string Content(InodeNumber inode);

  // All names of a directory but "." and "..", sorted, read in pieces of `entries_per_call`. What
  // the file system keeps in its root by itself is left out.
  std::vector<std::string> Names(InodeNumber directory, size_t entries_per_call = 1000);

  base::Status RenameTo(InodeNumber from, std::string_view from_name, InodeNumber to,
                        std::string_view to_name, bool no_replace = false);

  std::unique_ptr<FileSystemUnderTest> under_test_;

 private:
  InodeNumber Count(InodeNumber inode);
  std::vector<InodeNumber> lookups_;
  std::vector<std::string> own_names_;  // in the root of a new file system
};

// The error's code, or kInternal (which no file system answers here) for a success.
template <typename T>
base::Code CodeOf(const base::Result<T>& result) {
  return result.has_value() ? base::Code::kInternal : result.error().code();
}

}  // namespace fss
