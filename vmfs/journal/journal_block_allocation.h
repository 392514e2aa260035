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
#include "vmfs/lock/heartbeat.h"
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

// Names a free journal block in our heartbeat slot, then marks it used; both durable. In this
// order a crash leaves no block that is used but that no slot leads to. Blocks whose 2 MiB are not
// adjacent on the volume are passed over. Errors: kNoSpace, kLockHeld, kCorrupt, those of the
// device.
base::Task<base::Result<JournalBlock>> TakeJournalBlock(base::BlockDevice& volume,
                                                        LockManager& locks, Heartbeat& heartbeat,
                                                        SystemFile& file,
                                                        ResourceGeometry geometry);

// Whether the block is marked used. One that a dead host's slot names and that is free holds
// nothing: it was not begun, or given back already. Errors: kCorrupt, those of the device.
base::Task<base::Result<bool>> IsJournalBlockUsed(base::BlockDevice& volume, LockManager& locks,
                                                  SystemFile& file, ResourceGeometry geometry,
                                                  JournalBlock block);

// Writes the empty form into the block and marks it free; durable. Does nothing to a block that is
// free already. Errors: as above.
base::Task<base::Status> GiveBackJournalBlock(base::BlockDevice& volume, LockManager& locks,
                                              SystemFile& file, ResourceGeometry geometry,
                                              JournalBlock block);

}  // namespace vmfs
