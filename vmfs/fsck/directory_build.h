// A directory's contents built from its names alone: header, map, records, links, hash table.
//
// And the way back: the names that can still be read from damaged contents. Pure: no I/O. Internal
// to `vmfs/fsck`. Thread rule: any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "vmfs/format/directory.h"

namespace vmfs::fsck {

// A name as a rebuilt directory will hold it.
struct BuiltName {
  uint32_t type = 0;
  uint32_t fd = 0;
  uint32_t generation = 0;
  std::string name;
  std::optional<Location> place;  // the record stays there; nothing: wherever there is room
};

// A record as it was found. One that the format forbids may still lead to a file.
struct FoundRecord {
  DirectoryRecord record;
  Location place;
  bool is_whole = false;   // decodes
  bool is_marked = false;  // its block says that the slot is in use
};

// Every record with anything in it, from blocks that are, were, or look like record blocks.
std::vector<FoundRecord> FindRecords(std::span<const std::byte> bytes);

struct BuiltDirectory {
  DirectoryRecord dot, dot_dot;  // offsets and names are filled in
  bool is_root = false;
  bool has_records = true;  // false: `.sdd.sf`, which is born without a record block
  std::vector<BuiltName> names;  // all different, 1 to 127 bytes
};

// The whole contents, at least `bytes_min` long. Errors: kNoSpace (more names than one map covers).
base::Result<std::vector<std::byte>> BuildDirectory(const BuiltDirectory& directory,
                                                    uint64_t bytes_min);

}  // namespace vmfs::fsck
