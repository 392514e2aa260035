// Attach and detach: what a link stands on, changed by one rewrite of its descriptor.
//
// Both refuse a link in use naming the holder. The rewrite is one step: a cut leaves the link as it
// was or as it will be (disklib/FORMAT.md, "Attach and detach"). Place: beside `linked_clone.h`.
// Thread rule: the executor of the Lib.
#pragma once

#include <string_view>

#include "disklib/lib.h"
#include "disklib/new_extents.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

struct AttachOptions {
  // A link that has no parent, or another one's content id, reads differently afterwards: only with
  // this, and it gets a new content id.
  bool changes_content = false;
};

// Makes the sparse link at `path` the child of `parent_path`. Errors: kInvalidArgument (a flat
// link, or one smaller than the parent), kMiscompare naming both content ids, kLoop,
// kTooManyLinks, kUnsupported (a link that others stand on; the last child of a snapshot), kBusy.
base::Task<base::Status> AttachLink(Lib& lib, std::string_view path, std::string_view parent_path,
                                    AttachOptions options);

// Makes a leaf that reads nothing but zeros from its parent a base. Its content stays, and with it
// the content id. Errors: kUnsupported (naming a place that is read from the parent; the last child
// of a snapshot), kBusy.
base::Task<base::Status> DetachLink(Lib& lib, std::string_view path, Progress* progress);

}  // namespace disklib
