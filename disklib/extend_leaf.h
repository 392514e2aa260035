// Extend over snapshots: a disk that stands on others goes on in a new, larger leaf.
//
// The links below keep their size, so every snapshot stays what it was; behind their end the new
// leaf reads zeros. One step moves the disk onto it, together with the .vmx or .vmsd that names the
// current link (disklib/FORMAT.md, "Operations"). Place: under `operations.h`, over
// `snapshot_plan.h`. Thread rule: the executor of the Lib.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "disklib/chain.h"
#include "disklib/lib.h"
#include "disklib/new_extents.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

// The link a disk is written through now, asked by any link of it; `path` itself where nothing
// stands on it or no record can be read. Errors: those of LoadVm where `path` is a child.
base::Task<base::Result<std::string>> CurrentLeafOf(Lib& lib, const LoadedDescriptor* loaded);

// Puts a seSparse leaf of `size_bytes` on top of an open chain, which then writes to it. Cut, it is
// undone or done when the disk is opened next; the same size succeeds. When it cannot be told which
// of both it is, the chain takes no more writes. Errors: kInvalidArgument (smaller), kTooManyLinks,
// kUnsupported (a link that a snapshot froze), kBusy (an operation on snapshots runs), kNoSpace,
// kIo.
base::Task<base::Status> ExtendByLeaf(Lib& lib, Chain& chain, uint64_t size_bytes,
                                      Progress* progress);

}  // namespace disklib
