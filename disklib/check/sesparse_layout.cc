#include "disklib/check/sesparse_layout.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor.h"
#include "fs/base/on_disk.h"

namespace disklib::check {
namespace {

constexpr uint64_t kMagic = 0xcafebabe;
constexpr uint64_t kVolatileMagic = 0xcafecafe;
constexpr uint64_t kVersion = 0x0000000200000001;
// Words of the header: what follows the volatile header's words is zero, and words 6 to 9.
constexpr size_t kHeaderWords = 26;
constexpr size_t kVolatileWords = 4;
// Regions end below this, so that no sum overflows.
constexpr uint64_t kSectorsMax = uint64_t{1} << 48;

uint64_t Word(std::span<const std::byte> sector, size_t index) {
  return base::LoadAs<base::Le64>(sector, index * 8);
}

uint64_t RoundUp(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit;
}

void Refuse(Findings& findings, Invariant id, std::string text) {
  findings.Add({.id = id, .text = std::move(text)});
  findings.NoteUnchecked();
}

struct FixedWord {
  size_t index;
  uint64_t value;
  std::string_view name;
};

constexpr FixedWord kFixedWords[] = {{0, kMagic, "magic"},
                                     {1, kVersion, "version"},
                                     {3, kSeSparseGrainSectors, "grainSize"},
                                     {4, kSeSparseTableSectors, "grainTableSize"},
                                     {5, 0, "flags"}};

// Clears padding where the repair is allowed; answers whether it did.
bool CheckPads(Findings& findings, std::span<std::byte> sector, size_t first_word,
               std::string_view what) {
  bool is_dirty = false;
  for (size_t i = first_word; i < 64; ++i) is_dirty = is_dirty || Word(sector, i) != 0;
  const bool has_reserved = first_word == kHeaderWords;
  for (size_t i = 6; has_reserved && i < 10; ++i) is_dirty = is_dirty || Word(sector, i) != 0;
  if (!is_dirty) return false;
  const bool repairs = findings.Add({.id = Invariant::kX1,
                                     .text = fmt::format("the padding of the {} is not zero", what),
                                     .repair = RepairClass::kAutomatic,
                                     .repair_text = "it becomes zero"});
  if (!repairs) return false;
  std::ranges::fill(sector.subspan(first_word * 8), std::byte{0});
  if (has_reserved) std::ranges::fill(sector.subspan(48, 32), std::byte{0});
  return true;
}

struct NamedRegion {
  std::string_view name;
  SeSparseRegion region;
  uint64_t bytes_needed;
};

// X2: in order, apart, large enough.
bool CheckRegions(Findings& findings, std::span<const NamedRegion> regions) {
  uint64_t end_sectors = 1;
  std::string_view before = "header";
  for (const NamedRegion& named : regions) {
    const SeSparseRegion& region = named.region;
    if (region.offset_sectors > kSectorsMax || region.size_sectors > kSectorsMax) {
      Refuse(findings, Invariant::kX2, fmt::format("the {} lies at sector {}", named.name,
                                                   region.offset_sectors));
      return false;
    }
    if (region.offset_sectors < end_sectors) {
      Refuse(findings, Invariant::kX2,
             fmt::format("the {} begins at sector {}, before the end of the {} at {}", named.name,
                         region.offset_sectors, before, end_sectors));
      return false;
    }
    if (region.size_bytes() < named.bytes_needed) {
      Refuse(findings, Invariant::kX2,
             fmt::format("the {} has {} bytes, the capacity needs {}", named.name,
                         region.size_bytes(), named.bytes_needed));
      return false;
    }
    end_sectors = region.offset_sectors + region.size_sectors;
    before = named.name;
  }
  return true;
}

SeSparseRegion RegionAt(std::span<const std::byte> sector, size_t index) {
  return {Word(sector, index), Word(sector, index + 1)};
}

}  // namespace

uint64_t SeSparseLayout::grain_slots() const {
  return std::min({grains.size_sectors / kSeSparseGrainSectors, bitmap.size_bytes() * 8,
                   back_map.size_bytes() / 8});
}

bool CheckSeSparseHeader(Findings& findings, std::span<std::byte> sector, SeSparseLayout& layout,
                         bool& pads_repaired) {
  for (const FixedWord& fixed : kFixedWords) {
    if (Word(sector, fixed.index) == fixed.value) continue;
    Refuse(findings, Invariant::kX1,
           fmt::format("the header's {} is {:#x}, not {:#x}", fixed.name,
                       Word(sector, fixed.index), fixed.value));
    return false;
  }
  layout.capacity_sectors = Word(sector, 2);
  if (layout.capacity_sectors == 0 || layout.capacity_sectors > kCapacitySectorsMax) {
    Refuse(findings, Invariant::kX1,
           fmt::format("the header's capacity is {} sectors", layout.capacity_sectors));
    return false;
  }
  layout.grain_count = RoundUp(layout.capacity_sectors, kSeSparseGrainSectors);
  layout.table_count = RoundUp(layout.grain_count, kSeSparseTableEntries);
  layout.volatile_header = RegionAt(sector, 10);
  layout.directory = RegionAt(sector, 16);
  layout.tables = RegionAt(sector, 18);
  layout.bitmap = RegionAt(sector, 20);
  layout.back_map = RegionAt(sector, 22);
  layout.grains = RegionAt(sector, 24);
  const NamedRegion regions[] = {
      {"volatile header", layout.volatile_header, 512},
      {"journal header", RegionAt(sector, 12), 0},
      {"journal", RegionAt(sector, 14), 0},
      {"grain directory", layout.directory, layout.table_count * 8},
      {"grain tables", layout.tables, layout.table_count * kSeSparseTableBytes},
      {"free bitmap", layout.bitmap, RoundUp(layout.grain_count, 8)},
      {"back map", layout.back_map, layout.grain_count * 8},
      // The last grain may end with the disk.
      {"grain area", layout.grains, layout.capacity_sectors * 512}};
  if (!CheckRegions(findings, regions)) return false;
  pads_repaired = CheckPads(findings, sector, kHeaderWords, "header");
  return true;
}

bool CheckSeSparseVolatile(Findings& findings, std::span<std::byte> sector, bool& pads_repaired) {
  if (Word(sector, 0) != kVolatileMagic) {
    Refuse(findings, Invariant::kX1,
           fmt::format("the volatile header's magic is {:#x}, not {:#x}", Word(sector, 0),
                       kVolatileMagic));
    return false;
  }
  if (Word(sector, 3) != 0) {
    Refuse(findings, Invariant::kX3, "the journal has to be replayed before the file is used");
    return false;
  }
  pads_repaired = CheckPads(findings, sector, kVolatileWords, "volatile header");
  return true;
}

}  // namespace disklib::check
