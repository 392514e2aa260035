// The contents of one directory, checked as a value: header, map, records, links, hash table.
//
// Pure: no I/O, no knowledge of descriptors. Internal to `vmfs/fsck`. Thread rule: any thread.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "vmfs/format/directory.h"
#include "vmfs/fsck/report.h"

namespace vmfs::fsck {

// Receives what CheckDirectoryBytes finds.
class DirectorySink {
 public:
  virtual ~DirectorySink() = default;
  // `text` names the place within the directory.
  virtual void Problem(FindingSeverity severity, FindingCode code, std::string text) = 0;
  // "." and "..", then every other record.
  virtual void OwnRecords(const DirectoryRecord& dot, const DirectoryRecord& dot_dot) = 0;
  virtual void Entry(const DirectoryRecord& record) = 0;
};

// Whose directory it is.
struct DirectoryTraits {
  bool is_root = false;  // the system names have their own buckets
  bool is_ours = true;   // keeps vmfs/FORMAT.md, "Rules for readers"
};

// Checks a whole directory file.
void CheckDirectoryBytes(std::span<const std::byte> bytes, DirectoryTraits traits,
                         DirectorySink& sink);

}  // namespace vmfs::fsck
