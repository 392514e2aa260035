// Clone: the content of a whole chain as one new disk, in any layout.
//
// Holes and zeros stay holes where the layout has them. The clone has the source's content id, for
// it has its content (disklib/FORMAT.md, "Content ids"), and an identity of its own: a new uuid, no
// tracking file, no keys of filters. Safe to cut and to run again; nothing stands under the final
// names before all of it is there. Place: over `copy.h` and `new_link.h`. Thread rule: the
// executor of both Libs, which is one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/copy.h"
#include "disklib/lib.h"
#include "disklib/new_link.h"
#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

struct CloneOptions {
  DiskLayout layout = DiskLayout::kVmfs;
  Provisioning provisioning = Provisioning::kThin;
  uint64_t grain_bytes = 0;            // of sparse layouts; 0: the format's default
  bool all_tables = false;             // vmfsSparse
  std::string_view adapter_type = {};  // empty: the source's
  bool reads_all = false;              // through the chain, never from file to file
  std::string_view user = "strata disk clone";
};

struct CloneResult {
  uint64_t size_bytes = 0;
  uint64_t data_bytes = 0;  // stored
  uint64_t zero_bytes = 0;  // holes and zeros, left out where the layout can
  std::string content_id;   // "7f3a1c09"
};

// What becomes a new disk, and what is known of it.
struct DiskContent {
  base::BlockDevice* device = nullptr;
  const DirectSource* direct = nullptr;  // may be null
  uint32_t content_id = kFreshContentId;
  std::vector<KeyValue> disk_database;  // of where it comes from; what is not the disk's is dropped
  std::string origin;                   // one line: tells a run that was cut from another
};

// Copies the disk at `source` to a new one at `target`; both paths in their own Lib. A disk that is
// open for writing is refused; a frozen link is a source like any other. Errors: as Lib::Open and
// CreateLink; kInterrupted.
base::Task<base::Result<CloneResult>> CloneDisk(Lib& source_lib, std::string_view source,
                                                Lib& target_lib, std::string_view target,
                                                CloneOptions options, Progress* progress);

// Makes a new disk of any device's content: what import does.
base::Task<base::Result<CloneResult>> MakeDiskFrom(Lib& lib, std::string_view path,
                                                   DiskContent& content, CloneOptions options,
                                                   Progress* progress);

// The layout and provisioning a word of the command line means: thin, zeroedthick,
// eagerzeroedthick, 2gbsparse, raw create types. False: an unknown word.
bool ParseCloneFormat(std::string_view word, CloneOptions& options);

}  // namespace disklib
