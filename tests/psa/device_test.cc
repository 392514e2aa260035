#include "vscsi/psa/device.h"

#include <cstring>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

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

TEST_F(PsaDevice, NamesASplitFailureOnce) {
  Open();
  auto data = Pattern(3 << 20, 1);
  memory_->failure = Code::kMedium;
  EXPECT_EQ(Write(0, data).error().code(), Code::kMedium);
}

TEST_F(PsaDevice, RefusesMisalignedAndOutOfRangeTransfers) {
  Open();
  std::vector<std::byte> data(512);
  EXPECT_EQ(Read(100, data).error().code(), Code::kMisaligned);
  EXPECT_EQ(Read(kSize, data).error().code(), Code::kOutOfRange);
  EXPECT_EQ(RunSync(executor_, device_->Unmap(kSize, 512)).error().code(), Code::kOutOfRange);
  EXPECT_EQ(memory_->outside_count, 0);
}

TEST_F(PsaDevice, CodesOfTheBackingDeviceArriveAsTheyWere) {
  Open();
  std::vector<std::byte> data(512);
  for (const Code code : {Code::kIo, Code::kMedium, Code::kNoSpace, Code::kReadOnly,
                          Code::kTimedOut, Code::kCanceled, Code::kReservationConflict}) {
    memory_->failure = code;
    EXPECT_EQ(Read(0, data).error().code(), code) << base::InfoOf(code).name;
    EXPECT_EQ(RunSync(executor_, device_->Flush()).error().code(), code);
  }
  memory_->failure.reset();
  EXPECT_TRUE(Read(0, data));
}

TEST_F(PsaDevice, AFailureNamesCommandDeviceAndPath) {
  Open();
  std::vector<std::byte> data(512);
  memory_->failure = Code::kMedium;
  const std::string message = Read(0, data).error().message();
  EXPECT_EQ(message, "Cmd 0x88 to dev \"" + device_->name() +
                         "\" on path \"vmhba0:C0:T0:L0\" Failed: H:0x0 D:0x2 P:0x0 "
                         "Valid sense data: 0x3 0x11 0x0");
  memory_->failure.reset();
}

TEST_F(PsaDevice, CompareAndWriteTellsMiscompareFromSuccess) {
  Open();
  const auto zero = std::vector<std::byte>(512), first = Pattern(512, 1), second = Pattern(512, 2);
  EXPECT_TRUE(RunSync(executor_, device_->CompareAndWrite(1024, zero, first)));
  const auto again = RunSync(executor_, device_->CompareAndWrite(1024, zero, second));
  EXPECT_EQ(again.error().code(), Code::kMiscompare);
  EXPECT_TRUE(RunSync(executor_, device_->CompareAndWrite(1024, first, second)));
  std::vector<std::byte> read(512);
  ASSERT_TRUE(Read(1024, read));
  EXPECT_EQ(read, second);
}

TEST_F(PsaDevice, MapStatusSurvivesTheWire) {
  Open();
  auto data = Pattern(8192, 1);
  ASSERT_TRUE(Write(4096, data));
  ASSERT_TRUE(RunSync(executor_, device_->WriteZeroes(16384, 4096, /*may_unmap=*/false)));
  const std::vector<base::MapRun> expected = {{0, 4096, MapState::kHole},
                                              {4096, 8192, MapState::kData},
                                              {12288, 4096, MapState::kHole},
                                              {16384, 4096, MapState::kZero},
                                              {20480, kSize - 20480, MapState::kHole}};
  EXPECT_EQ(Map(0, kSize), expected);
  EXPECT_EQ(Map(4608, 512), (std::vector<base::MapRun>{{4608, 512, MapState::kData}}));
  ASSERT_TRUE(RunSync(executor_, device_->Unmap(4096, 8192)));
  ASSERT_TRUE(RunSync(executor_, device_->WriteZeroes(16384, 4096, /*may_unmap=*/true)));
  EXPECT_EQ(Map(0, kSize), (std::vector<base::MapRun>{{0, kSize, MapState::kHole}}));
}

TEST_F(PsaDevice, MapStatusNeedsManyCommandsForAFragmentedDevice) {
  Open();
  auto data = Pattern(4096, 1);
  for (uint64_t at = 0; at < kSize; at += 8192) ASSERT_TRUE(Write(at, data));
  EXPECT_EQ(Map(0, kSize).size(), kSize / 4096);
}

TEST_F(PsaDevice, NoticesGrowthWithTheNextCommand) {
  Open();
  memory_->Grow(2 * kSize);
  EXPECT_EQ(device_->size_bytes(), kSize);
  auto data = Pattern(4096, 1);
  EXPECT_TRUE(Write(2 * kSize - 4096, data));
  EXPECT_EQ(device_->size_bytes(), 2 * kSize);
  memory_->Grow(3 * kSize);
  EXPECT_TRUE(RunSync(executor_, device_->Rescan()));
  EXPECT_EQ(device_->size_bytes(), 3 * kSize);
}

TEST_F(PsaDevice, ReportsAllPathsDownAndComesBack) {
  Open();
  std::vector<std::byte> data(512);
  path_->set_connected(false);
  const base::Status down = Read(0, data);
  EXPECT_EQ(down.error().code(), Code::kPathDead);
  EXPECT_NE(down.error().message().find("all paths down"), std::string::npos);
  EXPECT_EQ(path_->state(), PathState::kDead);
  EXPECT_EQ(RunSync(executor_, device_->Rescan()).error().code(), Code::kPathDead);
  path_->set_connected(true);
  EXPECT_TRUE(Read(0, data));
  EXPECT_EQ(path_->state(), PathState::kActive);
}

TEST_F(PsaDevice, ADiskThatIsGoneIsLostOnEveryPath) {
  Open();
  std::vector<std::byte> data(512);
  memory_->failure = Code::kDeviceLost;
  EXPECT_EQ(Read(0, data).error().code(), Code::kDeviceLost);
  memory_->failure.reset();
}

TEST_F(PsaDevice, PassesRawCommandsThrough) {
  Open();
  std::vector<std::byte> data(96);
  const IoVec piece{data.data(), data.size()};
  scsi::Command command;
  command.cdb = scsi::EncodeInquiry({false, 0, 96});
  command.direction = scsi::Direction::kIn;
  command.data = {&piece, 1};
  EXPECT_TRUE(RunSync(executor_, device_->Execute(command)).good());
  EXPECT_EQ(scsi::DecodeInquiryData(data)->product, "Virtual disk");
  command.cdb.bytes[0] = 0xC1;
  const Completion refused = RunSync(executor_, device_->Execute(command));
  EXPECT_EQ(scsi::DecodeSense(refused.response.sense.view())->code, scsi::kInvalidOpcode);
  path_->set_connected(false);
  EXPECT_EQ(RunSync(executor_, device_->Execute(command)).host, HostStatus::kNoConnect);
}

TEST_F(PsaDevice, ReadOnlyAndThickUnitsSaySo) {
  prepare_ = [](MemoryDevice& memory) {
    memory.mutable_limits().can_write = false;
    memory.mutable_limits().can_unmap = memory.mutable_limits().can_write_zeroes = false;
    memory.mutable_limits().can_compare_and_write = false;
    memory.mutable_limits().can_map_status = false;
    memory.mutable_limits().memory_alignment_bytes = 512;
  };
  Open();
  const base::Limits& limits = device_->limits();
  EXPECT_FALSE(limits.can_write || limits.can_unmap || limits.can_write_zeroes);
  EXPECT_FALSE(limits.can_compare_and_write || limits.can_map_status);
  EXPECT_EQ(limits.memory_alignment_bytes, 512u);
  EXPECT_EQ(Map(0, 4096), (std::vector<base::MapRun>{{0, 4096, MapState::kData}}));
  std::vector<std::byte> data(512);
  EXPECT_EQ(Write(0, data).error().code(), Code::kReadOnly);
  EXPECT_EQ(RunSync(executor_, device_->Unmap(0, 512)).error().code(), Code::kUnsupported);
}

TEST_F(PsaDevice, TwoPathsFailOverAndBack) {
  auto owned = std::make_unique<MemoryDevice>(kSize);
  auto target = std::make_shared<LoopbackTarget>(std::move(owned), scsi::TargetOptions{});
  auto first = adapter_.Connect(target), second = adapter_.Connect(target);
  LoopbackPath& preferred = *first;
  LoopbackPath& other = *second;
  PathList paths;
  paths.push_back(std::move(first));
  paths.push_back(std::move(second));
  auto opened = RunSync(executor_, Device::Open(executor_, paths, {}));
  ASSERT_TRUE(opened);
  Device& device = **opened;
  auto data = Pattern(512, 1);
  const IoVec piece{data.data(), data.size()};
  preferred.set_connected(false);
  EXPECT_TRUE(RunSync(executor_, device.Write({0, {&piece, 1}})));
  EXPECT_EQ(preferred.state(), PathState::kDead);
  preferred.set_connected(true);
  EXPECT_TRUE(RunSync(executor_, device.Rescan()));
  other.set_connected(false);
  EXPECT_TRUE(RunSync(executor_, device.Read({0, {&piece, 1}})));
  EXPECT_EQ(other.state(), PathState::kActive);  // not used, so not missed
  EXPECT_TRUE(RunSync(executor_, device.Close()));
}

TEST_F(PsaDevice, RefusesPathsToDifferentUnits) {
  PathList paths;
  for (uint8_t i = 1; i <= 2; ++i) {
    scsi::TargetOptions options;
    options.identity[0] = i;
    paths.push_back(adapter_.Attach(std::make_unique<MemoryDevice>(kSize), options));
  }
  const auto opened = RunSync(executor_, Device::Open(executor_, paths, {}));
  EXPECT_EQ(opened.error().code(), Code::kInvalidArgument);
  PathList none;
  EXPECT_EQ(RunSync(executor_, Device::Open(executor_, none, {})).error().code(),
            Code::kInvalidArgument);
}

// A path that answers its next commands from a script, else passes them on.
class ScriptedPath : public Path {
 public:
  explicit ScriptedPath(std::unique_ptr<Path> child)
      : Path(child->address()), child_(std::move(child)) {}

  uint32_t buffer_alignment_bytes() const override { return child_->buffer_alignment_bytes(); }

  base::Task<base::Status> Close() override { return child_->Close(); }

  base::Task<Completion> Execute(scsi::Command command) override {
    ++execute_count;
    if (script.empty()) {
      const Completion completion = co_await child_->Execute(command);
      co_return completion;
    }
    const Completion scripted = script.front();
    script.erase(script.begin());
    if (runs_scripted) co_await child_->Execute(command);
    co_return scripted;
  }

  std::vector<Completion> script;
  bool runs_scripted = false;  // the work is done although the answer says otherwise
  int execute_count = 0;

 private:
  std::unique_ptr<Path> child_;
};

class ScriptedDevice : public PsaDevice {
 protected:
  void SetUp() override {
    auto owned = std::make_unique<MemoryDevice>(kSize);
    memory_ = owned.get();
    auto scripted = std::make_unique<ScriptedPath>(adapter_.Attach(std::move(owned), {}));
    scripted_ = scripted.get();
    PathList paths;
    paths.push_back(std::move(scripted));
    auto opened = RunSync(executor_, Device::Open(executor_, paths, {}));
    ASSERT_TRUE(opened);
    device_ = *std::move(opened);
    scripted_->execute_count = 0;
  }

  static Completion Host(HostStatus host) {
    Completion completion;
    completion.host = host;
    return completion;
  }

  static Completion Answer(scsi::StatusCode status) {
    Completion completion;
    completion.response.status = status;
    return completion;
  }

  static Completion Attention() {
    Completion completion;
    completion.response = scsi::CheckCondition(scsi::Sense{.code = scsi::kPowerOnOccurred},
                                               scsi::SenseFormat::kDescriptor);
    return completion;
  }

  ScriptedPath* scripted_ = nullptr;
};

TEST_F(ScriptedDevice, AbsorbsUnitAttentions) {
  scripted_->script = {Attention(), Attention(), Attention()};
  std::vector<std::byte> data(512);
  EXPECT_TRUE(Read(0, data));
  EXPECT_EQ(scripted_->execute_count, 4);
}

TEST_F(ScriptedDevice, GivesUpOnEndlessUnitAttentions) {
  scripted_->script.assign(1000, Attention());
  std::vector<std::byte> data(512);
  EXPECT_EQ(Read(0, data).error().code(), Code::kBusy);
  EXPECT_LE(scripted_->execute_count, 17);
}

TEST_F(ScriptedDevice, WaitsLongerEachTimeForABusyUnit) {
  scripted_->script.assign(5, Answer(scsi::StatusCode::kBusy));
  std::vector<std::byte> data(512);
  const uint64_t start_us = executor_.NowMicroseconds();
  EXPECT_TRUE(Read(0, data));
  // 1, 1, 2, 4 and 8 ms: as long as was waited before, at least the first delay.
  EXPECT_EQ(executor_.NowMicroseconds() - start_us, 16'000u);
}

TEST_F(ScriptedDevice, GivesUpOnAUnitThatStaysBusy) {
  scripted_->script.assign(1000, Answer(scsi::StatusCode::kTaskSetFull));
  std::vector<std::byte> data(512);
  const uint64_t start_us = executor_.NowMicroseconds();
  EXPECT_EQ(Read(0, data).error().code(), Code::kBusy);
  EXPECT_LE(executor_.NowMicroseconds() - start_us, 31'000'000u);
}

TEST_F(ScriptedDevice, ProbesThePathAfterATimeoutAndRetries) {
  scripted_->script = {Host(HostStatus::kTimeout)};
  std::vector<std::byte> data(512);
  EXPECT_TRUE(Read(0, data));
  EXPECT_EQ(scripted_->execute_count, 3);  // read, TEST UNIT READY, read
}

TEST_F(ScriptedDevice, ALostAnswerToCompareAndWriteIsNotAMiscompare) {
  const auto zero = std::vector<std::byte>(512), mine = Pattern(512, 1);
  scripted_->script = {Host(HostStatus::kTimeout)};
  scripted_->runs_scripted = true;
  EXPECT_TRUE(RunSync(executor_, device_->CompareAndWrite(0, zero, mine)));
  scripted_->script = {Host(HostStatus::kTimeout)};
  const auto other = Pattern(512, 9);
  const auto lost = RunSync(executor_, device_->CompareAndWrite(0, zero, other));
  EXPECT_EQ(lost.error().code(), Code::kMiscompare);
}

TEST_F(ScriptedDevice, WritesZerosWhereWriteSameIsUnknown) {
  auto data = Pattern(300 * 1024, 1);
  ASSERT_TRUE(Write(0, data));
  Completion refused;
  refused.response =
      scsi::CheckCondition(scsi::Sense{.code = scsi::kInvalidOpcode}, scsi::SenseFormat::kFixed);
  scripted_->script = {refused};
  ASSERT_TRUE(RunSync(executor_, device_->WriteZeroes(512, data.size() - 1024, true)));
  std::fill(data.begin() + 512, data.end() - 512, std::byte{0});
  std::vector<std::byte> read(data.size());
  ASSERT_TRUE(Read(0, read));
  EXPECT_EQ(read, data);
}

TEST_F(ScriptedDevice, AShortTransferIsAnError) {
  Completion shorter;
  shorter.response.residual_bytes = 512;
  scripted_->script = {shorter};
  std::vector<std::byte> data(1024);
  EXPECT_EQ(Read(0, data).error().code(), Code::kIo);
}

}  // namespace
}  // namespace psa
