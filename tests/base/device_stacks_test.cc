// The conformance suite over the devices of the ground floor.
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/base/align_filter.h"
#include "fs/base/file_device.h"
#include "fs/base/sim_executor.h"
#include "fs/base/uring_executor.h"
#include "tests/base/device_conformance.h"
#include "tests/support/sim_disk.h"

namespace base {
namespace {

constexpr uint64_t kSizeBytes = 16 << 20;

// Another open of one simulated disk.
class SimOpen final : public DeviceFilter {
 public:
  explicit SimOpen(SimDisk& disk) : DeviceFilter(disk) {}
};

class SimStack : public DeviceStack {
 public:
  explicit SimStack(uint32_t block_size_bytes) : disk_(executor_, MakeOptions(block_size_bytes)) {}

  Executor& executor() override { return executor_; }

  std::unique_ptr<BlockDevice> Open() override { return std::make_unique<SimOpen>(disk_); }

  bool shares_opens() const override { return true; }

 protected:
  static SimDisk::Options MakeOptions(uint32_t block_size_bytes) {
    SimDisk::Options options;
    options.size_bytes = kSizeBytes;
    options.block_size_bytes = block_size_bytes;
    options.logging = false;
    options.latency_us_min = 10;
    options.latency_us_max = 500;
    return options;
  }

  SimExecutor executor_{7};
  SimDisk disk_;
};

// 512-byte blocks over a disk of larger ones. Edges are safe within one filter only.
class AlignedSimStack final : public SimStack {
 public:
  AlignedSimStack() : SimStack(4096) {}

  std::unique_ptr<BlockDevice> Open() override {
    return std::make_unique<AlignFilter>(executor_, disk_);
  }
};

class FileStack final : public DeviceStack {
 public:
  FileStack(const std::string& parent, FileDeviceOptions::Direct direct)
      : folder_(parent + "/strata-XXXXXX"), direct_(direct) {
    auto executor = UringExecutor::Create();
    CHECK(executor.has_value() && mkdtemp(folder_.data()) != nullptr);
    executor_ = *std::move(executor);
    FileDeviceOptions options;
    options.create_size_bytes = kSizeBytes;
    auto created = OpenFileDevice(*executor_, FilePath(), options);
    CHECK(created.has_value());
    const Status closed = RunSync(*executor_, (*created)->Close());
    CHECK(closed.has_value());
  }

  ~FileStack() override {
    unlink(FilePath().c_str());
    rmdir(folder_.c_str());
  }

  Executor& executor() override { return *executor_; }

  std::unique_ptr<BlockDevice> Open() override {
    FileDeviceOptions options;
    options.direct = direct_;
    auto device = OpenFileDevice(*executor_, FilePath(), options);
    CHECK(device.has_value());
    return *std::move(device);
  }

  bool shares_opens() const override { return true; }

 private:
  std::string FilePath() const { return folder_ + "/device.img"; }

  std::string folder_;
  FileDeviceOptions::Direct direct_;
  std::unique_ptr<UringExecutor> executor_;
};

// A block node: a loop device over a file in RAM. Needs root.
class LoopStack final : public DeviceStack {
 public:
  // Null where this host or user has no loop devices.
  static std::unique_ptr<DeviceStack> Make() {
    auto stack = std::make_unique<LoopStack>();
    if (stack->node_.empty()) return nullptr;
    return stack;
  }

  LoopStack() {
    const int descriptor = mkstemp(file_path_.data());
    CHECK(descriptor >= 0 && ftruncate(descriptor, kSizeBytes) == 0);
    close(descriptor);
    node_ = OutputOf("losetup --find --show " + file_path_ + " 2>/dev/null");
    if (!node_.empty()) {
      // Detached while open: the kernel takes the node down with the last one who has it open, also
      // after a crash.
      holder_ = open(node_.c_str(), O_RDONLY | O_CLOEXEC);
      OutputOf("losetup --detach " + node_);
    }
    auto executor = UringExecutor::Create();
    CHECK(executor.has_value());
    executor_ = *std::move(executor);
  }

  ~LoopStack() override {
    if (holder_ >= 0) close(holder_);
    unlink(file_path_.c_str());
  }

  Executor& executor() override { return *executor_; }

  std::unique_ptr<BlockDevice> Open() override {
    auto device = OpenFileDevice(*executor_, node_, FileDeviceOptions());
    CHECK(device.has_value());
    return *std::move(device);
  }

  bool shares_opens() const override { return true; }

 private:
  static std::string OutputOf(const std::string& command) {
    std::FILE* pipe = popen(command.c_str(), "r");
    if (!pipe) return "";
    char line[64] = "";
    if (!std::fgets(line, sizeof(line), pipe)) line[0] = 0;
    pclose(pipe);
    return {line, std::strcspn(line, "\n")};
  }

  std::string file_path_ = "/dev/shm/strata-XXXXXX";
  std::string node_;
  int holder_ = -1;
  std::unique_ptr<UringExecutor> executor_;
};

std::unique_ptr<DeviceStack> MakeSim() {
  return std::make_unique<SimStack>(512);
}

std::unique_ptr<DeviceStack> MakeLargeBlockSim() {
  return std::make_unique<SimStack>(4096);
}

std::unique_ptr<DeviceStack> MakeAlignedSim() {
  return std::make_unique<AlignedSimStack>();
}

std::unique_ptr<DeviceStack> MakeDiskFile() {
  return std::make_unique<FileStack>("/var/tmp", FileDeviceOptions::Direct::kAuto);
}

std::unique_ptr<DeviceStack> MakeBufferedDiskFile() {
  return std::make_unique<FileStack>("/var/tmp", FileDeviceOptions::Direct::kNever);
}

std::unique_ptr<DeviceStack> MakeRamFile() {
  return std::make_unique<FileStack>("/dev/shm", FileDeviceOptions::Direct::kAuto);
}

INSTANTIATE_TEST_SUITE_P(Ground, DeviceConformance,
                         testing::Values(StackFactory{"SimDisk", MakeSim},
                                         StackFactory{"SimDiskOfLargeBlocks", MakeLargeBlockSim},
                                         StackFactory{"AlignFilterOverLargeBlocks", MakeAlignedSim},
                                         StackFactory{"FileOnDisk", MakeDiskFile},
                                         StackFactory{"FileThroughPageCache", MakeBufferedDiskFile},
                                         StackFactory{"FileInRam", MakeRamFile},
                                         StackFactory{"BlockNode", LoopStack::Make}),
                         NameOfStack);

}  // namespace
}  // namespace base
