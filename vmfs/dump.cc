#include "vmfs/dump.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <span>
#include <utility>

#include "fs/base/aligned_buffer.h"
#include "vmfs/format/corrupt.h"
#include "vmfs/format/directory.h"
#include "vmfs/format/heartbeat_slot.h"
#include "vmfs/format/journal_block.h"

namespace vmfs {
namespace {

using base::Result;
using base::Task;

// Text in the making: a heading, then "  field  value" lines.
class Text {
 public:
  template <typename... Args>
  void Heading(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
    text_ += '\n';
  }
  void Field(std::string_view name, const std::string& value) {
    fmt::format_to(std::back_inserter(text_), "  {:<26} {}\n", name, value);
  }
  void Number(std::string_view name, uint64_t value) { Field(name, fmt::format("{}", value)); }
  void Hex(std::string_view name, uint64_t value) { Field(name, fmt::format("{:#x}", value)); }
  std::string Take() { return std::move(text_); }

 private:
  std::string text_;
};

const char* NameOf(LockMode mode) {
  switch (mode) {
    case LockMode::kFree: return "free";
    case LockMode::kExclusive: return "exclusive";
    case LockMode::kReadOnly: return "read-only shared";
    case LockMode::kMultiWriter: return "multi-writer";
  }
  return "unknown";
}

const char* NameOf(InodeType type) {
  switch (type) {
    case InodeType::kDirectory: return "directory";
    case InodeType::kFile: return "file";
    case InodeType::kSymlink: return "symbolic link";
    case InodeType::kSystem: return "system file";
    case InodeType::kRawDeviceMap: return "raw device map";
  }
  return "unknown";
}

const char* NameOf(MapKind kind) {
  switch (kind) {
    case MapKind::kFileBlocks: return "file blocks";
    case MapKind::kSubBlocks: return "sub-blocks";
    case MapKind::kPointerBlocks: return "pointer blocks";
    case MapKind::kPb2: return "pointer blocks in .pb2.sf";
    case MapKind::kDoubleIndirect: return "double indirect";
    case MapKind::kInline: return "inline";
  }
  return "unknown";
}

const char* NameOf(HeartbeatState state) {
  switch (state) {
    case HeartbeatState::kFree: return "free";
    case HeartbeatState::kInUse: return "in use";
    case HeartbeatState::kReplaying: return "being replayed";
  }
  return "unknown";
}

void AddLock(Text& text, std::span<const std::byte> bytes, uint64_t address) {
  text.Heading("lock {:#x}", address);
  const auto decoded = DecodeLockBlock(bytes, address);
  if (!decoded) text.Field("problem", decoded.error().message());
  const auto lock = base::LoadAs<LockBlock>(bytes);
  text.Hex("type", lock.type_value);
  text.Hex("own address", lock.own_address);
  text.Field("mode", fmt::format("{} ({})", uint32_t{lock.mode_value}, NameOf(lock.mode())));
  text.Number("token", lock.token);
  text.Hex("heartbeat address", lock.heartbeat_address);
  text.Number("heartbeat generation", lock.heartbeat_generation);
  text.Field("owner", lock.owner.ToString());
  text.Number("mtime", lock.mtime);
  text.Number("holders", lock.holder_count);
  for (uint32_t i = 0; i < std::min<uint32_t>(lock.holder_count, kLockHoldersMax); ++i) {
    const LockHolder& holder = lock.holders[i];
    text.Field("holder", fmt::format("{} heartbeat {:#x} generation {}", holder.owner.ToString(),
                                     uint64_t{holder.heartbeat_address},
                                     uint64_t{holder.heartbeat_generation}));
  }
}

void AddHeartbeat(Text& text, uint32_t index, const HeartbeatSlot& slot) {
  text.Heading("heartbeat {} at {:#x}", index, HeartbeatAddress(index));
  text.Field("state", fmt::format("{:#x} ({})", uint32_t{slot.state_value}, NameOf(slot.state())));
  text.Number("generation", slot.generation);
  text.Number("stamp, us", slot.stamp_us);
  text.Field("owner", slot.owner.ToString());
  text.Field("host", TextOf(slot.host_name));
  text.Field("journal", Address(slot.journal_block).ToString());
  text.Hex("journal volume address", slot.journal_volume_address);
  text.Field("version", fmt::format("{}.{}", uint32_t{slot.version_major}, slot.version_minor));
  text.Field("replayer", slot.replayer.ToString());
  text.Hex("replayer heartbeat", slot.replayer_heartbeat);
  text.Number("replayer generation", slot.replayer_generation);
}

// Slots as runs of neighbours: "0-6: file block 0 and following".
void AddSlots(Text& text, ConstMetadataSpan block) {
  for (uint32_t slot = 0; slot < kSlotCount;) {
    const Address first = GetSlot(block, slot);
    uint32_t end = slot + 1;
    const auto follows = [&](uint32_t next) {
      const Address address = GetSlot(block, next);
      if (first.is_hole()) return address.is_hole();
      return first.kind() == AddressKind::kFileBlock && address.kind() == first.kind() &&
             address == Address::MakeFileBlock(first.volume_block() + (next - slot));
    };
    while (end < kSlotCount && follows(end)) ++end;
    if (!first.is_hole()) {
      text.Field(end - slot > 1 ? fmt::format("slots {} to {}", slot, end - 1)
                                : fmt::format("slot {}", slot),
                 fmt::format("{} ({:#018x}){}", first.ToString(), first.raw(),
                             end - slot > 1 ? " and following" : ""));
    }
    slot = end;
  }
}

void AddInode(Text& text, FdAddress fd, ConstMetadataSpan block) {
  text.Heading("{}", fd.ToString());
  const auto decoded = DecodeInode(block, fd);
  if (!decoded) text.Field("problem", decoded.error().message());
  const auto inode = base::LoadAs<InodeMetadata>(block);
  text.Field("own address", inode.address().ToString());
  text.Number("generation", inode.generation);
  text.Field("type", fmt::format("{} ({})", uint32_t{inode.type_value}, NameOf(inode.type())));
  text.Number("link count", inode.link_count);
  text.Hex("flags", inode.flags);
  text.Number("length", inode.length_bytes);
  text.Field("map",
             fmt::format("{:#x} ({})", uint32_t{inode.map_kind_value}, NameOf(inode.map_kind())));
  text.Number("block size", inode.block_bytes);
  text.Number("blocks", inode.block_count);
  text.Number("pointer blocks", inode.pointer_block_count);
  text.Field("mode", fmt::format("{:#o}", uint32_t{inode.mode}));
  text.Field("owner", fmt::format("{}:{}", uint32_t{inode.uid}, uint32_t{inode.gid}));
  text.Number("modified, s", inode.modified_s);
  text.Number("changed, s", inode.changed_s);
  text.Number("accessed, s", inode.accessed_s);
  text.Field("parent", inode.parent().ToString());
  text.Field("affinity", FdAddress(inode.affinity_fd).ToString());
  if (decoded && inode.map_kind() != MapKind::kInline) AddSlots(text, block);
}

// Codes as runs: "0 to 8: 0".
void AddBitmap(Text& text, const ResourceGeometry& geometry, uint64_t cluster,
               ConstMetadataSpan block) {
  const uint32_t total = geometry.ResourcesIn(cluster);
  const uint32_t bits = geometry.bits_per_resource;
  for (uint32_t item = 0; item < total;) {
    const uint8_t code = BitmapCode(block, bits, item);
    uint32_t end = item + 1;
    while (end < total && BitmapCode(block, bits, end) == code) ++end;
    const char* meaning = (code & 1) != 0 ? "free" : "used";
    if (geometry.kind == ResourceKind::kLargeBlock) meaning = code == 4 ? "broken up" : "?";
    text.Field(fmt::format("items {} to {}", item, end - 1), fmt::format("{} ({})", code, meaning));
    item = end;
  }
}

void AddAffinity(Text& text, const ResourceGeometry& geometry, uint64_t cluster,
                 ConstMetadataSpan block) {
  if (geometry.kind == ResourceKind::kSmallBlock) {
    for (uint32_t i = 0; i < kAffinityEntriesMax; ++i) {
      const AffinityEntry entry = GetAffinityEntry(block, i);
      if (entry.block_count == 0 && entry.fd == 0) continue;
      text.Field(fmt::format("affinity {}", i),
                 fmt::format("{}: {} blocks", FdAddress(entry.fd).ToString(),
                             uint32_t{entry.block_count}));
    }
    return;
  }
  for (uint32_t item = 0; item < geometry.ResourcesIn(cluster); ++item) {
    const FdAddress key = AffinityKey(block, geometry, item);
    if (!key.is_none()) text.Field(fmt::format("key of item {}", item), key.ToString());
  }
}

void AddRecord(Text& text, const std::string& place, const DirectoryRecord& record) {
  text.Field(place, fmt::format("\"{}\" {} generation {} type {} hash {:#x}", record.name(),
                                record.address().ToString(), uint32_t{record.generation},
                                uint32_t{record.type_value}, uint32_t{record.hash}));
}

void AddDirectoryBlock(Text& text, uint64_t block, std::span<const std::byte> bytes) {
  const auto header = base::LoadAs<DirectoryBlockHeader>(bytes);
  if (header.kind() == DirectoryBlockKind::kNone) return;
  constexpr const char* kKinds[] = {"none", "records", "links", "map"};
  const char* kind = header.kind_value < 4 ? kKinds[header.kind_value] : "unknown";
  text.Field(fmt::format("block {}", block), fmt::format("{}: {} slots, {} free", kind,
                                                         uint16_t{header.slot_count},
                                                         uint16_t{header.free_count}));
  if (header.kind() != DirectoryBlockKind::kRecords) return;
  for (uint32_t slot = 0; slot < kRecordsPerBlock; ++slot) {
    if (header.is_free(slot)) continue;
    AddRecord(text, fmt::format("  slot {}", slot),
              base::LoadAs<DirectoryRecord>(bytes, RecordOffsetInBlock(slot)));
  }
}

void AddTransactions(Text& text, const JournalHeader& header, std::span<const std::byte> bytes) {
  const JournalRound round{header.volume_uuid, header.own_address, header.heartbeat_generation};
  uint32_t slot = header.tail_slot;
  for (uint64_t sequence = header.tail_sequence;; ++sequence) {
    const auto block =
        bytes.subspan(size_t{slot} * kMetadataBlockBytes).first<kMetadataBlockBytes>();
    const auto transaction = DecodeTransaction(block, round, slot, sequence);
    if (!transaction) {
      text.Field("end", transaction.error().message());
      return;
    }
    text.Heading(" transaction {} in slot {}: {} images, {} orphans{}", sequence, slot,
                 transaction->entries.size(), transaction->orphans.size(),
                 transaction->scan_descriptors ? ", scan descriptors" : "");
    for (const TransactionEntry& entry : transaction->entries) {
      text.Field(fmt::format("{:#x}", entry.home_address),
                 fmt::format("lock {:#x} token {}", entry.lock_address, entry.lock_token));
    }
    for (const Orphan& orphan : transaction->orphans) {
      text.Field("orphan", fmt::format("{} generation {}", FdAddress(orphan.fd).ToString(),
                                       orphan.generation));
    }
    slot = NextJournalSlot(slot, static_cast<uint32_t>(transaction->entries.size()) + 1);
    if (slot == header.tail_slot) return;
  }
}

}  // namespace

std::optional<ResourceKind> ParseResourceKind(std::string_view name) {
  for (const ResourceKind kind :
       {ResourceKind::kFd, ResourceKind::kSubBlock, ResourceKind::kPb2, ResourceKind::kJournal,
        ResourceKind::kLargeBlock, ResourceKind::kSmallBlock, ResourceKind::kPointerBlock}) {
    if (name == vmfs::NameOf(kind)) return kind;
  }
  return std::nullopt;
}

std::string DumpLvm(const LvmVolume& volume) {
  Text text;
  text.Heading("volume {}: {} bytes", volume.uuid.ToString(), volume.size_bytes);
  for (const LvmDeviceInfo& device : volume.devices) {
    text.Heading("device {}", device.name);
    text.Field("uuid", device.header.device_uuid.ToString());
    text.Field("disk id", TextOf(device.header.disk_id.id));
    text.Number("bytes", device.header.device_bytes);
    text.Number("generation", device.header.generation);
    text.Number("volume generation", device.volume.generation);
    text.Number("volume state", device.volume.state);
    text.Number("snapshot id", device.volume.snapshot_id);
    text.Field("units", fmt::format("{} to {}", uint64_t{device.volume.first_unit},
                                    uint64_t{device.volume.last_unit}));
    for (const LvmPeEntry& extent : device.extents) {
      text.Field(fmt::format("extent {}", uint32_t{extent.pe_id}),
                 fmt::format("{:#x} bytes at {:#x}, volume offset {:#x}",
                             uint64_t{extent.length_bytes}, uint64_t{extent.physical_offset},
                             uint64_t{extent.logical_offset}));
    }
  }
  return text.Take();
}

std::string DumpSuperblock(const RawVolume& volume) {
  const Superblock& superblock = volume.superblock();
  Text text;
  text.Heading("superblock at {:#x}", kSuperblockOffset);
  text.Field("version", fmt::format("{}.{}", uint32_t{superblock.major}, superblock.minor));
  text.Field("label", TextOf(superblock.label));
  text.Field("uuid", superblock.uuid.ToString());
  text.Field("lvm uuid", superblock.lvm_uuid.ToString());
  text.Field("formatting host", superblock.formatting_host.ToString());
  text.Hex("config flags", superblock.config_flags);
  text.Number("created, s", superblock.created_s);
  text.Number("generation", superblock.generation);
  text.Number("file block bytes", superblock.file_block_bytes);
  text.Number("sub-block bytes", superblock.sub_block_bytes);
  text.Number("journal block bytes", superblock.journal_block_bytes);
  text.Number("metadata alignment", superblock.metadata_alignment);
  text.Number("checksum type", superblock.checksum_type);
  text.Number("unmap priority", superblock.unmap_priority);
  text.Number("lease, ms", superblock.lease_ms);
  text.Number("reclaim window, ms", superblock.reclaim_window_ms);
  if (!volume.mark().has_value()) {
    text.Field("mark", volume.mark().error().message());
    return text.Take();
  }
  const StrataMark& mark = *volume.mark();
  text.Field("mark", fmt::format("{}.{}, oldest writer {}.{}", uint16_t{mark.major},
                                 uint16_t{mark.minor}, uint16_t{mark.major},
                                 uint16_t{mark.oldest_minor}));
  text.Field("features", fmt::format("compatible {:#x}, read-only {:#x}, incompatible {:#x}",
                                     uint64_t{mark.compatible_features},
                                     uint64_t{mark.read_only_features},
                                     uint64_t{mark.incompatible_features}));
  text.Field("machine", mark.machine.ToString());
  return text.Take();
}

Task<Result<std::string>> DumpHeartbeats(RawVolume& volume) {
  base::AlignedBuffer buffer(kHeartbeatSlotCount * uint64_t{kMetadataBlockBytes});
  CO_TRY_STATUS(co_await volume.Read(kHeartbeatOffset, buffer.span()));
  Text text;
  uint32_t unused_count = 0;
  for (uint32_t index = 0; index < kHeartbeatSlotCount; ++index) {
    const auto bytes =
        buffer.span().subspan(index * uint64_t{kMetadataBlockBytes}, kMetadataBlockBytes);
    const auto slot = DecodeHeartbeatSlot(bytes, HeartbeatAddress(index));
    const bool never_used =
        slot && slot->state() == HeartbeatState::kFree && slot->generation == 0;
    unused_count += never_used ? 1 : 0;
    if (never_used) continue;
    AddHeartbeat(text, index, base::LoadAs<HeartbeatSlot>(bytes));
    if (!slot) text.Field("problem", slot.error().message());
  }
  text.Heading("{} slots never used", unused_count);
  co_return text.Take();
}

Task<Result<std::string>> DumpLock(RawVolume& volume, uint64_t volume_address) {
  if (volume_address % kMetadataBlockBytes != 0) {
    co_return base::Error(base::Code::kMisaligned,
                          fmt::format("dump lock: {:#x} is no multiple of 4096", volume_address));
  }
  base::AlignedBuffer buffer(kMetadataBlockBytes);
  CO_TRY_STATUS(co_await volume.Read(volume_address, buffer.span()));
  Text text;
  AddLock(text, buffer.span(), volume_address);
  co_return text.Take();
}

Task<Result<std::string>> DumpInode(RawVolume& volume, FdAddress fd) {
  CO_TRY(const uint64_t address, volume.InodeAddress(fd));
  base::AlignedBuffer buffer(kInodeBytes);
  CO_TRY_STATUS(co_await volume.Read(address, buffer.span()));
  Text text;
  AddInode(text, fd, buffer.span().subspan(kMetadataBlockBytes).first<kMetadataBlockBytes>());
  AddLock(text, buffer.span(), address);
  co_return text.Take();
}

Task<Result<std::string>> DumpCluster(RawVolume& volume, ResourceKind kind, uint64_t cluster) {
  const ResourceGeometry& geometry = volume.geometry(kind);
  if (cluster >= geometry.cluster_count()) {
    co_return base::Error(base::Code::kNotFound,
                          fmt::format("dump cluster: {} {}: there are {}", vmfs::NameOf(kind),
                                      cluster, geometry.cluster_count()));
  }
  CO_TRY(const uint64_t address, volume.ClusterAddress(kind, cluster));
  base::AlignedBuffer buffer(kClusterHeaderBytes);
  CO_TRY_STATUS(co_await volume.Read(address, buffer.span()));
  const auto block = buffer.span().subspan(kMetadataBlockBytes).first<kMetadataBlockBytes>();
  Text text;
  text.Heading("{} cluster {} at {:#x}", vmfs::NameOf(kind), cluster, address);
  const auto decoded = DecodeClusterMetadata(block, geometry, cluster);
  if (!decoded) text.Field("problem", decoded.error().message());
  const auto metadata = base::LoadAs<ClusterMetadata>(block);
  text.Number("number", metadata.cluster);
  text.Number("resources", metadata.total_count);
  text.Number("free", metadata.free_count);
  text.Number("first free", metadata.first_free);
  text.Number("affinity entries", metadata.affinity_count);
  if (kind == ResourceKind::kFd) text.Number("last generation", metadata.fd_generation);
  AddBitmap(text, geometry, cluster, block);
  AddAffinity(text, geometry, cluster, block);
  AddLock(text, buffer.span(), address);
  co_return text.Take();
}

Task<Result<std::string>> DumpDirectory(RawVolume& volume, FdAddress fd) {
  MetadataBytes block;
  CO_TRY_STATUS(co_await volume.ReadInodeBlock(fd, block));
  CO_TRY(const InodeMetadata inode, DecodeInode(block, fd));
  constexpr uint64_t kBytesMax = uint64_t{64} << 20;
  CO_TRY(const std::vector<std::byte> bytes, co_await volume.ReadFile(&inode, &block, kBytesMax));
  if (bytes.size() < kDirectoryHeaderBytes) {
    co_return CorruptError("directory {}: {} bytes", fd.ToString(), bytes.size());
  }
  Text text;
  text.Heading("directory {}: {} bytes", fd.ToString(), bytes.size());
  const auto decoded = DecodeDirectoryHeader(bytes);
  if (!decoded) text.Field("problem", decoded.error().message());
  const auto header = base::LoadAs<DirectoryHeader>(bytes);
  text.Hex("version", header.version);
  text.Number("entries", header.entry_count);
  text.Number("map blocks", header.map_block_count);
  AddRecord(text, ".", header.dot);
  AddRecord(text, "..", header.dot_dot);
  for (uint64_t at = kDirectoryHeaderBytes; at + kMetadataBlockBytes <= bytes.size();
       at += kMetadataBlockBytes) {
    AddDirectoryBlock(text, (at - kDirectoryHeaderBytes) / kMetadataBlockBytes,
                      std::span(bytes).subspan(at, kMetadataBlockBytes));
  }
  co_return text.Take();
}

Task<Result<std::string>> DumpJournal(RawVolume& volume, uint64_t volume_address) {
  base::AlignedBuffer buffer(kJournalBlockBytes);
  CO_TRY_STATUS(co_await volume.Read(volume_address, buffer.span()));
  Text text;
  text.Heading("journal block at {:#x}", volume_address);
  constexpr const char* kContents[] = {"never used", "empty", "ours", "foreign"};
  const JournalContent content = ClassifyJournal(buffer.span());
  text.Field("content", kContents[static_cast<size_t>(content)]);
  if (content != JournalContent::kOurs) co_return text.Take();
  const auto decoded =
      DecodeJournalHeader(buffer.span(), volume.superblock().uuid, volume_address);
  if (!decoded) {
    text.Field("problem", decoded.error().message());
    co_return text.Take();
  }
  text.Field("owner", decoded->owner.ToString());
  text.Hex("heartbeat address", decoded->heartbeat_address);
  text.Number("heartbeat generation", decoded->heartbeat_generation);
  text.Number("tail sequence", decoded->tail_sequence);
  text.Number("tail slot", decoded->tail_slot);
  AddTransactions(text, *decoded, buffer.span());
  co_return text.Take();
}

}  // namespace vmfs
