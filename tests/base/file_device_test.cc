#include "fs/base/file_device.h"

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/base/aligned_buffer.h"

namespace base {
namespace {

constexpr uint64_t kSizeBytes = 4 << 20;

std::unique_ptr<UringExecutor> MakeExecutor() {
  auto executor = UringExecutor::Create();
  CHECK(executor.has_value());
  return *std::move(executor);
}

// A fresh folder on the disk or in RAM, removed with its files.
class ScratchFolder {
 public:
  explicit ScratchFolder(const char* parent) : path_(std::string(parent) + "/strata-XXXXXX") {
    CHECK(mkdtemp(path_.data()) != nullptr);
  }

  ~ScratchFolder() {
    unlink(File().c_str());
    rmdir(path_.c_str());
  }

  std::string File() const { return path_ + "/device.img"; }

 private:
  std::string path_;
};

class FileDeviceTest : public testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<FileDevice> Create() {
    FileDeviceOptions options;
    options.create_size_bytes = kSizeBytes;
    return Take(OpenFileDevice(*executor_, folder_.File(), options));
  }

  std::unique_ptr<FileDevice> Open(bool read_only = false) {
    FileDeviceOptions options;
    options.read_only = read_only;
    return Take(OpenFileDevice(*executor_, folder_.File(), options));
  }

  static std::unique_ptr<FileDevice> Take(Result<std::unique_ptr<FileDevice>> device) {
    if (!device.has_value()) ADD_FAILURE() << device.error().message();
    return *std::move(device);
  }

  void Close(FileDevice& device) { EXPECT_TRUE(RunSync(*executor_, device.Close()).has_value()); }

  ScratchFolder folder_{GetParam()};
  std::unique_ptr<UringExecutor> executor_ = MakeExecutor();
};

INSTANTIATE_TEST_SUITE_P(On, FileDeviceTest, testing::Values("/var/tmp", "/dev/shm"),
                         [](const auto& test) {
                           return test.param == std::string("/dev/shm") ? "Ram" : "Disk";
                         });

Status WriteAll(Executor& executor, BlockDevice& device, uint64_t offset, std::byte* data,
                size_t size) {
  const IoVec piece{data, size};
  IoRequest request;
  request.offset_bytes = offset;
  request.buffers = std::span(&piece, 1);
  return RunSync(executor, device.Write(request));
}

Status ReadAll(Executor& executor, BlockDevice& device, uint64_t offset, std::byte* data,
               size_t size) {
  const IoVec piece{data, size};
  IoRequest request;
  request.offset_bytes = offset;
  request.buffers = std::span(&piece, 1);
  return RunSync(executor, device.Read(request));
}

TEST_P(FileDeviceTest, TakesAnyMemory) {
  auto device = Create();
  AlignedBuffer out(8192);
  AlignedBuffer in(8192);
  std::memset(out.data(), 0x5A, out.size());
  for (const size_t skew : {0u, 1u, 80u, 511u}) {
    ASSERT_TRUE(WriteAll(*executor_, *device, 512, out.data() + skew, 1536).has_value());
    ASSERT_TRUE(ReadAll(*executor_, *device, 512, in.data() + skew, 1536).has_value());
    EXPECT_EQ(std::memcmp(in.data() + skew, out.data() + skew, 1536), 0);
  }
  Close(*device);
}

TEST_P(FileDeviceTest, TellsItsBacking) {
  auto device = Create();
  EXPECT_EQ(device->backing().kind, FileBacking::Kind::kRegularFile);
  EXPECT_FALSE(device->backing().is_network);
  EXPECT_FALSE(device->backing().is_fuse);
  EXPECT_FALSE(device->backing().file_system.empty());
  EXPECT_EQ(device->size_bytes(), kSizeBytes);
  Close(*device);
}

TEST_P(FileDeviceTest, ByteLocksExcludeOtherOpensAndEndWithTheDevice) {
  auto first = Create();
  auto second = Open();
  constexpr uint64_t kByte = 0x300800;
  EXPECT_TRUE(*first->TryLockByte(kByte));
  EXPECT_TRUE(*first->TryLockByte(kByte));
  EXPECT_FALSE(*second->TryLockByte(kByte));
  EXPECT_TRUE(*second->TryLockByte(kByte + 1));
  EXPECT_EQ(first->TryLockByte(4096).error().code(), Code::kInvalidArgument);
  EXPECT_TRUE(first->UnlockByte(kByte).has_value());
  EXPECT_TRUE(*second->TryLockByte(kByte));
  Close(*second);
  EXPECT_TRUE(*first->TryLockByte(kByte));
  Close(*first);
}

TEST_P(FileDeviceTest, ByteLocksOfReadersSeeWritersAndNotEachOther) {
  auto writer = Create();
  auto first = Open(/*read_only=*/true);
  auto second = Open(/*read_only=*/true);
  constexpr uint64_t kByte = 0x300800;
  EXPECT_TRUE(*writer->TryLockByte(kByte));
  EXPECT_FALSE(*first->TryLockByte(kByte));
  EXPECT_TRUE(writer->UnlockByte(kByte).has_value());
  EXPECT_TRUE(*first->TryLockByte(kByte));
  EXPECT_TRUE(*second->TryLockByte(kByte));
  EXPECT_FALSE(*writer->TryLockByte(kByte));
  Close(*first);
  Close(*second);
  EXPECT_TRUE(*writer->TryLockByte(kByte));
  Close(*writer);
}

TEST_P(FileDeviceTest, CompareAndWriteLeavesTheGuardByteLocked) {
  auto first = Create();
  auto second = Open();
  constexpr uint64_t kSlot = 0x300000;
  std::vector<std::byte> zeros(4096);
  std::vector<std::byte> ones(4096, std::byte{1});
  ASSERT_TRUE(*first->TryLockByte(kSlot + 0x800));
  ASSERT_TRUE(RunSync(*executor_, first->CompareAndWrite(kSlot, zeros, ones)).has_value());
  EXPECT_FALSE(*second->TryLockByte(kSlot + 0x800));
  EXPECT_TRUE(RunSync(*executor_, second->CompareAndWrite(kSlot, ones, zeros)).has_value());
  Close(*second);
  Close(*first);
}

TEST_P(FileDeviceTest, GrowsAndReadsZerosBehindTheOldEnd) {
  auto device = Create();
  EXPECT_EQ(RunSync(*executor_, device->GrowTo(kSizeBytes + 100)).error().code(),
            Code::kMisaligned);
  ASSERT_TRUE(RunSync(*executor_, device->GrowTo(kSizeBytes + 1024)).has_value());
  EXPECT_EQ(device->size_bytes(), kSizeBytes + 1024);
  std::vector<std::byte> tail(512, std::byte{1});
  ASSERT_TRUE(ReadAll(*executor_, *device, kSizeBytes + 512, tail.data(), 512).has_value());
  EXPECT_EQ(tail, std::vector<std::byte>(512));
  Close(*device);
}

TEST_P(FileDeviceTest, ReadOnlyOpensRefuseWrites) {
  Close(*Create());
  auto device = Open(/*read_only=*/true);
  std::vector<std::byte> block(512);
  EXPECT_FALSE(device->limits().can_write);
  EXPECT_EQ(WriteAll(*executor_, *device, 0, block.data(), 512).error().code(), Code::kReadOnly);
  EXPECT_TRUE(ReadAll(*executor_, *device, 0, block.data(), 512).has_value());
  Close(*device);
}

TEST_P(FileDeviceTest, CreatingOverAFileIsRefused) {
  Close(*Create());
  FileDeviceOptions options;
  options.create_size_bytes = kSizeBytes;
  EXPECT_EQ(OpenFileDevice(*executor_, folder_.File(), options).error().code(), Code::kExists);
}

TEST(FileDevice, NamesWhatItCannotOpen) {
  auto executor = MakeExecutor();
  const auto missing = OpenFileDevice(*executor, "/nonexistent/a.img", {});
  EXPECT_EQ(missing.error().code(), Code::kNotFound);
  EXPECT_NE(missing.error().message().find("/nonexistent/a.img"), std::string::npos);
  FileDeviceOptions options;
  options.read_only = true;
  EXPECT_EQ(OpenFileDevice(*executor, "/dev/null", options).error().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace base
