#include "disklib/sparse/hosted_format.h"

#include <algorithm>

#include <fmt/format.h>

#include "fs/base/check.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;

constexpr std::array<char, 4> kNewlineTest = {'\n', ' ', '\r', '\n'};
constexpr uint32_t kIncompatibleFlags = 0xffff0000;
constexpr uint16_t kNoCompression = 0;
constexpr uint16_t kDeflate = 1;
constexpr uint64_t kDescriptorSectorsMax = kDescriptorReadBytesMax / kSectorBytes;

Error Corrupt(std::string_view field, uint64_t value, std::string_view rule) {
  return Error(Code::kCorrupt,
               fmt::format("hosted sparse header: {} is {}: {}", field, value, rule));
}

Error Unknown(std::string_view field, uint64_t value) {
  return Error(Code::kVersionUnsupported,
               fmt::format("hosted sparse header: {} 0x{:x} is not known", field, value));
}

Status CheckKind(const HostedHeader& header) {
  if (header.magic != kHostedMagic) {
    return Error(Code::kNotRecognized, fmt::format("hosted sparse header: magic 0x{:08x}, not KDMV",
                                                   uint32_t{header.magic}));
  }
  if (header.version == 0 || header.version > kHostedVersionMax) {
    return Unknown("version", header.version);
  }
  const uint32_t unknown_flags =
      header.flags & kIncompatibleFlags & ~(kHostedFlagCompressed | kHostedFlagMarkers);
  if (unknown_flags != 0) return Unknown("flag", unknown_flags);
  if (header.has(kHostedFlagNewlineTest) && header.newline_test != kNewlineTest) {
    return Error(Code::kCorrupt,
                 "hosted sparse header: the newline bytes changed: the file was transferred as "
                 "text and is damaged");
  }
  const uint16_t expected = header.is_compressed() ? kDeflate : kNoCompression;
  if (header.compression != expected) return Unknown("compressAlgorithm", header.compression);
  return base::Ok();
}

Status CheckDescriptor(const HostedHeader& header) {
  if (header.descriptor_sector == 0) return base::Ok();
  if (header.descriptor_sector >= kSectorAddressCount) {
    return Corrupt("descriptorOffset", header.descriptor_sector, "behind the last address");
  }
  if (header.descriptor_sectors > kDescriptorSectorsMax) {
    return Corrupt("descriptorSize", header.descriptor_sectors, "more than 1 MiB");
  }
  return base::Ok();
}

Status CheckFields(const HostedHeader& header) {
  TRY_STATUS(CheckDescriptor(header));
  if (header.is_descriptor_carrier()) return base::Ok();
  if (header.capacity_sectors == 0) return Corrupt("capacity", 0, "a capacity is needed");
  if (header.capacity_sectors > kCapacitySectorsMax) {
    return Corrupt("capacity", header.capacity_sectors, "more than 62 TiB");
  }
  if (!IsGrainSectors(header.grain_sectors)) {
    return Corrupt("grainSize", header.grain_sectors, "not a power of two up to 2048");
  }
  if (header.table_entry_count != kHostedTableEntryCount) {
    return Corrupt("numGTEsPerGT", header.table_entry_count, "not 512");
  }
  if (header.has(kHostedFlagRedundant) && header.redundant_directory_sector == 0) {
    return Corrupt("rgdOffset", 0, "the flag says there is a second directory");
  }
  return base::Ok();
}

Status CheckDirectory(std::string_view field, uint64_t sector, uint64_t sector_count,
                      uint64_t file_sectors) {
  if (sector == 0) return Corrupt(field, sector, "inside the header");
  if (sector >= file_sectors || sector_count > file_sectors - sector) {
    return Corrupt(field, sector,
                   fmt::format("{} sectors of directory end behind the file of {}", sector_count,
                               file_sectors));
  }
  return base::Ok();
}

}  // namespace

HostedLayout PlanHostedLayout(uint64_t capacity_sectors, uint64_t grain_sectors,
                              bool is_redundant) {
  CHECK(IsGrainSectors(grain_sectors));
  HostedLayout layout;
  layout.table_count = DivideUp(capacity_sectors, grain_sectors * kHostedTableEntryCount);
  layout.directory_sector = kEmbeddedDescriptorSector + kEmbeddedDescriptorSectors;
  if (is_redundant) {
    layout.redundant_directory_sector = layout.directory_sector;
    layout.directory_sector += layout.set_sectors();
  }
  layout.overhead_sectors = RoundUp(layout.directory_sector + layout.set_sectors(), grain_sectors);
  return layout;
}

HostedHeader MakeHostedHeader(const NewHostedHeader& what, const HostedLayout& layout) {
  HostedHeader header{};
  header.magic = kHostedMagic;
  header.version = what.version;
  header.flags = what.flags;
  header.capacity_sectors = what.capacity_sectors;
  header.grain_sectors = what.grain_sectors;
  if (what.has_descriptor) {
    header.descriptor_sector = kEmbeddedDescriptorSector;
    header.descriptor_sectors = kEmbeddedDescriptorSectors;
  }
  header.table_entry_count = static_cast<uint32_t>(kHostedTableEntryCount);
  header.redundant_directory_sector = layout.redundant_directory_sector;
  header.directory_sector = layout.directory_sector;
  header.overhead_sectors = layout.overhead_sectors;
  header.newline_test = kNewlineTest;
  header.compression = header.is_compressed() ? kDeflate : kNoCompression;
  return header;
}

bool IsHostedSparse(std::span<const std::byte> bytes) {
  return bytes.size() >= sizeof(base::Le32) && base::LoadAs<base::Le32>(bytes) == kHostedMagic;
}

Result<HostedHeader> DecodeHostedHeader(std::span<const std::byte> bytes) {
  if (bytes.size() < kHostedHeaderBytes) {
    return Error(Code::kNotRecognized, fmt::format("hosted sparse header: {} bytes, needed are {}",
                                                   bytes.size(), kHostedHeaderBytes));
  }
  const auto header = base::LoadAs<HostedHeader>(bytes);
  TRY_STATUS(CheckKind(header));
  TRY_STATUS(CheckFields(header));
  return header;
}

Status CheckHostedDirectories(const HostedHeader& header, uint64_t file_sectors) {
  if (header.table_count() > kHostedTableCountMax) {
    return Error(Code::kTooLarge, fmt::format("hosted sparse header: {} grain tables, at most {}",
                                              header.table_count(), kHostedTableCountMax));
  }
  const uint64_t reachable = std::min(file_sectors, kSectorAddressCount);
  TRY_STATUS(
      CheckDirectory("gdOffset", header.directory_sector, header.directory_sectors(), reachable));
  if (!header.is_redundant()) return base::Ok();
  return CheckDirectory("rgdOffset", header.redundant_directory_sector, header.directory_sectors(),
                        reachable);
}

Status CheckHostedTable(const HostedHeader& header, uint64_t table, uint32_t sector,
                        uint64_t file_sectors) {
  if (sector == 0) return base::Ok();
  if (sector + kHostedTableSectors <= file_sectors) return base::Ok();
  return Error(Code::kCorrupt,
               fmt::format("hosted sparse directory entry {} of {}: table at sector {} ends behind "
                           "the file of {}",
                           table, header.table_count(), sector, file_sectors));
}

Status CheckHostedGrain(const HostedHeader& header, uint64_t grain, uint32_t sector,
                        uint64_t file_sectors) {
  if (sector == 0) return base::Ok();
  if (sector == kHostedZeroEntry && header.has(kHostedFlagZeroGrains)) return base::Ok();
  if (sector >= header.overhead_sectors && sector < file_sectors) return base::Ok();
  return Error(Code::kCorrupt,
               fmt::format("hosted sparse grain {}: at sector {}, allowed are {} to the end of the "
                           "file at {}",
                           grain, sector, uint64_t{header.overhead_sectors}, file_sectors));
}

}  // namespace disklib
