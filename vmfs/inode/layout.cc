#include "vmfs/inode/layout.h"

#include <algorithm>

#include <fmt/format.h>

#include "vmfs/inode/block_map.h"
#include "vmfs/resource/grow.h"

namespace vmfs {
namespace {

constexpr uint64_t kSubBlocksKept = 1024;

// A sub-block reserved and zeroed, near those the file has.
base::Task<base::Result<Reservation>> ReserveSubBlock(VolumeCore& core, Inode& inode) {
  const ResourceIndex hint{
      inode.fd.cluster() % core.sub_blocks.allocator->geometry().cluster_count(), 0};
  return ReserveZeroed(core, core.sub_blocks, hint, /*skip_zeroing=*/false);
}

// Descriptor, sub-block cluster, file-block cluster, piece of a pointer block, and one to spare.
constexpr uint32_t kLayoutBlocksMax = 5;

base::Task<base::Status> WriteAll(VolumeCore& core, uint64_t address, std::span<std::byte> bytes) {
  const base::IoVec piece{bytes.data(), bytes.size()};
  const base::IoRequest request{address, std::span(&piece, 1)};
  const base::Status status = co_await core.device.Write(request);
  core.journal->NoteDataWrite();
  co_return status;
}

void NoteChange(VolumeCore& core, Inode& inode) {
  inode.last_sequence = core.journal->running_sequence();
}

void ClearMapArea(MetadataSpan block) {
  std::fill(block.begin() + kInlineOffset, block.end(), std::byte{0});
}

// Inline data moves into the first unit of another kind.
base::Task<base::Status> MoveInlineTo(VolumeCore& core, Inode& inode, MapKind kind) {
  Reservation unit;
  Address address;
  // An empty file that becomes large gets its blocks as they are written; a sub-block is needed
  // now.
  if (inode.size_bytes > 0 || kind == MapKind::kSubBlocks) {
    Resource& resource = kind == MapKind::kSubBlocks ? core.sub_blocks : core.file_blocks;
    const ResourceIndex hint{inode.last_cluster_hint, inode.last_item_hint};
    CO_TRY(unit, co_await ReserveZeroed(core, resource, hint, /*skip_zeroing=*/false));
    CO_TRY(const uint64_t volume_address, resource.allocator->AddressOf(unit.index()));
    std::array<std::byte, kInlineBytesMax> contents;
    std::copy_n(InlineData(inode.block->bytes()).begin(), kInlineBytesMax, contents.begin());
    CO_TRY_STATUS(co_await WriteAll(core, volume_address, contents));
    address = kind == MapKind::kSubBlocks
                  ? Address::MakeSubBlock(unit.index().cluster, unit.index().item)
                  : Address::MakeFileBlock(volume_address / kFileBlockBytes);
  }
  CO_TRY_STATUS(co_await LockOnDisk(core, inode));
  CO_TRY(Transaction transaction, co_await core.journal->Begin(kLayoutBlocksMax));
  const bool has_unit = static_cast<bool>(unit);
  if (has_unit) {
    Allocator& allocator =
        kind == MapKind::kSubBlocks ? *core.sub_blocks.allocator : *core.file_blocks.allocator;
    allocator.Apply(transaction, unit, inode.fd, core.NowSeconds());
  }
  ClearMapArea(transaction.Modify(*inode.block, inode.lock_address));
  inode.Update(transaction, [&](InodeMetadata& metadata) {
    metadata.SetMapKind(kind);
    metadata.SetBlockCount(has_unit ? 1 : 0);
    metadata.flags = metadata.flags | kInodeOutgrewInline;
  });
  SetSlot(transaction.Modify(*inode.block, inode.lock_address), 0, address);
  inode.tail_is_zero = true;
  NoteChange(core, inode);
  co_return base::Ok();
}

// The contents of the one sub-block move into the first file block.
base::Task<base::Status> MoveSubBlockToFileBlocks(VolumeCore& core, Inode& inode) {
  const Address old = GetSlot(inode.block->bytes(), 0);
  Reservation unit;
  ClusterHandle old_cluster;
  Address address;
  if (!old.is_hole()) {
    CO_TRY(const uint64_t old_address, ResolveAddress(core, old));
    CO_TRY(old_cluster, co_await core.sub_blocks.allocator->Open(old.index().cluster));
    CO_TRY_STATUS(core.sub_blocks.allocator->CheckUsed(old_cluster, old.index()));
    const ResourceIndex hint{inode.last_cluster_hint, inode.last_item_hint};
    CO_TRY(unit, co_await ReserveZeroed(core, core.file_blocks, hint, false));
    CO_TRY(const uint64_t new_address, core.file_blocks.allocator->AddressOf(unit.index()));
    std::vector<std::byte> contents(kSubBlockBytes);
    const base::IoVec piece{contents.data(), contents.size()};
    const base::IoRequest read{old_address, std::span(&piece, 1)};
    CO_TRY_STATUS(co_await core.device.Read(read));
    if (inode.size_bytes < kSubBlockBytes) {
      std::fill(contents.begin() + static_cast<std::ptrdiff_t>(inode.size_bytes), contents.end(),
                std::byte{0});
    }
    CO_TRY_STATUS(co_await WriteAll(core, new_address, contents));
    address = Address::MakeFileBlock(new_address / kFileBlockBytes);
  }
  CO_TRY_STATUS(co_await LockOnDisk(core, inode));
  CO_TRY(Transaction transaction, co_await core.journal->Begin(kLayoutBlocksMax));
  const bool has_unit = static_cast<bool>(unit);
  if (has_unit) {
    core.file_blocks.allocator->Apply(transaction, unit, inode.fd, core.NowSeconds());
    core.sub_blocks.allocator->Free(transaction, old_cluster, old.index(), inode.fd);
  }
  ClearMapArea(transaction.Modify(*inode.block, inode.lock_address));
  inode.Update(transaction, [&](InodeMetadata& metadata) {
    metadata.SetMapKind(MapKind::kFileBlocks);
    metadata.SetBlockCount(has_unit ? 1 : 0);
  });
  SetSlot(transaction.Modify(*inode.block, inode.lock_address), 0, address);
  inode.tail_is_zero = true;
  NoteChange(core, inode);
  co_return base::Ok();
}

// Puts the slots of the descriptor into a new pointer block, which takes slot 0.
base::Task<base::Status> PushDownSlots(VolumeCore& core, Inode& inode, MapKind new_kind) {
  CO_TRY(Reservation pointer_block, co_await ReserveSubBlock(core, inode));
  CO_TRY(const uint64_t address, core.sub_blocks.allocator->AddressOf(pointer_block.index()));
  const Address top =
      Address::MakeSubBlock(pointer_block.index().cluster, pointer_block.index().item);
  CO_TRY_STATUS(co_await LockOnDisk(core, inode));
  CO_TRY(Transaction transaction, co_await core.journal->Begin(kLayoutBlocksMax));
  core.sub_blocks.allocator->Apply(transaction, pointer_block, inode.fd, core.NowSeconds());
  const BlockRef piece = core.cache->Fresh(address);
  const MetadataSpan pointers = transaction.Modify(*piece, inode.lock_address);
  const MetadataSpan slots = transaction.Modify(*inode.block, inode.lock_address);
  for (uint32_t i = 0; i < kSlotCount; ++i) SetPointer(pointers, i, GetSlot(slots, i));
  ClearMapArea(slots);
  SetSlot(slots, 0, top);
  inode.Update(transaction, [&](InodeMetadata& metadata) {
    metadata.SetMapKind(new_kind);
    metadata.pointer_block_count = metadata.pointer_block_count + 1;
  });
  NoteChange(core, inode);
  co_return base::Ok();
}

// Adds an empty pointer block at `place`, which holds none.
base::Task<base::Status> AddPointerBlock(VolumeCore& core, Inode& inode, const MapPlace* place) {
  CO_TRY(Reservation pointer_block, co_await ReserveSubBlock(core, inode));
  CO_TRY_STATUS(co_await LockOnDisk(core, inode));
  CO_TRY(Transaction transaction, co_await core.journal->Begin(kLayoutBlocksMax));
  const Address address =
      Address::MakeSubBlock(pointer_block.index().cluster, pointer_block.index().item);
  core.sub_blocks.allocator->Apply(transaction, pointer_block, inode.fd, core.NowSeconds());
  if (place->piece) {
    SetPointer(transaction.Modify(*place->piece, inode.lock_address), place->entry, address);
  } else {
    SetSlot(transaction.Modify(*inode.block, inode.lock_address), place->entry, address);
  }
  inode.Update(transaction, [](InodeMetadata& metadata) {
    metadata.pointer_block_count = metadata.pointer_block_count + 1;
  });
  NoteChange(core, inode);
  co_return base::Ok();
}

uint32_t FirstEmptySlot(const Inode& inode) {
  uint32_t slot = 0;
  while (slot < kSlotCount && !GetSlot(inode.block->bytes(), slot).is_hole()) ++slot;
  return slot;
}

// One step towards a map that has a place for unit `index`; true when there is one.
base::Task<base::Result<bool>> ReachStep(VolumeCore& core, Inode& inode, uint64_t index) {
  switch (inode.map_kind) {
    case MapKind::kFileBlocks: {
      if (index < kSlotCount && FirstEmptySlot(inode) >= index) co_return true;
      CO_TRY_STATUS(co_await PushDownSlots(core, inode, MapKind::kPointerBlocks));
      co_return false;
    }
    case MapKind::kPointerBlocks: {
      const uint64_t slot = index / kPointersPerBlock;
      if (slot >= kSlotCount) {
        CO_TRY_STATUS(co_await PushDownSlots(core, inode, MapKind::kDoubleIndirect));
        co_return false;
      }
      const uint32_t first_empty = FirstEmptySlot(inode);
      if (first_empty > slot) co_return true;
      MapPlace place;
      place.entry = first_empty;
      CO_TRY_STATUS(co_await AddPointerBlock(core, inode, &place));
      co_return false;
    }
    case MapKind::kDoubleIndirect: {
      // Slot 0 reaches 64 TiB; below it any pointer block may be missing.
      const uint64_t second = index / kPointersPerBlock;
      const Address top = GetSlot(inode.block->bytes(), 0);
      CO_TRY(const uint64_t top_address, ResolveAddress(core, top));
      constexpr uint64_t kPerPiece = kMetadataBlockBytes / 8;
      MapPlace place;
      CO_TRY(place.piece,
             co_await core.cache->Get(top_address + second / kPerPiece * kMetadataBlockBytes));
      place.entry = static_cast<uint32_t>(second % kPerPiece);
      if (!GetPointer(place.piece->bytes(), place.entry).is_hole()) co_return true;
      CO_TRY_STATUS(co_await AddPointerBlock(core, inode, &place));
      co_return false;
    }
    default: break;
  }
  co_return base::Error(base::Code::kUnsupported,
                        fmt::format("grow {}: map kind {:#x}", inode.fd.ToString(),
                                    static_cast<uint32_t>(inode.map_kind)));
}

}  // namespace

base::Task<base::Result<Reservation>> ReserveZeroed(VolumeCore& core, Resource& resource,
                                                    ResourceIndex hint, bool skip_zeroing) {
  CO_TRY(Reservation reserved, co_await ReserveItem(core, resource, hint));
  const Allocator& allocator = *resource.allocator;
  const uint64_t unit_bytes = allocator.geometry().kind == ResourceKind::kSmallBlock
                                  ? kFileBlockBytes
                                  : allocator.geometry().resource_bytes;
  if (!skip_zeroing) {
    CO_TRY(const uint64_t address, allocator.AddressOf(reserved.index()));
    CO_TRY_STATUS(co_await ZeroOnDevice(core, address, unit_bytes));
  }
  co_return reserved;
}

MapKind FirstMapKind(const VolumeCore& core, uint64_t end_bytes) {
  // Close to the format's limit, sub-blocks are for directories and pointer blocks.
  const Allocator& sub_blocks = *core.sub_blocks.allocator;
  const bool scarce =
      sub_blocks.resource_count() >= kSubBlocksMax && sub_blocks.free_count() <= kSubBlocksKept;
  const bool small = end_bytes <= kSubBlockBytes && !scarce;
  return small ? MapKind::kSubBlocks : MapKind::kFileBlocks;
}

bool NeedsLayoutFor(const Inode& inode, uint64_t end_bytes) {
  if (inode.map_kind == MapKind::kInline) return end_bytes > kInlineBytesMax;
  if (inode.map_kind == MapKind::kSubBlocks) {
    return end_bytes > kSubBlockBytes || GetSlot(inode.block->bytes(), 0).is_hole();
  }
  return false;
}

base::Task<base::Status> MakeLayoutFor(VolumeCore& core, Inode& inode, uint64_t end_bytes) {
  if (!NeedsLayoutFor(inode, end_bytes)) co_return base::Ok();
  if (inode.map_kind == MapKind::kSubBlocks) {
    co_return co_await MoveSubBlockToFileBlocks(core, inode);
  }
  co_return co_await MoveInlineTo(core, inode, FirstMapKind(core, end_bytes));
}

base::Task<base::Status> ConvertToPointerBlocks(VolumeCore& core, Inode& inode) {
  CHECK(inode.map_kind == MapKind::kFileBlocks);
  return PushDownSlots(core, inode, MapKind::kPointerBlocks);
}

base::Task<base::Status> MakeMapReach(VolumeCore& core, Inode& inode, uint64_t size_bytes) {
  CO_TRY_STATUS(co_await MakeLayoutFor(core, inode, size_bytes));
  while (size_bytes > MapReachBytes(inode.map_kind)) {
    const bool direct = inode.map_kind == MapKind::kFileBlocks;
    if (!direct && inode.map_kind != MapKind::kPointerBlocks) co_return base::Code::kTooLarge;
    const MapKind next = direct ? MapKind::kPointerBlocks : MapKind::kDoubleIndirect;
    CO_TRY_STATUS(co_await PushDownSlots(core, inode, next));
  }
  co_return base::Ok();
}

base::Task<base::Status> LinkBlock(VolumeCore& core, Inode& inode, uint64_t index,
                                   Reservation& block, uint64_t end_bytes) {
  co_await inode.link_lock.Acquire();
  base::LockGuard guard(inode.link_lock);
  for (;;) {
    CO_TRY(const bool reached, co_await ReachStep(core, inode, index));
    if (reached) break;
  }
  CO_TRY(const MapLookup lookup, co_await FindUnit(core, inode, index));
  if (lookup.kind != MapLookup::Kind::kFound || !lookup.address.is_hole()) {
    co_return base::Error(base::Code::kInternal,
                          fmt::format("link block {} of {}: taken", index, inode.fd.ToString()));
  }
  CO_TRY(const uint64_t volume_address, core.file_blocks.allocator->AddressOf(block.index()));
  const Address address = Address::MakeFileBlock(volume_address / kFileBlockBytes);
  CO_TRY_STATUS(co_await LockOnDisk(core, inode));
  CO_TRY(Transaction transaction, co_await core.journal->Begin(kLayoutBlocksMax));
  inode.last_cluster_hint = block.index().cluster;
  inode.last_item_hint = block.index().item + 1;
  const uint64_t cluster = block.index().cluster;
  core.file_blocks.allocator->Apply(transaction, block, inode.fd, core.NowSeconds());
  if (lookup.place.piece) {
    SetPointer(transaction.Modify(*lookup.place.piece, inode.lock_address), lookup.place.entry,
               address);
  } else {
    SetSlot(transaction.Modify(*inode.block, inode.lock_address), lookup.place.entry, address);
  }
  inode.Update(transaction, [&](InodeMetadata& metadata) {
    metadata.SetBlockCount(metadata.block_count + 1);
    metadata.length_bytes = std::max<uint64_t>(metadata.length_bytes, end_bytes);
    metadata.last_small_block_cluster = static_cast<uint32_t>(cluster);
  });
  NoteChange(core, inode);
  co_return base::Ok();
}

}  // namespace vmfs
