// `DiskInfo`: what there is to say about a disk, for listings, JSON and people. A plain value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/descriptor.h"

namespace disklib {

// How a flat disk's space is taken. Which of the two thick forms a file has is the file system's
// knowledge, not the descriptor's.
enum class Provisioning : uint8_t {
  kThin,              // space on first write
  kZeroedThick,       // all space at creation, zeroed by the file system
  kEagerZeroedThick,  // all space at creation, zeros written
};

// "thin", "zeroedthick", "eagerzeroedthick".
std::string_view NameOf(Provisioning provisioning);
std::optional<Provisioning> ParseProvisioning(std::string_view word);

struct ExtentInfo {
  std::string path;    // from the datastore's root, or a device node; empty for ZERO
  std::string type;    // "VMFS"
  std::string access;  // "RW"
  uint64_t size_bytes = 0;
  uint64_t offset_bytes = 0;
  uint64_t object_id = 0;     // inode number of the file
  uint64_t object_bytes = 0;  // length of the file
  uint64_t allocated_bytes = 0;
};

struct DiskInfo {
  std::string path;
  uint64_t descriptor_id = 0;  // inode number
  std::string create_type;     // "vmfs"
  bool is_thin = false;
  uint64_t capacity_bytes = 0;
  uint64_t allocated_bytes = 0;
  uint64_t modified_us = 0;       // the latest of the disk's files
  std::string content_id;         // "7f3a1c09"
  std::string parent_content_id;  // empty without a parent
  std::string parent;             // hint; empty without one
  std::string adapter_type;
  std::string uuid;
  Geometry geometry;
  std::vector<ExtentInfo> extents;
  std::string holder;             // who has it open; empty if nobody here
  std::string unfinished_rename;  // the new path of a rename that was cut; empty if none
};

}  // namespace disklib
