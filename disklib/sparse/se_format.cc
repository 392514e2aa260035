#include "disklib/sparse/se_format.h"

#include <algorithm>

#include <fmt/format.h>

#include "fs/base/check.h"
#include "fs/base/on_disk.h"

namespace disklib {

using base::Code;
using base::Error;
using base::Le64;
using base::Result;
using base::Status;

namespace {

constexpr uint64_t kMagic = 0x00000000cafebabe;
constexpr uint64_t kVolatileMagic = 0x00000000cafecafe;
constexpr uint64_t kVersion = 0x0000000200000001;
constexpr uint64_t kGrainSectors = 8;
constexpr uint64_t kTableSectors = 64;
constexpr uint64_t kTableEntries = kTableSectors * kSectorBytes / sizeof(uint64_t);
constexpr uint64_t kRegionSectors = 2048;  // regions are rounded up to this
constexpr uint64_t kGrowthFactor = 4;
constexpr uint64_t kFreeTableOffsetBytes = 8;  // in the volatile header

constexpr uint64_t kTableMark = uint64_t{1} << 60;  // of a directory entry

// The types of an entry, in its top nibble.
constexpr uint64_t kTypeUnallocated = 0;
constexpr uint64_t kTypeUnmapped = 1;
constexpr uint64_t kTypeZero = 2;
constexpr uint64_t kTypeData = 3;

struct RegionWords {
  Le64 first_sector;
  Le64 count;
};

struct HeaderSector {
  Le64 magic;
  Le64 version;
  Le64 capacity_sectors;
  Le64 grain_sectors;
  Le64 table_sectors;
  Le64 flags;
  Le64 reserved[4];
  RegionWords volatile_header;
  RegionWords journal_header;
  RegionWords journal;
  RegionWords directory;
  RegionWords tables;
  RegionWords bitmap;
  RegionWords back_map;
  RegionWords grains;
  uint8_t padding[304];
};

static_assert(base::OnDisk<HeaderSector> && sizeof(HeaderSector) == kSectorBytes);
static_assert(offsetof(HeaderSector, volatile_header) == 80);
static_assert(offsetof(HeaderSector, grains) == 192);

struct VolatileSector {
  Le64 magic;
  Le64 free_table;
  Le64 next_transaction;
  Le64 replay_journal;
  uint8_t padding[480];
};

static_assert(base::OnDisk<VolatileSector> && sizeof(VolatileSector) == kSectorBytes);
static_assert(offsetof(VolatileSector, free_table) == kFreeTableOffsetBytes);

struct NamedRegion {
  const char* name;
  SeRegion region;
};

std::array<NamedRegion, 8> RegionsOf(const SeHeader& header) {
  return {{{"volatile header", header.volatile_header},
           {"journal header", header.journal_header},
           {"journal", header.journal},
           {"grain directory", header.directory},
           {"grain tables", header.tables},
           {"free bitmap", header.bitmap},
           {"back map", header.back_map},
           {"grains", header.grains}}};
}

uint64_t DivideUp(uint64_t a, uint64_t b) {
  return (a + b - 1) / b;
}

// Sectors that the regions need for a capacity.
struct Needs {
  uint64_t directory, tables, bitmap, back_map, grains;
};

Needs NeedsOf(uint64_t capacity_sectors) {
  const uint64_t grains = DivideUp(capacity_sectors, kGrainSectors);
  const uint64_t tables = DivideUp(grains, kTableEntries);
  return {.directory = DivideUp(tables * 8, kSectorBytes),
          .tables = tables * kTableSectors,
          .bitmap = DivideUp(DivideUp(grains, 8), kSectorBytes),
          .back_map = DivideUp(grains * 8, kSectorBytes),
          .grains = grains * kGrainSectors};
}

SeRegion RegionOf(const RegionWords& words) {
  return {words.first_sector, words.count};
}

RegionWords WordsOf(const SeRegion& region) {
  return {region.first_sector, region.count};
}

Error Corrupt(std::string what) {
  return Error(Code::kCorrupt, "seSparse header: " + what);
}

bool IsZero(std::span<const uint8_t> bytes) {
  return std::ranges::all_of(bytes, [](uint8_t byte) { return byte == 0; });
}

Status CheckConstants(const HeaderSector& sector) {
  if (sector.magic != kMagic) {
    return Error(Code::kNotRecognized,
                 fmt::format("seSparse header: magic {:#x}", uint64_t{sector.magic}));
  }
  if (sector.version != kVersion) {
    return Error(
        Code::kVersionUnsupported,
        fmt::format("seSparse header: version {}.{}, known is 2.1", uint64_t{sector.version} >> 32,
                    uint64_t{sector.version} & ~uint32_t{0}));
  }
  if (sector.grain_sectors != kGrainSectors) {
    return Corrupt(fmt::format("grains of {} sectors", uint64_t{sector.grain_sectors}));
  }
  if (sector.table_sectors != kTableSectors) {
    return Corrupt(fmt::format("grain tables of {} sectors", uint64_t{sector.table_sectors}));
  }
  if (sector.flags != 0) return Corrupt(fmt::format("flags {:#x}", uint64_t{sector.flags}));
  for (const Le64& word : sector.reserved) {
    if (word != 0) return Corrupt("a reserved word is not zero");
  }
  if (!IsZero(sector.padding)) return Corrupt("the padding is not zero");
  return base::Ok();
}

Status CheckRegions(const SeHeader& header) {
  // Table numbers and sectors of regions stay far from overflow.
  constexpr uint64_t kSectorMax = uint64_t{1} << 48;
  uint64_t end_sector = 1;
  for (const auto& [name, region] : RegionsOf(header)) {
    if (region.first_sector > kSectorMax || region.count > kSectorMax) {
      return Corrupt(
          fmt::format("{}: sector {}, {} sectors", name, region.first_sector, region.count));
    }
    if (region.first_sector < end_sector) {
      return Corrupt(fmt::format("{} at sector {} begins before sector {}", name,
                                 region.first_sector, end_sector));
    }
    end_sector = region.end_sector();
  }
  if (header.volatile_header.count < 1) return Corrupt("volatile header: 0 sectors");
  return base::Ok();
}

Status CheckNeeds(const SeHeader& header, uint64_t capacity_sectors) {
  const Needs needs = NeedsOf(capacity_sectors);
  const std::array<std::pair<NamedRegion, uint64_t>, 5> pairs = {{
      {{"grain directory", header.directory}, needs.directory},
      {{"grain tables", header.tables}, needs.tables},
      {{"free bitmap", header.bitmap}, needs.bitmap},
      {{"back map", header.back_map}, needs.back_map},
      {{"grains", header.grains}, needs.grains},
  }};
  for (const auto& [named, count] : pairs) {
    if (named.region.count >= count) continue;
    return Corrupt(fmt::format("{} of {} sectors, {} are needed for a capacity of {} sectors",
                               named.name, named.region.count, count, capacity_sectors));
  }
  return base::Ok();
}

uint64_t EncodeDataEntry(uint64_t grain) {
  return kTypeData << 60 | (grain & 0xfff) << 48 | grain >> 12;
}

uint64_t GrainOf(uint64_t entry) {
  return (entry >> 48 & 0xfff) | (entry & 0x0000ffffffffffff) << 12;
}

class SeFormat final : public GrainFormat {
 public:
  SeFormat(const SeHeader& header, uint64_t free_table, const GrainLayout& layout)
      : GrainFormat(layout), header_(header), free_table_(free_table) {}

  uint64_t TableSector(uint32_t table) const override {
    return header_.tables.first_sector + uint64_t{table - 1} * kTableSectors;
  }

  Status DecodeDirectory(std::span<const std::byte> bytes, uint64_t first_index,
                         std::span<uint32_t> tables) const override;
  void EncodeDirectory(std::span<const uint32_t> tables, std::span<std::byte> bytes) const override;
  Status DecodeEntries(std::span<const std::byte> bytes,
                       std::span<uint64_t> entries) const override;
  void EncodeEntries(std::span<const uint64_t> entries, std::span<std::byte> bytes) const override;

  // An index that the header calls free but that a directory entry has is in use.
  void UseDirectory(std::span<const uint32_t> tables) override {
    for (const uint32_t table : tables) free_table_ = std::max<uint64_t>(free_table_, table);
  }

  Result<uint32_t> TakeTable(GrainSpace&) override {
    if (free_table_ >= table_count()) {
      return Error(Code::kNoSpace,
                   fmt::format("seSparse: all {} grain tables are in use", table_count()));
    }
    ++free_table_;
    return static_cast<uint32_t>(free_table_);
  }

  void AppendBefore(const GrainBatch& batch, std::vector<MetadataChange>& changes) const override;
  void AppendAhead(SectorRun grains, std::vector<ByteRange>& ranges) const override;

 private:
  // Numbers of tables are indices plus 1 in 32 bits.
  uint64_t table_count() const {
    return std::min<uint64_t>(header_.tables.count / kTableSectors, ~uint32_t{0});
  }

  uint64_t GrainAt(uint64_t sector) const {
    return (sector - header_.grains.first_sector) / kGrainSectors;
  }

  SeHeader header_;
  uint64_t free_table_;
};

Status SeFormat::DecodeDirectory(std::span<const std::byte> bytes, uint64_t first_index,
                                 std::span<uint32_t> tables) const {
  for (size_t i = 0; i < tables.size(); ++i) {
    const uint64_t entry = base::LoadAs<Le64>(bytes, i * 8);
    tables[i] = kTableNone;
    if (entry == 0) continue;
    const uint64_t index = entry ^ kTableMark;
    if (index >= table_count()) {
      return Error(Code::kCorrupt, fmt::format("grain directory entry {}: {:#018x} is none of {} "
                                               "grain tables",
                                               first_index + i, entry, table_count()));
    }
    tables[i] = static_cast<uint32_t>(index + 1);
  }
  return base::Ok();
}

void SeFormat::EncodeDirectory(std::span<const uint32_t> tables, std::span<std::byte> bytes) const {
  for (size_t i = 0; i < tables.size(); ++i) {
    const Le64 entry = tables[i] == kTableNone ? 0 : kTableMark | (tables[i] - 1);
    base::StoreAs(bytes, i * 8, entry);
  }
}

Status SeFormat::DecodeEntries(std::span<const std::byte> bytes,
                               std::span<uint64_t> entries) const {
  for (size_t i = 0; i < entries.size(); ++i) {
    const uint64_t entry = base::LoadAs<Le64>(bytes, i * 8);
    const uint64_t type = entry >> 60;
    if (type > kTypeData || (type == kTypeUnallocated && entry != 0)) {
      return Error(Code::kCorrupt, fmt::format("entry {}: {:#018x} cannot be", i, entry));
    }
    entries[i] = kEntryNone;
    if (type == kTypeUnmapped || type == kTypeZero) entries[i] = kEntryZero;
    if (type != kTypeData) continue;
    const uint64_t grain = GrainOf(entry);
    if (grain >= header_.grains.count / kGrainSectors) {
      return Error(Code::kCorrupt, fmt::format("entry {}: grain {} of {}", i, grain,
                                               header_.grains.count / kGrainSectors));
    }
    entries[i] = header_.grains.first_sector + grain * kGrainSectors;
  }
  return base::Ok();
}

// Readers disagree on type 1 (unmapped); zeros are always type 2.
void SeFormat::EncodeEntries(std::span<const uint64_t> entries, std::span<std::byte> bytes) const {
  for (size_t i = 0; i < entries.size(); ++i) {
    uint64_t entry = 0;
    if (entries[i] == kEntryZero) entry = kTypeZero << 60;
    if (IsData(entries[i])) entry = EncodeDataEntry(GrainAt(entries[i]));
    base::StoreAs(bytes, i * 8, Le64(entry));
  }
}

void SeFormat::AppendBefore(const GrainBatch& batch, std::vector<MetadataChange>& changes) const {
  const uint64_t bitmap_bytes = header_.bitmap.first_sector * kSectorBytes;
  for (const SectorRun run : batch.freed) {
    changes.push_back({.kind = MetadataChange::Kind::kClearBits,
                       .offset_bytes = bitmap_bytes,
                       .count = run.count / kGrainSectors,
                       .first_bit = GrainAt(run.first_sector)});
  }
  for (const auto& [run, table] : batch.taken) {
    const uint64_t grain = GrainAt(run.first_sector);
    const uint64_t count = run.count / kGrainSectors;
    changes.push_back({.kind = MetadataChange::Kind::kSetBits,
                       .offset_bytes = bitmap_bytes,
                       .count = count,
                       .first_bit = grain});
    changes.push_back({.kind = MetadataChange::Kind::kStore64,
                       .offset_bytes = header_.back_map.first_sector * kSectorBytes + grain * 8,
                       .count = count,
                       .value = table - 1});
  }
  if (batch.has_new_tables) {
    const uint64_t header_bytes = header_.volatile_header.first_sector * kSectorBytes;
    changes.push_back({.kind = MetadataChange::Kind::kStore64,
                       .offset_bytes = header_bytes + kFreeTableOffsetBytes,
                       .value = free_table_});
  }
}

void SeFormat::AppendAhead(SectorRun grains, std::vector<ByteRange>& ranges) const {
  const uint64_t first = GrainAt(grains.first_sector);
  const uint64_t end = first + grains.count / kGrainSectors;
  const uint64_t bitmap_bytes = header_.bitmap.first_sector * kSectorBytes;
  const uint64_t back_map_bytes = header_.back_map.first_sector * kSectorBytes;
  ranges.push_back({bitmap_bytes + first / 8, (end + 7) / 8 - first / 8});
  ranges.push_back({back_map_bytes + first * 8, (end - first) * 8});
}

}  // namespace

Result<SeHeader> PlanSeHeader(uint64_t size_bytes) {
  if (size_bytes == 0 || size_bytes % kSectorBytes != 0) {
    return Error(Code::kInvalidArgument,
                 fmt::format("seSparse: {} bytes are no capacity", size_bytes));
  }
  if (size_bytes > kSeCapacityBytesMax) {
    return Error(Code::kTooLarge,
                 fmt::format("seSparse: {} bytes are more than 62 TiB", size_bytes));
  }
  SeHeader header;
  header.capacity_sectors = size_bytes / kSectorBytes;
  header.volatile_header = {1, 1};
  header.journal_header = {2, 2};
  header.journal = {kRegionSectors, kRegionSectors};
  const Needs needs = NeedsOf(
      std::min(header.capacity_sectors * kGrowthFactor, kSeCapacityBytesMax / kSectorBytes));
  uint64_t sector = header.journal.end_sector();
  const auto place = [&sector](uint64_t count) {
    const SeRegion region{sector, base::RoundUp(count, kRegionSectors)};
    sector = region.end_sector();
    return region;
  };
  header.directory = place(needs.directory);
  header.tables = place(needs.tables);
  header.bitmap = place(needs.bitmap);
  header.back_map = place(needs.back_map);
  header.grains = place(needs.grains);
  return header;
}

Status CheckSeCapacity(const SeHeader& header, uint64_t size_bytes) {
  if (size_bytes > kSeCapacityBytesMax) {
    return Error(Code::kTooLarge,
                 fmt::format("seSparse: {} bytes are more than 62 TiB", size_bytes));
  }
  const Status checked = CheckNeeds(header, size_bytes / kSectorBytes);
  if (!checked) return Error(Code::kTooLarge, checked.error().message());
  return base::Ok();
}

SeSector EncodeSeHeader(const SeHeader& header) {
  HeaderSector sector{};
  sector.magic = kMagic;
  sector.version = kVersion;
  sector.capacity_sectors = header.capacity_sectors;
  sector.grain_sectors = kGrainSectors;
  sector.table_sectors = kTableSectors;
  sector.volatile_header = WordsOf(header.volatile_header);
  sector.journal_header = WordsOf(header.journal_header);
  sector.journal = WordsOf(header.journal);
  sector.directory = WordsOf(header.directory);
  sector.tables = WordsOf(header.tables);
  sector.bitmap = WordsOf(header.bitmap);
  sector.back_map = WordsOf(header.back_map);
  sector.grains = WordsOf(header.grains);
  SeSector bytes;
  base::StoreAs(bytes, 0, sector);
  return bytes;
}

SeSector EncodeSeVolatileHeader(const SeVolatileHeader& header) {
  VolatileSector sector{};
  sector.magic = kVolatileMagic;
  sector.free_table = header.free_table;
  sector.next_transaction = header.next_transaction;
  sector.replay_journal = header.replay_journal;
  SeSector bytes;
  base::StoreAs(bytes, 0, sector);
  return bytes;
}

Result<SeHeader> DecodeSeHeader(std::span<const std::byte> bytes) {
  if (bytes.size() < kSectorBytes) return Error(Code::kNotRecognized, "seSparse header: cut short");
  const auto sector = base::LoadAs<HeaderSector>(bytes);
  TRY_STATUS(CheckConstants(sector));
  const SeHeader header{.capacity_sectors = sector.capacity_sectors,
                        .volatile_header = RegionOf(sector.volatile_header),
                        .journal_header = RegionOf(sector.journal_header),
                        .journal = RegionOf(sector.journal),
                        .directory = RegionOf(sector.directory),
                        .tables = RegionOf(sector.tables),
                        .bitmap = RegionOf(sector.bitmap),
                        .back_map = RegionOf(sector.back_map),
                        .grains = RegionOf(sector.grains)};
  if (header.capacity_sectors == 0 ||
      header.capacity_sectors > kSeCapacityBytesMax / kSectorBytes) {
    return Corrupt(fmt::format("capacity of {} sectors", header.capacity_sectors));
  }
  TRY_STATUS(CheckRegions(header));
  TRY_STATUS(CheckNeeds(header, header.capacity_sectors));
  return header;
}

Result<SeVolatileHeader> DecodeSeVolatileHeader(std::span<const std::byte> bytes) {
  if (bytes.size() < kSectorBytes) return Corrupt("the volatile header is cut short");
  const auto sector = base::LoadAs<VolatileSector>(bytes);
  if (sector.magic != kVolatileMagic) {
    return Corrupt(fmt::format("volatile magic {:#x}", uint64_t{sector.magic}));
  }
  if (sector.replay_journal != 0) {
    return Error(Code::kUnsupported,
                 "seSparse: its journal has changes to replay, and the journal's format is not "
                 "public; only ESX can open it (replayJournal is not 0)");
  }
  if (!IsZero(sector.padding)) return Corrupt("the padding of the volatile header is not zero");
  return SeVolatileHeader{.free_table = sector.free_table,
                          .next_transaction = sector.next_transaction,
                          .replay_journal = sector.replay_journal};
}

std::unique_ptr<GrainFormat> MakeSeFormat(const SeHeader& header,
                                          const SeVolatileHeader& volatile_header,
                                          uint64_t size_bytes) {
  CHECK(size_bytes <= header.capacity_sectors * kSectorBytes);
  GrainLayout layout{.size_bytes = size_bytes,
                     .grain_sectors = kGrainSectors,
                     .entries_per_table = kTableEntries,
                     .entry_bytes = 8,
                     .directory_entry_bytes = 8,
                     .has_zero_state = true,
                     .is_aligned = true,
                     .first_grain_sector = header.grains.first_sector,
                     .has_table_area = true,
                     .used_bitmap_sector = header.bitmap.first_sector};
  layout.end_sector =
      header.grains.first_sector + header.grains.count / kGrainSectors * kGrainSectors;
  layout.directory_sectors[0] = header.directory.first_sector;
  return std::make_unique<SeFormat>(header, volatile_header.free_table, layout);
}

}  // namespace disklib
