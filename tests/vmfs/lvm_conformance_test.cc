// The device conformance suite over a logical volume whose devices meet in its middle.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fs/base/device_filter.h"
#include "fs/base/sim_executor.h"
#include "tests/base/device_conformance.h"
#include "tests/support/sim_disk.h"
#include "vmfs/lvm_device.h"

namespace vmfs {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

// A logical volume that owns its opens of the disks.
class OwningVolume final : public base::DeviceFilter {
 public:
  OwningVolume(std::vector<std::unique_ptr<base::BlockDevice>> disks,
               std::unique_ptr<base::BlockDevice> volume)
      : DeviceFilter(*volume), disks_(std::move(disks)), volume_(std::move(volume)) {}

 private:
  const std::vector<std::unique_ptr<base::BlockDevice>> disks_;
  const std::unique_ptr<base::BlockDevice> volume_;
};

class SimOpen final : public base::DeviceFilter {
 public:
  explicit SimOpen(base::SimDisk& disk) : DeviceFilter(disk) {}
};

class LvmStack final : public base::DeviceStack {
 public:
  LvmStack() : first_(executor_, Options()), second_(executor_, Options()) {}
  base::Executor& executor() override { return executor_; }
  bool shares_opens() const override { return true; }
  std::unique_ptr<base::BlockDevice> Open() override {
    std::vector<std::unique_ptr<base::BlockDevice>> disks;
    disks.push_back(std::make_unique<SimOpen>(first_));
    disks.push_back(std::make_unique<SimOpen>(second_));
    base::BlockDevice* const devices[] = {disks[0].get(), disks[1].get()};
    // Three runs: the volume goes from one disk to the other and back.
    std::vector<LvmRun> runs = {{0, 4 * kMiB, 0, 8 * kMiB},
                                {4 * kMiB, 4 * kMiB, 1, kMiB},
                                {8 * kMiB, 2 * kMiB, 0, 0}};
    auto volume = MakeLvmDevice(devices, std::move(runs), "lvm");
    return std::make_unique<OwningVolume>(std::move(disks), std::move(volume));
  }

 private:
  static base::SimDisk::Options Options() {
    base::SimDisk::Options options;
    options.size_bytes = 16 * kMiB;
    options.logging = false;
    return options;
  }

  base::SimExecutor executor_{11};
  base::SimDisk first_, second_;
};

std::unique_ptr<base::DeviceStack> MakeLvmStack() { return std::make_unique<LvmStack>(); }

}  // namespace
}  // namespace vmfs

namespace base {

INSTANTIATE_TEST_SUITE_P(LogicalVolume, DeviceConformance,
                         testing::Values(StackFactory{"TwoDisks", vmfs::MakeLvmStack}),
                         NameOfStack);

}  // namespace base
