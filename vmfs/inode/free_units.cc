#include "vmfs/inode/free_units.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "vmfs/inode/block_map.h"

namespace vmfs {
namespace {

constexpr size_t kClustersPerBatchMax = 40;
constexpr size_t kPiecesPerBatchMax = 16;
constexpr uint32_t kBatchBlocksMax = kClustersPerBatchMax + kPiecesPerBatchMax + 1;
constexpr uint64_t kPointersPerPiece = kMetadataBlockBytes / 8;

// What one transaction frees.
struct Batch {
  struct Unit {
    MapPlace place;
    Address address;
  };

  std::vector<Unit> units;
  std::map<std::pair<AddressKind, uint64_t>, ClusterHandle> clusters;
  std::set<const MetadataBlock*> pieces;
};

// Adds one item to the batch; false when the batch is full without it.
base::Task<base::Result<bool>> AddToBatch(VolumeCore& core, Inode& inode, Batch& batch,
                                          Address address, const MapPlace* place) {
  Allocator* allocator = AllocatorOf(core, address);
  if (allocator == nullptr) {
    co_return base::Error(base::Code::kUnsupported,
                          fmt::format("free {} of {}", address.ToString(), inode.fd.ToString()));
  }
  const std::pair<AddressKind, uint64_t> key{address.kind(), address.index().cluster};
  const bool new_piece = place->piece && !batch.pieces.contains(place->piece.get());
  if (new_piece && batch.pieces.size() == kPiecesPerBatchMax) co_return false;
  if (!batch.clusters.contains(key)) {
    if (batch.clusters.size() == kClustersPerBatchMax) co_return false;
    CO_TRY(batch.clusters[key], co_await allocator->Open(key.second));
  }
  CO_TRY_STATUS(allocator->CheckUsed(batch.clusters[key], address.index()));
  if (place->piece) batch.pieces.insert(place->piece.get());
  batch.units.push_back({*place, address});
  co_return true;
}

// Fills a batch with units of [first, cursor), from the end; `cursor` moves down.
base::Task<base::Status> GatherUnits(VolumeCore& core, Inode& inode, uint64_t first,
                                     uint64_t& cursor, Batch& batch) {
  while (cursor > first) {
    const uint64_t index = cursor - 1;
    CO_TRY(const MapLookup lookup, co_await FindUnit(core, inode, index));
    if (lookup.kind == MapLookup::Kind::kHoleAbove) {
      cursor = std::max(first, index / kPointersPerBlock * kPointersPerBlock);
      continue;
    }
    if (lookup.address.is_hole()) {
      const bool whole_piece_empty = lookup.place.piece && IsZero(lookup.place.piece->bytes());
      cursor = whole_piece_empty ? std::max(first, index / kPointersPerPiece * kPointersPerPiece)
                                 : index;
      continue;
    }
    CO_TRY(const bool added,
           co_await AddToBatch(core, inode, batch, lookup.address, &lookup.place));
    if (!added) co_return base::Ok();
    cursor = index;
  }
  co_return base::Ok();
}

// Number of pointer blocks that units [0, units) need, and the level above them.
uint64_t SecondLevelCount(uint64_t units) {
  return (units + kPointersPerBlock - 1) / kPointersPerBlock;
}

// Fills a batch with pointer blocks that map nothing below `keep_units`, from the end. `done` is
// set when there are no more.
base::Task<base::Status> GatherPointerBlocks(VolumeCore& core, Inode& inode, uint64_t keep_units,
                                             Batch& batch, bool& done) {
  done = false;
  const uint64_t keep = SecondLevelCount(keep_units);
  if (inode.map_kind == MapKind::kDoubleIndirect) {
    const Address top = GetSlot(inode.block->bytes(), 0);
    CO_TRY(const uint64_t top_address, ResolveAddress(core, top));
    for (uint64_t index = kPointersPerBlock; index-- > keep;) {
      MapPlace place;
      CO_TRY(place.piece, co_await core.cache->Get(top_address + index / kPointersPerPiece *
                                                                     kMetadataBlockBytes));
      place.entry = static_cast<uint32_t>(index % kPointersPerPiece);
      const Address address = GetPointer(place.piece->bytes(), place.entry);
      if (address.is_hole()) continue;
      CO_TRY(const bool added, co_await AddToBatch(core, inode, batch, address, &place));
      if (!added) co_return base::Ok();
    }
    if (keep > 0) {
      done = true;
      co_return base::Ok();
    }
  }
  const uint64_t keep_slots = inode.map_kind == MapKind::kDoubleIndirect ? 0 : keep;
  for (uint32_t slot = kSlotCount; slot-- > keep_slots;) {
    const Address address = GetSlot(inode.block->bytes(), slot);
    if (address.is_hole()) continue;
    MapPlace place;
    place.entry = slot;
    CO_TRY(const bool added, co_await AddToBatch(core, inode, batch, address, &place));
    if (!added) co_return base::Ok();
  }
  done = true;
  co_return base::Ok();
}

// Frees the batch in one transaction; `change` finishes the descriptor. Pointer blocks count apart.
template <typename Change>
void ApplyBatch(VolumeCore& core, Inode& inode, Transaction& transaction, const Batch& batch,
                bool are_pointer_blocks, Change change) {
  for (const Batch::Unit& unit : batch.units) {
    const ResourceIndex index = unit.address.index();
    const auto& handle = batch.clusters.at({unit.address.kind(), index.cluster});
    AllocatorOf(core, unit.address)->Free(transaction, handle, index, inode.fd);
    if (unit.place.piece) {
      SetPointer(transaction.Modify(*unit.place.piece, inode.lock_address), unit.place.entry,
                 Address());
    } else {
      SetSlot(transaction.Modify(*inode.block, inode.lock_address), unit.place.entry, Address());
    }
  }
  inode.Update(transaction, [&](InodeMetadata& metadata) {
    const auto freed = static_cast<uint32_t>(batch.units.size());
    if (are_pointer_blocks) {
      metadata.pointer_block_count = metadata.pointer_block_count - freed;
    } else {
      metadata.SetBlockCount(metadata.block_count - freed);
    }
    change(metadata);
  });
  inode.last_sequence = core.journal->running_sequence();
}

bool UsesPointerBlocks(const Inode& inode) {
  return inode.map_kind == MapKind::kPointerBlocks || inode.map_kind == MapKind::kDoubleIndirect;
}

// The map is empty: the file's data lie in the descriptor again.
void MakeInline(Inode& inode, Transaction& transaction) {
  const MetadataSpan bytes = transaction.Modify(*inode.block, inode.lock_address);
  std::fill(bytes.begin() + kInlineOffset, bytes.end(), std::byte{0});
  inode.Update(transaction, [](InodeMetadata& metadata) {
    metadata.SetMapKind(MapKind::kInline);
    metadata.length_bytes = 0;
    metadata.flags = metadata.flags & ~kInodeOutgrewInline;
  });
}

base::Task<base::Status> ShrinkInline(VolumeCore& core, Inode& inode, uint64_t new_size_bytes) {
  CO_TRY(Transaction transaction, co_await core.journal->Begin(1));
  const MetadataSpan bytes = transaction.Modify(*inode.block, inode.lock_address);
  std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(kInlineOffset + new_size_bytes),
            bytes.end(), std::byte{0});
  inode.Update(transaction,
               [&](InodeMetadata& metadata) { metadata.length_bytes = new_size_bytes; });
  inode.last_sequence = core.journal->running_sequence();
  co_return base::Ok();
}

base::Task<base::Status> FreePointerBlocks(VolumeCore& core, Inode& inode, uint64_t keep_units) {
  for (bool done = false; !done;) {
    Batch batch;
    CO_TRY_STATUS(co_await GatherPointerBlocks(core, inode, keep_units, batch, done));
    const bool becomes_inline = done && keep_units == 0;
    if (batch.units.empty() && !becomes_inline) continue;
    CO_TRY(Transaction transaction, co_await core.journal->Begin(kBatchBlocksMax));
    ApplyBatch(core, inode, transaction, batch, /*are_pointer_blocks=*/true, [](InodeMetadata&) {});
    if (becomes_inline) MakeInline(inode, transaction);
  }
  co_return base::Ok();
}

}  // namespace

Allocator* AllocatorOf(VolumeCore& core, Address address) {
  switch (address.kind()) {
    case AddressKind::kFileBlock: return core.file_blocks.allocator.get();
    case AddressKind::kSubBlock: return core.sub_blocks.allocator.get();
    default: return nullptr;
  }
}

base::Task<base::Status> FreeUnits(VolumeCore& core, Inode& inode, uint64_t first, uint64_t end) {
  CO_TRY_STATUS(co_await LockOnDisk(core, inode));
  for (uint64_t cursor = end; cursor > first;) {
    Batch batch;
    CO_TRY_STATUS(co_await GatherUnits(core, inode, first, cursor, batch));
    if (batch.units.empty()) continue;
    CO_TRY(Transaction transaction, co_await core.journal->Begin(kBatchBlocksMax));
    ApplyBatch(core, inode, transaction, batch, /*are_pointer_blocks=*/false,
               [](InodeMetadata&) {});
  }
  co_return base::Ok();
}

base::Task<base::Status> ShrinkTo(VolumeCore& core, Inode& inode, uint64_t new_size_bytes) {
  CO_TRY_STATUS(co_await LockOnDisk(core, inode));
  if (inode.map_kind == MapKind::kInline) {
    co_return co_await ShrinkInline(core, inode, new_size_bytes);
  }
  const uint64_t unit_bytes = inode.unit_bytes;
  const uint64_t keep_units = (new_size_bytes + unit_bytes - 1) / unit_bytes;
  // Blocks may have been allocated behind the end: the map is searched as far as it reaches.
  uint64_t cursor = std::max(keep_units, MapReachBytes(inode.map_kind) / unit_bytes);
  for (bool done = false; !done;) {
    Batch batch;
    CO_TRY_STATUS(co_await GatherUnits(core, inode, keep_units, cursor, batch));
    done = cursor <= keep_units;
    CO_TRY(Transaction transaction, co_await core.journal->Begin(kBatchBlocksMax));
    ApplyBatch(core, inode, transaction, batch, /*are_pointer_blocks=*/false,
               [&](InodeMetadata& metadata) {
                 metadata.length_bytes =
                     done ? new_size_bytes
                          : std::min<uint64_t>(metadata.length_bytes,
                                               std::max(new_size_bytes, cursor * unit_bytes));
               });
    if (done && keep_units == 0 && !UsesPointerBlocks(inode)) MakeInline(inode, transaction);
  }
  inode.tail_is_zero = new_size_bytes % unit_bytes == 0;
  if (UsesPointerBlocks(inode)) {
    CO_TRY_STATUS(co_await FreePointerBlocks(core, inode, keep_units));
  }
  co_return base::Ok();
}

}  // namespace vmfs
