// The log of a repair on the volume: written before anything else, and finished when it was cut.
//
// See vmfs/FORMAT.md, "Repair record". Internal to `vmfs/fsck` but for tests. Thread rule: the
// volume's executor.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/format/metadata_block.h"
#include "vmfs/format/repair_record.h"
#include "vmfs/fsck/overlay_device.h"
#include "vmfs/fsck/repair.h"

namespace vmfs::fsck {

// A repair that was cut short, as its log holds it.
struct PendingRepair {
  bool exists = false;
  RepairRecord record;
  std::map<uint64_t, std::unique_ptr<MetadataBytes>> images;  // by home address
};

// Reads record and log. No record, or none that was completed, is no error. Errors: kCorrupt,
// kChecksumMismatch (a record whose log is not what was written), those of Read.
base::Task<base::Result<PendingRepair>> ReadPendingRepair(base::BlockDevice& volume,
                                                          bool ignore_checksums);

// Brings the images home, flushes, and clears the record. Errors: those of the device; the next
// call begins again.
base::Task<base::Status> FinishRepair(base::BlockDevice& volume, PendingRepair& pending,
                                      RepairFaults faults);

// Writes what the overlay holds: copies and log, record, homes, record cleared, with a flush
// between any two. `chunks`: volume addresses of 1 MiB each that nothing uses, for a log that does
// not fit behind the record. Errors: kNoSpace, those of the device.
base::Task<base::Status> WriteRepair(base::BlockDevice& volume, OverlayDevice& overlay,
                                     const RepairIdentity* identity,
                                     std::span<const uint64_t> chunks, RepairFaults faults);

// Number of 1 MiB chunks that a log of so many images needs besides the room behind the record.
uint64_t ChunksNeeded(uint64_t image_count);

}  // namespace vmfs::fsck
