// The bytes of a vmfsSparse extent ("COWD", ESX's redo log): header, directory, tables. Pure.
//
// A header of four sectors, a directory of table addresses, tables of 4,096 grain addresses, and
// grains; tables and grains lie in the order in which they were needed. All addresses are 32-bit
// sectors, 0 is "none" (disklib/FORMAT.md, "vmfsSparse"). Thread rule: plain values. Place: below
// `OpenSparseExtent`; the checker reads the same structures.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "disklib/sparse/sector_space.h"
#include "fs/base/on_disk.h"
#include "fs/base/result.h"

namespace disklib {

inline constexpr uint32_t kCowdMagic = 0x44574f43;  // "COWD"
inline constexpr uint32_t kCowdVersion = 1;
inline constexpr uint64_t kCowdHeaderBytes = 2048;
inline constexpr uint64_t kCowdHeaderSectors = kCowdHeaderBytes / kSectorBytes;
inline constexpr uint64_t kCowdTableEntryCount = 4096;
inline constexpr uint64_t kCowdTableBytes = kCowdTableEntryCount * 4;
inline constexpr uint64_t kCowdTableSectors = kCowdTableBytes / kSectorBytes;
inline constexpr uint32_t kCowdDefaultGrainSectors = 8;

inline constexpr uint32_t kCowdFlagRoot = 1u << 0;
inline constexpr uint32_t kCowdFlagCheckable = 1u << 1;
inline constexpr uint32_t kCowdFlagInconsistent = 1u << 2;  // a check found damage

struct CowdHeader {
  base::Le32 magic;
  base::Le32 version;
  base::Le32 flags;
  base::Le32 capacity_sectors;
  base::Le32 grain_sectors;
  base::Le32 directory_sector;
  base::Le32 directory_entry_count;
  base::Le32 free_sector;  // where the next table or grain goes; other writers do not keep it
  std::array<std::byte, 1024> parent_name;  // or geometry; the descriptor's text counts instead
  base::Le32 parent_generation;
  base::Le32 generation;
  std::array<std::byte, 60> name;
  std::array<std::byte, 512> description;
  base::Le32 saved_generation;
  base::Le64 reserved;
  base::Le32 unclean_shutdown;
  std::array<std::byte, 396> padding;

  uint64_t directory_sectors() const {
    return DivideUp(uint64_t{directory_entry_count} * 4, kSectorBytes);
  }

  // First sector behind the directory.
  uint64_t data_sector() const { return directory_sector + directory_sectors(); }

  // No table or grain lies before this one. An extent that was grown has its directory further
  // behind, among them.
  uint64_t first_data_sector() const {
    return directory_sector == kCowdHeaderSectors ? data_sector() : kCowdHeaderSectors;
  }

  // Whether sectors are in part those of the header or the directory.
  bool overlaps_metadata(uint64_t sector, uint64_t count) const {
    return sector < kCowdHeaderSectors ||
           (sector < data_sector() && sector + count > directory_sector);
  }
};

static_assert(base::OnDisk<CowdHeader> && sizeof(CowdHeader) == kCowdHeaderBytes);
static_assert(offsetof(CowdHeader, free_sector) == 28);
static_assert(offsetof(CowdHeader, parent_generation) == 1056);
static_assert(offsetof(CowdHeader, name) == 1064);
static_assert(offsetof(CowdHeader, saved_generation) == 1636);
static_assert(offsetof(CowdHeader, unclean_shutdown) == 1648);

// Tables that cover a capacity.
constexpr uint64_t CowdTableCount(uint64_t capacity_sectors, uint64_t grain_sectors) {
  return DivideUp(capacity_sectors, kCowdTableEntryCount * grain_sectors);
}

// The header of an empty extent. `capacity_sectors` was checked (CheckSectorFormatCapacity) and
// `grain_sectors` is IsGrainSectors. With `all_tables` every table follows the directory.
CowdHeader MakeCowdHeader(uint64_t capacity_sectors, uint64_t grain_sectors, bool all_tables);

// The header at the start of a file of `file_sectors`; what is behind the header is not read.
// Errors: kNotRecognized (other magic), kUnsupported (Workstation 3's COWD, version 3, which has
// other tables), kVersionUnsupported, kCorrupt naming the field (capacity, grainSize, gdOffset,
// numGDEntries, a directory outside the file).
base::Result<CowdHeader> DecodeCowdHeader(std::span<const std::byte> bytes, uint64_t file_sectors);

// Whether a directory entry can be: 0, or a whole table behind the directory and inside the file.
// Error kCorrupt names the entry.
base::Status CheckCowdTable(const CowdHeader& header, uint64_t table, uint32_t sector,
                            uint64_t file_sectors);

// Whether a table entry can be: 0, or a grain behind the directory that starts inside the file (the
// end of the last grain may lie behind it: files end with the last byte written).
base::Status CheckCowdGrain(const CowdHeader& header, uint64_t grain, uint32_t sector,
                            uint64_t file_sectors);

}  // namespace disklib
