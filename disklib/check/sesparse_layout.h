// The headers of a seSparse extent, read leniently and judged: X1, X2, X3. Internal to
// `disklib/check`.
//
// Thread rule: pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "disklib/check/findings.h"

namespace disklib::check {

inline constexpr uint64_t kSeSparseGrainSectors = 8;
inline constexpr uint64_t kSeSparseGrainBytes = kSeSparseGrainSectors * 512;
inline constexpr uint64_t kSeSparseTableSectors = 64;
inline constexpr uint64_t kSeSparseTableEntries = 4096;
inline constexpr uint64_t kSeSparseTableBytes = kSeSparseTableEntries * 8;

struct SeSparseRegion {
  uint64_t offset_sectors = 0;
  uint64_t size_sectors = 0;

  uint64_t offset_bytes() const { return offset_sectors * 512; }
  uint64_t size_bytes() const { return size_sectors * 512; }
};

struct SeSparseLayout {
  uint64_t capacity_sectors = 0;
  SeSparseRegion volatile_header, directory, tables, bitmap, back_map, grains;
  uint64_t grain_count = 0;  // of the disk
  uint64_t table_count = 0;  // of the disk

  // Tables that the region has room for.
  uint64_t table_slots() const { return tables.size_sectors / kSeSparseTableSectors; }

  // Grains that the area and the bitmap have room for.
  uint64_t grain_slots() const;
};

// Judges the first sector. Answers whether the layout can be used; `pads_repaired` says whether
// padding is to be cleared in it (X1), which the function has done in `sector`.
bool CheckSeSparseHeader(Findings& findings, std::span<std::byte> sector, SeSparseLayout& layout,
                         bool& pads_repaired);

// The same of the volatile header: X1 for its magic and padding, X3. Answers whether to go on.
bool CheckSeSparseVolatile(Findings& findings, std::span<std::byte> sector, bool& pads_repaired);

// Where the count of tables stands in the volatile header.
inline constexpr size_t kSeSparseFreeTableAt = 8;

}  // namespace disklib::check
