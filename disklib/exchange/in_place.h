// Import in place: a machine's disks stay where they lie, frozen, and new writes go to children of
// ours in another folder of the same datastore.
//
// The source is only read: throwing the new folder away is the way back. A source that is changed
// later no longer has the content id that its child remembers, and the child is refused. Place:
// over `new_link.h` and `vm_folder/vmx.h`; used by `strata import --in-place`. Thread rule: the
// executor of the Lib.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "disklib/lib.h"
#include "disklib/object_backend.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

struct InPlaceDisk {
  std::string node;    // "scsi0:0"
  std::string parent;  // the frozen disk's descriptor
  std::string child;   // the new one
};

struct InPlaceMachine {
  std::string machine_path;  // of the new `.vmx`
  std::vector<InPlaceDisk> disks;
};

// The path of the only `.vmx` in a folder. Errors: kNotFound, kUnsupported (several).
base::Task<base::Result<std::string>> FindMachineFile(ObjectBackend& backend,
                                                      std::string_view folder);

// Makes in `folder`, which exists and is empty, children of the disks that the `.vmx` at
// `machine_path` names, and a `.vmx` that names them instead. Every chain is opened first. Disks
// that snapshots leave out are children all the same. Errors: those of Vmx::Parse, Lib::Open and
// CreateLink; kNotFound (no disk), kExists (two disks of one name). What was made stays when it
// fails: the folder is the caller's to remove.
base::Task<base::Result<InPlaceMachine>> ImportInPlace(Lib& lib, std::string_view machine_path,
                                                       std::string_view folder);

}  // namespace disklib
