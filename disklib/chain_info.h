// What each link of a disk holds, what only it holds, and what deleting it frees and needs.
//
// Computed from the maps of all links in one walk; memory is bounded by the maps of one window.
// Place: over Lib and Link::Lookup; printed by `strata disk info`. Thread rule: the executor of the
// Lib.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/lib.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

struct LinkUsage {
  std::string path;
  std::string kind;  // createType
  uint64_t capacity_bytes = 0;
  uint64_t allocated_bytes = 0;  // what its files take
  uint64_t data_bytes = 0;       // its own data
  uint64_t zero_bytes = 0;       // ranges it knows to be zeros
  uint64_t unique_bytes = 0;     // its data that no link above hides: what the disk reads from it
  // Of a delta: merging it into the link below writes this much where that one holds nothing, and
  // gives this much back. Zero for a base.
  uint64_t delete_needs_bytes = 0;
  uint64_t delete_frees_bytes = 0;
};

struct ChainInfo {
  std::vector<LinkUsage> links;  // base first
  uint64_t capacity_bytes = 0;
  uint64_t allocated_bytes = 0;  // of all links
  uint64_t data_bytes = 0;       // what the disk holds, each byte once: the size of a clone
};

// Errors: as Lib::Open for reading.
base::Task<base::Result<ChainInfo>> GetChainInfo(Lib& lib, std::string_view path);

}  // namespace disklib
