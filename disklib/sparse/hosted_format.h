// The bytes of a hosted sparse extent ("KDMV"): header, directories, tables, layout. Pure.
//
// A header of one sector, an embedded descriptor, two directories with a set of tables each (the
// redundant one is written first), and grains. All addresses are 32-bit sectors. streamOptimized
// extents have the same header and tables, with records in place of grains (`stream_format.h`;
// disklib/FORMAT.md, "Hosted sparse"). Thread rule: plain values. Place: below `OpenSparseExtent`;
// the checker reads the same structures.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "disklib/sparse/sector_space.h"
#include "fs/base/on_disk.h"
#include "fs/base/result.h"

namespace disklib {

inline constexpr uint32_t kHostedMagic = 0x564d444b;  // bytes "KDMV"
inline constexpr uint32_t kHostedVersionMax = 3;
inline constexpr uint64_t kHostedHeaderBytes = kSectorBytes;
inline constexpr uint64_t kHostedTableEntryCount = 512;
inline constexpr uint64_t kHostedTableBytes = kHostedTableEntryCount * 4;
inline constexpr uint64_t kHostedTableSectors = kHostedTableBytes / kSectorBytes;
inline constexpr uint32_t kHostedDefaultGrainSectors = 128;

// The room of the embedded descriptor in what we make; readers look no further.
inline constexpr uint64_t kEmbeddedDescriptorSector = 1;
inline constexpr uint64_t kEmbeddedDescriptorSectors = 20;

// Entries of one directory, at most: bounds what is read into memory to 64 MiB. Enough for 62 TiB
// at grains of 8 KiB.
inline constexpr uint64_t kHostedTableCountMax = uint64_t{1} << 24;

inline constexpr uint32_t kHostedFlagNewlineTest = 1u << 0;
inline constexpr uint32_t kHostedFlagRedundant = 1u << 1;   // a second directory exists
inline constexpr uint32_t kHostedFlagZeroGrains = 1u << 2;  // table entry 1 means zeros
inline constexpr uint32_t kHostedFlagCompressed = 1u << 16;
inline constexpr uint32_t kHostedFlagMarkers = 1u << 17;

inline constexpr uint32_t kHostedZeroEntry = 1;
inline constexpr uint64_t kDirectoryAtEnd = ~uint64_t{0};  // gdOffset: see the footer

struct HostedHeader {
  base::Le32 magic;
  base::Le32 version;
  base::Le32 flags;
  base::Le64 capacity_sectors;
  base::Le64 grain_sectors;
  base::Le64 descriptor_sector;  // 0: none
  base::Le64 descriptor_sectors;
  base::Le32 table_entry_count;
  base::Le64 redundant_directory_sector;  // 0: none
  base::Le64 directory_sector;
  base::Le64 overhead_sectors;  // before the first grain
  base::Le<uint8_t> unclean_shutdown;
  std::array<char, 4> newline_test;
  base::Le16 compression;
  std::array<std::byte, 433> padding;

  bool has(uint32_t flag) const { return (flags & flag) != 0; }

  // One directory only, or a second one.
  bool is_redundant() const { return has(kHostedFlagRedundant) && redundant_directory_sector != 0; }

  bool is_compressed() const { return has(kHostedFlagCompressed); }

  // A file that holds nothing but a descriptor, which names the extents.
  bool is_descriptor_carrier() const { return capacity_sectors == 0 && descriptor_sector != 0; }

  uint64_t table_count() const {
    return DivideUp(capacity_sectors, grain_sectors * kHostedTableEntryCount);
  }

  uint64_t directory_sectors() const { return DivideUp(table_count() * 4, kSectorBytes); }
};

static_assert(base::OnDisk<HostedHeader> && sizeof(HostedHeader) == kHostedHeaderBytes);
static_assert(offsetof(HostedHeader, capacity_sectors) == 12);
static_assert(offsetof(HostedHeader, table_entry_count) == 44);
static_assert(offsetof(HostedHeader, directory_sector) == 56);
static_assert(offsetof(HostedHeader, unclean_shutdown) == 72);
static_assert(offsetof(HostedHeader, compression) == 77);

// Where the parts of a new extent lie. A set is a directory and, right behind it, all its tables.
struct HostedLayout {
  uint64_t table_count = 0;
  uint64_t redundant_directory_sector = 0;  // 0: one set only
  uint64_t directory_sector = 0;
  uint64_t overhead_sectors = 0;  // a multiple of the grain

  uint64_t set_sectors() const {
    return DivideUp(table_count * 4, kSectorBytes) + table_count * kHostedTableSectors;
  }
};

// The layout every reader takes: descriptor at sector 1, redundant set at 21, set, grains.
HostedLayout PlanHostedLayout(uint64_t capacity_sectors, uint64_t grain_sectors, bool is_redundant);

struct NewHostedHeader {
  uint64_t capacity_sectors = 0;
  uint64_t grain_sectors = kHostedDefaultGrainSectors;
  uint32_t version = 1;
  uint32_t flags = kHostedFlagNewlineTest;
  bool has_descriptor = false;
};

// A clean header with that layout.
HostedHeader MakeHostedHeader(const NewHostedHeader& what, const HostedLayout& layout);

// Whether bytes begin like a hosted sparse or streamOptimized file.
bool IsHostedSparse(std::span<const std::byte> bytes);

// The header in the first sector, or the footer, of an extent. Errors: kNotRecognized (other
// magic), kVersionUnsupported (version, an unknown incompatible flag, another compression),
// kCorrupt naming the field: newline bytes changed by a text-mode transfer, capacity, grainSize,
// numGTEsPerGT, descriptor, a redundant directory that is flagged but not there.
base::Result<HostedHeader> DecodeHostedHeader(std::span<const std::byte> bytes);

// Whether the directories lie inside a file of that length, behind the header. kDirectoryAtEnd is
// an error here. Errors: kCorrupt, kTooLarge (over kHostedTableCountMax tables).
base::Status CheckHostedDirectories(const HostedHeader& header, uint64_t file_sectors);

// Whether a directory entry can be: 0, or a whole table inside the file, not in the header.
base::Status CheckHostedTable(const HostedHeader& header, uint64_t table, uint32_t sector,
                              uint64_t file_sectors);

// Whether a table entry can be: 0; 1 where the flag says so; else a grain from `overHead` on that
// starts inside the file.
base::Status CheckHostedGrain(const HostedHeader& header, uint64_t grain, uint32_t sector,
                              uint64_t file_sectors);

}  // namespace disklib
