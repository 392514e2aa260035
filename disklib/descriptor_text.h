// Where a link's descriptor stands: a text file of its own, or inside a hosted sparse file.
//
// Reads either. An embedded one is changed in place, sector by sector and only the sectors that
// differ, each of which a cut leaves old or new (disklib/FORMAT.md, "Rewriting").
// Place: under Lib and Chain. Thread rule: the executor of the object.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "disklib/object_backend.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

// The room of an embedded descriptor in its file.
struct EmbeddedPlace {
  uint64_t offset_bytes = 0;
  uint64_t room_bytes = 0;  // 0: not embedded
};

struct DescriptorText {
  std::string text;        // up to the first NUL byte
  EmbeddedPlace embedded;  // room_bytes 0: the file is the descriptor
};

// Names what a file is that holds no descriptor, by its first bytes. kNotRecognized.
base::Error ExplainNoDescriptor(std::string_view head);

// Reads the descriptor in an open object; a text that is none is the parser's matter. Errors:
// kNotRecognized (larger than a descriptor can be, and no hosted sparse file with one inside; the
// message says what it looks like), those of DecodeHostedHeader, kCorrupt (the embedded one lies
// outside the file), kIo.
base::Task<base::Result<DescriptorText>> ReadDescriptorText(Object& object);

// The same by path.
base::Task<base::Result<DescriptorText>> ReadDescriptorAt(ObjectBackend& backend,
                                                          std::string_view path);

// Replaces an embedded descriptor; durable when answered. Errors: kTooLarge (no room), kIo.
base::Task<base::Status> StoreEmbeddedDescriptor(Object& object, EmbeddedPlace place,
                                                 std::string_view text);

}  // namespace disklib
