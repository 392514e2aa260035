// Deletes a whole disk with all its snapshots: the base and every link of its folder on it.
//
// Only for whoever asked for it: `DeleteDisk` (`operations.h`) refuses a link that others stand on.
// Leaves go first, the base last, so that after a cut the same call finds the rest. Place: over
// `operations.h` and `link_tree.h`. Thread rule: the executor of the Lib.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "disklib/lib.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

struct DeleteChainResult {
  std::vector<std::string> deleted_paths;  // in the order in which they went
};

// `path`: any link of the disk; after a cut, its base. Nothing is deleted unless all of it can be.
// Errors: kNotFound, kUnsupported naming a linked clone that stands on a link, kBusy naming the
// holder of one, and those of DeleteDisk.
base::Task<base::Result<DeleteChainResult>> DeleteChain(Lib& lib, std::string_view path);

}  // namespace disklib
