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

// One cluster of journal blocks: its header as on the device, its lock in our hands.
struct JournalCluster {
  uint64_t metadata_address = 0;
  HeldLock lock;
  MetadataBytes bytes{};
};

// A journal block that is free, and stays so while its cluster's lock is held.
struct FreeJournalBlock {
  JournalBlock block;
  JournalCluster cluster;
};

// Whose ring it is: what the ring header must name before anybody wipes it.
struct JournalKey {
  uint64_t heartbeat_address = 0;
  uint64_t heartbeat_generation = 0;
};

// Finds a free journal block. Blocks whose 2 MiB are not adjacent on the volume are passed over.
// Errors: kNoSpace, kLockHeld, kCorrupt, those of the device.
base::Task<base::Status> FindJournalBlock(base::BlockDevice& volume, LockManager& locks,
                                          SystemFile& file, ResourceGeometry geometry,
                                          FreeJournalBlock& found);

// Names the block in our heartbeat slot, then marks it used; both durable. The caller has made its
// ring durable before, so that a used block's header always says whose it is; and a crash leaves no
// block that is used but that no slot leads to. Errors: kFenced, those of the device.
base::Task<base::Status> TakeJournalBlock(base::BlockDevice& volume, Heartbeat& heartbeat,
                                          FreeJournalBlock& found);

// Whether the block is marked used. One that a dead host's slot names and that is free holds
// nothing: it was not begun, or given back already. Errors: kCorrupt, those of the device.
base::Task<base::Result<bool>> IsJournalBlockUsed(base::BlockDevice& volume, LockManager& locks,
                                                  SystemFile& file, ResourceGeometry geometry,
                                                  JournalBlock block);

// Writes the empty form into the block and marks it free; durable. Does nothing to a block that is
// free already, or whose ring is not of this key: it was given back before, and has been taken
// again. Errors: as above.
base::Task<base::Status> GiveBackJournalBlock(base::BlockDevice& volume, LockManager& locks,
                                              SystemFile& file, ResourceGeometry geometry,
                                              JournalBlock block, JournalKey key);

}  // namespace vmfs
