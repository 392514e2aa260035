// The block map: from a file's bytes to volume addresses, every map kind.
//
// Plain lookups work on what is in the metadata cache and say which block is missing; one coroutine
// loads it and asks again (vmfs/FORMAT.md, "Block maps"). Thread rule: the volume's executor; the
// inode's lock is held by the caller.
#pragma once

#include <cstdint>

#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/inode/inode.h"
#include "vmfs/volume/core.h"

namespace vmfs {

// Where a byte of a file lies, and how many bytes behind it lie the same way.
struct FileRun {
  bool is_hole = false;
  uint64_t address = 0;       // volume address; not for holes
  uint64_t length_bytes = 0;  // from the asked byte to the end of its unit
};

// Where the address of one unit is kept: a slot of the descriptor or an entry of a pointer block.
struct MapPlace {
  BlockRef piece;      // 4 KiB piece of a pointer block; none: a slot of the descriptor
  uint32_t entry = 0;  // slot number, or index in the piece
};

// Outcome of a plain lookup.
struct MapLookup {
  enum class Kind : uint8_t { kFound, kHoleAbove, kMissingBlock, kCorrupt };
  Kind kind = Kind::kCorrupt;
  Address address;               // kFound: may be a hole itself
  MapPlace place;                // kFound: where the address is kept
  uint64_t missing_address = 0;  // kMissingBlock: what to load before asking again
  uint64_t hole_units = 1;       // kHoleAbove: units up to the end of the missing pointer block
};

// Looks up unit `index` with what is in memory.
MapLookup LookUpUnit(const VolumeCore& core, const Inode& inode, uint64_t index);

// Where byte `offset_bytes` lies, if the map is in memory; the hot path of reads and overwrites.
// Answers false when something must be loaded (or is corrupt): then ask FindRun.
bool TryFindRun(const VolumeCore& core, const Inode& inode, uint64_t offset_bytes, FileRun& run);

// The same, loading what is missing. Not for inline files. Errors: kCorrupt, those of the device.
base::Task<base::Result<FileRun>> FindRun(VolumeCore& core, Inode& inode, uint64_t offset_bytes);

// The lookup, loading what is missing; never answers kMissingBlock or kCorrupt.
base::Task<base::Result<MapLookup>> FindUnit(VolumeCore& core, Inode& inode, uint64_t index);

// Volume address of a slot's or pointer's target of any kind. Errors: kCorrupt.
base::Result<uint64_t> ResolveAddress(const VolumeCore& core, Address address);

// Takes the descriptor's on-disk lock unless it is held. Errors: kLockHeld, kFenced, the device's.
base::Task<base::Status> LockOnDisk(VolumeCore& core, Inode& inode);

}  // namespace vmfs
