// `DiskLister`: which names in a folder are virtual disks. What fills devices/vdisks.
//
// A disk is a base descriptor: a file whose name ends in ".vmdk", small or a hosted sparse one with
// a descriptor inside, which parses, has no parent in the folder and is not named as an extent by
// another descriptor there. Which link it stands on now, and which are frozen, is found from the
// .vmx and .vmsd files (`folder_disks.h`). What was parsed is remembered by inode, length and time
// of change. Thread rule: the executor of the file system.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "disklib/folder_disks.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "fs/fss/file_system.h"

namespace disklib {

struct ListedDisk {
  FolderDisk disk;
  fss::InodeNumber inode = 0;  // of the base's descriptor
  uint64_t capacity_bytes = 0;
};

class DiskSink {
 public:
  virtual ~DiskSink() = default;
  virtual void Add(const ListedDisk& disk) = 0;
};

class DiskLister {
 public:
  // `file_system` outlives this.
  explicit DiskLister(fss::FileSystem& file_system) : file_system_(file_system) {}

  // Hands out the disks of one folder, sorted by name. A file that cannot be read is left out.
  // Errors: those of ReadDirectory.
  base::Task<base::Status> ListDisks(fss::InodeNumber folder, DiskSink& sink);

 private:
  // What is remembered of a file: whether it is a descriptor, and what matters of it.
  struct Known {
    uint64_t size_bytes = 0;
    uint64_t modified_us = 0;
    uint64_t changed_us = 0;
    bool is_descriptor = false;
    std::string parent_name;         // as FolderLink says; of a descriptor
    std::vector<std::string> names;  // of extents; of links, in the records of a VM; of clones
    uint64_t capacity_bytes = 0;
  };

  struct Findings;

  static Known Examine(std::string_view name, std::string_view text);
  static void Note(const std::string& name, fss::InodeNumber inode, const Known& known,
                   Findings& findings);
  base::Task<base::Result<const Known*>> Look(fss::InodeNumber folder, std::string_view name,
                                              fss::InodeNumber& inode);
  base::Task<base::Status> ReadText(fss::InodeNumber inode, std::string_view name,
                                    uint64_t size_bytes, std::string& text);

  fss::FileSystem& file_system_;
  std::unordered_map<fss::InodeNumber, Known> known_;
};

}  // namespace disklib
