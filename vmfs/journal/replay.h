// Replay: brings the images of a dead host's journal home.
//
// Reads the ring, checks every transaction in order, and applies an image only while the lock that
// covers it still names the dead host: otherwise the block was home before the lock was given back,
// and may have changed since (vmfs/FORMAT.md, "Journal"). Idempotent. Thread rule: one executor.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "fs/base/uuid.h"
#include "vmfs/format/journal_block.h"
#include "vmfs/format/metadata_block.h"

namespace vmfs {

// Whose journal it is: its heartbeat slot says so.
struct JournalOwner {
  base::Uuid volume_uuid;
  uint64_t journal_address = 0;  // volume address of the journal block
  uint64_t heartbeat_address = 0;
  uint64_t heartbeat_generation = 0;
  bool ignore_checksums = false;  // a planted fault, for tests of the tests
};

// What a journal says should be home.
struct JournalContents {
  std::map<uint64_t, std::unique_ptr<MetadataBytes>> images;  // newest by home address
  std::vector<Orphan> orphans;
  bool scan_descriptors = false;
  uint32_t transaction_count = 0;
  uint32_t skipped_image_count = 0;  // their locks had gone to others
};

// Reads the ring without writing anything. A journal that is empty, never used or of another round
// gives no images. Errors: kCorrupt for a header that cannot be believed, those of the device.
base::Task<base::Result<JournalContents>> ReadJournal(base::BlockDevice& volume,
                                                      const JournalOwner* owner);

// Writes all images home and flushes. Errors: those of the device.
base::Task<base::Status> WriteImagesHome(base::BlockDevice& volume, JournalContents& contents);

}  // namespace vmfs
