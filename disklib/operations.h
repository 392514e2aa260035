// What is done to whole disks: rename, delete, extend; create is `new_link.h`. The verbs of
// `strata disk`.
//
// Each is safe to cut at any point and to run again: afterwards the disk is absent, old or new, and
// the second run finishes what the first began (disklib/FORMAT.md, "Operations"). Each refuses a
// disk that is in use, naming the holder. Info is `Lib::GetInfo`, listing `disk_list.h`.
// Paths are descriptor paths from the datastore's root: "vm/vm.vmdk".
// Thread rule: the executor of the Lib.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "disklib/chain.h"
#include "disklib/lib.h"
#include "disklib/new_extents.h"
#include "disklib/new_link.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

// Renames the descriptor and every extent that follows its name, also into another folder. The
// .vmx and .vmsd files of the folder, and the registry of the parent of a linked clone, follow.
// Errors: kNotFound, kExists, kBusy naming the holder, kUnsupported (other kinds of disks, a link
// that others stand on, a snapshot's link into another folder, a shared extent), kNameInvalid,
// those of CheckRecordsCanFollow, kIo.
base::Task<base::Status> RenameDisk(Lib& lib, std::string_view from, std::string_view to);

// Removes the descriptor, its extents and its change tracking file; the .vmsd files of the folder
// forget it. Errors: as RenameDisk.
base::Task<base::Status> DeleteDisk(Lib& lib, std::string_view path);

struct ExtendOptions {
  uint64_t size_bytes = 0;  // the new capacity
  // How the added space is taken; unset: thin for thin disks, else zeroedthick.
  std::optional<Provisioning> provisioning = std::nullopt;
  std::string_view user = "strata disk extend";
};

// Makes a disk larger; the added space reads as zeros. The same size succeeds and changes nothing.
// `path` is any link the disk stands on now. A disk with snapshots, or on a parent, goes on in one
// new seSparse leaf of the new size (`extend_leaf.h`). Errors: kInvalidArgument (smaller),
// kTooLarge, kTooManyLinks, kBusy naming the holder, kUnsupported, kNoSpace.
base::Task<base::Status> ExtendDisk(Lib& lib, std::string_view path, ExtendOptions options,
                                    Progress* progress);

// The same on a disk that is open for writing, while it is in use; with a new leaf its name is
// another. Error kBusy: a sparse base, which grows while nobody has it open.
base::Task<base::Status> ExtendChain(Lib& lib, Chain& chain, ExtendOptions options,
                                     Progress* progress);

}  // namespace disklib
