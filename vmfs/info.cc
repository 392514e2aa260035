#include "vmfs/info.h"

#include <fmt/format.h>

#include <iterator>
#include <memory>
#include <utility>

#include "fs/base/aligned_buffer.h"
#include "vmfs/cluster_reader.h"
#include "vmfs/lvm_device.h"
#include "vmfs/raw_volume.h"
#include "vmfs/vmfs5/reader.h"

namespace vmfs {
namespace {

using base::Result;
using base::Status;
using base::Task;

constexpr uint32_t kSubBlockClustersOfJudge = 256;
constexpr size_t kVmfs5CacheBlocks = 64;

const char* FileNameOf(ResourceKind kind) {
  switch (kind) {
    case ResourceKind::kFd: return ".fdc.sf";
    case ResourceKind::kSubBlock: return ".sbc.sf";
    case ResourceKind::kPb2: return ".pb2.sf";
    case ResourceKind::kJournal: return ".jbc.sf";
    case ResourceKind::kPointerBlock: return ".pbc.sf";
    default: return ".fbb.sf";
  }
}

Task<Status> CountResources(RawVolume& volume, ResourceKind kind, VolumeInfo* info) {
  const ResourceGeometry& geometry = volume.geometry(kind);
  const InodeMetadata& inode = volume.system_file(SystemFileOf(kind)).inode;
  ResourceInfo resource;
  resource.kind = kind;
  resource.file_name = FileNameOf(kind);
  resource.total_count = geometry.resource_count;
  resource.cluster_count = geometry.cluster_count();
  resource.file_bytes = inode.length_bytes;
  resource.through_pb2 = inode.map_kind() == MapKind::kPb2;
  ClusterReader reader(volume);
  for (uint64_t cluster = 0; cluster < geometry.cluster_count(); ++cluster) {
    CO_TRY(const ClusterHeader header, co_await reader.Read(kind, cluster));
    CO_TRY(const ClusterMetadata metadata,
           DecodeClusterMetadata(header.metadata(), geometry, cluster));
    resource.free_count += metadata.free_count;
  }
  info->resources.push_back(std::move(resource));
  co_return base::Ok();
}

Task<Status> CollectHeartbeats(RawVolume& volume, VolumeInfo* info) {
  base::AlignedBuffer buffer(kHeartbeatSlotCount * uint64_t{kMetadataBlockBytes});
  CO_TRY_STATUS(co_await volume.Read(kHeartbeatOffset, buffer.span()));
  for (uint32_t index = 0; index < kHeartbeatSlotCount; ++index) {
    const auto bytes =
        buffer.span().subspan(index * uint64_t{kMetadataBlockBytes}, kMetadataBlockBytes);
    const Result<HeartbeatSlot> slot = DecodeHeartbeatSlot(bytes, HeartbeatAddress(index));
    if (!slot) ++info->damaged_heartbeat_count;
    if (!slot || slot->state() == HeartbeatState::kFree) continue;
    info->heartbeats.push_back({index, slot->state(), slot->owner, TextOf(slot->host_name),
                                slot->generation, slot->journal_volume_address});
  }
  co_return base::Ok();
}

void TakeLvm(const LvmVolume& lvm, VolumeInfo& info) {
  info.lvm_uuid = lvm.uuid;
  info.volume_bytes = lvm.size_bytes;
  info.lvm_major = lvm.devices.front().header.major;
  info.lvm_minor = lvm.devices.front().header.minor;
  for (const LvmDeviceInfo& device : lvm.devices) {
    info.extents.push_back({device.name, device.header.device_uuid, device.size_bytes,
                            device.volume.first_unit, device.volume.unit_count});
  }
}

void TakeSuperblock(const Superblock& superblock, VolumeInfo& info) {
  info.label = TextOf(superblock.label);
  info.uuid = superblock.uuid;
  info.formatting_host = superblock.formatting_host;
  info.major = superblock.major;
  info.minor = superblock.minor;
  info.created_s = superblock.created_s;
  info.file_block_bytes = superblock.file_block_bytes;
  info.read_only_reasons = ReadOnlyReasons(superblock);
}

void TakeMark(const RawVolume& volume, VolumeInfo& info) {
  info.is_ours = volume.mark().has_value();
  if (info.is_ours) {
    info.machine = volume.mark()->machine;
  } else if (volume.is_ours()) {
    info.mark_problem = volume.mark().error().message();
  }
}

// vmfs6-tools cannot follow resource files through `.pb2.sf`, except `.sbc.sf`; nor more than 256
// clusters of sub-blocks. Measured limits: vmfs/FORMAT.md, "Rules for readers".
ReaderInfo JudgeVmfs6Tools(const VolumeInfo& info) {
  ReaderInfo reader{"vmfs6-tools", true, ""};
  for (const ResourceInfo& resource : info.resources) {
    const bool is_read_whole =
        resource.kind == ResourceKind::kFd || resource.kind == ResourceKind::kSmallBlock;
    if (resource.through_pb2 && is_read_whole) {
      reader = {"vmfs6-tools", false, resource.file_name + " is larger than 320 blocks"};
    }
    if (resource.kind == ResourceKind::kSubBlock &&
        resource.cluster_count > kSubBlockClustersOfJudge) {
      reader = {"vmfs6-tools", false, "more than 65,536 sub-blocks"};
    }
  }
  return reader;
}

Task<Status> CountVmfs5(vmfs5::Reader& reader, ResourceKind kind, const vmfs5::ResourceFile* file,
                        VolumeInfo* info) {
  ResourceInfo resource;
  resource.kind = kind;
  resource.file_name = FileNameOf(kind);
  resource.total_count = file->geometry.resource_count;
  resource.cluster_count = file->geometry.cluster_count();
  resource.file_bytes = file->descriptor.length_bytes();
  resource.through_pb2 = file->descriptor.metadata.map_kind() == MapKind::kPb2;
  CO_TRY(resource.free_count, co_await reader.CountFreeItems(file));
  info->resources.push_back(std::move(resource));
  co_return base::Ok();
}

Task<Status> DescribeVmfs5(base::BlockDevice& device, VolumeInfo* info) {
  CO_TRY(const std::unique_ptr<vmfs5::Reader> reader,
         co_await vmfs5::Reader::Open(device, kVmfs5CacheBlocks));
  TakeSuperblock(reader->superblock(), *info);
  CO_TRY(const std::vector<HeartbeatSlot> heartbeats, co_await reader->ReadHeartbeats());
  for (const HeartbeatSlot& slot : heartbeats) {
    const uint64_t index = (slot.own_address - kHeartbeatOffset) / vmfs5::kSectorBytes;
    info->heartbeats.push_back({static_cast<uint32_t>(index), slot.state(), slot.owner,
                                TextOf(slot.host_name), slot.generation,
                                slot.journal_volume_address});
  }
  const std::pair<ResourceKind, const vmfs5::ResourceFile*> files[] = {
      {ResourceKind::kSmallBlock, &reader->file_blocks()},
      {ResourceKind::kFd, &reader->descriptors()},
      {ResourceKind::kSubBlock, &reader->sub_blocks()},
      {ResourceKind::kPointerBlock, &reader->pointer_blocks()},
      {ResourceKind::kPb2, &reader->pb2_blocks()}};
  for (const auto& [kind, file] : files) {
    CO_TRY_STATUS(co_await CountVmfs5(*reader, kind, file, info));
  }
  info->free_bytes = info->resources.front().free_count * info->file_block_bytes;
  info->readers.push_back({"strata", true, "read-only: VMFS-5"});
  info->readers.push_back({"vmfs-tools", true, ""});
  info->readers.push_back({"dissect.vmfs", true, ""});
  co_return base::Ok();
}

std::string WhyReadOnly(const VolumeInfo& info) {
  if (!info.is_ours) return "read-only: not made by Strata";
  return info.read_only_reasons.empty() ? "" : "read-only: " + info.read_only_reasons.front();
}

std::string SizeText(uint64_t bytes) {
  constexpr const char* kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return fmt::format("{:.4g} {}", value, kUnits[unit]);
}

}  // namespace

std::string VolumeInfo::StateText() const {
  const std::string damaged =
      damaged_heartbeat_count == 0
          ? ""
          : fmt::format("{} heartbeat slots are damaged", damaged_heartbeat_count);
  if (heartbeats.empty()) return damaged.empty() ? "clean" : damaged;
  const HeartbeatInfo& first = heartbeats.front();
  const bool replaying = first.state == HeartbeatState::kReplaying;
  std::string text = fmt::format("{} {} ({}), heartbeat slot {}",
                                 replaying ? "journal being replayed of" : "in use by",
                                 first.owner.ToString(), first.host_name, first.slot);
  if (heartbeats.size() > 1) text += fmt::format(", and {} more", heartbeats.size() - 1);
  if (!damaged.empty()) text += "; " + damaged;
  return text;
}

Task<Result<VolumeInfo>> ReadVolumeInfo(std::span<base::BlockDevice* const> devices) {
  CO_TRY(LvmVolume lvm, co_await ReadLvm(devices));
  VolumeInfo info;
  TakeLvm(lvm, info);
  const auto device = MakeLvmDevice(devices, std::move(lvm.runs), lvm.uuid.ToString());
  CO_TRY(const bool is_vmfs5, co_await vmfs5::IsVmfs5(*device));
  if (is_vmfs5) {
    CO_TRY_STATUS(co_await DescribeVmfs5(*device, &info));
    co_return info;
  }
  CO_TRY(const std::unique_ptr<RawVolume> volume, co_await RawVolume::Open(*device));
  TakeSuperblock(volume->superblock(), info);
  TakeMark(*volume, info);
  CO_TRY_STATUS(co_await CollectHeartbeats(*volume, &info));
  CO_TRY_STATUS(co_await volume->LoadSystemFiles());
  for (const ResourceKind kind : {ResourceKind::kSmallBlock, ResourceKind::kFd,
                                  ResourceKind::kSubBlock, ResourceKind::kPb2,
                                  ResourceKind::kJournal}) {
    CO_TRY_STATUS(co_await CountResources(*volume, kind, &info));
  }
  info.free_bytes = info.resources.front().free_count * kFileBlockBytes;
  info.readers.push_back({"strata", true, WhyReadOnly(info)});
  info.readers.push_back(JudgeVmfs6Tools(info));
  info.readers.push_back({"dissect.vmfs", true, ""});
  co_return info;
}

std::string ToText(const VolumeInfo& info) {
  std::string text;
  const auto line = [&text](const char* name, const std::string& value) {
    fmt::format_to(std::back_inserter(text), "{:<18} {}\n", name, value);
  };
  line("label", info.label);
  line("uuid", info.uuid.ToString());
  line("format", fmt::format("VMFS-{}.{}, LVM {}.{}", info.major == kVmfs6Major ? 6 : 5, info.minor,
                             info.lvm_major, info.lvm_minor));
  line("made by", info.is_ours ? "Strata" : "another system: mounts read-only");
  if (!info.mark_problem.empty()) line("mark", info.mark_problem);
  for (const std::string& reason : info.read_only_reasons) line("read-only", reason);
  if (!info.machine.is_zero()) line("machine", info.machine.ToString());
  line("state", info.StateText());
  line("size", SizeText(info.volume_bytes));
  line("free", SizeText(info.free_bytes));
  for (const ExtentInfo& extent : info.extents) {
    line("device", fmt::format("{}: {}, units {} to {}", extent.name, SizeText(extent.device_bytes),
                               extent.first_unit, extent.first_unit + extent.unit_count - 1));
  }
  for (const ResourceInfo& resource : info.resources) {
    line(resource.file_name.c_str(),
         fmt::format("{} items: {} free of {}, {} clusters, {}{}", NameOf(resource.kind),
                     resource.free_count, resource.total_count, resource.cluster_count,
                     SizeText(resource.file_bytes),
                     resource.through_pb2 ? ", through .pb2.sf" : ""));
  }
  for (const ReaderInfo& reader : info.readers) {
    line("read by", fmt::format("{}: {}{}", reader.name, reader.can_open ? "yes" : "no",
                                reader.reason.empty() ? "" : ", " + reader.reason));
  }
  return text;
}

}  // namespace vmfs
