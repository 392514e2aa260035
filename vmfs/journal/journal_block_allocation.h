// Taking and giving back a journal block of `.jbc.sf`, before and after there is a journal.
//
// A cluster's bitmap lies in one sector, so marking one block is a single atomic write under the
// cluster's lock; it is not journaled. Thread rule: the volume's executor.
#pragma once

#include <cstdint>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/format/address.h"
#include "vmfs/format/resource.h"
#include "vmfs/lock/lock_manager.h"
#include "vmfs/resource/system_file.h"

namespace vmfs {

struct JournalBlock {
  ResourceIndex index;
  uint64_t volume_address = 0;

  uint32_t address() const {
    return static_cast<uint32_t>(Address::MakeJournalBlock(index.cluster, index.item).raw());
  }
};

// Marks a free journal block used; durable. Blocks whose 2 MiB are not adjacent on the volume are
// passed over. Errors: kNoSpace, kLockHeld, kCorrupt, those of the device.
base::Task<base::Result<JournalBlock>> TakeJournalBlock(base::BlockDevice& volume,
                                                        LockManager& locks, SystemFile& file,
                                                        ResourceGeometry geometry);

// Writes the empty form into the block and marks it free; durable. Does nothing to a block that is
// free already. Errors: as above.
base::Task<base::Status> GiveBackJournalBlock(base::BlockDevice& volume, LockManager& locks,
                                              SystemFile& file, ResourceGeometry geometry,
                                              JournalBlock block);

}  // namespace vmfs
