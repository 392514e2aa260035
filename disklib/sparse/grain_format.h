// `GrainFormat`: what tells hosted sparse, vmfsSparse and seSparse apart, as pure functions on
// values. `SparseFile` does the I/O for all of them.
//
// The shell knows one neutral form: a directory of table numbers and tables of entries. A format
// says where they lie, turns bytes into the neutral form and back, hands out new tables, and names
// the bytes besides tables that an allocation changes, as `MetadataChange`s of two groups: those
// that must be durable before an entry refers to new grains, and those that go with the entries
// (disklib/FORMAT.md, "Sparse extents"). Place: below SparseFile. Thread rule: plain values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "disklib/sparse/grain_space.h"
#include "fs/base/aligned_buffer.h"
#include "fs/base/result.h"

namespace disklib {

// The neutral form of a table's entry: one of these, else the first sector of the grain in the
// file, which is never 0 or 1.
inline constexpr uint64_t kEntryNone = 0;
inline constexpr uint64_t kEntryZero = 1;

inline constexpr bool IsData(uint64_t entry) {
  return entry > kEntryZero;
}

// The neutral form of a directory's entry: a number that `TableSector` knows; 0 is no table.
inline constexpr uint32_t kTableNone = 0;

struct GrainLayout {
  static constexpr uint32_t kCopyCountMax = 2;

  uint64_t size_bytes = 0;  // of the address space
  uint32_t grain_sectors = 8;
  uint32_t entries_per_table = 4096;
  uint32_t entry_bytes = 8;
  uint32_t directory_entry_bytes = 8;
  bool has_zero_state = true;

  // Grains begin at first_grain_sector + k * grain_sectors, or with false at any sector behind it.
  bool is_aligned = true;
  uint64_t first_grain_sector = 0;
  uint64_t end_sector = 0;  // no grain ends behind

  // Directory and tables, once or twice, in the order in which the copies are written.
  uint32_t copy_count = 1;
  uint32_t copy_to_read = 0;
  std::array<uint64_t, kCopyCountMax> directory_sectors{};

  // New tables come from an area of their own, not from the tail of the grains: their space is
  // allocated ahead apart from it.
  bool has_table_area = false;

  // A bitmap of grains in use, a bit for each from the first; 0: there is none. Where there is one,
  // space that nobody refers to is looked for and used again.
  uint64_t used_bitmap_sector = 0;

  uint64_t grain_bytes() const { return uint64_t{grain_sectors} * kSectorBytes; }

  // On the disk; at most kTableBytesMax.
  uint64_t table_bytes() const { return uint64_t{entries_per_table} * entry_bytes; }

  // Of the address space, that one table describes.
  uint64_t table_span_bytes() const { return entries_per_table * grain_bytes(); }

  uint64_t table_count() const {
    return (size_bytes + table_span_bytes() - 1) / table_span_bytes();
  }

  uint64_t directory_bytes() const {
    return base::RoundUp(table_count() * directory_entry_bytes, kSectorBytes);
  }
};

// One table has at most as many sectors as a mask has bits.
inline constexpr uint64_t kTableBytesMax = 64 * kSectorBytes;

// A change to bytes of the file that are not entries. The sectors around them are read first and
// keep their other bytes.
struct MetadataChange {
  enum class Kind : uint8_t { kStore8, kStore32, kStore64, kSetBits, kClearBits };

  Kind kind = Kind::kStore64;
  uint64_t offset_bytes = 0;  // of the first value; of the whole bitmap
  uint64_t count = 1;         // values stored one behind the other, or bits
  uint64_t value = 0;         // stored
  uint64_t first_bit = 0;     // of a bitmap: bit X is bit X % 8 of byte X / 8
};

struct ByteRange {
  uint64_t offset_bytes = 0;
  uint64_t length_bytes = 0;
};

// Grains that entries of one table refer to from now on. `table`: its number, of the copy that is
// read.
struct GrainUse {
  SectorRun run;
  uint32_t table = kTableNone;
};

// What one Sync makes durable besides entries.
struct GrainBatch {
  std::vector<GrainUse> taken;
  std::vector<SectorRun> freed;  // nobody referred to them any more after an earlier Sync
  bool has_new_tables = false;
};

class GrainFormat {
 public:
  virtual ~GrainFormat() = default;

  const GrainLayout& layout() const { return layout_; }

  // The address space is larger now; directory and tables stay where they are.
  void GrowTo(uint64_t size_bytes) { layout_.size_bytes = size_bytes; }

  // Where a table lies. Its number comes from DecodeDirectory or TakeTable.
  virtual uint64_t TableSector(uint32_t table) const = 0;

  // `bytes` holds as many entries as `tables`, the first of them the `first_index`th. Error
  // kCorrupt: an entry that cannot be, by its index.
  virtual base::Status DecodeDirectory(std::span<const std::byte> bytes, uint64_t first_index,
                                       std::span<uint32_t> tables) const = 0;
  virtual void EncodeDirectory(std::span<const uint32_t> tables,
                               std::span<std::byte> bytes) const = 0;

  // The same for entries of a table. The shell checks what they refer to: range, alignment, and
  // that it lies inside the file.
  virtual base::Status DecodeEntries(std::span<const std::byte> bytes,
                                     std::span<uint64_t> entries) const = 0;
  virtual void EncodeEntries(std::span<const uint64_t> entries,
                             std::span<std::byte> bytes) const = 0;

  // The directory as it was found, of the copy that is read.
  virtual void UseDirectory(std::span<const uint32_t> tables) { static_cast<void>(tables); }

  // The number of a table that was never used. Its bytes need not be zeros. Error kNoSpace.
  virtual base::Result<uint32_t> TakeTable(GrainSpace& space) = 0;

  // Must be durable before an entry refers to what the batch takes.
  virtual void AppendBefore(const GrainBatch& batch, std::vector<MetadataChange>& changes) const {
    static_cast<void>(batch);
    static_cast<void>(changes);
  }

  // Goes with the entries of a batch that allocates.
  virtual void AppendAfter(const GrainSpace& space, std::vector<MetadataChange>& changes) const {
    static_cast<void>(space);
    static_cast<void>(changes);
  }

  // Says that a writer has the file open (made durable before anything else), or no longer has
  // (after everything else). Appends nothing where the format has no such mark.
  virtual void AppendMark(bool is_open, std::vector<MetadataChange>& changes) const {
    static_cast<void>(is_open);
    static_cast<void>(changes);
  }

  // Ranges besides the grains themselves and their tables that are written when these grains are
  // used, for allocation ahead.
  virtual void AppendAhead(SectorRun grains, std::vector<ByteRange>& ranges) const {
    static_cast<void>(grains);
    static_cast<void>(ranges);
  }

 protected:
  explicit GrainFormat(GrainLayout layout) : layout_(layout) {}

  GrainLayout layout_;
};

}  // namespace disklib
