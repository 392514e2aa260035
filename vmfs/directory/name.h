// Names of directory entries: which may be stored, and where they hash to.
//
// Pure functions on bytes; names are opaque UTF-8 (vmfs/FORMAT.md, Directories). Thread rule: plain
// values. Place in the stack: under `Directory`, used by the volume before it looks anything up.
#pragma once

#include <cstdint>
#include <string_view>

#include "fs/base/result.h"

namespace vmfs {

// Says whether `name` may be stored or looked up. Errors: kInvalidArgument for an empty name, ".",
// "..", and names with '/' or a zero byte; kNameTooLong over 127 bytes; kNameInvalid if not UTF-8.
base::Status ValidateName(std::string_view name);

// True for the names of the system files. In the root they have buckets of their own, and nobody
// may create, rename or remove them; in other directories they are names like any other.
bool IsSystemName(std::string_view name);

// What a directory keeps of a name's hash.
struct NameKey {
  uint32_t bucket = 0;       // of the header's hash table
  uint32_t record_hash = 0;  // in the record; 0 for the root's system names
  uint16_t link_hash = 0;    // in a link
};

// The key of a name of at most 255 bytes.
NameKey KeyOfName(std::string_view name, bool is_root);

}  // namespace vmfs
