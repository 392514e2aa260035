// The bytes of a streamOptimized extent: records of compressed grains, and markers. Pure.
//
// Behind a hosted sparse header with the flags "compressed" and "markers" follow records, each at
// the start of a sector: grains, or metadata behind a marker (disklib/FORMAT.md,
// "streamOptimized"). Thread rule: plain values. Place: below `OpenStreamExtent` and
// `StreamWriter`; the checker reads the same structures.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "disklib/sparse/hosted_format.h"
#include "fs/base/on_disk.h"
#include "fs/base/result.h"

namespace disklib {

inline constexpr uint32_t kStreamVersion = 3;
inline constexpr uint32_t kStreamFlags =
    kHostedFlagNewlineTest | kHostedFlagCompressed | kHostedFlagMarkers;

inline constexpr uint32_t kMarkerEndOfStream = 0;
inline constexpr uint32_t kMarkerTable = 1;
inline constexpr uint32_t kMarkerDirectory = 2;
inline constexpr uint32_t kMarkerFooter = 3;

// The head of a record. A size of 0 makes it a marker: `value` sectors of metadata follow behind
// its own sector. Else a grain: `value` is its first sector on the disk, and `size_bytes` of
// compressed bytes follow at once, where a marker has its type.
struct StreamRecord {
  base::Le64 value;
  base::Le32 size_bytes;

  bool is_marker() const { return size_bytes == 0; }
};

static_assert(base::OnDisk<StreamRecord> && sizeof(StreamRecord) == 12);
inline constexpr uint64_t kStreamRecordBytes = sizeof(StreamRecord);

struct StreamMarker {
  base::Le64 sector_count;
  base::Le32 zero;
  base::Le32 type;
  std::array<std::byte, 496> padding;
};

static_assert(base::OnDisk<StreamMarker> && sizeof(StreamMarker) == kSectorBytes);

// Compressed bytes a record may have: what cannot be compressed grows a little.
constexpr uint64_t StreamRecordBytesMax(uint64_t grain_sectors) {
  return 2 * grain_sectors * kSectorBytes + 1024;
}

// Sectors of a grain's record, head and padding included.
constexpr uint64_t StreamRecordSectors(uint64_t compressed_bytes) {
  return DivideUp(kStreamRecordBytes + compressed_bytes, kSectorBytes);
}

StreamMarker MakeStreamMarker(uint32_t type, uint64_t sector_count);

// What stands at one sector of a stream.
struct StreamItem {
  enum class Kind : uint8_t { kGrain, kMarker, kEnd };

  Kind kind = Kind::kEnd;
  uint64_t sector_count = 0;      // of the whole item: where the next one begins
  uint64_t grain = 0;             // kGrain: its number on the disk
  uint64_t compressed_bytes = 0;  // kGrain
  uint32_t type = 0;              // kMarker; unknown types are legal, and skipped
};

// Reads the head of the item at `sector` of a file of `file_sectors`; `bytes` is its first sector.
// Errors: kCorrupt (a grain off its boundary or behind the capacity, more compressed bytes than a
// grain can have, an item that ends behind the file).
base::Result<StreamItem> DecodeStreamItem(const HostedHeader& header,
                                          std::span<const std::byte> bytes, uint64_t sector,
                                          uint64_t file_sectors);

// Whether a footer belongs to its header: the same but for gdOffset (and rgdOffset), which it has.
// Error kCorrupt.
base::Status CheckStreamFooter(const HostedHeader& header, const HostedHeader& footer);

}  // namespace disklib
