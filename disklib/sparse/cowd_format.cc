#include "disklib/sparse/cowd_format.h"

#include <fmt/format.h>

#include "fs/base/check.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;

constexpr uint32_t kWorkstationVersion = 3;

Error Corrupt(std::string_view field, uint64_t value, std::string_view rule) {
  return Error(Code::kCorrupt, fmt::format("vmfsSparse header: {} is {}: {}", field, value, rule));
}

Status CheckKind(const CowdHeader& header) {
  if (header.magic != kCowdMagic) {
    return Error(Code::kNotRecognized, fmt::format("vmfsSparse header: magic 0x{:08x}, not COWD",
                                                   uint32_t{header.magic}));
  }
  if (header.version == kCowdVersion) return base::Ok();
  if (header.version == kWorkstationVersion) {
    return Error(Code::kUnsupported,
                 "vmfsSparse header: version 3: a disk of Workstation 3, whose tables differ");
  }
  return Error(Code::kVersionUnsupported,
               fmt::format("vmfsSparse header: version {}, known is 1", uint32_t{header.version}));
}

Status CheckFields(const CowdHeader& header, uint64_t file_sectors) {
  const uint64_t capacity = header.capacity_sectors;
  const uint64_t grain = header.grain_sectors;
  if (capacity == 0) return Corrupt("numSectors", capacity, "a capacity is needed");
  if (!IsGrainSectors(grain)) {
    return Corrupt("grainSize", grain, "not a power of two up to 2048");
  }
  const uint64_t table_count = CowdTableCount(capacity, grain);
  if (header.directory_entry_count != table_count) {
    return Corrupt("numGDEntries", header.directory_entry_count,
                   fmt::format("the capacity needs {}", table_count));
  }
  if (header.directory_sector < kCowdHeaderSectors) {
    return Corrupt("gdOffset", header.directory_sector, "inside the header");
  }
  if (header.data_sector() > file_sectors) {
    return Corrupt("gdOffset", header.directory_sector,
                   fmt::format("the directory ends behind the file of {} sectors", file_sectors));
  }
  return base::Ok();
}

}  // namespace

CowdHeader MakeCowdHeader(uint64_t capacity_sectors, uint64_t grain_sectors, bool all_tables) {
  CHECK(capacity_sectors > 0 && capacity_sectors < kSectorAddressCount);
  CHECK(IsGrainSectors(grain_sectors));
  const uint64_t table_count = CowdTableCount(capacity_sectors, grain_sectors);
  CowdHeader header{};
  header.magic = kCowdMagic;
  header.version = kCowdVersion;
  header.flags = kCowdFlagRoot | kCowdFlagCheckable;
  header.capacity_sectors = static_cast<uint32_t>(capacity_sectors);
  header.grain_sectors = static_cast<uint32_t>(grain_sectors);
  header.directory_sector = static_cast<uint32_t>(kCowdHeaderSectors);
  header.directory_entry_count = static_cast<uint32_t>(table_count);
  const uint64_t tables_sectors = all_tables ? table_count * kCowdTableSectors : 0;
  header.free_sector = static_cast<uint32_t>(header.data_sector() + tables_sectors);
  return header;
}

Result<CowdHeader> DecodeCowdHeader(std::span<const std::byte> bytes, uint64_t file_sectors) {
  if (bytes.size() < kCowdHeaderBytes) {
    return Error(Code::kNotRecognized, fmt::format("vmfsSparse header: {} bytes, needed are {}",
                                                   bytes.size(), kCowdHeaderBytes));
  }
  const auto header = base::LoadAs<CowdHeader>(bytes);
  TRY_STATUS(CheckKind(header));
  TRY_STATUS(CheckFields(header, file_sectors));
  return header;
}

Status CheckCowdTable(const CowdHeader& header, uint64_t table, uint32_t sector,
                      uint64_t file_sectors) {
  if (sector == 0) return base::Ok();
  if (!header.overlaps_metadata(sector, kCowdTableSectors) &&
      sector + kCowdTableSectors <= file_sectors) {
    return base::Ok();
  }
  return Error(Code::kCorrupt,
               fmt::format("vmfsSparse directory entry {}: table at sector {}, allowed are {} to "
                           "the end of the file at {}",
                           table, sector, header.first_data_sector(), file_sectors));
}

Status CheckCowdGrain(const CowdHeader& header, uint64_t grain, uint32_t sector,
                      uint64_t file_sectors) {
  if (sector == 0) return base::Ok();
  const bool is_apart = !header.overlaps_metadata(sector, header.grain_sectors);
  if (is_apart && sector < file_sectors) return base::Ok();
  return Error(Code::kCorrupt,
               fmt::format("vmfsSparse grain {}: at sector {}, allowed are {} to the end of the "
                           "file at {}",
                           grain, sector, header.first_data_sector(), file_sectors));
}

}  // namespace disklib
