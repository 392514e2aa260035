// `GrainMap`: what a delta holds, grain by grain, and where. COW devices of every format have one.
//
// A grain is the unit of allocation of a delta: 512 bytes to 1 MiB, a power of two. What is not
// allocated is read from below. `disklib`'s sparse extents implement this; a chain reads through
// it, and so do filters that copy or track. Thread rule: the executor of the files below. Offsets
// are bytes from the start of the delta's address space.
#pragma once

#include <cstdint>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/task.h"

namespace fds {

enum class GrainState : uint8_t {
  kUnallocated,  // not in this delta: read from below; in a base, zeros
  kZero,         // reads as zeros, whatever lies below
  kData,         // held here
};

// The place of a run's bytes is not one range of a file: read them through the delta.
inline constexpr uint64_t kNoFileOffset = ~uint64_t{0};

struct GrainRun {
  uint64_t offset_bytes = 0;
  uint64_t length_bytes = 0;
  GrainState state = GrainState::kUnallocated;
  uint64_t file_offset_bytes = kNoFileOffset;  // of the first byte; kData only

  friend bool operator==(const GrainRun&, const GrainRun&) = default;
};

class GrainMap {
 public:
  virtual ~GrainMap() = default;

  virtual uint64_t grain_bytes() const = 0;

  // Whether the format can say "zeros here". Without it zeros are stored as data.
  virtual bool has_zero_state() const = 0;

  // Appends the states of a range within the delta, in order, without gaps. Neighbours of one state
  // that are also neighbours in the file are one run. Errors: kCorrupt (an entry that cannot be),
  // kIo and its kin.
  virtual base::Task<base::Status> Lookup(uint64_t offset_bytes, uint64_t length_bytes,
                                          std::vector<GrainRun>& runs) = 0;
};

}  // namespace fds
