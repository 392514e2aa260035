// seSparse, version 2.1: headers, layout and entries (disklib/FORMAT.md, "seSparse"). Pure.
//
// Everything has its place: regions for directory, tables, bitmap, back map and grains follow from
// the header; tables and grains are numbered. Thread rule: plain values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "disklib/sparse/grain_format.h"
#include "fs/base/result.h"

namespace disklib {

inline constexpr uint64_t kSeCapacityBytesMax = uint64_t{62} << 40;

struct SeRegion {
  uint64_t first_sector = 0;
  uint64_t count = 0;  // sectors

  uint64_t end_sector() const { return first_sector + count; }

  friend bool operator==(const SeRegion&, const SeRegion&) = default;
};

// The constant header without what is always the same.
struct SeHeader {
  uint64_t capacity_sectors = 0;
  SeRegion volatile_header, journal_header, journal;
  SeRegion directory, tables, bitmap, back_map, grains;

  friend bool operator==(const SeHeader&, const SeHeader&) = default;
};

struct SeVolatileHeader {
  uint64_t free_table = 0;  // the lowest index no table ever had
  uint64_t next_transaction = 0;
  uint64_t replay_journal = 0;
};

using SeSector = std::array<std::byte, kSectorBytes>;

// The header of a new file: regions for four times the capacity, 62 TiB at most, so that growing
// rewrites one sector. Errors: kInvalidArgument (no whole sectors, none), kTooLarge (62 TiB).
base::Result<SeHeader> PlanSeHeader(uint64_t size_bytes);

// Whether the regions of a header have room for a capacity. Error kTooLarge.
base::Status CheckSeCapacity(const SeHeader& header, uint64_t size_bytes);

SeSector EncodeSeHeader(const SeHeader& header);
SeSector EncodeSeVolatileHeader(const SeVolatileHeader& header);

// Errors: kNotRecognized (magic), kVersionUnsupported, kCorrupt (by field: a size that is not what
// 2.1 has, reserved words or padding that are not zero, regions that overlap, are out of order or
// too small for the capacity, a capacity above 62 TiB or of none).
base::Result<SeHeader> DecodeSeHeader(std::span<const std::byte> sector);

// Errors: kCorrupt (magic, padding), kUnsupported (a journal to replay).
base::Result<SeVolatileHeader> DecodeSeVolatileHeader(std::span<const std::byte> sector);

// The format of an open file. `header` was decoded; `size_bytes` is at most its capacity.
std::unique_ptr<GrainFormat> MakeSeFormat(const SeHeader& header,
                                          const SeVolatileHeader& volatile_header,
                                          uint64_t size_bytes);

}  // namespace disklib
