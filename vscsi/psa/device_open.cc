// What `psa::Device` asks its unit: at opening, when it has grown, when a path is in doubt.
#include <algorithm>
#include <array>
#include <bit>

#include <fmt/format.h>

#include "fs/base/log.h"
#include "vscsi/psa/device.h"
#include "vscsi/psa/device_name.h"
#include "vscsi/scsi/mode_data.h"

namespace psa {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;
using scsi::VpdPage;

constexpr uint16_t kInquiryBytes = 252;
constexpr uint32_t kBlockBytesMax = 4096;
constexpr int kProbeAttempts = 16;  // more than a nexus can have attentions pending
constexpr uint8_t kDirectAccess = 0;
constexpr uint64_t kWriteSameBytesDefault = 32 << 20;  // where the unit reports no limit

using InquiryBuffer = std::array<std::byte, kInquiryBytes>;

scsi::Cdb InquiryVpd(VpdPage page) {
  return scsi::EncodeInquiry({true, static_cast<uint8_t>(page), kInquiryBytes});
}

// VPD 83h over one path, whose unit attentions have been absorbed.
Task<Result<std::vector<scsi::Designator>>> DesignatorsOver(Path& path) {
  InquiryBuffer data{};
  const base::IoVec piece{data.data(), data.size()};
  scsi::Command command;
  command.cdb = InquiryVpd(VpdPage::kDeviceIdentification);
  command.direction = scsi::Direction::kIn;
  command.data = {&piece, 1};
  const Completion completion = co_await path.Execute(command);
  if (!completion.good()) co_return std::vector<scsi::Designator>{};
  const size_t size = std::min<size_t>(completion.response.transferred_bytes, data.size());
  co_return scsi::DecodeDeviceIdentification(std::span(data).first(size));
}

}  // namespace

Task<Result<std::unique_ptr<Device>>> Device::Open(base::Executor& executor, PathList& paths,
                                                   DeviceOptions options) {
  if (paths.empty()) co_return Error(Code::kInvalidArgument, "open device: no path");
  std::unique_ptr<Device> device(new Device(executor, paths, options));
  const Status discovered = co_await device->Discover();
  if (discovered) co_return std::move(device);
  const Status closed = co_await device->Close();
  if (!closed) base::LogWarn("nmp", "close paths: {}", closed.error().message());
  co_return discovered.error().Within("open device over " + device->paths_.front()->name());
}

Task<Status> Device::Discover() {
  CO_TRY_STATUS(co_await ProbeAll());
  CO_TRY_STATUS(co_await Identify());
  CO_TRY_STATUS(co_await ReadCapacity());
  CO_TRY_STATUS(co_await ReadModeHeader());
  CO_TRY_STATUS(co_await ReadBlockLimits());
  CO_TRY_STATUS(co_await ProbeMapStatus());
  for (const std::unique_ptr<Path>& path : paths_) {
    limits_.memory_alignment_bytes =
        std::max(limits_.memory_alignment_bytes, path->buffer_alignment_bytes());
  }
  base::LogInfo("nmp", "device claimed dev={} paths={} psp={} bytes={}", name_, paths_.size(),
                policy_->name(), size_bytes_);
  co_return base::Ok();
}

// TEST UNIT READY until no unit attention is left; sets the path's state by the answer.
Task<bool> Device::Probe(Path& path) {
  bool has_grown = false;
  Verdict verdict = Verdict::kRetry;
  for (int i = 0; i < kProbeAttempts; ++i) {
    scsi::Command command;
    command.cdb = scsi::EncodeTestUnitReady();
    const Completion completion = co_await path.Execute(command);
    verdict = JudgeCompletion(completion);
    has_grown = has_grown || verdict == Verdict::kRetryGrown;
    if (verdict != Verdict::kRetry && verdict != Verdict::kRetryGrown) break;
  }
  const bool answers = verdict != Verdict::kPathDead && verdict != Verdict::kProbePath &&
                       verdict != Verdict::kDeviceLost;
  path.set_state(answers ? PathState::kActive : PathState::kDead);
  if (answers && has_grown) co_await RefreshCapacity(path);
  co_return answers;
}

Task<Status> Device::ProbeAll() {
  bool any_answers = false;
  for (const std::unique_ptr<Path>& path : paths_) {
    if (path->state() == PathState::kOff) continue;
    const bool answers = co_await Probe(*path);
    any_answers = any_answers || answers;
  }
  if (any_answers) co_return base::Ok();
  co_return Error(Code::kPathDead, fmt::format("probe {}: all paths down", name_));
}

Task<Status> Device::Rescan() {
  CO_TRY_STATUS(co_await ProbeAll());
  Path* path = policy_->Select(paths_);
  if (path != nullptr) co_await RefreshCapacity(*path);
  co_return base::Ok();
}

Task<Status> Device::Identify() {
  InquiryBuffer data{};
  const scsi::Cdb inquiry_cdb = scsi::EncodeInquiry({false, 0, kInquiryBytes});
  CO_TRY(const uint64_t size, co_await Fetch(inquiry_cdb, data));
  CO_TRY(const auto inquiry, scsi::DecodeInquiryData(std::span(data).first(size)));
  if (inquiry.device_type != kDirectAccess) {
    co_return Error(Code::kUnsupported, "identify: not a direct access block device");
  }
  vendor_ = inquiry.vendor;
  product_ = inquiry.product;
  bool is_first = true;
  for (const std::unique_ptr<Path>& path : paths_) {
    if (path->state() != PathState::kActive) continue;
    CO_TRY(const auto designators, co_await DesignatorsOver(*path));
    const std::string name = DeviceNameOf(designators, path->address());
    if (!is_first && name != name_) {
      co_return Error(Code::kInvalidArgument,
                      fmt::format("identify: paths lead to {} and to {}", name_, name));
    }
    if (is_first) vml_name_ = VmlNameOf(designators, path->address(), product_);
    name_ = name;
    is_first = false;
  }
  co_return base::Ok();
}

Task<Status> Device::ReadCapacity() {
  std::array<std::byte, 32> data{};
  const scsi::Cdb cdb =
      scsi::EncodeServiceActionIn({scsi::kServiceActionReadCapacity16, 0, data.size(), 0});
  CO_TRY(const uint64_t size, co_await Fetch(cdb, data));
  CO_TRY(const scsi::Capacity capacity, scsi::DecodeCapacity16(std::span(data).first(size)));
  const uint32_t block_size = capacity.block_size_bytes;
  if (!std::has_single_bit(block_size) || block_size < 512 || block_size > kBlockBytesMax ||
      capacity.block_count > (UINT64_MAX >> 1) / block_size) {
    co_return Error(Code::kUnsupported, fmt::format("read capacity of {}: {} blocks of {} bytes",
                                                    name_, capacity.block_count, block_size));
  }
  limits_.block_size_bytes = block_size;
  limits_.physical_block_bytes = static_cast<uint32_t>(
      std::min<uint64_t>(uint64_t{block_size} << capacity.physical_block_exponent, 1u << 30));
  block_shift_ = static_cast<uint32_t>(std::countr_zero(block_size));
  reads_zeros_ = capacity.reads_zeros;
  TakeCapacity(capacity);
  co_return base::Ok();
}

// A unit may grow, never shrink: a smaller answer is reported and otherwise ignored.
void Device::TakeCapacity(const scsi::Capacity& capacity) {
  const uint64_t size_bytes = capacity.block_count << block_shift_;
  if (size_bytes < size_bytes_) {
    base::LogError("nmp", "device shrank dev={} bytes={} before={}", name_, size_bytes,
                   size_bytes_);
    return;
  }
  size_bytes_ = size_bytes;
}

// After "capacity has changed", on the path that said so. Whoever asked retries in any case.
Task<bool> Device::RefreshCapacity(Path& path) {
  for (int i = 0; i < kProbeAttempts; ++i) {
    std::array<std::byte, 32> data{};
    const base::IoVec piece{data.data(), data.size()};
    scsi::Command command;
    command.cdb =
        scsi::EncodeServiceActionIn({scsi::kServiceActionReadCapacity16, 0, data.size(), 0});
    command.direction = scsi::Direction::kIn;
    command.data = {&piece, 1};
    const Completion completion = co_await path.Execute(command);
    const Verdict verdict = JudgeCompletion(completion);
    if (verdict == Verdict::kRetry || verdict == Verdict::kRetryGrown) continue;
    const auto capacity = scsi::DecodeCapacity16(data);
    const bool usable = verdict == Verdict::kDone && capacity.has_value() &&
                        capacity->block_size_bytes == limits_.block_size_bytes;
    if (usable) TakeCapacity(*capacity);
    co_return usable;
  }
  co_return false;
}

// Write protection, and whether FUA means something. A unit without the page is taken as writable.
Task<Status> Device::ReadModeHeader() {
  std::array<std::byte, 192> data{};
  scsi::ModeSenseCdb mode;
  mode.no_block_descriptors = true;
  mode.page_code = static_cast<uint8_t>(scsi::ModePage::kAll);
  mode.allocation_bytes = data.size();
  const auto size = co_await Fetch(scsi::EncodeModeSense6(mode), data);
  if (!size) {
    const Code code = size.error().code();
    const bool unknown = code == Code::kUnsupported || code == Code::kInvalidArgument;
    if (unknown) co_return base::Ok();
    co_return size.error();
  }
  CO_TRY(const scsi::ModeHeader header, scsi::DecodeModeHeader6(std::span(data).first(*size)));
  limits_.can_write = !header.write_protected;
  can_fua_ = header.dpo_fua;
  co_return base::Ok();
}

// VPD B0h and B2h, where the unit has them.
Task<Status> Device::ReadBlockLimits() {
  InquiryBuffer data{};
  scsi::BlockLimits block;
  const auto limits_size = co_await Fetch(InquiryVpd(VpdPage::kBlockLimits), data);
  if (limits_size) {
    CO_TRY(block, scsi::DecodeBlockLimits(std::span(data).first(*limits_size)));
  }
  scsi::Provisioning provisioning;
  const auto provisioning_size =
      co_await Fetch(InquiryVpd(VpdPage::kLogicalBlockProvisioning), data);
  if (provisioning_size) {
    CO_TRY(provisioning, scsi::DecodeProvisioning(std::span(data).first(*provisioning_size)));
  }
  const uint64_t transfer_bytes = block.transfer_max == 0
                                      ? options_.transfer_bytes_max
                                      : uint64_t{block.transfer_max} << block_shift_;
  command_bytes_max_ = std::min<uint64_t>(transfer_bytes, options_.transfer_bytes_max);
  limits_.transfer_bytes_max = options_.transfer_bytes_max;
  compare_bytes_max_ = uint64_t{block.compare_and_write_max} << block_shift_;
  limits_.can_compare_and_write = compare_bytes_max_ != 0;
  limits_.can_unmap = provisioning.unmap && reads_zeros_ && block.unmap_max != 0;
  unmap_blocks_max_ = block.unmap_max;
  limits_.unmap_granularity_bytes = uint64_t{std::max(1u, block.unmap_granularity)} << block_shift_;
  write_same_unmaps_ = provisioning.write_same_unmap && reads_zeros_;
  limits_.can_write_zeroes = block.write_same_max != 0;
  write_same_blocks_max_ =
      block.write_same_max != 0 ? block.write_same_max : kWriteSameBytesDefault >> block_shift_;
  write_same_blocks_max_ = std::min<uint64_t>(write_same_blocks_max_, UINT32_MAX);
  co_return base::Ok();
}

// Whether the unit tells mapped blocks from others: it does if it answers at all.
Task<Status> Device::ProbeMapStatus() {
  std::array<std::byte, scsi::kLbaStatusHeaderBytes + scsi::kLbaStatusDescriptorBytes> data{};
  const scsi::Cdb cdb =
      scsi::EncodeServiceActionIn({scsi::kServiceActionGetLbaStatus, 0, data.size(), 0});
  const auto size = co_await Fetch(cdb, data);
  limits_.can_map_status = size.has_value() && reads_zeros_;
  co_return base::Ok();
}

}  // namespace psa
