// `psa::Path`: carries one SCSI command to one logical unit over one adapter.
//
// ESX names a path by where it runs: vmhbaN:C:T:L, adapter, channel, target, LUN. The field says
// I_T_L nexus. A command ends in a status triple H:/D:/P:, host, device and plug-in. Thread rule:
// the executor of the device that claimed the path. Place in the stack: above the adapters
// (loopback, iSCSI), below `psa::Device`.
#pragma once

#include <cstdint>
#include <string>

#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vscsi/scsi/command.h"

namespace psa {

// H: what the adapter says about the transfer. The numbers are those of ESX logs.
enum class HostStatus : uint8_t {
  kOk = 0x0,
  kNoConnect = 0x1,
  kBusBusy = 0x2,
  kTimeout = 0x3,
  kBadTarget = 0x4,
  kAbort = 0x5,
  kParity = 0x6,
  kError = 0x7,
  kReset = 0x8,
  kSoftError = 0xB,
  kRetry = 0xC,
};

// P: what the multipathing plug-in adds.
enum class PluginStatus : uint8_t { kGood = 0x0, kTransient = 0x1 };

class Path;

// How a command ended. `response` means something with HostStatus::kOk only.
struct Completion {
  HostStatus host = HostStatus::kOk;
  PluginStatus plugin = PluginStatus::kGood;
  scsi::Response response;
  const Path* path = nullptr;  // that carried it last; filled in by `Device`

  bool good() const {
    return host == HostStatus::kOk && response.status == scsi::StatusCode::kGood;
  }
};

static_assert(std::is_trivially_destructible_v<Completion>);

// `kOff` is the administrator's word; `kDead` what I/O or probing found out.
enum class PathState : uint8_t { kActive, kStandby, kDead, kOff, kUnknown };

struct PathAddress {
  uint32_t adapter = 0;
  uint32_t channel = 0;
  uint32_t target = 0;
  uint32_t lun = 0;

  std::string ToString() const;  // "vmhba0:C0:T3:L0"
  friend bool operator==(const PathAddress&, const PathAddress&) = default;
};

class Path {
 public:
  virtual ~Path() = default;
  Path(const Path&) = delete;
  Path& operator=(const Path&) = delete;

  const PathAddress& address() const { return address_; }

  const std::string& name() const { return name_; }

  PathState state() const { return state_; }

  // Set by whoever claimed the path, and by the administrator.
  void set_state(PathState state) { state_ = state; }

  // What the adapter's transfers need: the alignment of every piece of a buffer.
  virtual uint32_t buffer_alignment_bytes() const = 0;

  // Carries out one command, whatever `state()` says. Never retries and always answers; what went
  // wrong stands in the completion. The buffers stay valid until then.
  virtual base::Task<Completion> Execute(scsi::Command command) = 0;

  // Ends use. No command is in flight and none follows. Errors: those of the adapter, kIo.
  virtual base::Task<base::Status> Close() = 0;

 protected:
  explicit Path(const PathAddress& address) : address_(address), name_(address.ToString()) {}

 private:
  PathAddress address_;
  std::string name_;
  PathState state_ = PathState::kUnknown;
};

}  // namespace psa
