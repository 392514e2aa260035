// Descriptors wherever they stand, alone or inside a hosted sparse file: parsed, and replaced.
//
// Every operation that rewrites a descriptor does it by `ReplaceDescriptor`: replacing the file
// around an embedded one would throw the disk away. Place: over `descriptor_text.h`, under the
// operations. Thread rule: the executor of the back end.
#pragma once

#include <string_view>

#include "disklib/descriptor.h"
#include "disklib/descriptor_text.h"
#include "disklib/object_backend.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

// Parses a text that was read at `path`. A file around its own descriptor is the disk's extent,
// whatever the line still calls it: such a disk may be moved or copied as the one file it is.
// Errors: those of ParseDescriptor.
base::Result<Descriptor> ParseDescriptorText(const DescriptorText& read, std::string_view path);

// Replaces the descriptor at `path`, which exists; durable when answered, old or new after a cut
// (disklib/FORMAT.md, "Rewriting"). Nobody writes grains of an embedded one meanwhile. Errors:
// kTooLarge (the file has no room for it), kNotFound, kLockHeld, kReadOnly, kNoSpace, kIo, and
// those of ReadDescriptorAt.
base::Task<base::Result<ObjectInfo>> ReplaceDescriptor(ObjectBackend& backend,
                                                       std::string_view path,
                                                       std::string_view text);

}  // namespace disklib
