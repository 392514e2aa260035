// Directories of a VMFS-5 volume: unordered arrays of records, read whole and indexed in memory.
//
// A lookup on disk would be a linear search; the last few directories stay indexed instead. Bounded
// by directories of 64 MiB and by the number of names kept. Thread rule: the volume's executor.
// Place: above `Reader`, under the mounted volume.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/vmfs5/reader.h"

namespace vmfs::vmfs5 {

// The names of one directory in the order of their records, "." and ".." included.
class Directory {
 public:
  explicit Directory(std::vector<DirectoryName> names);
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  const std::vector<DirectoryName>& names() const { return names_; }

  // The first record of that name; null when there is none.
  const DirectoryName* Find(std::string_view name) const;

 private:
  const std::vector<DirectoryName> names_;
  std::unordered_map<std::string_view, const DirectoryName*> by_name_;
};

class DirectoryTable {
 public:
  explicit DirectoryTable(Reader& reader) : reader_(reader) {}
  DirectoryTable(const DirectoryTable&) = delete;
  DirectoryTable& operator=(const DirectoryTable&) = delete;

  // Errors: kNotDirectory, those of Reader, kCorrupt (a record that cannot be, a length that no
  // directory has).
  base::Task<base::Result<std::shared_ptr<const Directory>>> Get(FdAddress fd);

 private:
  struct Kept {
    FdAddress fd;
    std::shared_ptr<const Directory> directory;
  };

  base::Task<base::Result<std::shared_ptr<const Directory>>> Load(FdAddress fd);
  void Keep(FdAddress fd, std::shared_ptr<const Directory> directory);

  Reader& reader_;
  std::list<Kept> kept_;  // most recently used first
};

}  // namespace vmfs::vmfs5
