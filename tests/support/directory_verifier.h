// Checks every rule of a directory's bytes, apart from the code that writes them.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "vmfs/directory/directory.h"

namespace vmfs {

struct DirectoryVerdict {
  std::vector<std::string> faults;                 // empty: all is well
  std::map<std::string, DirectoryTarget> entries;  // by name, without "." and ".."
  size_t record_block_count = 0, link_block_count = 0;
  size_t link_group_count = 0;

  // The faults in one text, for messages.
  std::string Text() const;
};

// Looks at the whole file: counts, bitmaps, map, hashes, chains, zeroed free slots.
DirectoryVerdict VerifyDirectory(std::span<const std::byte> file, bool is_root);

}  // namespace vmfs
