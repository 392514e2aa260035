#include "vmfs/lvm_device.h"

#include <algorithm>
#include <utility>

#include "fs/base/aligned_buffer.h"
#include "fs/base/check.h"
#include "vmfs/format/corrupt.h"

namespace vmfs {
namespace {

using base::BlockDevice;
using base::IoRequest;
using base::IoVec;
using base::Result;
using base::Status;
using base::Task;

// The pieces of `buffers` from byte `skip_bytes` on, `length_bytes` in all.
std::vector<IoVec> Slice(std::span<const IoVec> buffers, uint64_t skip_bytes,
                         uint64_t length_bytes) {
  std::vector<IoVec> pieces;
  for (const IoVec& piece : buffers) {
    if (length_bytes == 0) break;
    if (skip_bytes >= piece.size_bytes) {
      skip_bytes -= piece.size_bytes;
      continue;
    }
    const uint64_t size = std::min(piece.size_bytes - skip_bytes, length_bytes);
    pieces.push_back({piece.data + skip_bytes, size});
    skip_bytes = 0;
    length_bytes -= size;
  }
  return pieces;
}

// What all devices can do together.
base::Limits CommonLimits(std::span<BlockDevice* const> devices) {
  base::Limits common = devices.front()->limits();
  for (const BlockDevice* device : devices.subspan(1)) {
    const base::Limits& own = device->limits();
    common.block_size_bytes = std::max(common.block_size_bytes, own.block_size_bytes);
    common.physical_block_bytes = std::max(common.physical_block_bytes, own.physical_block_bytes);
    common.memory_alignment_bytes =
        std::max(common.memory_alignment_bytes, own.memory_alignment_bytes);
    common.transfer_bytes_max = std::min(common.transfer_bytes_max, own.transfer_bytes_max);
    common.unmap_granularity_bytes =
        std::max(common.unmap_granularity_bytes, own.unmap_granularity_bytes);
    common.can_write = common.can_write && own.can_write;
    common.can_unmap = common.can_unmap && own.can_unmap;
    common.can_write_zeroes = common.can_write_zeroes && own.can_write_zeroes;
    common.can_compare_and_write = common.can_compare_and_write && own.can_compare_and_write;
    common.can_map_status = common.can_map_status && own.can_map_status;
  }
  return common;
}

void AppendMerged(std::vector<base::MapRun>& runs, base::MapRun run) {
  if (!runs.empty() && runs.back().state == run.state &&
      runs.back().offset_bytes + runs.back().length_bytes == run.offset_bytes) {
    runs.back().length_bytes += run.length_bytes;
  } else {
    runs.push_back(run);
  }
}

class LvmDevice final : public BlockDevice {
 public:
  LvmDevice(std::span<BlockDevice* const> devices, std::vector<LvmRun> runs, std::string name)
      : devices_(devices.begin(), devices.end()),
        runs_(std::move(runs)),
        name_(std::move(name)),
        limits_(CommonLimits(devices)) {
    CHECK(!runs_.empty());
    size_bytes_ = runs_.back().volume_offset + runs_.back().length_bytes;
  }

  const base::Limits& limits() const override { return limits_; }
  uint64_t size_bytes() const override { return size_bytes_; }
  const std::string& name() const override { return name_; }

  Task<Status> Read(IoRequest request) override { return Transfer(request, /*write=*/false); }
  Task<Status> Write(IoRequest request) override { return Transfer(request, /*write=*/true); }
  Task<Status> Flush() override {
    return devices_.size() == 1 ? devices_.front()->Flush() : FlushAll();
  }
  Task<Status> Unmap(uint64_t offset_bytes, uint64_t length_bytes) override {
    return Clear(offset_bytes, length_bytes, Clearing::kUnmap);
  }
  Task<Status> WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes, bool may_unmap) override {
    return Clear(offset_bytes, length_bytes,
                 may_unmap ? Clearing::kZeroMayUnmap : Clearing::kZero);
  }
  Task<Status> CompareAndWrite(uint64_t offset_bytes, std::span<const std::byte> expected,
                               std::span<const std::byte> replacement) override;
  Task<Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                         std::vector<base::MapRun>& runs) override;
  Task<Status> Close() override;

 private:
  enum class Clearing : uint8_t { kUnmap, kZero, kZeroMayUnmap };

  // The run that holds `offset_bytes`; null behind the end.
  const LvmRun* Find(uint64_t offset_bytes) const;
  // The run that holds the whole range; null when none does.
  const LvmRun* FindWhole(uint64_t offset_bytes, uint64_t length_bytes) const {
    const LvmRun* run = Find(offset_bytes);
    return run != nullptr && length_bytes <= End(*run) - offset_bytes ? run : nullptr;
  }
  static uint64_t End(const LvmRun& run) { return run.volume_offset + run.length_bytes; }
  static uint64_t DeviceOffset(const LvmRun& run, uint64_t offset_bytes) {
    return run.device_offset + (offset_bytes - run.volume_offset);
  }
  BlockDevice& DeviceOf(const LvmRun& run) const { return *devices_[run.device_index]; }

  Task<Status> ForwardTransfer(const LvmRun& run, IoRequest request, bool write) {
    request.offset_bytes = DeviceOffset(run, request.offset_bytes);
    return write ? DeviceOf(run).Write(request) : DeviceOf(run).Read(request);
  }
  Task<Status> ForwardClear(const LvmRun& run, uint64_t offset_bytes, uint64_t length_bytes,
                            Clearing how) {
    const uint64_t at = DeviceOffset(run, offset_bytes);
    if (how == Clearing::kUnmap) return DeviceOf(run).Unmap(at, length_bytes);
    return DeviceOf(run).WriteZeroes(at, length_bytes, how == Clearing::kZeroMayUnmap);
  }

  Task<Status> Transfer(IoRequest request, bool write) {
    const LvmRun* run = FindWhole(request.offset_bytes, request.size_bytes());
    return run != nullptr ? ForwardTransfer(*run, request, write) : TransferSplit(request, write);
  }
  Task<Status> Clear(uint64_t offset_bytes, uint64_t length_bytes, Clearing how) {
    const LvmRun* run = FindWhole(offset_bytes, length_bytes);
    return run != nullptr ? ForwardClear(*run, offset_bytes, length_bytes, how)
                          : ClearSplit(offset_bytes, length_bytes, how);
  }
  Task<Status> TransferSplit(IoRequest request, bool write);
  Task<Status> ClearSplit(uint64_t offset_bytes, uint64_t length_bytes, Clearing how);
  Task<Status> FlushAll();
  static Task<Status> Refuse(base::Code code) { co_return code; }

  const std::vector<BlockDevice*> devices_;
  const std::vector<LvmRun> runs_;
  const std::string name_;
  const base::Limits limits_;
  uint64_t size_bytes_ = 0;
};

const LvmRun* LvmDevice::Find(uint64_t offset_bytes) const {
  if (runs_.size() == 1) return offset_bytes < size_bytes_ ? &runs_.front() : nullptr;
  const auto behind = std::upper_bound(
      runs_.begin(), runs_.end(), offset_bytes,
      [](uint64_t offset, const LvmRun& run) { return offset < run.volume_offset; });
  if (behind == runs_.begin() || offset_bytes >= size_bytes_) return nullptr;
  return &*std::prev(behind);
}

Task<Status> LvmDevice::TransferSplit(IoRequest request, bool write) {
  const uint64_t total = request.size_bytes();
  for (uint64_t done = 0; done < total;) {
    const uint64_t at = request.offset_bytes + done;
    const LvmRun* run = Find(at);
    if (run == nullptr) co_return base::Code::kOutOfRange;
    const uint64_t length = std::min(total - done, End(*run) - at);
    const std::vector<IoVec> pieces = Slice(request.buffers, done, length);
    const IoRequest part{at, pieces, request.fua};
    CO_TRY_STATUS(co_await ForwardTransfer(*run, part, write));
    done += length;
  }
  co_return base::Ok();
}

Task<Status> LvmDevice::ClearSplit(uint64_t offset_bytes, uint64_t length_bytes, Clearing how) {
  while (length_bytes > 0) {
    const LvmRun* run = Find(offset_bytes);
    if (run == nullptr) co_return base::Code::kOutOfRange;
    const uint64_t length = std::min(length_bytes, End(*run) - offset_bytes);
    CO_TRY_STATUS(co_await ForwardClear(*run, offset_bytes, length, how));
    offset_bytes += length;
    length_bytes -= length;
  }
  co_return base::Ok();
}

Task<Status> LvmDevice::FlushAll() {
  for (BlockDevice* device : devices_) CO_TRY_STATUS(co_await device->Flush());
  co_return base::Ok();
}

Task<Status> LvmDevice::CompareAndWrite(uint64_t offset_bytes, std::span<const std::byte> expected,
                                        std::span<const std::byte> replacement) {
  // Devices meet at multiples of 256 MiB, so that one block never lies on two of them.
  const LvmRun* run = FindWhole(offset_bytes, expected.size());
  if (run == nullptr) return Refuse(base::Code::kOutOfRange);
  return DeviceOf(*run).CompareAndWrite(DeviceOffset(*run, offset_bytes), expected, replacement);
}

Task<Status> LvmDevice::MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                  std::vector<base::MapRun>& runs) {
  const size_t first_new = runs.size();
  std::vector<base::MapRun> found;
  std::vector<base::MapRun> merged;
  while (length_bytes > 0) {
    const LvmRun* run = Find(offset_bytes);
    if (run == nullptr) co_return base::Code::kOutOfRange;
    const uint64_t length = std::min(length_bytes, End(*run) - offset_bytes);
    found.clear();
    CO_TRY_STATUS(co_await DeviceOf(*run).MapStatus(DeviceOffset(*run, offset_bytes), length,
                                                    found));
    for (base::MapRun piece : found) {
      piece.offset_bytes = piece.offset_bytes - run->device_offset + run->volume_offset;
      AppendMerged(merged, piece);
    }
    offset_bytes += length;
    length_bytes -= length;
  }
  runs.insert(runs.begin() + static_cast<std::ptrdiff_t>(first_new), merged.begin(), merged.end());
  co_return base::Ok();
}

Task<Status> LvmDevice::Close() {
  Status first_error;
  for (BlockDevice* device : devices_) {
    Status status = co_await device->Close();
    if (!status.has_value() && first_error.has_value()) first_error = std::move(status);
  }
  co_return first_error;
}

// --- assembly

base::Error Contradiction(const LvmDeviceInfo& device, const char* what, uint64_t found,
                          uint64_t expected) {
  return CorruptError("LVM: device {}: {} is {}, on the first device {}", device.name, what, found,
                      expected);
}

Status CheckAgainstFirst(const LvmDeviceInfo& device, const LvmDeviceInfo& first) {
  if (device.volume.volume_uuid != first.volume.volume_uuid) {
    return base::Error(base::Code::kInvalidArgument,
                       fmt::format("LVM: device {} belongs to volume {}, {} to {}", device.name,
                                   device.volume.volume_uuid.ToString(), first.name,
                                   first.volume.volume_uuid.ToString()));
  }
  if (device.volume.volume_bytes != first.volume.volume_bytes) {
    return Contradiction(device, "the volume's size", device.volume.volume_bytes,
                         first.volume.volume_bytes);
  }
  if (device.volume.device_count != first.volume.device_count) {
    return Contradiction(device, "the number of devices", device.volume.device_count,
                         first.volume.device_count);
  }
  if (device.volume.generation != first.volume.generation) {
    return Contradiction(device, "the volume's generation", device.volume.generation,
                         first.volume.generation);
  }
  return base::Ok();
}

Status AddRuns(const LvmDeviceInfo& device, size_t index, std::vector<LvmRun>& runs) {
  for (const LvmPeEntry& extent : device.extents) {
    const uint64_t physical = extent.physical_offset;
    const uint64_t length = extent.length_bytes;
    if (physical > device.size_bytes || length > device.size_bytes - physical) {
      return base::Error(base::Code::kOutOfRange,
                         fmt::format("LVM: device {}: extent of {:#x} bytes at {:#x}, the device "
                                     "has {:#x}",
                                     device.name, length, physical, device.size_bytes));
    }
    runs.push_back({extent.logical_offset, length, index, physical});
  }
  return base::Ok();
}

Status CheckCoverage(const LvmVolume& volume) {
  uint64_t covered = 0;
  for (const LvmRun& run : volume.runs) {
    if (run.volume_offset < covered) {
      return CorruptError("LVM: volume {}: two extents hold volume offset {:#x}",
                          volume.uuid.ToString(), run.volume_offset);
    }
    if (run.volume_offset > covered) {
      return CorruptError("LVM: volume {}: no extent holds volume offset {:#x}",
                          volume.uuid.ToString(), covered);
    }
    covered += run.length_bytes;
  }
  if (covered != volume.size_bytes) {
    return CorruptError("LVM: volume {}: extents hold {:#x} bytes, the volume has {:#x}",
                        volume.uuid.ToString(), covered, volume.size_bytes);
  }
  return base::Ok();
}

std::vector<LvmRun> MergeNeighbours(std::vector<LvmRun> runs) {
  std::vector<LvmRun> merged;
  for (const LvmRun& run : runs) {
    if (!merged.empty() && merged.back().device_index == run.device_index &&
        merged.back().device_offset + merged.back().length_bytes == run.device_offset) {
      merged.back().length_bytes += run.length_bytes;
    } else {
      merged.push_back(run);
    }
  }
  return merged;
}

Task<Status> ReadAt(BlockDevice& device, uint64_t offset_bytes, std::span<std::byte> target) {
  const IoVec piece{target.data(), target.size()};
  const IoRequest request{offset_bytes, std::span<const IoVec>(&piece, 1)};
  co_return co_await device.Read(request);
}

base::Error NamingDevice(const base::Error& error, const BlockDevice& device) {
  return error.Within("device " + device.name());
}

// The extents of an LVM-5 device of more than one map, of which the first is known: ESXi lays them
// out one behind the other from the data offset, and the known ones must say so.
Status CompleteContiguousExtents(LvmDeviceInfo& info) {
  const uint64_t first = uint64_t{info.volume.first_unit} * kUnitBytes;
  for (size_t i = 0; i < info.extents.size(); ++i) {
    const LvmPeEntry& extent = info.extents[i];
    const uint64_t before = i * kUnitBytes;
    if (extent.length_bytes != kUnitBytes || extent.logical_offset != first + before ||
        extent.physical_offset != kLvmDataOffset + before) {
      return VersionError("LVM: {} maps of extents, which do not lie in order",
                          uint32_t{info.header.pe_map_count});
    }
  }
  LvmPeEntry whole = info.extents.front();
  whole.length_bytes = uint64_t{info.volume.unit_count} * kUnitBytes;
  info.extents.assign(1, whole);
  return base::Ok();
}

Task<Status> ReadPeTable(BlockDevice& device, LvmDeviceInfo& info) {
  constexpr uint32_t kEntriesPerRead = kMetadataBlockBytes / sizeof(LvmPeEntry);
  base::AlignedBuffer buffer(kMetadataBlockBytes);
  const uint32_t count = std::min<uint32_t>(info.header.pe_count, kLvmPeEntriesMax);
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t in_buffer = i % kEntriesPerRead;
    if (in_buffer == 0) {
      const uint64_t at = info.header.PeTableAt() + i * sizeof(LvmPeEntry);
      CO_TRY_STATUS(co_await ReadAt(device, at, buffer.span()));
    }
    auto extent = DecodeLvmPeEntry(buffer.span().subspan(in_buffer * sizeof(LvmPeEntry)));
    if (!extent) co_return NamingDevice(extent.error(), device);
    info.extents.push_back(*extent);
  }
  if (count < info.header.pe_count) {
    const Status completed = CompleteContiguousExtents(info);
    if (!completed) co_return NamingDevice(completed.error(), device);
  }
  co_return base::Ok();
}

}  // namespace

Result<LvmVolume> AssembleLvm(std::vector<LvmDeviceInfo> devices) {
  CHECK(!devices.empty());
  LvmVolume volume;
  const LvmDeviceInfo& first = devices.front();
  volume.uuid = first.volume.volume_uuid;
  volume.size_bytes = first.volume.volume_bytes;
  for (size_t i = 0; i < devices.size(); ++i) {
    TRY_STATUS(CheckAgainstFirst(devices[i], first));
    for (size_t j = 0; j < i; ++j) {
      if (devices[i].header.device_uuid != devices[j].header.device_uuid) continue;
      return base::Error(base::Code::kInvalidArgument,
                         fmt::format("LVM: devices {} and {} are the same", devices[j].name,
                                     devices[i].name));
    }
    TRY_STATUS(AddRuns(devices[i], i, volume.runs));
  }
  if (devices.size() != first.volume.device_count) {
    return base::Error(base::Code::kNotFound,
                       fmt::format("LVM: volume {} has {} devices, {} given",
                                   volume.uuid.ToString(), uint32_t{first.volume.device_count},
                                   devices.size()));
  }
  std::ranges::sort(volume.runs, {}, &LvmRun::volume_offset);
  TRY_STATUS(CheckCoverage(volume));
  volume.runs = MergeNeighbours(std::move(volume.runs));
  volume.devices = std::move(devices);
  return volume;
}

Task<Result<LvmDeviceInfo>> ReadLvmDevice(BlockDevice& device) {
  if (device.size_bytes() < kLvmAreaBytes + kUnitBytes) {
    co_return NotRecognizedError("device {}: {} bytes are too few for a volume", device.name(),
                                 device.size_bytes());
  }
  LvmDeviceInfo info;
  info.name = device.name();
  info.size_bytes = device.size_bytes();
  base::AlignedBuffer buffer(kMetadataBlockBytes);
  CO_TRY_STATUS(co_await ReadAt(device, kLvmHeaderOffset, buffer.span()));
  auto header = DecodeLvmDeviceHeader(buffer.span());
  if (!header) co_return NamingDevice(header.error(), device);
  info.header = *header;
  CO_TRY_STATUS(co_await ReadAt(device, info.header.VolumeTableAt(), buffer.span()));
  auto volume = DecodeLvmVolumeEntry(buffer.span(), info.header.major);
  if (!volume) co_return NamingDevice(volume.error(), device);
  info.volume = *volume;
  CO_TRY_STATUS(co_await ReadPeTable(device, info));
  co_return info;
}

Task<Result<LvmVolume>> ReadLvm(std::span<BlockDevice* const> devices) {
  if (devices.empty()) {
    co_return base::Error(base::Code::kInvalidArgument, "LVM: no device given");
  }
  std::vector<LvmDeviceInfo> infos;
  for (BlockDevice* device : devices) {
    CO_TRY(LvmDeviceInfo info, co_await ReadLvmDevice(*device));
    infos.push_back(std::move(info));
  }
  co_return AssembleLvm(std::move(infos));
}

std::unique_ptr<BlockDevice> MakeLvmDevice(std::span<BlockDevice* const> devices,
                                           std::vector<LvmRun> runs, std::string name) {
  return std::make_unique<LvmDevice>(devices, std::move(runs), std::move(name));
}

Task<Result<std::unique_ptr<BlockDevice>>> OpenLvm(std::span<BlockDevice* const> devices) {
  CO_TRY(LvmVolume volume, co_await ReadLvm(devices));
  co_return MakeLvmDevice(devices, std::move(volume.runs), volume.uuid.ToString());
}

}  // namespace vmfs
