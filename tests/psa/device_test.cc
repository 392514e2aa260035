#include "vscsi/psa/device.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "fs/base/sim_executor.h"
#include "fs/base/sync.h"
#include "tests/scsi/memory_device.h"
#include "vscsi/psa/loopback.h"

namespace psa {
namespace {

using base::Code;
using base::IoVec;
using base::MapState;
using base::RunSync;
using scsi_test::MemoryDevice;

constexpr uint64_t kSize = 8 << 20;

// A device over one loopback path to memory.
class PsaDevice : public testing::Test {
 protected:
  explicit PsaDevice(DeviceOptions options = {}) : options_(options) {}

  void Open(uint32_t block_size_bytes = 512) {
    auto owned = std::make_unique<MemoryDevice>(kSize, block_size_bytes);
    memory_ = owned.get();
    if (prepare_) prepare_(*memory_);
    auto path = adapter_.Attach(std::move(owned), {});
    path_ = path.get();
    PathList paths;
    paths.push_back(std::move(path));
    auto opened = RunSync(executor_, Device::Open(executor_, paths, options_));
    ASSERT_TRUE(opened) << opened.error().message();
    device_ = *std::move(opened);
  }

  void TearDown() override {
    if (!device_) return;
    EXPECT_TRUE(RunSync(executor_, device_->Close()));
    EXPECT_TRUE(memory_->closed);
  }

  base::Status Write(uint64_t offset, std::vector<std::byte>& data, bool fua = false) {
    const IoVec piece{data.data(), data.size()};
    return RunSync(executor_, device_->Write({offset, {&piece, 1}, fua}));
  }
  base::Status Read(uint64_t offset, std::vector<std::byte>& data) {
    const IoVec piece{data.data(), data.size()};
    return RunSync(executor_, device_->Read({offset, {&piece, 1}}));
  }
  std::vector<base::MapRun> Map(uint64_t offset, uint64_t length) {
    std::vector<base::MapRun> runs;
    EXPECT_TRUE(RunSync(executor_, device_->MapStatus(offset, length, runs)));
    return runs;
  }

  base::SimExecutor executor_{7};
  LoopbackAdapter adapter_{0};
  DeviceOptions options_;
  void (*prepare_)(MemoryDevice&) = nullptr;
  MemoryDevice* memory_ = nullptr;
  LoopbackPath* path_ = nullptr;
  std::unique_ptr<Device> device_;
};

std::vector<std::byte> Pattern(size_t size, uint8_t seed) {
  std::vector<std::byte> data(size);
  for (size_t i = 0; i < size; ++i) data[i] = static_cast<std::byte>(seed + i * 7 + i / 251);
  return data;
}

TEST_F(PsaDevice, LearnsNameSizeAndLimitsByCommands) {
  Open();
  EXPECT_EQ(device_->size_bytes(), kSize);
  EXPECT_EQ(device_->name().substr(0, 11), "naa.6025354");
  EXPECT_EQ(device_->name().size(), 36u);
  EXPECT_EQ(device_->vml_name().substr(0, 14), "vml.0200000000");
  EXPECT_EQ(device_->vendor(), "STRATA");
  EXPECT_EQ(device_->paths().front()->name(), "vmhba0:C0:T0:L0");
  EXPECT_EQ(device_->paths().front()->state(), PathState::kActive);
  EXPECT_EQ(device_->policy_name(), "VMW_PSP_FIXED");
  const base::Limits& limits = device_->limits();
  EXPECT_EQ(limits.block_size_bytes, 512u);
  EXPECT_EQ(limits.physical_block_bytes, 4096u);
  EXPECT_EQ(limits.unmap_granularity_bytes, 4096u);
  EXPECT_TRUE(limits.can_write && limits.can_unmap && limits.can_write_zeroes);
  EXPECT_TRUE(limits.can_compare_and_write && limits.can_map_status);
}

TEST_F(PsaDevice, ReadsWhatItWrote) {
  Open();
  auto written = Pattern(12288, 3);
  ASSERT_TRUE(Write(4096, written));
  std::vector<std::byte> read(written.size());
  ASSERT_TRUE(Read(4096, read));
  EXPECT_EQ(read, written);
}

TEST_F(PsaDevice, SplitsTransfersLongerThanACommand) {
  Open();
  auto written = Pattern((3 << 20) + 512, 9);
  memory_->write_count = 0;
  ASSERT_TRUE(Write(512, written));
  EXPECT_EQ(memory_->write_count, 4);
  std::vector<std::byte> read(written.size());
  ASSERT_TRUE(Read(512, read));
  EXPECT_EQ(read, written);
}

}  // namespace
}  // namespace psa
