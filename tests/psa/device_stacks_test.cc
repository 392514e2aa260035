// The conformance suite of block devices over SCSI paths.
#include <memory>

#include "fs/base/checked.h"
#include "fs/base/sim_executor.h"
#include "tests/base/device_conformance.h"
#include "tests/support/sim_disk.h"
#include "vscsi/psa/device.h"
#include "vscsi/psa/loopback.h"

namespace psa {
namespace {

// Each open is a device of its own, over two paths to a target of its own, on one simulated disk.
class PsaStack final : public base::DeviceStack {
 public:
  explicit PsaStack(uint32_t block_size_bytes, DeviceOptions options)
      : options_(options), disk_(executor_, MakeOptions(block_size_bytes)) {}

  base::Executor& executor() override { return executor_; }

  std::unique_ptr<base::BlockDevice> Open() override {
    auto target = std::make_shared<LoopbackTarget>(base::CheckedView(disk_), scsi::TargetOptions{});
    PathList paths;
    paths.push_back(adapter_.Connect(target));
    paths.push_back(adapter_.Connect(target));
    auto device = base::RunSync(executor_, Device::Open(executor_, paths, options_));
    CHECK(device.has_value());
    return *std::move(device);
  }

  bool shares_opens() const override { return true; }

 private:
  static base::SimDisk::Options MakeOptions(uint32_t block_size_bytes) {
    base::SimDisk::Options options;
    options.size_bytes = 16 << 20;
    options.block_size_bytes = block_size_bytes;
    options.logging = false;
    options.latency_us_min = 10;
    options.latency_us_max = 500;
    return options;
  }

  base::SimExecutor executor_{7};
  LoopbackAdapter adapter_{0};
  DeviceOptions options_;
  base::SimDisk disk_;
};

std::unique_ptr<base::DeviceStack> MakeStack() {
  return std::make_unique<PsaStack>(512, DeviceOptions{});
}

std::unique_ptr<base::DeviceStack> MakeLargeBlockStack() {
  return std::make_unique<PsaStack>(4096, DeviceOptions{});
}

std::unique_ptr<base::DeviceStack> MakeShallowStack() {
  DeviceOptions options;
  options.queue_depth = 1;
  return std::make_unique<PsaStack>(512, options);
}

}  // namespace
}  // namespace psa

namespace base {
namespace {

INSTANTIATE_TEST_SUITE_P(Psa, DeviceConformance,
                         testing::Values(StackFactory{"Loopback", psa::MakeStack},
                                         StackFactory{"LargeBlocks", psa::MakeLargeBlockStack},
                                         StackFactory{"QueueDepthOne", psa::MakeShallowStack}),
                         NameOfStack);

}  // namespace
}  // namespace base
