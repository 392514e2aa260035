// What changes the space of one disk and not, or only by erasing, its content: inflate, eager-zero,
// punch, zero.
//
// Each works in place on the top link, refuses a disk in use naming the holder, can be stopped, and
// is safe to cut and to run again: content is the same at every moment but for ZeroDisk, whose
// content id changes first (disklib/FORMAT.md, "Operations"). Place: beside `operations.h`.
// Thread rule: the executor of the Lib.
#pragma once

#include <cstdint>
#include <string_view>

#include "disklib/lib.h"
#include "disklib/new_extents.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

struct SpaceResult {
  uint64_t size_bytes = 0;
  uint64_t allocated_before_bytes = 0;
  uint64_t allocated_after_bytes = 0;
};

// Gives a flat disk all its space with zeros written to it: thin or zeroedthick becomes
// eagerzeroedthick. Errors: kUnsupported (a sparse disk), kBusy, kNoSpace, kInterrupted.
base::Task<base::Result<SpaceResult>> InflateDisk(Lib& lib, std::string_view path,
                                                  Progress* progress);

// The same of a disk that has its space already. Errors: as InflateDisk; kInvalidArgument (thin:
// inflate it).
base::Task<base::Result<SpaceResult>> EagerZeroDisk(Lib& lib, std::string_view path,
                                                    Progress* progress);

// Gives back the space of zeros, found by reading; a thick flat disk becomes thin. In a sparse leaf
// whole grains of zeros become zero grains, or unallocated ones where the parent reads zeros; the
// content id changes there, the content does not.
// Errors: kBusy, kUnsupported (a format without a zero state that has a parent), kInterrupted.
base::Task<base::Result<SpaceResult>> PunchDisk(Lib& lib, std::string_view path,
                                                Progress* progress);

// Makes the whole disk read as zeros: its content is gone. Space of thin and sparse disks goes
// back; thick ones keep it. Errors: kBusy, kNoSpace (a child whose format has no zeros),
// kInterrupted.
base::Task<base::Result<SpaceResult>> ZeroDisk(Lib& lib, std::string_view path, Progress* progress);

}  // namespace disklib
