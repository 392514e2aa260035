#include "vmfs/mkfs/mkfs.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "fs/base/aligned_buffer.h"
#include "fs/base/log.h"
#include "vmfs/directory/name.h"
#include "vmfs/format/corrupt.h"
#include "vmfs/mkfs/image.h"

namespace vmfs {
namespace {

using base::BlockDevice;
using base::Result;
using base::Status;
using base::Task;

constexpr uint64_t kPieceBytes = 64 << 10;  // what is all zero in such pieces is not written

// Everything mkfs knows before it writes.
struct Plan {
  VolumeIdentity identity;
  VolumeLayout layout;
  std::vector<LvmDevicePlan> devices;
};

bool IsLabelByte(unsigned char byte) { return byte >= 0x20 && byte != 0x7f; }

Status CheckDevices(std::span<BlockDevice* const> devices) {
  for (const BlockDevice* device : devices) {
    if (!device->limits().can_write) {
      return base::Error(base::Code::kReadOnly,
                         fmt::format("mkfs: device {} cannot be written", device->name()));
    }
    if (device->limits().block_size_bytes > kMetadataBlockBytes) {
      return base::Error(base::Code::kUnsupported,
                         fmt::format("mkfs: device {} has blocks of {} bytes, at most {} are known",
                                     device->name(), device->limits().block_size_bytes,
                                     kMetadataBlockBytes));
    }
  }
  return base::Ok();
}

VolumeIdentity MakeIdentity(const MkfsOptions& options, uint64_t now_us) {
  VolumeIdentity identity;
  identity.label = options.label;
  identity.uuid = options.uuid.value_or(base::NewUuid(now_us));
  identity.lvm_uuid = options.lvm_uuid.value_or(base::NewUuid(now_us));
  identity.host = options.host;
  identity.created_us = now_us;
  identity.uid = options.uid;
  identity.gid = options.gid;
  return identity;
}

Result<Plan> MakePlan(std::span<BlockDevice* const> devices, const MkfsOptions& options,
                      uint64_t now_us) {
  TRY_STATUS(CheckLabel(options.label));
  TRY_STATUS(CheckDevices(devices));
  std::vector<uint64_t> sizes;
  for (const BlockDevice* device : devices) sizes.push_back(device->size_bytes());
  TRY(const std::vector<uint64_t> units, PlanUnits(sizes, options.volume_bytes));
  Plan plan;
  uint64_t first_unit = 0;
  for (size_t i = 0; i < devices.size(); ++i) {
    plan.devices.push_back(
        {devices[i]->name(), base::NewUuid(now_us), sizes[i], first_unit, units[i]});
    first_unit += units[i];
  }
  TRY(plan.layout, PlanVolume(first_unit * kUnitBytes));
  plan.identity = MakeIdentity(options, now_us);
  return plan;
}

// Writes to a device in pieces, leaving out what is zero already.
class Writer {
 public:
  Writer(BlockDevice& device, bool known_zero) : device_(device), known_zero_(known_zero) {}

  uint64_t written_bytes() const { return written_bytes_; }

  // Stores `bytes` at `offset`; both whole metadata blocks.
  Task<Status> Store(uint64_t offset_bytes, std::span<std::byte> bytes);

  // Stores those pieces of `bytes` that are not all zero; the range reads as zeros before.
  Task<Status> StoreNonZero(uint64_t offset_bytes, std::span<std::byte> bytes);

  // Makes a range read as zeros.
  Task<Status> Zero(uint64_t offset_bytes, uint64_t length_bytes);

 private:
  BlockDevice& device_;
  const bool known_zero_;
  uint64_t written_bytes_ = 0;
};

Task<Status> Writer::Store(uint64_t offset_bytes, std::span<std::byte> bytes) {
  const uint64_t step = device_.limits().transfer_bytes_max;
  for (uint64_t done = 0; done < bytes.size(); done += step) {
    const base::IoVec piece{bytes.data() + done, std::min<uint64_t>(step, bytes.size() - done)};
    const base::IoRequest request{offset_bytes + done, std::span<const base::IoVec>(&piece, 1)};
    CO_TRY_STATUS(co_await device_.Write(request));
    written_bytes_ += piece.size_bytes;
  }
  co_return base::Ok();
}

Task<Status> Writer::StoreNonZero(uint64_t offset_bytes, std::span<std::byte> bytes) {
  uint64_t begin = 0;
  while (begin < bytes.size()) {
    if (IsZero(bytes.subspan(begin, kPieceBytes))) {
      begin += kPieceBytes;
      continue;
    }
    uint64_t end = begin + kPieceBytes;
    while (end < bytes.size() && !IsZero(bytes.subspan(end, kPieceBytes))) end += kPieceBytes;
    CO_TRY_STATUS(co_await Store(offset_bytes + begin, bytes.subspan(begin, end - begin)));
    begin = end;
  }
  co_return base::Ok();
}

Task<Status> Writer::Zero(uint64_t offset_bytes, uint64_t length_bytes) {
  if (known_zero_ || length_bytes == 0) co_return base::Ok();
  std::vector<base::MapRun> runs;
  CO_TRY_STATUS(co_await device_.MapStatus(offset_bytes, length_bytes, runs));
  for (const base::MapRun& run : runs) {
    if (run.state != base::MapState::kData) continue;
    CO_TRY_STATUS(co_await device_.WriteZeroes(run.offset_bytes, run.length_bytes,
                                               /*may_unmap=*/true));
  }
  co_return base::Ok();
}

// Wipes what identified an older volume, then gives back or zeroes the LVM area.
Task<Result<bool>> ClearDevice(BlockDevice& device, bool discard) {
  Writer writer(device, /*known_zero=*/false);
  CO_TRY_STATUS(co_await writer.Zero(0, kLvmAreaBytes));
  CO_TRY_STATUS(co_await writer.Zero(kLvmDataOffset + kSuperblockOffset, kMetadataBlockBytes));
  CO_TRY_STATUS(co_await device.Flush());
  if (!discard || !device.limits().can_unmap) co_return false;
  const Status status = co_await device.Unmap(0, device.size_bytes());
  if (status) co_return true;
  if (status.error().code() != base::Code::kUnsupported) co_return status.error();
  co_return false;
}

Task<Status> WriteBlocks(const Plan* plan, BlockDevice& volume, Writer& writer,
                         MkfsOptions& options) {
  const VolumeLayout& layout = plan->layout;
  CO_TRY_STATUS(co_await writer.Zero(0, layout.used_block_count * kFileBlockBytes));
  base::AlignedBuffer buffer(kFileBlockBytes);
  bool dirty = true;
  for (uint64_t block = 0; block < layout.used_block_count; ++block) {
    if (options.is_canceled && options.is_canceled()) {
      co_return base::Error(base::Code::kInterrupted, "mkfs: interrupted, no volume was made");
    }
    if (dirty) std::memset(buffer.data(), 0, buffer.size());
    dirty = EncodeVolumeBlock(layout, plan->identity, block, buffer.span());
    if (dirty) CO_TRY_STATUS(co_await writer.StoreNonZero(block * kFileBlockBytes, buffer.span()));
    if (options.progress) options.progress(block + 1, layout.used_block_count);
  }
  co_return co_await volume.Flush();
}

// The LVM area of one device; the header, which makes it a member of a volume, comes last.
Task<Status> WriteLvmArea(const Plan* plan, BlockDevice& device, size_t index) {
  Writer writer(device, /*known_zero=*/false);
  base::AlignedBuffer buffer(kMetadataBlockBytes);
  const auto bytes = buffer.span();
  const auto clear = [&] { std::ranges::fill(bytes, std::byte{0}); };
  const std::vector<LvmPeEntry> entries = MakeLvmPeEntries(plan->devices, index);
  clear();
  for (size_t i = 0; i < entries.size(); ++i) {
    base::StoreAs(bytes, i * sizeof(LvmPeEntry), entries[i]);
  }
  CO_TRY_STATUS(co_await writer.Store(kLvmHeaderOffset + kLvmPeTableOffset, bytes));
  clear();
  bytes[0] = static_cast<std::byte>((1u << entries.size()) - 1);
  CO_TRY_STATUS(co_await writer.Store(kLvmHeaderOffset + kLvmPeBitmapOffset, bytes));
  for (size_t i = 0; index == 0 && i < plan->devices.size(); ++i) {
    constexpr size_t kNamesPerBlock = kMetadataBlockBytes / kLvmNameBytes;
    if (i % kNamesPerBlock == 0) clear();
    const std::string_view name = plan->devices[i].name;
    const auto field = bytes.subspan(i % kNamesPerBlock * kLvmNameBytes, kLvmNameBytes - 1);
    std::memcpy(field.data(), name.data(), std::min(name.size(), field.size()));
    if (i % kNamesPerBlock != kNamesPerBlock - 1 && i + 1 != plan->devices.size()) continue;
    const uint64_t block = i / kNamesPerBlock * kMetadataBlockBytes;
    CO_TRY_STATUS(co_await writer.Store(kLvmHeaderOffset + kLvmNameTableOffset + block, bytes));
  }
  clear();
  base::StoreAs(bytes, 0, MakeLvmVolumeEntry(plan->identity, plan->devices, index));
  CO_TRY_STATUS(co_await writer.Store(kLvmHeaderOffset + kLvmVolumeTableOffset, bytes));
  CO_TRY_STATUS(co_await device.Flush());
  clear();
  base::StoreAs(bytes, 0, MakeLvmDeviceHeader(plan->identity, plan->devices, index));
  CO_TRY_STATUS(co_await writer.Store(kLvmHeaderOffset, bytes));
  co_return co_await device.Flush();
}

Task<Status> WriteSuperblock(const Plan* plan, BlockDevice& volume) {
  Writer writer(volume, /*known_zero=*/false);
  base::AlignedBuffer buffer(kMetadataBlockBytes);
  EncodeSuperblockBlock(plan->identity, buffer.span().first<kMetadataBlockBytes>());
  CO_TRY_STATUS(co_await writer.Store(kSuperblockOffset, buffer.span()));
  co_return co_await volume.Flush();
}

MkfsReport MakeReport(const Plan& plan, uint64_t written_bytes) {
  MkfsReport report;
  report.label = plan.identity.label;
  report.uuid = plan.identity.uuid;
  report.lvm_uuid = plan.identity.lvm_uuid;
  report.volume_bytes = plan.layout.volume_bytes;
  report.free_bytes = plan.layout.free_block_count() * kFileBlockBytes;
  report.metadata_bytes = plan.layout.used_block_count * kFileBlockBytes;
  report.written_bytes = written_bytes;
  for (const LvmDevicePlan& device : plan.devices) report.units.push_back(device.unit_count);
  return report;
}

}  // namespace

Status CheckLabel(const std::string& label) {
  if (label.size() >= kLabelBytes) {
    return base::Error(base::Code::kNameTooLong,
                       fmt::format("mkfs: label of {} bytes, at most {} fit", label.size(),
                                   kLabelBytes - 1));
  }
  const bool is_text = std::ranges::all_of(
      label, [](char c) { return IsLabelByte(static_cast<unsigned char>(c)); });
  if (!is_text || (!label.empty() && !ValidateName(label))) {
    return base::Error(base::Code::kNameInvalid,
                       "mkfs: the label is a folder's name in the mount: UTF-8, no '/', no control "
                       "codes, not \".\" or \"..\"");
  }
  return base::Ok();
}

Task<Result<MkfsReport>> MakeFileSystem(base::Executor& executor,
                                        std::span<BlockDevice* const> devices,
                                        MkfsOptions& options) {
  CO_TRY(const Plan plan, MakePlan(devices, options, executor.WallMicroseconds()));
  bool all_zero = true;
  for (BlockDevice* device : devices) {
    CO_TRY(const bool zero, co_await ClearDevice(*device, options.discard));
    all_zero = all_zero && zero;
  }
  const std::unique_ptr<BlockDevice> volume =
      MakeLvmDevice(devices, RunsOf(plan.devices), plan.identity.lvm_uuid.ToString());
  Writer writer(*volume, all_zero);
  CO_TRY_STATUS(co_await WriteBlocks(&plan, *volume, writer, options));
  CO_TRY_STATUS(co_await WriteSuperblock(&plan, *volume));
  // Backwards: the first device's header, which readers look at first, makes the volume complete.
  for (size_t i = devices.size(); i > 0; --i) {
    CO_TRY_STATUS(co_await WriteLvmArea(&plan, *devices[i - 1], i - 1));
  }
  base::LogInfo("mkfs", "made a volume label={} uuid={} bytes={}", plan.identity.label,
                plan.identity.uuid.ToString(), plan.layout.volume_bytes);
  co_return MakeReport(plan, writer.written_bytes());
}

}  // namespace vmfs
