// Rebase: makes a link stand on another parent, without losing what it reads.
//
// By proof: both parents hold the same, so only the pointer changes. By copy: where the new parent
// holds something else, the link gets what it read from the old one, and then the pointer changes.
// By force: what the link does not hold itself reads as the new parent says. Safe to cut and to run
// again: copying changes nothing the link reads, and the pointer is one replaced file
// (disklib/FORMAT.md, "Snapshots"). Thread rule: the executor of the Lib.
#pragma once

#include <cstdint>
#include <string_view>

#include "disklib/lib.h"
#include "disklib/new_extents.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

enum class RebaseMode : uint8_t { kProve, kCopy, kForce };

struct RebaseOptions {
  std::string_view new_parent = {};  // descriptor path
  RebaseMode mode = RebaseMode::kProve;
  std::string_view user = "strata disk rebase";
};

struct RebaseResult {
  bool was_proven_by_id = false;  // the new parent has the content id the link was made over
  uint64_t copied_bytes = 0;
};

// Errors: kMiscompare naming the first difference, or an old parent that was modified (kProve),
// kUnsupported (a base; a link that others stand on, unless the content stays by proof; the last
// child of a snapshot),
// kInvalidArgument (a parent larger than the link), kLoop (the new parent stands on the link),
// kTooManyLinks, kNotFound (the old parent is gone and the ids do not agree: only force is left),
// kBusy naming a holder, kInterrupted, kNoSpace, kIo.
base::Task<base::Result<RebaseResult>> RebaseLink(Lib& lib, std::string_view path,
                                                  RebaseOptions options, Progress* progress);

}  // namespace disklib
