// The native multipathing plug-in (NMP), its decisions: what a completion means, which path is
// next.
//
// ESX words: a SATP (storage array type plug-in) judges completions, a PSP (path selection policy)
// chooses the path. This is the SATP of active/active devices without ALUA, and the policy FIXED.
// The field says hardware handler and path selector. Pure functions and small objects, no I/O.
// Thread rule: the executor of the device.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "fs/base/result.h"
#include "vscsi/psa/path.h"

namespace psa {

// What to do about a completion.
enum class Verdict : uint8_t {
  kDone,        // success
  kFail,        // the caller's error; no other path would help
  kRetry,       // at once, on the same path: a unit attention was absorbed
  kRetryGrown,  // read the capacity again, then at once on the same path
  kRetryLater,  // after a delay: busy, queue full, becoming ready
  kProbePath,   // the transport failed: see whether the path still answers, then retry
  kPathDead,    // next path at once
  kDeviceLost,  // this path says the unit is gone for good (PDL)
};

// VMW_SATP_DEFAULT_AA. Pure.
Verdict JudgeCompletion(const Completion& completion);

// The code of a failed completion; sense by `scsi::CodeFromSense`, host status by its meaning.
base::Code CodeOf(const Completion& completion);

using PathList = std::vector<std::unique_ptr<Path>>;

// PSP: chooses among the paths of one device. `paths` is the same list in every call.
class PathSelectionPolicy {
 public:
  virtual ~PathSelectionPolicy() = default;
  virtual std::string_view name() const = 0;
  // The path for the next command, or null when none is active. Called once per command.
  virtual Path* Select(const PathList& paths) = 0;
};

// VMW_PSP_FIXED: the preferred path, the first one, whenever it is active; else the next active
// one. Falls back to the preferred path as soon as it returns.
std::unique_ptr<PathSelectionPolicy> MakeFixedPolicy();

// One line as ESX logs it: `Cmd 0x28 to dev "naa…" on path "vmhba1:C0:T0:L0" Failed: H:0x0 D:0x2
// P:0x0 Valid sense data: 0x5 0x25 0x0`.
std::string DescribeFailure(uint8_t opcode, std::string_view device_name,
                            std::string_view path_name, const Completion& completion);

}  // namespace psa
