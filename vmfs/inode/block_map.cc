#include "vmfs/inode/block_map.h"

#include <algorithm>

#include <fmt/format.h>

namespace vmfs {
namespace {

constexpr uint64_t kPointersPerPiece = kMetadataBlockBytes / 8;
constexpr uint64_t kLargeBlockBytes = kSmallBlocksPerCluster * kFileBlockBytes;

base::Error Corrupt(const Inode& inode, std::string_view what) {
  return base::Error(base::Code::kCorrupt,
                     fmt::format("read block map of {}: {}", inode.fd.ToString(), what));
}

// One entry of the pointer block `pointer_block`, if the piece with it is in memory.
MapLookup LookUpPointer(const VolumeCore& core, Address pointer_block, uint64_t entry) {
  MapLookup result;
  const base::Result<uint64_t> address = ResolveAddress(core, pointer_block);
  const bool is_pointer_block =
      pointer_block.kind() == AddressKind::kSubBlock || pointer_block.kind() == AddressKind::kPb2;
  if (!address || !is_pointer_block) return result;
  const uint64_t piece_address = *address + entry / kPointersPerPiece * kMetadataBlockBytes;
  result.place.piece = core.cache->Peek(piece_address);
  if (!result.place.piece) {
    result.kind = MapLookup::Kind::kMissingBlock;
    result.missing_address = piece_address;
    return result;
  }
  result.kind = MapLookup::Kind::kFound;
  result.place.entry = static_cast<uint32_t>(entry % kPointersPerPiece);
  result.address = GetPointer(result.place.piece->bytes(), result.place.entry);
  return result;
}

MapLookup HoleAbove(uint64_t units) {
  MapLookup result;
  result.kind = MapLookup::Kind::kHoleAbove;
  result.hole_units = units;
  return result;
}

// A unit behind what the map kind reaches is a hole: the map changes when it is written.
MapLookup FoundSlot(const Inode& inode, uint64_t slot) {
  if (slot >= kSlotCount) return HoleAbove(1);
  MapLookup result;
  result.kind = MapLookup::Kind::kFound;
  result.place.entry = static_cast<uint32_t>(slot);
  result.address = GetSlot(inode.block->bytes(), static_cast<uint32_t>(slot));
  return result;
}

}  // namespace

base::Result<uint64_t> ResolveAddress(const VolumeCore& core, Address address) {
  switch (address.kind()) {
    case AddressKind::kFileBlock: return core.file_blocks.allocator->AddressOf(address.index());
    case AddressKind::kLargeBlock: {
      const uint64_t begin = address.volume_block() * kFileBlockBytes;
      if (begin < core.device.size_bytes()) return begin;
      break;
    }
    case AddressKind::kSubBlock: return core.sub_blocks.allocator->AddressOf(address.index());
    case AddressKind::kPb2: return core.pb2_blocks.allocator->AddressOf(address.index());
    default: break;
  }
  return base::Error(base::Code::kCorrupt, fmt::format("block map names {}", address.ToString()));
}

MapLookup LookUpUnit(const VolumeCore& core, const Inode& inode, uint64_t index) {
  switch (inode.map_kind) {
    case MapKind::kFileBlocks:
    case MapKind::kSubBlocks: return FoundSlot(inode, index);
    case MapKind::kPointerBlocks:
    case MapKind::kPb2: {
      const MapLookup slot = FoundSlot(inode, index / kPointersPerBlock);
      if (slot.kind != MapLookup::Kind::kFound) return slot;
      const uint64_t entry = index % kPointersPerBlock;
      if (slot.address.is_hole()) return HoleAbove(kPointersPerBlock - entry);
      return LookUpPointer(core, slot.address, entry);
    }
    case MapKind::kDoubleIndirect: {
      const uint64_t second = index / kPointersPerBlock;
      const uint64_t entry = index % kPointersPerBlock;
      const MapLookup slot = FoundSlot(inode, second / kPointersPerBlock);
      if (slot.kind != MapLookup::Kind::kFound) return slot;
      if (slot.address.is_hole()) return HoleAbove(kPointersPerBlock - entry);
      const MapLookup middle = LookUpPointer(core, slot.address, second % kPointersPerBlock);
      if (middle.kind != MapLookup::Kind::kFound) return middle;
      if (middle.address.is_hole()) return HoleAbove(kPointersPerBlock - entry);
      return LookUpPointer(core, middle.address, entry);
    }
    case MapKind::kInline: break;
  }
  return MapLookup{};
}

namespace {

// Turns the address of the unit that holds `offset_bytes` into a run.
base::Result<FileRun> RunOf(const VolumeCore& core, const Inode& inode, Address address,
                            uint64_t offset_bytes) {
  const uint64_t in_unit = offset_bytes % inode.unit_bytes;
  FileRun run;
  run.length_bytes = inode.unit_bytes - in_unit;
  if (address.is_hole() || address.to_be_zeroed() != 0) {
    run.is_hole = true;
    return run;
  }
  TRY(const uint64_t begin, ResolveAddress(core, address));
  const bool is_large = address.kind() == AddressKind::kLargeBlock;
  run.address = begin + (is_large ? offset_bytes % kLargeBlockBytes : in_unit);
  if (run.address + run.length_bytes > core.device.size_bytes()) {
    return Corrupt(inode, fmt::format("{} is behind the end of the volume", address.ToString()));
  }
  return run;
}

}  // namespace

bool TryFindRun(const VolumeCore& core, const Inode& inode, uint64_t offset_bytes, FileRun& run) {
  const MapLookup lookup = LookUpUnit(core, inode, offset_bytes / inode.unit_bytes);
  if (lookup.kind != MapLookup::Kind::kFound) return false;
  const base::Result<FileRun> found = RunOf(core, inode, lookup.address, offset_bytes);
  if (!found) return false;
  run = *found;
  return true;
}

base::Task<base::Result<MapLookup>> FindUnit(VolumeCore& core, Inode& inode, uint64_t index) {
  // Each round loads one level of pointer blocks; the reference keeps it while asking again.
  BlockRef loaded;
  BlockRef loaded_before;
  for (int level = 0; level < 4; ++level) {
    MapLookup lookup = LookUpUnit(core, inode, index);
    if (lookup.kind == MapLookup::Kind::kCorrupt) break;
    if (lookup.kind != MapLookup::Kind::kMissingBlock) co_return lookup;
    loaded_before = loaded;
    CO_TRY(loaded, co_await core.cache->Get(lookup.missing_address));
  }
  co_return Corrupt(inode, fmt::format("no valid way to unit {}", index));
}

namespace {

// How many holes follow the entry in its piece; without them a search over empty pointer blocks
// would ask for each of their 8192 units.
uint64_t HolesBehind(const MapPlace& place) {
  uint64_t count = 0;
  for (uint64_t entry = place.entry + 1; entry < kPointersPerPiece; ++entry, ++count) {
    const auto index = static_cast<uint32_t>(entry);
    if (!GetPointer(place.piece->bytes(), index).is_hole()) break;
  }
  return count;
}

}  // namespace

base::Task<base::Result<FileRun>> FindRun(VolumeCore& core, Inode& inode, uint64_t offset_bytes) {
  CO_TRY(const MapLookup lookup, co_await FindUnit(core, inode, offset_bytes / inode.unit_bytes));
  if (lookup.kind == MapLookup::Kind::kHoleAbove) {
    FileRun run;
    run.is_hole = true;
    run.length_bytes = lookup.hole_units * inode.unit_bytes - offset_bytes % inode.unit_bytes;
    co_return run;
  }
  CO_TRY(FileRun run, RunOf(core, inode, lookup.address, offset_bytes));
  if (run.is_hole && lookup.place.piece) {
    run.length_bytes += HolesBehind(lookup.place) * inode.unit_bytes;
  }
  co_return run;
}

base::Task<base::Status> LockOnDisk(VolumeCore& core, Inode& inode) {
  CO_TRY_STATUS(core.CheckWritable());
  if (inode.disk_lock) co_return base::Ok();
  CO_TRY(HeldLock lock, co_await core.locks->Acquire(inode.lock_address));
  if (!inode.disk_lock) inode.disk_lock = std::move(lock);
  co_return base::Ok();
}

}  // namespace vmfs
