#include "vscsi/psa/device.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "fs/base/aligned_buffer.h"
#include "fs/base/log.h"
#include "fs/base/sync.h"
#include "vscsi/scsi/buffers.h"

namespace psa {
namespace {

using base::Code;
using base::Error;
using base::IoRequest;
using base::IoVec;
using base::Status;
using base::Task;
using scsi::Opcode;

constexpr size_t kMapRunsPerCommandMax = 255;

// Source of zeros; never written. IoVec has no constant form.
alignas(4096) constinit std::byte zeros[64 * 1024] = {};

Status Failure(Code code, std::string message) {
  return Error(code, std::move(message));
}

}  // namespace

struct Device::Piece {
  std::vector<IoVec> buffers;
  scsi::Command command;
};

Device::Device(base::Executor& executor, PathList& paths, DeviceOptions options)
    : executor_(executor),
      options_(options),
      paths_(std::move(paths)),
      policy_(MakeFixedPolicy()),
      queue_(executor, options.queue_depth) {
  paths.clear();
}

Task<Status> Device::Read(IoRequest request) {
  return Transfer(request, Opcode::kRead16);
}

Task<Status> Device::Write(IoRequest request) {
  return Transfer(request, Opcode::kWrite16);
}

Task<Status> Device::Transfer(const IoRequest& request, Opcode opcode) {
  const uint64_t size = request.size_bytes();
  const uint64_t mask = limits_.block_size_bytes - 1;
  if (((request.offset_bytes | size) & mask) != 0) {
    return Refuse(Code::kMisaligned, request.offset_bytes, size);
  }
  if (size > command_bytes_max_ || (request.fua && !can_fua_)) {
    return TransferPieces(request, opcode);
  }
  return Run(TransferCommand(request, opcode));
}

scsi::Command Device::TransferCommand(const IoRequest& request, Opcode opcode) const {
  const bool is_read = opcode == Opcode::kRead16;
  const auto flags = static_cast<uint8_t>(request.fua && can_fua_ ? scsi::kFlagFua : 0);
  const auto count = static_cast<uint32_t>(request.size_bytes() >> block_shift_);
  scsi::Command command;
  command.cdb =
      scsi::EncodeBlockRange16(opcode, {request.offset_bytes >> block_shift_, count, flags});
  command.direction = is_read ? scsi::Direction::kIn : scsi::Direction::kOut;
  command.data = request.buffers;
  return command;
}

Task<Status> Device::Run(scsi::Command command) {
  co_await queue_.Acquire();
  const SlotGuard slot(queue_);
  Completion completion;
  Path* path = policy_->Select(paths_);
  if (path != nullptr) completion = co_await path->Execute(command);
  const bool good = path != nullptr && completion.good();
  if (!good) completion = co_await Recover(command, path, completion);
  co_return StatusOf(command, completion);
}

Task<Completion> Device::Issue(scsi::Command command) {
  co_await queue_.Acquire();
  const SlotGuard slot(queue_);
  Completion completion;
  Path* path = policy_->Select(paths_);
  if (path != nullptr) completion = co_await path->Execute(command);
  const bool good = path != nullptr && completion.good();
  if (!good) completion = co_await Recover(command, path, completion);
  co_return completion;
}

Task<Completion> Device::Execute(scsi::Command command) {
  co_await queue_.Acquire();
  const SlotGuard slot(queue_);
  Completion completion;
  completion.host = HostStatus::kNoConnect;
  // Each round either answers or leaves a path behind.
  for (Path* path = policy_->Select(paths_); path != nullptr; path = policy_->Select(paths_)) {
    completion = co_await path->Execute(command);
    if (completion.host != HostStatus::kNoConnect) break;
    MarkDead(*path, completion, command.cdb.bytes[0]);
  }
  co_return completion;
}

// The slow side of a command: `completion` on `path` was not good, or there was no path at all.
Task<Completion> Device::Recover(scsi::Command command, Path* path, Completion completion) {
  uint64_t waited_us = 0;
  bool is_lost = false, may_have_run = false;
  for (uint32_t retry = 0; retry < options_.retry_count_max;) {
    if (path != nullptr) {
      const Verdict verdict = JudgeCompletion(completion);
      if (verdict == Verdict::kDone || verdict == Verdict::kFail) break;
      is_lost = verdict == Verdict::kDeviceLost;
      may_have_run = may_have_run || verdict == Verdict::kProbePath;
      if (verdict == Verdict::kPathDead || is_lost) {
        MarkDead(*path, completion, command.cdb.bytes[0]);
      } else {
        const bool go_on = co_await React(verdict, *path, waited_us);
        if (!go_on) break;
        if (verdict != Verdict::kRetryLater) ++retry;
      }
    }
    path = policy_->Select(paths_);
    if (path == nullptr && is_lost) break;
    if (path == nullptr) {
      const Status probed = co_await ProbeAll();
      if (probed) path = policy_->Select(paths_);
      ++retry;
    }
    if (path == nullptr) {
      completion = Completion{};
      completion.host = HostStatus::kNoConnect;
      break;
    }
    completion = co_await path->Execute(command);
    if (completion.good()) break;
  }
  if (may_have_run) completion.plugin = PluginStatus::kTransient;
  completion.path = path;
  co_return completion;
}

// What a verdict asks for before the command is sent again. False: no more patience.
Task<bool> Device::React(Verdict verdict, Path& path, uint64_t& waited_us) {
  if (verdict == Verdict::kRetryGrown) {
    co_await RefreshCapacity(path);
    co_return true;
  }
  if (verdict == Verdict::kProbePath) {
    const bool answers = co_await Probe(path);
    if (!answers) base::LogWarn("nmp", "path does not answer path={} dev={}", path.name(), name_);
    co_return true;
  }
  if (verdict != Verdict::kRetryLater) co_return true;
  if (waited_us >= options_.busy_total_us_max) co_return false;
  // Doubles with each round: what was waited so far, within the bounds.
  const uint64_t delay_us =
      std::clamp(waited_us, options_.busy_delay_us, options_.busy_delay_us_max);
  co_await executor_.Sleep(delay_us);
  waited_us += delay_us;
  co_return true;
}

void Device::MarkDead(Path& path, const Completion& completion, uint8_t opcode) {
  if (path.state() == PathState::kDead) return;
  path.set_state(PathState::kDead);
  base::LogWarn("nmp", "path dead: {}", DescribeFailure(opcode, name_, path.name(), completion));
}

Status Device::StatusOf(const scsi::Command& command, const Completion& completion) const {
  if (completion.good()) {
    if (completion.response.residual_bytes == 0) return base::Ok();
    return Failure(Code::kIo,
                   fmt::format("command {:#x} to {}: {} bytes of residual", command.cdb.bytes[0],
                               name_, completion.response.residual_bytes));
  }
  if (completion.host == HostStatus::kOk && JudgeCompletion(completion) == Verdict::kDone) {
    return base::Ok();
  }
  const Code code = CodeOf(completion);
  if (code == Code::kPathDead) {
    return Failure(code,
                   fmt::format("command {:#x} to {}: all paths down", command.cdb.bytes[0], name_));
  }
  std::string_view path_name = "none";
  if (completion.path != nullptr) path_name = completion.path->name();
  return Failure(code, DescribeFailure(command.cdb.bytes[0], name_, path_name, completion));
}

Task<Status> Device::Refuse(Code code, uint64_t offset_bytes, uint64_t length_bytes) const {
  co_return Failure(code, fmt::format("access to {} at byte {}, length {}, size {}", name_,
                                      offset_bytes, length_bytes, size_bytes_));
}

Status Device::CheckRange(uint64_t offset_bytes, uint64_t length_bytes) const {
  const uint64_t mask = limits_.block_size_bytes - 1;
  const bool misaligned = ((offset_bytes | length_bytes) & mask) != 0;
  const bool outside = offset_bytes > size_bytes_ || length_bytes > size_bytes_ - offset_bytes;
  if (!misaligned && !outside) return base::Ok();
  return Failure(misaligned ? Code::kMisaligned : Code::kOutOfRange,
                 fmt::format("access to {} at byte {}, length {}, size {}", name_, offset_bytes,
                             length_bytes, size_bytes_));
}

// A transfer longer than one command: its pieces travel side by side. Where the unit knows no FUA,
// a flush behind them makes the write durable.
Task<Status> Device::TransferPieces(IoRequest request, Opcode opcode) {
  ++split_count_;
  const Status status = co_await TransferEach(request, opcode);
  --split_count_;
  co_return status;
}

Task<Status> Device::TransferEach(IoRequest request, Opcode opcode) {
  const uint64_t size = request.size_bytes();
  std::vector<Piece> pieces((size + command_bytes_max_ - 1) / command_bytes_max_);
  Status first_failure;
  base::TaskGroup group(executor_);
  uint64_t done = 0;
  for (Piece& piece : pieces) {
    piece.buffers = scsi::Slice(request.buffers, done, command_bytes_max_);
    const IoRequest part{request.offset_bytes + done, piece.buffers, request.fua};
    piece.command = TransferCommand(part, opcode);
    done += part.size_bytes();
    group.Add(RunPiece(piece, first_failure));
  }
  co_await group.Join();
  if (!first_failure) co_return first_failure;
  if (request.fua && !can_fua_ && opcode == Opcode::kWrite16) {
    const Status flushed = co_await Flush();
    co_return flushed;
  }
  co_return base::Ok();
}

Task<void> Device::RunPiece(Piece& piece, Status& first_failure) {
  Status status = co_await Run(piece.command);
  if (!status && first_failure) first_failure = std::move(status);
}

Task<Status> Device::Flush() {
  scsi::Command command;
  command.cdb = scsi::EncodeBlockRange16(Opcode::kSynchronizeCache16, {});
  return Run(command);
}

Task<Status> Device::Unmap(uint64_t offset_bytes, uint64_t length_bytes) {
  if (!limits_.can_unmap) co_return Code::kUnsupported;
  CO_TRY_STATUS(CheckRange(offset_bytes, length_bytes));
  const uint64_t end_lba = (offset_bytes + length_bytes) >> block_shift_;
  for (uint64_t lba = offset_bytes >> block_shift_; lba < end_lba;) {
    const auto count = static_cast<uint32_t>(std::min<uint64_t>(end_lba - lba, unmap_blocks_max_));
    scsi::UnmapListOfOne list = scsi::EncodeUnmapList({lba, count});
    const IoVec piece{list.data(), list.size()};
    scsi::Command command;
    command.cdb = scsi::EncodeUnmap({false, static_cast<uint16_t>(list.size())});
    command.direction = scsi::Direction::kOut;
    command.data = {&piece, 1};
    CO_TRY_STATUS(co_await Run(command));
    lba += count;
  }
  co_return base::Ok();
}

Task<Status> Device::WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes, bool may_unmap) {
  CO_TRY_STATUS(CheckRange(offset_bytes, length_bytes));
  const auto flags = static_cast<uint8_t>(may_unmap && write_same_unmaps_ ? scsi::kFlagUnmap : 0);
  const IoVec block{zeros, limits_.block_size_bytes};
  const uint64_t end_lba = (offset_bytes + length_bytes) >> block_shift_;
  for (uint64_t lba = offset_bytes >> block_shift_; lba < end_lba && write_same_works_;) {
    const auto count =
        static_cast<uint32_t>(std::min<uint64_t>(end_lba - lba, write_same_blocks_max_));
    scsi::Command command;
    command.cdb = scsi::EncodeBlockRange16(Opcode::kWriteSame16, {lba, count, flags});
    command.direction = scsi::Direction::kOut;
    command.data = {&block, 1};
    const Status status = co_await Run(command);
    if (!status && status.error().code() != Code::kUnsupported) co_return status;
    write_same_works_ = status.has_value();
    if (write_same_works_) lba += count;
    offset_bytes = lba << block_shift_;
  }
  if (write_same_works_) co_return base::Ok();
  const Status written =
      co_await WriteZeroesByWriting(offset_bytes, (end_lba << block_shift_) - offset_bytes);
  co_return written;
}

// For units without WRITE SAME.
Task<Status> Device::WriteZeroesByWriting(uint64_t offset_bytes, uint64_t length_bytes) {
  const uint64_t step = std::min<uint64_t>(sizeof(zeros), command_bytes_max_);
  for (uint64_t done = 0; done < length_bytes; done += step) {
    const IoVec piece{zeros, static_cast<size_t>(std::min(step, length_bytes - done))};
    const IoRequest request{offset_bytes + done, {&piece, 1}};
    CO_TRY_STATUS(co_await Run(TransferCommand(request, Opcode::kWrite16)));
  }
  co_return base::Ok();
}

Task<Status> Device::CompareAndWrite(uint64_t offset_bytes, std::span<const std::byte> expected,
                                     std::span<const std::byte> replacement) {
  if (!limits_.can_compare_and_write) co_return Code::kUnsupported;
  CO_TRY_STATUS(CheckRange(offset_bytes, expected.size()));
  if (expected.empty() || expected.size() != replacement.size()) co_return Code::kInvalidArgument;
  if (expected.size() > compare_bytes_max_) co_return Code::kUnsupported;
  const IoVec pieces[2] = {{const_cast<std::byte*>(expected.data()), expected.size()},
                           {const_cast<std::byte*>(replacement.data()), replacement.size()}};
  const auto count = static_cast<uint32_t>(expected.size() >> block_shift_);
  const auto flags = static_cast<uint8_t>(can_fua_ ? scsi::kFlagFua : 0);
  scsi::Command command;
  command.cdb = scsi::EncodeBlockRange16(Opcode::kCompareAndWrite,
                                         {offset_bytes >> block_shift_, count, flags});
  command.direction = scsi::Direction::kOut;
  command.data = pieces;
  const Completion completion = co_await Issue(command);
  Status status = StatusOf(command, completion);
  // An earlier sending of this command may have done its work although its answer got lost; then
  // the second one found our own bytes, not somebody else's.
  const bool doubtful = completion.plugin == PluginStatus::kTransient;
  if (status || !doubtful || status.error().code() != Code::kMiscompare) co_return status;
  base::AlignedBuffer found(expected.size());
  const IoVec piece = found.piece();
  CO_TRY_STATUS(co_await Read(IoRequest{offset_bytes, {&piece, 1}}));
  const bool ours = std::equal(replacement.begin(), replacement.end(), found.span().begin());
  co_return ours ? base::Ok() : std::move(status);
}

base::MapState Device::MapStateOf(scsi::LbaState state) const {
  if (!reads_zeros_ || state == scsi::LbaState::kMapped) return base::MapState::kData;
  return state == scsi::LbaState::kAnchored ? base::MapState::kZero : base::MapState::kHole;
}

Task<Status> Device::MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                               std::vector<base::MapRun>& runs) {
  CO_TRY_STATUS(CheckRange(offset_bytes, length_bytes));
  if (length_bytes == 0) co_return base::Ok();
  if (!limits_.can_map_status) {
    runs.push_back({offset_bytes, length_bytes, base::MapState::kData});
    co_return base::Ok();
  }
  const uint64_t end_lba = (offset_bytes + length_bytes) >> block_shift_;
  const Status status =
      co_await AppendMapRuns(offset_bytes >> block_shift_, end_lba, runs, runs.size());
  co_return status;
}

Task<Status> Device::AppendMapRuns(uint64_t lba, uint64_t end_lba, std::vector<base::MapRun>& runs,
                                   size_t first_run) {
  // No more room than the range can need: the unit looks no further than it is asked for.
  const uint64_t granules = ((end_lba - lba) << block_shift_) / limits_.unmap_granularity_bytes + 1;
  const size_t run_count = std::min<size_t>(granules, kMapRunsPerCommandMax);
  base::AlignedBuffer data(scsi::kLbaStatusHeaderBytes +
                           run_count * scsi::kLbaStatusDescriptorBytes);
  while (lba < end_lba) {
    const scsi::Cdb cdb = scsi::EncodeServiceActionIn(
        {scsi::kServiceActionGetLbaStatus, lba, static_cast<uint32_t>(data.span().size()), 0});
    CO_TRY(const uint64_t size, co_await Fetch(cdb, data.span()));
    CO_TRY(const auto found, scsi::DecodeLbaStatus(data.span().first(size)));
    const uint64_t start_lba = lba;
    for (const scsi::LbaRun& run : found) {
      if (run.lba != lba || lba >= end_lba) break;
      const uint64_t count = std::min<uint64_t>(run.block_count, end_lba - lba);
      const base::MapRun added{lba << block_shift_, count << block_shift_, MapStateOf(run.state)};
      if (runs.size() > first_run && runs.back().state == added.state) {
        runs.back().length_bytes += added.length_bytes;
      } else if (count != 0) {
        runs.push_back(added);
      }
      lba += count;
    }
    if (lba == start_lba) {
      co_return Failure(Code::kIo, fmt::format("map {} at block {}: no answer for it", name_, lba));
    }
  }
  co_return base::Ok();
}

// A command that returns parameter data; yields how much came.
Task<base::Result<uint64_t>> Device::Fetch(scsi::Cdb cdb, std::span<std::byte> target) {
  const IoVec piece{target.data(), target.size()};
  scsi::Command command;
  command.cdb = cdb;
  command.direction = scsi::Direction::kIn;
  command.data = {&piece, 1};
  Completion completion = co_await Issue(command);
  const uint64_t transferred = completion.response.transferred_bytes;
  completion.response.residual_bytes = 0;  // less than asked for is the rule here
  CO_TRY_STATUS(StatusOf(command, completion));
  co_return std::min<uint64_t>(transferred, target.size());
}

Task<Status> Device::Close() {
  // Calls of several commands take their next slot as they give back the last, except split
  // transfers, which are counted.
  while (queue_.used_count() > 0 || split_count_ > 0) {
    co_await queue_.Drain();
    co_await executor_.Yield();
  }
  Status first_failure;
  for (const std::unique_ptr<Path>& path : paths_) {
    Status status = co_await path->Close();
    if (!status && first_failure) first_failure = std::move(status);
  }
  co_return first_failure;
}

}  // namespace psa
