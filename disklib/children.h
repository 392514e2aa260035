// The registry of linked clones: which disks elsewhere stand on a link. A text file beside it.
//
// `PARENT.vmdk.children` holds one path a line, relative to its own folder as a parent hint is, so
// that it means the same from whichever folder the disks are served; `#` begins a comment. An entry
// counts while a descriptor stands there that names the parent; what else it says is stale
// (disklib/FORMAT.md, "Linked clones"). An entry is durable before its child exists and goes after
// it, so that a cut leaves at worst a stale one. Paths given and taken start at the datastore's
// root. Place: under the operations and Lib::CheckAlone. Thread rule: the executor of the Lib; the
// caller holds the parent's path or claim.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "disklib/object_backend.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

// "vm/vm.vmdk" -> "vm/vm.vmdk.children".
std::string ChildrenPath(std::string_view parent_path);

// The lines of a registry that are entries, as they stand there.
std::vector<std::string> ParseChildren(std::string_view text);

// Every entry, stale ones too; one that leaves the datastore is given as it stands there. No
// registry is an empty one.
base::Task<base::Result<std::vector<std::string>>> RegisteredChildren(ObjectBackend& backend,
                                                                      std::string_view parent_path);

// The entries that count: their disk is there and names the parent. One that cannot be read, or
// lies outside of what is served as the datastore, counts, too. Errors: those of reading the
// registry.
base::Task<base::Result<std::vector<std::string>>> LivingChildren(ObjectBackend& backend,
                                                                  std::string_view parent_path);

// Refuses while linked clones stand on the link: kUnsupported naming the first. `verb`: "delete".
base::Task<base::Status> CheckNoLivingChildren(ObjectBackend& backend, std::string_view parent_path,
                                               std::string_view verb);

// Adds an entry, durable; stale ones are dropped on the way. One that stands there stays.
base::Task<base::Status> RegisterChild(ObjectBackend& backend, std::string_view parent_path,
                                       std::string_view child_path);

// Takes an entry out, if it is there; an empty registry is removed.
base::Task<base::Status> UnregisterChild(ObjectBackend& backend, std::string_view parent_path,
                                         std::string_view child_path);

// Takes all entries out that do not count.
base::Task<base::Status> DropStaleChildren(ObjectBackend& backend, std::string_view parent_path);

}  // namespace disklib
