// The descriptor inside a hosted sparse or streamOptimized file: read, and replaced so that a cut
// leaves the old text or the new one.
//
// Place: used by whoever opens a disk whose descriptor is not a file of its own. Thread rule: the
// executor of the file.
#pragma once

#include <string>
#include <string_view>

#include "disklib/object_backend.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

// The text up to its first NUL; also of a file that holds a descriptor and no grains. Errors:
// kNotRecognized (no such file), kNotFound (the file has no descriptor), kCorrupt, kTooLarge (over
// kDescriptorReadBytesMax), kIo …
base::Task<base::Result<std::string>> ReadEmbeddedDescriptor(Object& object);

// Replaces the text, durably. It stays at its place, where other readers look for it without asking
// the header. A text that differs within one sector is one write. Any other is first written behind
// the end of the file, and the header leads there while the old text is overwritten; whoever reads
// through the header, as ReadEmbeddedDescriptor does, sees a whole text at every moment, and after
// a cut the next call brings it home. Nothing else writes the file meanwhile. Errors: kTooLarge
// (more than the room there is), and as ReadEmbeddedDescriptor, and kNoSpace.
base::Task<base::Status> ReplaceEmbeddedDescriptor(Object& object, std::string_view text);

}  // namespace disklib
