// Extends a disk of sparse extents that nobody has open. The half of `ExtendDisk` for such disks.
//
// The content id changes first, then the last file's address space grows, further extents are made,
// and the descriptor says the new size: a cut leaves a disk of the old size. Place: under
// `operations.h`. Thread rule: the executor of the Lib.
#pragma once

#include <cstdint>
#include <optional>

#include "disklib/lib.h"
#include "disklib/new_extents.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

// The sparse kind of an extent type; none for others.
std::optional<SparseKind> SparseKindOf(ExtentType type);

// Whether the last extent is a sparse one.
bool EndsSparse(const Descriptor& descriptor);

// Whether the files of a link can hold that much. Errors: kTooLarge, which says what can be done;
// kInvalidArgument (smaller), those of PlanExtend and of reading the file.
base::Task<base::Status> CheckSparseRoom(Lib& lib, const LoadedDescriptor* loaded,
                                         uint64_t size_bytes);

// Makes a closed link larger that already has a new content id and is held by the caller: a parent
// that takes a larger child's content. Safe to cut and to run again. Errors: as CheckSparseRoom,
// kNoSpace, kIo.
base::Task<base::Status> GrowSparse(Lib& lib, LoadedDescriptor& loaded, uint64_t size_bytes,
                                    Progress* progress);

// `loaded`: the disk, found to end sparse. Errors: as ExtendDisk; kUnsupported (a child: the new
// size belongs into a new leaf; a file that holds its own descriptor).
base::Task<base::Status> ExtendSparse(Lib& lib, LoadedDescriptor& loaded, uint64_t size_bytes,
                                      Progress* progress);

}  // namespace disklib
