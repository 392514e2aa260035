// The checker of virtual disks: a full check of a chain or a folder, independent of the code that
// writes them.
//
// Order: descriptors, then the chain, then the extents from leaf to base, then what only the folder
// shows (other users of an extent, the VM's own files). Reads through the back end with the
// decoders of the formats; changes nothing. A damaged disk is a report, not an error. Memory: a
// window of bits over the file's grains (`CheckOptions::window_units`), one table at a time, and
// the descriptors of a folder. Place: beside Lib, over ObjectBackend. Thread rule: the executor of
// the Lib. The invariants are the rows of `invariants.h`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "disklib/check/report.h"
#include "disklib/lib.h"
#include "disklib/new_extents.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

struct CheckOptions {
  size_t findings_max = 1000;  // further ones are counted only
  bool explain = false;        // gather evidence for broken connections
  // Grains (or sectors) looked at in one pass over the tables; an eighth of it in bytes of memory.
  uint64_t window_units = uint64_t{1} << 29;
  std::string_view user = "strata disk check";
};

// Checks the disk whose descriptor stands at `path`, with all its parents. A disk that is open for
// writing is checked as far as it stands still, and `holder` says who has it. `progress` may be
// null; its total is that of the tables. Errors: kNotFound (neither descriptor nor extents of that
// name), kNotRecognized (something else), kInterrupted.
base::Task<base::Result<CheckReport>> CheckDisk(Lib& lib, std::string_view path,
                                                CheckOptions options, Progress* progress);

// Checks every disk of a folder, and what belongs to none: extents without a descriptor, links
// nobody refers to, the .vmsd. Errors: kNotFound, kInterrupted.
base::Task<base::Result<CheckReport>> CheckFolder(Lib& lib, std::string_view folder,
                                                  CheckOptions options, Progress* progress);

}  // namespace disklib
