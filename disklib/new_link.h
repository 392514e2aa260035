// Makes new links: base disks and children, in every layout there is.
//
// `CreateLink` is create of `strata disk`, and what snapshots, clones and linked clones begin with.
// Safe to cut at any point and to run again: the link is absent or complete (disklib/FORMAT.md,
// "Create"). Place: beside `operations.h`, over `new_disk.h` (what it looks like) and
// `new_extents.h` (its files). Thread rule: the executor of the Lib.
#pragma once

#include <string_view>

#include "disklib/lib.h"
#include "disklib/new_disk.h"
#include "disklib/new_extents.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

// Makes a link at `path`; a base reads as zeros, a child as its parent, of which only path and
// content id are taken: whoever makes a child sees to it that the parent is one and stays as it is.
// The size is rounded up to a sector; `progress` may be null. Sizes from text: `ParseDiskSize`
// (`disk_size.h`). Errors: those of CheckNewLink, kNameInvalid, kNameTooLong, kExists naming what
// is in the way, kNoSpace, kInterrupted, kReadOnly, kIo.
base::Task<base::Status> CreateLink(Lib& lib, std::string_view path, NewLink what,
                                    Progress* progress);

// The same of a base.
base::Task<base::Status> CreateDisk(Lib& lib, std::string_view path, NewDisk disk,
                                    Progress* progress);

// Makes a link that has the files of `descriptor` (from MakeDescriptor, changed as needed), filled
// by `filler`; `content` says in one line what is filled in, so that a run that was cut is told
// from another. Errors: as CreateLink, and those of the filler.
struct FilledLink {
  const Descriptor& descriptor;
  NewLink what;
  std::string_view content;
  ExtentFiller* filler = nullptr;  // null: nothing is filled in
};

base::Task<base::Status> CreateFilledLink(Lib& lib, std::string_view path, FilledLink link,
                                          Progress* progress);

}  // namespace disklib
