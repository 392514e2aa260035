// The system files: their descriptors, the blocks they lie in, and the headers of resource files.
//
// System files never move and never shrink, so what mkfs planned for a volume of this size is still
// true for the begin of each: that is the redundancy used here.
#include <algorithm>
#include <optional>
#include <vector>

#include "vmfs/format/corrupt.h"
#include "vmfs/format/directory.h"
#include "vmfs/fsck/repair_work.h"
#include "vmfs/mkfs/image.h"

namespace vmfs::fsck {
namespace {

using base::Result;
using base::Status;
using base::Task;

constexpr uint64_t kFirstInode = kFdcBaseOffset + 0x20000 + kMetadataBlockBytes;
constexpr uint32_t kSystemGeneration = 1;

uint64_t InodePlace(FdAddress fd) { return kFirstInode + fd.item() * uint64_t{kInodeBytes}; }

uint64_t BlocksFor(uint64_t bytes) { return (bytes + kFileBlockBytes - 1) / kFileBlockBytes; }

// One system file being looked at.
struct SystemRepair {
  RepairWork& work;
  const VolumeLayout& layout;
  FdAddress fd;
  MetadataBytes block;  // its descriptor
  InodeMetadata fresh;  // as mkfs made it

  const PlannedFile& planned() const { return layout.file(fd); }
  InodeMetadata inode() const { return base::LoadAs<InodeMetadata>(block); }
  void Store(const InodeMetadata& inode) {
    base::StoreAs(std::span<std::byte>(block), 0, inode);
  }
  bool IsBlock(Address address) const {
    return address.kind() == AddressKind::kFileBlock && address.is_canonical() &&
           address.volume_block() < layout.block_count();
  }
};

// The descriptor's fixed fields; the length is judged with the resource header.
void FixFields(SystemRepair& repair) {
  InodeMetadata inode = repair.inode();
  const bool is_known = DecodeInode(repair.block, repair.fd).has_value();
  const bool is_right = is_known && inode.type() == repair.fresh.type() &&
                        inode.generation == kSystemGeneration &&
                        (inode.map_kind() == MapKind::kFileBlocks ||
                         inode.map_kind() == MapKind::kPb2) &&
                        inode.block_bytes == kFileBlockBytes;
  if (is_right) return;
  inode.fd = repair.fd.raw();
  inode.generation = kSystemGeneration;
  inode.signature = kInodeSignature;
  inode.set_type(repair.fresh.type());
  inode.log2_tbz_granularity = uint32_t{repair.fresh.log2_tbz_granularity};
  inode.affinity_fd = repair.fd.raw();
  const Address first = GetSlot(repair.block, 0);
  const bool is_mapped_through_pb2 =
      first.kind() == AddressKind::kPb2 ||
      (repair.planned().map_kind == MapKind::kPb2 && !repair.IsBlock(first));
  inode.SetMapKind(is_mapped_through_pb2 ? MapKind::kPb2 : MapKind::kFileBlocks);
  inode.flags = is_mapped_through_pb2 ? kInodeMapsThroughPb2 : 0;
  const uint64_t reach = MapReachBytes(inode.map_kind());
  // 0 is set right below, once it is known how many blocks there are.
  if (inode.length_bytes > reach) inode.length_bytes = uint64_t{0};
  repair.Store(inode);
  repair.work.Act(FindingCode::kSystemFile, "{}: descriptor of a system file written anew",
                  repair.fd.ToString());
}

// The slots that mkfs filled, and nothing impossible behind them.
void FixSlots(SystemRepair& repair) {
  const PlannedFile& planned = repair.planned();
  uint32_t changed = 0;
  const auto set = [&](uint32_t slot, Address address) {
    if (GetSlot(repair.block, slot) == address) return;
    SetSlot(repair.block, slot, address);
    ++changed;
  };
  if (repair.inode().map_kind() == MapKind::kPb2) {
    if (planned.map_kind == MapKind::kPb2) set(0, Address::MakePb2(0, planned.pb2_item));
  } else {
    const uint64_t count = std::min<uint64_t>(planned.block_count(), kSlotCount);
    for (uint32_t i = 0; i < count; ++i) {
      set(i, Address::MakeFileBlock(planned.VolumeBlock(i)));
    }
    for (uint32_t i = kSlotCount; i-- > count && !repair.IsBlock(GetSlot(repair.block, i));) {
      set(i, Address());
    }
  }
  if (changed == 0) return;
  repair.work.Act(FindingCode::kSystemFile, "{}: {} addresses of its map set right",
                  repair.fd.ToString(), changed);
}

// The same in the pointer block of a file that was mapped through `.pb2.sf` from the start.
Task<Status> FixPointers(SystemRepair* repair) {
  const PlannedFile& planned = repair->planned();
  if (repair->inode().map_kind() != MapKind::kPb2) co_return base::Ok();
  if (planned.map_kind != MapKind::kPb2) co_return base::Ok();
  const uint64_t offset = repair->layout.pb2.ItemOffset(0, planned.pb2_item);
  const uint64_t address = repair->layout.file(kPb2Fd).VolumeBlock(offset / kFileBlockBytes) *
                               kFileBlockBytes +
                           offset % kFileBlockBytes;
  std::vector<std::byte> pointers(kSubBlockBytes);
  CO_TRY_STATUS(co_await repair->work.ReadBytes(address, pointers));
  const uint64_t changes = repair->work.overlay().change_count();
  for (uint32_t i = 0; i < planned.block_count(); ++i) {
    SetPointer(pointers, i, Address::MakeFileBlock(planned.VolumeBlock(i)));
  }
  CO_TRY_STATUS(co_await repair->work.WriteBytes(address, pointers));
  if (changes != repair->work.overlay().change_count()) {
    repair->work.Act(FindingCode::kSystemFile, "{}: its pointer block set right",
                     repair->fd.ToString());
  }
  co_return base::Ok();
}

// Number of blocks the map has, without a gap from its begin.
Task<Result<uint64_t>> CountBlocks(SystemRepair* repair) {
  uint64_t count = 0;
  std::vector<std::byte> pointers(kSubBlockBytes);
  for (uint32_t slot = 0; slot < kSlotCount; ++slot) {
    const Address address = GetSlot(repair->block, slot);
    if (address.is_hole()) break;
    if (address.kind() != AddressKind::kPb2) {
      ++count;
      continue;
    }
    const uint64_t offset =
        repair->layout.pb2.ItemOffset(address.index().cluster, address.index().item);
    const PlannedFile& pb2 = repair->layout.file(kPb2Fd);
    if (offset / kFileBlockBytes >= pb2.block_count()) break;
    const uint64_t place =
        pb2.VolumeBlock(offset / kFileBlockBytes) * kFileBlockBytes + offset % kFileBlockBytes;
    CO_TRY_STATUS(co_await repair->work.ReadBytes(place, pointers));
    uint32_t used = 0;
    while (used < kPointersPerBlock && !GetPointer(pointers, used).is_hole()) ++used;
    count += used;
    if (used < kPointersPerBlock) break;
  }
  co_return count;
}

// The largest number of resources whose file is at most `length_bytes` long.
uint64_t CountForLength(ResourceKind kind, uint64_t length_bytes) {
  uint64_t low = 0, high = uint64_t{1} << 24;
  while (low < high) {
    const uint64_t middle = (low + high + 1) / 2;
    if (StandardGeometry(kind, middle).FileLengthBytes() <= length_bytes) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

const ResourceGeometry& PlannedGeometry(const VolumeLayout& layout, ResourceKind kind) {
  switch (kind) {
    case ResourceKind::kFd: return layout.fds;
    case ResourceKind::kSubBlock: return layout.sub_blocks;
    case ResourceKind::kPb2: return layout.pb2;
    case ResourceKind::kJournal: return layout.journal;
    case ResourceKind::kLargeBlock: return layout.large_blocks;
    case ResourceKind::kSmallBlock: return layout.small_blocks;
    default: return layout.pointer_blocks;
  }
}

// How many resources the file has: what its header, its length and its map agree on.
uint64_t ChooseCount(const SystemRepair& repair, ResourceKind kind, uint64_t mapped,
                     std::optional<uint64_t> header_count) {
  const ResourceGeometry& planned = PlannedGeometry(repair.layout, kind);
  const bool can_grow = kind == ResourceKind::kFd || kind == ResourceKind::kSubBlock ||
                        kind == ResourceKind::kPb2 || kind == ResourceKind::kJournal;
  if (!can_grow) return planned.resource_count;
  const uint64_t length = repair.inode().length_bytes;
  const auto length_of = [&](uint64_t count) {
    return StandardGeometry(kind, count).FileLengthBytes();
  };
  const uint64_t by_length = CountForLength(kind, length);
  const bool length_is_whole = length_of(by_length) == length && BlocksFor(length) == mapped;
  if (header_count && BlocksFor(length_of(*header_count)) == mapped) return *header_count;
  if (length_is_whole) return by_length;
  if (header_count && BlocksFor(length_of(*header_count)) <= mapped) return *header_count;
  if (BlocksFor(planned.FileLengthBytes()) == mapped) return planned.resource_count;
  return CountForLength(kind, mapped * kFileBlockBytes);
}

// One header and the length that belongs to it.
Task<Status> FixHeader(SystemRepair* repair, ResourceKind kind, uint64_t mapped) {
  const bool is_child = kind == ResourceKind::kSmallBlock;
  const uint64_t address = repair->planned().VolumeBlock(0) * kFileBlockBytes +
                           (is_child ? kChildHeaderOffset : 0);
  MetadataBytes block;
  CO_TRY_STATUS(co_await repair->work.ReadBlock(address, block));
  const Result<ResourceHeader> header = DecodeResourceHeader(block, kind);
  std::optional<uint64_t> header_count;
  if (header) header_count = header->resource_count();
  const uint64_t count = ChooseCount(*repair, kind, mapped, header_count);
  const ResourceGeometry geometry = StandardGeometry(kind, count);
  if (header_count != count) {
    ResourceHeader made = MakeResourceHeader(geometry);
    base::StoreAs(std::span<std::byte>(block), 0, made);
    CO_TRY_STATUS(co_await repair->work.WriteBlock(address, block));
    repair->work.Act(FindingCode::kSystemFile, "{} header: written anew for {} resources",
                     NameOf(kind), count);
  }
  InodeMetadata inode = repair->inode();
  if (is_child || inode.length_bytes == geometry.FileLengthBytes()) co_return base::Ok();
  inode.length_bytes = geometry.FileLengthBytes();
  repair->Store(inode);
  repair->work.Act(FindingCode::kSystemFile, "{} file: length set to {}", NameOf(kind),
                   uint64_t{inode.length_bytes});
  co_return base::Ok();
}

// Root and `.sdd.sf` are as long as a directory can be, the header area as ever.
void FixPlainLength(SystemRepair& repair, uint64_t mapped) {
  InodeMetadata inode = repair.inode();
  const bool is_directory = repair.fd != kVhFd;
  const uint64_t length = inode.length_bytes;
  const bool is_right = is_directory
                            ? length % kMetadataBlockBytes == 0 &&
                                  length >= repair.planned().length_bytes &&
                                  length <= mapped * kFileBlockBytes
                            : length == repair.planned().length_bytes;
  if (is_right || mapped == 0) return;
  inode.length_bytes = is_directory ? mapped * kFileBlockBytes : repair.planned().length_bytes;
  repair.Store(inode);
  repair.work.Act(FindingCode::kInode, "{}: length set to {}", repair.fd.ToString(),
                  uint64_t{inode.length_bytes});
}

Task<Status> RepairSystemFile(SystemRepair* repair) {
  CO_TRY_STATUS(co_await repair->work.ReadBlock(InodePlace(repair->fd), repair->block));
  FixFields(*repair);
  FixSlots(*repair);
  CO_TRY_STATUS(co_await FixPointers(repair));
  CO_TRY(const uint64_t mapped, co_await CountBlocks(repair));
  bool is_resource = false;
  for (const ResourceKind kind :
       {ResourceKind::kFd, ResourceKind::kSubBlock, ResourceKind::kPb2, ResourceKind::kJournal,
        ResourceKind::kLargeBlock, ResourceKind::kSmallBlock, ResourceKind::kPointerBlock}) {
    if (SystemFileOf(kind) != repair->fd) continue;
    is_resource = true;
    CO_TRY_STATUS(co_await FixHeader(repair, kind, mapped));
  }
  if (!is_resource) FixPlainLength(*repair, mapped);
  co_return co_await repair->work.WriteBlock(InodePlace(repair->fd), repair->block);
}

}  // namespace

Task<Status> RepairSystemFiles(RepairWork& work) {
  if (work.state() == nullptr) co_return base::Ok();
  const Result<const VolumeLayout*> layout = work.FreshLayout();
  if (!layout) co_return base::Ok();
  VolumeIdentity identity;
  const Superblock& superblock = work.volume().superblock();
  identity.uuid = superblock.uuid;
  identity.created_us = uint64_t{superblock.created_s} * 1'000'000;
  std::vector<std::byte> first(kFileBlockBytes);
  EncodeVolumeBlock(**layout, identity, kFdcBaseOffset / kFileBlockBytes, first);
  for (uint32_t item = 0; item < kSystemFdCount; ++item) {
    const FdAddress fd = FdAddress::Make(0, item);
    SystemRepair repair{work, **layout, fd, {}, {}};
    repair.fresh = base::LoadAs<InodeMetadata>(first, InodePlace(fd) - kFdcBaseOffset);
    const Status done = co_await RepairSystemFile(&repair);
    if (!IsLocal(done)) co_return done;
  }
  co_return base::Ok();
}

}  // namespace vmfs::fsck
