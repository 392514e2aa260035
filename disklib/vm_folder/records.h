// Names of links in the .vmx and .vmsd files of a folder, changed when a link goes elsewhere.
//
// Renaming and deleting ask here, so that no record of a VM or of a lone disk leads to what is not
// there. Each file is replaced as a whole; asked again, nothing is left to do, so that an operation
// that was cut goes on. Place: over `vmsd.h` and `vmx.h`, under `operations.h`.
// Thread rule: the executor of the Lib; the caller holds the paths of the links.
#pragma once

#include <string_view>

#include "disklib/lib.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

// Refuses a rename whose records could not follow. Errors: kExists naming what stands where a lone
// disk's record goes, kParseError and others naming the file that cannot be read.
base::Task<base::Status> CheckRecordsCanFollow(Lib& lib, std::string_view from,
                                               std::string_view to);

// What every .vmx and .vmsd of `from`'s folder calls `from` is called `to`. A lone disk's record,
// "FROM.vmsd" without a "FROM.vmx", is named after it and moves along. Errors: kBusy (an operation
// on snapshots is under way), those of CheckRecordsCanFollow, kIo.
base::Task<base::Status> RenameInRecords(Lib& lib, std::string_view from, std::string_view to);

// The link at `path` goes: every .vmsd of the folder forgets it, and its record as a lone disk goes
// with it. One that cannot be read stays. Errors: kBusy as above, kIo.
base::Task<base::Status> ForgetInRecords(Lib& lib, std::string_view path);

}  // namespace disklib
