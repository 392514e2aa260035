// The loopback adapter: paths that lead to a `scsi::Target` in this process.
//
// ESX word: vmhba, an adapter; here one without a cable. Every backing device becomes a target of
// its own with one logical unit, 0; any number of paths may lead to it, each its own nexus. Thread
// rule: the executor of the backing device.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "fs/base/block_device.h"
#include "vscsi/psa/path.h"
#include "vscsi/scsi/target.h"

namespace psa {

// A target that the paths to it share; the last path to close, closes the backing device.
struct LoopbackTarget {
  LoopbackTarget(std::unique_ptr<base::BlockDevice> backing, scsi::TargetOptions options)
      : target(std::move(backing), std::move(options)) {}

  scsi::Target target;
  uint32_t open_path_count = 0;
};

class LoopbackPath : public Path {
 public:
  // `target` is shared by the paths that lead to it.
  LoopbackPath(const PathAddress& address, std::shared_ptr<LoopbackTarget> target);
  ~LoopbackPath() override;

  uint32_t buffer_alignment_bytes() const override;
  base::Task<Completion> Execute(scsi::Command command) override;
  base::Task<base::Status> Close() override;

  // Pulls or plugs the cable: without it every command ends with H:1, no connect.
  void set_connected(bool connected) { connected_ = connected; }

 private:
  std::shared_ptr<LoopbackTarget> target_;
  scsi::Nexus nexus_;
  bool connected_ = true;
};

// Hands out addresses vmhbaN:C0:T0:L0, T1, … in the order of attaching.
class LoopbackAdapter {
 public:
  explicit LoopbackAdapter(uint32_t number) : number_(number) {}

  // One path to a new target over `backing`.
  std::unique_ptr<LoopbackPath> Attach(std::unique_ptr<base::BlockDevice> backing,
                                       scsi::TargetOptions options);

  // One more path to `target`: a second way to the same unit.
  std::unique_ptr<LoopbackPath> Connect(std::shared_ptr<LoopbackTarget> target);

 private:
  uint32_t number_;
  uint32_t next_target_ = 0;
};

}  // namespace psa
