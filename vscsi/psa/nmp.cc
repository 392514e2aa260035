#include "vscsi/psa/nmp.h"

#include <fmt/format.h>

#include "vscsi/scsi/sense.h"

namespace psa {
namespace {

using scsi::SenseKey;
using scsi::StatusCode;

Verdict JudgeNotReady(const scsi::SenseCode& sense) {
  if (sense.asc != 0x04) return Verdict::kFail;
  switch (sense.ascq) {
    case 0x01:                               // becoming ready
    case 0x04:                               // format in progress
    case 0x09:                               // self-test in progress
    case 0x0A: return Verdict::kRetryLater;  // asymmetric access state transition
    default: return Verdict::kFail;
  }
}

bool IsDeviceLost(const scsi::SenseCode& sense) {
  const bool no_such_unit = sense.key == SenseKey::kIllegalRequest && sense.asc == 0x25;
  const bool failed_for_good = sense.key == SenseKey::kHardwareError &&
                               ((sense.asc == 0x4C && sense.ascq == 0x00) ||
                                (sense.asc == 0x3E && (sense.ascq == 0x01 || sense.ascq == 0x03)));
  return no_such_unit || failed_for_good;
}

Verdict JudgeSense(const scsi::SenseCode& sense) {
  if (IsDeviceLost(sense)) return Verdict::kDeviceLost;
  switch (sense.key) {
    case SenseKey::kRecoveredError: return Verdict::kDone;
    case SenseKey::kNotReady: return JudgeNotReady(sense);
    case SenseKey::kUnitAttention:
      return sense == scsi::kCapacityChanged ? Verdict::kRetryGrown : Verdict::kRetry;
    default: return Verdict::kFail;
  }
}

Verdict JudgeStatus(const scsi::Response& response) {
  switch (response.status) {
    case StatusCode::kGood:
    case StatusCode::kConditionMet: return Verdict::kDone;
    case StatusCode::kBusy:
    case StatusCode::kTaskSetFull: return Verdict::kRetryLater;
    case StatusCode::kCheckCondition: break;
    default: return Verdict::kFail;
  }
  const auto sense = scsi::DecodeSense(response.sense.view());
  return sense ? JudgeSense(sense->code) : Verdict::kProbePath;
}

base::Code CodeOfStatus(const scsi::Response& response) {
  switch (response.status) {
    case StatusCode::kBusy:
    case StatusCode::kTaskSetFull: return base::Code::kBusy;
    case StatusCode::kReservationConflict: return base::Code::kReservationConflict;
    case StatusCode::kTaskAborted: return base::Code::kCanceled;
    case StatusCode::kCheckCondition: break;
    default: return base::Code::kIo;
  }
  const auto sense = scsi::DecodeSense(response.sense.view());
  return sense ? scsi::CodeFromSense(sense->code) : base::Code::kIo;
}

class FixedPolicy : public PathSelectionPolicy {
 public:
  std::string_view name() const override { return "VMW_PSP_FIXED"; }

  Path* Select(const PathList& paths) override {
    for (const std::unique_ptr<Path>& path : paths) {
      if (path->state() == PathState::kActive) return path.get();
    }
    return nullptr;
  }
};

}  // namespace

Verdict JudgeCompletion(const Completion& completion) {
  switch (completion.host) {
    case HostStatus::kOk: return JudgeStatus(completion.response);
    case HostStatus::kNoConnect:
    case HostStatus::kBadTarget: return Verdict::kPathDead;
    case HostStatus::kBusBusy:
    case HostStatus::kSoftError:
    case HostStatus::kRetry: return Verdict::kRetryLater;
    case HostStatus::kTimeout:
    case HostStatus::kAbort:
    case HostStatus::kParity:
    case HostStatus::kError:
    case HostStatus::kReset: break;
  }
  return Verdict::kProbePath;
}

base::Code CodeOf(const Completion& completion) {
  switch (completion.host) {
    case HostStatus::kOk: return CodeOfStatus(completion.response);
    case HostStatus::kNoConnect:
    case HostStatus::kBadTarget: return base::Code::kPathDead;
    case HostStatus::kTimeout: return base::Code::kTimedOut;
    case HostStatus::kBusBusy: return base::Code::kBusy;
    default: return base::Code::kIo;
  }
}

std::unique_ptr<PathSelectionPolicy> MakeFixedPolicy() {
  return std::make_unique<FixedPolicy>();
}

std::string DescribeFailure(uint8_t opcode, std::string_view device_name,
                            std::string_view path_name, const Completion& completion) {
  std::string text = fmt::format(
      "Cmd {:#x} to dev \"{}\" on path \"{}\" Failed: H:{:#x} D:{:#x} P:{:#x}", opcode, device_name,
      path_name, static_cast<unsigned>(completion.host),
      static_cast<unsigned>(completion.response.status), static_cast<unsigned>(completion.plugin));
  const auto sense = scsi::DecodeSense(completion.response.sense.view());
  if (completion.host == HostStatus::kOk && sense) {
    text += fmt::format(" Valid sense data: {:#x} {:#x} {:#x}",
                        static_cast<unsigned>(sense->code.key), sense->code.asc, sense->code.ascq);
  }
  return text;
}

}  // namespace psa
