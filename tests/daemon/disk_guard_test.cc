#include "fs/daemon/disk_guard.h"

#include <vector>

#include <gtest/gtest.h>

#include "fs/base/sim_executor.h"
#include "tests/support/memory_file_system.h"

namespace stratad {
namespace {

using base::Code;

class DiskGuardTest : public testing::Test {
 protected:
  template <typename T>
  T Run(base::Task<T> task) {
    return base::RunSync(executor_, std::move(task));
  }

  fss::InodeNumber Make(std::string_view name) {
    const auto made = Run(guard_.CreateFile(guard_.root(), name, {}));
    EXPECT_TRUE(made) << made.error().message();
    guard_.Forget(made->inode, 1);
    return made->inode;
  }

  std::unique_ptr<fss::File> Open(fss::InodeNumber inode, fss::OpenMode mode) {
    auto opened = Run(guard_.Open(inode, mode));
    EXPECT_TRUE(opened) << opened.error().message();
    return *std::move(opened);
  }

  base::Result<uint64_t> Read(fss::File& file) {
    std::vector<std::byte> bytes(512);
    const base::IoVec piece{bytes.data(), bytes.size()};
    return Run(file.Read({.offset_bytes = 0, .buffers = {&piece, 1}}));
  }

  disklib::OpenDisks::Claim Claim(fss::InodeNumber inode, bool writes) {
    const fss::InodeNumber inodes[] = {inode};
    auto claim =
        open_disks_.ClaimFiles(inodes, {.disk = "a.vmdk", .user = "guest", .writes = writes});
    EXPECT_TRUE(claim);
    return *std::move(claim);
  }

  base::SimExecutor executor_{1, /*in_order=*/true};
  fss::MemoryFileSystem files_;
  disklib::OpenDisks open_disks_;
  DiskGuard guard_{executor_, files_, open_disks_};
};

TEST_F(DiskGuardTest, RefusesToOpenTheFilesOfALiveDisk) {
  const fss::InodeNumber flat = Make("a-flat.vmdk");
  const disklib::OpenDisks::Claim claim = Claim(flat, /*writes=*/true);
  const auto refused = Run(guard_.Open(flat, fss::OpenMode::kRead));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kBusy);
  EXPECT_NE(refused.error().message().find("guest"), std::string::npos);
}

TEST_F(DiskGuardTest, StopsACopyThatBeganBeforeTheDiskWasOpened) {
  const fss::InodeNumber flat = Make("a-flat.vmdk");
  const fss::InodeNumber copy = Make("copy");
  const auto reader = Open(flat, fss::OpenMode::kRead);
  const auto writer = Open(copy, fss::OpenMode::kWrite);
  EXPECT_TRUE(Read(*reader));
  {
    const disklib::OpenDisks::Claim claim = Claim(flat, /*writes=*/true);
    const auto refused = Read(*reader);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), Code::kBusy);
    EXPECT_NE(refused.error().message().find("guest"), std::string::npos);
    EXPECT_EQ(Run(writer->CopyFrom(*reader, 0, 0, 512)).error().code(), Code::kBusy);
  }
  EXPECT_TRUE(Read(*reader)) << "the disk is closed";
  {
    const disklib::OpenDisks::Claim claim = Claim(flat, /*writes=*/false);
    EXPECT_TRUE(Read(*reader)) << "readers share";
  }
  EXPECT_TRUE(Run(reader->Close()));
  EXPECT_TRUE(Run(writer->Close()));
}

}  // namespace
}  // namespace stratad
