// The checker on volumes that the file system itself has written: after a clean unmount, and after
// a crash with a journal that is still to be replayed.
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fs/base/sim_executor.h"
#include "tests/support/vmfs_volume.h"
#include "vmfs/fsck/fsck.h"

namespace vmfs {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kTiB = uint64_t{1} << 40;

class FsckWrittenVolume : public testing::Test {
 protected:
  FsckWrittenVolume() {
    Expect(volume_.MakeFileSystem());
    Expect(volume_.Mount());
  }

  static void Expect(const base::Status& status) {
    EXPECT_TRUE(status.has_value()) << (status ? "" : status.error().message());
  }

  template <typename T>
  T Run(base::Task<base::Result<T>> task) {
    base::Result<T> result = base::RunSync(executor_, std::move(task));
    if (result) return *std::move(result);
    ADD_FAILURE() << result.error().message();
    return T{};
  }

  // A file with one byte at each offset.
  void MakeFile(fss::InodeNumber parent, const std::string& name,
                const std::vector<uint64_t>& offsets) {
    const auto made = Run(volume_.volume().CreateFile(parent, name, fss::NewInode{}));
    auto opened =
        base::RunSync(executor_, volume_.volume().Open(made.inode, fss::OpenMode::kWrite));
    ASSERT_TRUE(opened) << opened.error().message();
    std::byte byte{'x'};
    const base::IoVec piece{&byte, 1};
    for (const uint64_t offset : offsets) {
      const base::IoRequest request{offset, std::span<const base::IoVec>(&piece, 1)};
      EXPECT_EQ(Run((*opened)->Write(request)), 1u);
    }
    Expect(base::RunSync(executor_, (*opened)->Close()));
    volume_.volume().Forget(made.inode, 1);
  }

  fss::InodeNumber MakeDirectory(fss::InodeNumber parent, const std::string& name) {
    return Run(volume_.volume().MakeDirectory(parent, name, fss::NewInode{})).inode;
  }

  // Files of every map kind, a wide directory, a deep one.
  void Fill() {
    const fss::InodeNumber root = volume_.volume().root();
    MakeFile(root, "inline", {0, 3583});
    MakeFile(root, "sub-block", {0, 65535});
    MakeFile(root, "file blocks", {0, kMiB, 2 * kMiB});
    MakeFile(root, "hole", {0, 5 * kMiB});
    MakeFile(root, "sparse", {400 * kMiB});
    MakeFile(root, "double", {3 * kTiB, 20 * kTiB});
    const auto link = Run(volume_.volume().MakeSymlink(root, "link", "inline", fss::NewInode{}));
    volume_.volume().Forget(link.inode, 1);
    const fss::InodeNumber wide = MakeDirectory(root, "wide");
    for (int i = 0; i < kWideCount; ++i) MakeFile(wide, "entry " + std::to_string(i), {});
    fss::InodeNumber deep = root;
    for (int i = 0; i < 10; ++i) deep = MakeDirectory(deep, "level " + std::to_string(i));
    for (int i = 0; i < kWideCount; i += 3) {
      Expect(base::RunSync(executor_, volume_.volume().Unlink(wide, "entry " + std::to_string(i))));
    }
  }

  FsckReport Check() {
    base::BlockDevice* const devices[] = {&volume_.disk()};
    FsckOptions options;
    return Run(CheckDevices(devices, options));
  }

  static std::string Describe(const FsckReport& report) {
    std::string text;
    for (const Finding& finding : report.findings) {
      text += std::string(NameOf(finding.code)) + ": " + finding.text + "\n";
    }
    return text;
  }

  static constexpr int kWideCount = 300;
  static constexpr int kLeftCount = kWideCount - (kWideCount + 2) / 3;

  base::SimExecutor executor_{3};
  SimVolume volume_{executor_, 512 * kMiB, /*logging=*/false};
};

TEST_F(FsckWrittenVolume, FindsNothingAfterACleanUnmount) {
  Fill();
  Expect(volume_.Unmount());
  const FsckReport report = Check();
  EXPECT_TRUE(report.findings.empty()) << Describe(report);
  EXPECT_FALSE(report.is_dirty);
  EXPECT_EQ(report.counters.files, 6u + kLeftCount);
  EXPECT_EQ(report.counters.directories, 12u);
  EXPECT_EQ(report.counters.symlinks, 1u);
  EXPECT_EQ(report.counters.names, 8u + 6 + 1 + 1 + 10 + kLeftCount);
}

TEST_F(FsckWrittenVolume, SeesACrashedVolumeAsTheNextMountWill) {
  Fill();
  Expect(base::RunSync(executor_, volume_.volume().SyncAll()));
  MakeFile(volume_.volume().root(), "never committed", {0});
  volume_.Crash();
  const FsckReport report = Check();
  EXPECT_TRUE(report.is_clean()) << Describe(report);
  EXPECT_TRUE(report.is_dirty);
  EXPECT_GT(report.counters.journal_images_replayed, 0u);
  EXPECT_GE(report.counters.files, 6u + kLeftCount);
}

}  // namespace
}  // namespace vmfs
