// `ChainRun`: where the bytes of a piece of a chain are, after all links were asked. Pure values.
//
// A walk through the links lays the runs of each link below those above it; what no link holds is a
// hole. `WindowMap` keeps the result, `ChainPlaces` makes it. Thread rule: plain values.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fs/fds/grain_map.h"

namespace disklib {

enum class ChainState : uint8_t {
  kHole,  // no link holds it: reads as zeros
  kZero,  // a link says zeros
  kData,  // a link holds it
};

struct ChainRun {
  uint64_t offset_bytes = 0;  // of the disk
  uint64_t length_bytes = 0;
  ChainState state = ChainState::kHole;
  uint32_t source = 0;  // kData: the extent, as `ChainPlaces` counts them
  // kData: the first byte in the extent's file; kNoFileOffset: read it through the extent.
  uint64_t file_offset_bytes = fds::kNoFileOffset;

  uint64_t end_bytes() const { return offset_bytes + length_bytes; }

  bool in_file() const {
    return state == ChainState::kData && file_offset_bytes != fds::kNoFileOffset;
  }

  friend bool operator==(const ChainRun&, const ChainRun&) = default;
};

// The part of a run that lies in a range; the two overlap.
ChainRun CutRun(const ChainRun& run, uint64_t offset_bytes, uint64_t end_bytes);

// Appends a run; joins it with the last one where both are one piece.
void AppendRun(std::vector<ChainRun>& runs, const ChainRun& run);

// Appends the parts of `runs` (in order, without gaps) that lie in a range.
void AppendCut(std::span<const ChainRun> runs, uint64_t offset_bytes, uint64_t end_bytes,
               std::vector<ChainRun>& cut);

// Puts `lower` where `upper` has holes. Both are in order without gaps, `lower` within `upper`.
std::vector<ChainRun> LayBelow(std::span<const ChainRun> upper, std::span<const ChainRun> lower);

// Replaces the range of `over` in `runs`, which cover it.
std::vector<ChainRun> PutOver(std::span<const ChainRun> runs, const ChainRun& over);

}  // namespace disklib
