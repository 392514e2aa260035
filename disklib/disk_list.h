// `DiskLister`: which names in a folder are virtual disks. What fills devices/vdisks.
//
// A disk is a base descriptor: a small file whose name ends in ".vmdk", which parses, has no parent
// and is not named as an extent by another descriptor of the folder. Links of snapshots are not
// listed. What was parsed is remembered by inode, length and time of change.
// Thread rule: the executor of the file system.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/task.h"
#include "fs/fss/file_system.h"

namespace disklib {

struct ListedDisk {
  std::string_view name;       // of the descriptor in its folder; valid during the call
  fss::InodeNumber inode = 0;  // of the descriptor
  uint64_t capacity_bytes = 0;
  bool has_child = false;  // a snapshot's base: another descriptor of the folder is its child
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
    bool has_parent = false;
    std::string parent_hint;
    std::vector<std::string> extent_names;
    uint64_t capacity_bytes = 0;
  };

  static Known Examine(std::string_view text);
  base::Task<base::Result<const Known*>> Look(fss::InodeNumber folder, std::string_view name,
                                              fss::InodeNumber& inode);
  base::Task<base::Status> ReadText(fss::InodeNumber inode, std::string& text);

  fss::FileSystem& file_system_;
  std::unordered_map<fss::InodeNumber, Known> known_;
};

}  // namespace disklib
