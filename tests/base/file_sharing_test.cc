// What several processes may expect of one file: compare-and-write without lost updates, and guard
// bytes that fall free with their owner.
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/base/aligned_buffer.h"
#include "fs/base/file_device.h"

namespace base {
namespace {

constexpr uint64_t kSizeBytes = 1 << 20;
constexpr uint64_t kGuardByte = 0x800;

class FileSharingTest : public testing::TestWithParam<const char*> {
 protected:
  FileSharingTest() : path_(std::string(GetParam()) + "/strata-XXXXXX") {
    const int descriptor = mkstemp(path_.data());
    CHECK(descriptor >= 0 && ftruncate(descriptor, kSizeBytes) == 0);
    close(descriptor);
  }

  ~FileSharingTest() override { unlink(path_.c_str()); }

  std::string path_;
};

INSTANTIATE_TEST_SUITE_P(On, FileSharingTest, testing::Values("/var/tmp", "/dev/shm"),
                         [](const auto& test) {
                           return test.param == std::string("/dev/shm") ? "Ram" : "Disk";
                         });

struct OpenPair {
  std::unique_ptr<UringExecutor> executor;
  std::unique_ptr<FileDevice> device;
};

OpenPair OpenHere(const std::string& path) {
  auto executor = UringExecutor::Create();
  CHECK(executor.has_value());
  FileDeviceOptions options;
  options.compare_and_write_durable = false;
  auto device = OpenFileDevice(**executor, path, options);
  CHECK(device.has_value());
  return {*std::move(executor), *std::move(device)};
}

// Adds one, `count` times, to a number in each half of a page: neighbours under one lock.
Task<Status> Add(BlockDevice& device, uint64_t offset, int count) {
  AlignedBuffer before(512);
  AlignedBuffer after(512);
  const IoVec piece = before.piece();
  IoRequest request;
  request.offset_bytes = offset;
  request.buffers = std::span(&piece, 1);
  while (count > 0) {
    CO_TRY_STATUS(co_await device.Read(request));
    uint64_t number = 0;
    std::memcpy(&number, before.data(), sizeof(number));
    ++number;
    std::memcpy(after.data(), before.data(), before.size());
    std::memcpy(after.data(), &number, sizeof(number));
    const Status status = co_await device.CompareAndWrite(offset, before.span(), after.span());
    if (status.has_value()) --count;
    if (!status.has_value() && status.error().code() != Code::kMiscompare) co_return status;
  }
  co_return Ok();
}

// The child's whole life: its own executor, its own open file description.
[[noreturn]] void AddAndExit(const std::string& path, int count) {
  const OpenPair open = OpenHere(path);
  const Status status = RunSync(*open.executor, Add(*open.device, 4096, count));
  _exit(status.has_value() ? 0 : 1);
}

TEST_P(FileSharingTest, ProcessesLoseNoUpdate) {
  constexpr int kProcesses = 4;
  constexpr int kAdditions = 200;
  std::vector<pid_t> children;
  for (int i = 0; i < kProcesses; ++i) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) AddAndExit(path_, kAdditions);
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  const OpenPair open = OpenHere(path_);
  AlignedBuffer block(512);
  const IoVec piece = block.piece();
  IoRequest request;
  request.offset_bytes = 4096;
  request.buffers = std::span(&piece, 1);
  ASSERT_TRUE(RunSync(*open.executor, open.device->Read(request)).has_value());
  uint64_t number = 0;
  std::memcpy(&number, block.data(), sizeof(number));
  EXPECT_EQ(number, uint64_t{kProcesses * kAdditions});
}

// Takes the guard byte, says so on the pipe, and stays until it is killed.
[[noreturn]] void HoldGuardByte(const std::string& path, int pipe_end) {
  const OpenPair open = OpenHere(path);
  const Result<bool> locked = open.device->TryLockByte(kGuardByte);
  const char answer = locked.has_value() && *locked ? 'y' : 'n';
  if (write(pipe_end, &answer, 1) != 1) _exit(1);
  while (true) pause();
}

TEST_P(FileSharingTest, AGuardByteFallsFreeWithItsOwner) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) HoldGuardByte(path_, ends[1]);
  char answer = 0;
  ASSERT_EQ(read(ends[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  const OpenPair open = OpenHere(path_);
  EXPECT_FALSE(*open.device->TryLockByte(kGuardByte));
  kill(child, SIGKILL);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(*open.device->TryLockByte(kGuardByte));
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace base
