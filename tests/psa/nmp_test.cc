#include "vscsi/psa/nmp.h"

#include <gtest/gtest.h>

#include "fs/base/sim_executor.h"
#include "vscsi/psa/device_name.h"
#include "vscsi/psa/slot_queue.h"

namespace psa {
namespace {

using base::Code;
using scsi::SenseKey;

Completion WithSense(scsi::SenseCode code) {
  Completion completion;
  completion.response = scsi::CheckCondition(scsi::Sense{.code = code}, scsi::SenseFormat::kFixed);
  return completion;
}

Completion WithHost(HostStatus host) {
  Completion completion;
  completion.host = host;
  return completion;
}

Completion WithStatus(scsi::StatusCode status) {
  Completion completion;
  completion.response.status = status;
  return completion;
}

TEST(Nmp, JudgesHostStatus) {
  EXPECT_EQ(JudgeCompletion(Completion{}), Verdict::kDone);
  EXPECT_EQ(JudgeCompletion(WithHost(HostStatus::kNoConnect)), Verdict::kPathDead);
  EXPECT_EQ(JudgeCompletion(WithHost(HostStatus::kTimeout)), Verdict::kProbePath);
  EXPECT_EQ(JudgeCompletion(WithHost(HostStatus::kReset)), Verdict::kProbePath);
  EXPECT_EQ(JudgeCompletion(WithHost(HostStatus::kBusBusy)), Verdict::kRetryLater);
  EXPECT_EQ(JudgeCompletion(WithHost(HostStatus::kSoftError)), Verdict::kRetryLater);
}

TEST(Nmp, JudgesDeviceStatus) {
  EXPECT_EQ(JudgeCompletion(WithStatus(scsi::StatusCode::kBusy)), Verdict::kRetryLater);
  EXPECT_EQ(JudgeCompletion(WithStatus(scsi::StatusCode::kTaskSetFull)), Verdict::kRetryLater);
  EXPECT_EQ(JudgeCompletion(WithStatus(scsi::StatusCode::kReservationConflict)), Verdict::kFail);
  EXPECT_EQ(JudgeCompletion(WithStatus(scsi::StatusCode::kCheckCondition)), Verdict::kProbePath);
}

TEST(Nmp, JudgesSense) {
  const auto judge = [](SenseKey key, uint8_t asc, uint8_t ascq) {
    return JudgeCompletion(WithSense({key, asc, ascq}));
  };
  EXPECT_EQ(judge(SenseKey::kRecoveredError, 0x17, 0), Verdict::kDone);
  EXPECT_EQ(judge(SenseKey::kUnitAttention, 0x29, 0), Verdict::kRetry);
  EXPECT_EQ(judge(SenseKey::kUnitAttention, 0x2A, 0x09), Verdict::kRetryGrown);
  EXPECT_EQ(judge(SenseKey::kNotReady, 0x04, 0x0A), Verdict::kRetryLater);
  EXPECT_EQ(judge(SenseKey::kNotReady, 0x3A, 0), Verdict::kFail);
  EXPECT_EQ(judge(SenseKey::kIllegalRequest, 0x25, 0), Verdict::kDeviceLost);
  EXPECT_EQ(judge(SenseKey::kHardwareError, 0x4C, 0), Verdict::kDeviceLost);
  EXPECT_EQ(judge(SenseKey::kMediumError, 0x11, 0), Verdict::kFail);
  EXPECT_EQ(judge(SenseKey::kMiscompare, 0x1D, 0), Verdict::kFail);
  EXPECT_EQ(judge(SenseKey::kDataProtect, 0x27, 7), Verdict::kFail);
}

TEST(Nmp, GivesEachFailureItsCode) {
  EXPECT_EQ(CodeOf(WithHost(HostStatus::kNoConnect)), Code::kPathDead);
  EXPECT_EQ(CodeOf(WithHost(HostStatus::kTimeout)), Code::kTimedOut);
  EXPECT_EQ(CodeOf(WithHost(HostStatus::kError)), Code::kIo);
  EXPECT_EQ(CodeOf(WithStatus(scsi::StatusCode::kBusy)), Code::kBusy);
  EXPECT_EQ(CodeOf(WithStatus(scsi::StatusCode::kReservationConflict)), Code::kReservationConflict);
  EXPECT_EQ(CodeOf(WithSense({SenseKey::kDataProtect, 0x27, 7})), Code::kNoSpace);
}

TEST(Nmp, DescribesAFailureAsEsxLogsIt) {
  EXPECT_EQ(DescribeFailure(0x28, "naa.6001", "vmhba1:C0:T0:L0",
                            WithSense({SenseKey::kIllegalRequest, 0x25, 0})),
            "Cmd 0x28 to dev \"naa.6001\" on path \"vmhba1:C0:T0:L0\" Failed: H:0x0 D:0x2 P:0x0 "
            "Valid sense data: 0x5 0x25 0x0");
  EXPECT_EQ(DescribeFailure(0x8A, "d", "p", WithHost(HostStatus::kNoConnect)),
            "Cmd 0x8a to dev \"d\" on path \"p\" Failed: H:0x1 D:0x0 P:0x0");
}

TEST(DeviceName, PrefersTheStablestDesignator) {
  const PathAddress path{1, 0, 2, 3};
  const scsi::Designator vendor{2, scsi::kDesignatorT10VendorId, 0, {'A', ' ', 'b', '/'}};
  const scsi::Designator eui{1, scsi::kDesignatorEui64, 0, {0x01, 0xAB}};
  const scsi::Designator naa{1, scsi::kDesignatorNaa, 0, {0x60, 0x0C}};
  const scsi::Designator port{1, scsi::kDesignatorNaa, 1, {0x50}};
  const auto name = [&](std::vector<scsi::Designator> list) { return DeviceNameOf(list, path); };
  EXPECT_EQ(name({vendor, eui, naa}), "naa.600c");
  EXPECT_EQ(name({vendor, eui, port}), "eui.01ab");
  EXPECT_EQ(name({vendor}), "t10.A_b_");
  EXPECT_EQ(name({port}), "mpx.vmhba1:C0:T2:L3");
  EXPECT_EQ(VmlNameOf(std::vector{naa}, path, "Virt"), "vml.0200030000600c566972742020");
  EXPECT_EQ(VmlNameOf({}, path, "Virt"), "");
}

base::Task<void> Hold(base::Executor& executor, SlotQueue& queue, int id, uint64_t us,
                      std::vector<int>& order) {
  co_await queue.Acquire();
  const SlotGuard slot(queue);
  CHECK(queue.used_count() <= queue.depth());
  order.push_back(id);
  co_await executor.Sleep(us);
}

TEST(SlotQueue, ServesInTheOrderOfArrivalWithinItsDepth) {
  base::SimExecutor executor(3);
  SlotQueue queue(executor, 2);
  std::vector<int> order;
  for (int id = 0; id < 6; ++id) {
    executor.Spawn(Hold(executor, queue, id, id == 0 ? 1000 : 10, order));
  }
  EXPECT_EQ(queue.used_count(), 2u);
  EXPECT_EQ(queue.waiting_count(), 4u);
  executor.RunUntil(executor.NowMicroseconds() + 10'000);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(queue.used_count(), 0u);
}

}  // namespace
}  // namespace psa
