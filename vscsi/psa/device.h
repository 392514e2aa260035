// `psa::Device`: a block device made of SCSI commands on the paths that the NMP chose.
//
// Block calls become CDBs, wait for a place in the device queue, travel over the path of the
// moment, and come back as sense data, which becomes a `base::Code` by the one error table. Unit
// attentions are absorbed, busy answers retried with a bounded delay, dead paths left for the next.
// Everything the device knows about its unit it has asked by INQUIRY, MODE SENSE and READ CAPACITY.
// ESX words: PSA device, NMP; the field says multipath device. Thread rule: one executor, that of
// its paths. Place in the stack: below volumes and RDMs, above the adapters.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/base/executor.h"
#include "vscsi/psa/nmp.h"
#include "vscsi/psa/path.h"
#include "vscsi/psa/slot_queue.h"
#include "vscsi/scsi/parameter_data.h"

namespace psa {

struct DeviceOptions {
  uint32_t queue_depth = 64;               // commands in flight on the device
  uint32_t transfer_bytes_max = 4 << 20;   // of one Read or Write; longer than a command: split
  uint32_t retry_count_max = 16;           // of one command, absorbed attentions included
  uint64_t busy_delay_us = 1'000;          // before the first retry of a busy unit; doubles,
  uint64_t busy_delay_us_max = 1'000'000;  // up to this
  uint64_t busy_total_us_max = 30'000'000;
};

class Device final : public base::BlockDevice {
 public:
  // Claims `paths`, which is left empty: brings up those that answer, makes sure that they lead to
  // one unit, and asks it for its name, size and limits. On failure the paths are closed.
  // Errors: kInvalidArgument (no path, or paths to different units), kPathDead (none answers),
  // kUnsupported (not a block device, or blocks above 4096 bytes), kIo, kDeviceLost, kParseError.
  static base::Task<base::Result<std::unique_ptr<Device>>> Open(base::Executor& executor,
                                                                PathList& paths,
                                                                DeviceOptions options);

  const base::Limits& limits() const override { return limits_; }

  uint64_t size_bytes() const override { return size_bytes_; }

  const std::string& name() const override { return name_; }

  base::Task<base::Status> Read(base::IoRequest request) override;
  base::Task<base::Status> Write(base::IoRequest request) override;
  base::Task<base::Status> Flush() override;
  base::Task<base::Status> Unmap(uint64_t offset_bytes, uint64_t length_bytes) override;
  base::Task<base::Status> WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes,
                                       bool may_unmap) override;
  base::Task<base::Status> CompareAndWrite(uint64_t offset_bytes,
                                           std::span<const std::byte> expected,
                                           std::span<const std::byte> replacement) override;
  base::Task<base::Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                     std::vector<base::MapRun>& runs) override;

  // Waits for what is in flight, then closes the paths. Errors: the first one of a path.
  base::Task<base::Status> Close() override;

  // One raw command, for RDM pass-through: queued and sent on the path of the moment. Sense data,
  // unit attentions included, go to the caller untouched; only a path without connection is left
  // for the next one.
  base::Task<Completion> Execute(scsi::Command command);

  // Tries every path that is not off and reads the capacity again. Errors: kPathDead when none
  // answers.
  base::Task<base::Status> Rescan();

  const std::string& vml_name() const { return vml_name_; }

  const std::string& vendor() const { return vendor_; }

  const std::string& product() const { return product_; }

  const PathList& paths() const { return paths_; }

  std::string_view policy_name() const { return policy_->name(); }

  const SlotQueue& queue() const { return queue_; }

 private:
  Device(base::Executor& executor, PathList& paths, DeviceOptions options);

  // What opening learns (`device_open.cc`).
  base::Task<base::Status> Discover();
  base::Task<base::Status> Identify();
  base::Task<base::Status> ReadBlockLimits();
  base::Task<base::Status> ReadModeHeader();
  base::Task<base::Status> ReadCapacity();
  base::Task<base::Status> ProbeMapStatus();
  base::Task<bool> Probe(Path& path);
  base::Task<base::Status> ProbeAll();
  base::Task<bool> RefreshCapacity(Path& path);
  void TakeCapacity(const scsi::Capacity& capacity);

  // Commands (`device.cc`). `Run` is the data path: one coroutine from the queue to the path.
  base::Task<base::Status> Run(scsi::Command command);
  base::Task<Completion> Issue(scsi::Command command);
  base::Task<Completion> Recover(scsi::Command command, Path* path, Completion completion);
  base::Task<bool> React(Verdict verdict, Path& path, uint64_t& waited_us);
  base::Task<base::Result<uint64_t>> Fetch(scsi::Cdb cdb, std::span<std::byte> target);
  base::Task<base::Status> Transfer(const base::IoRequest& request, scsi::Opcode opcode);
  struct Piece;
  base::Task<base::Status> TransferPieces(base::IoRequest request, scsi::Opcode opcode);
  base::Task<base::Status> TransferEach(base::IoRequest request, scsi::Opcode opcode);
  base::Task<void> RunPiece(Piece& piece, base::Status& first_failure);
  base::Task<base::Status> WriteZeroesByWriting(uint64_t offset_bytes, uint64_t length_bytes);
  base::Task<base::Status> AppendMapRuns(uint64_t lba, uint64_t end_lba,
                                         std::vector<base::MapRun>& runs, size_t first_run);
  base::Task<base::Status> Refuse(base::Code code, uint64_t offset_bytes,
                                  uint64_t length_bytes) const;

  base::Status CheckRange(uint64_t offset_bytes, uint64_t length_bytes) const;
  scsi::Command TransferCommand(const base::IoRequest& request, scsi::Opcode opcode) const;
  base::Status StatusOf(const scsi::Command& command, const Completion& completion) const;
  void MarkDead(Path& path, const Completion& completion, uint8_t opcode);
  base::MapState MapStateOf(scsi::LbaState state) const;

  base::Executor& executor_;
  DeviceOptions options_;
  uint32_t split_count_ = 0;  // transfers of several commands that have not ended
  PathList paths_;
  std::unique_ptr<PathSelectionPolicy> policy_;
  SlotQueue queue_;

  base::Limits limits_;
  uint64_t size_bytes_ = 0;
  uint32_t block_shift_ = 9;
  uint64_t command_bytes_max_ = 0;  // of one READ or WRITE
  uint64_t compare_bytes_max_ = 0;  // of one COMPARE AND WRITE
  uint32_t unmap_blocks_max_ = 0;
  uint64_t write_same_blocks_max_ = 0;
  bool write_same_works_ = true;  // until the unit refuses the opcode
  bool write_same_unmaps_ = false;
  bool reads_zeros_ = false;
  bool can_fua_ = false;
  bool is_read_only_ = false;
  std::string name_ = "unidentified device";
  std::string vml_name_, vendor_, product_;
};

}  // namespace psa
