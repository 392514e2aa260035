#include "vmfs/format/lvm.h"

#include <algorithm>

#include "vmfs/format/corrupt.h"

namespace vmfs {

namespace {

base::Status CheckLvm6(const LvmDeviceHeader& header) {
  if (header.metadata_alignment != kMetadataBlockBytes) {
    return VersionError("LVM header: metadata alignment {}, only {} is known",
                        uint32_t{header.metadata_alignment}, kMetadataBlockBytes);
  }
  if (header.extended_header_offset != 0 || header.pe_map_count > 1) {
    return VersionError("LVM header: extended header at {:#x} with {} maps, none is known",
                        uint64_t{header.extended_header_offset}, uint32_t{header.pe_map_count});
  }
  if (header.pe_count == 0 || header.pe_count > kLvmPeEntriesMax) {
    return CorruptError("LVM header: {} extents in the table, expected 1 to {}",
                        uint32_t{header.pe_count}, kLvmPeEntriesMax);
  }
  const uint64_t data_bytes = uint64_t{header.unit_count} * kUnitBytes;
  if (header.unit_count == 0 || data_bytes > kVolumeBytesMax) {
    return CorruptError("LVM header: {} units of 256 MiB", uint32_t{header.unit_count});
  }
  return base::Ok();
}

base::Status CheckLvm5(const LvmDeviceHeader& header) {
  const uint32_t map_count = std::max<uint32_t>(header.pe_map_count, 1);
  if (header.extended_header_offset != 0) {
    return VersionError("LVM header: extended header at {:#x}, none is known",
                        uint64_t{header.extended_header_offset});
  }
  if (map_count > kLvm5MapsMax) {
    return CorruptError("LVM header: {} maps of extents, expected 1 to {}", map_count,
                        kLvm5MapsMax);
  }
  if (header.pe_count == 0 || header.pe_count > map_count * kLvmPeEntriesMax) {
    return CorruptError("LVM header: {} extents in the table, expected 1 to {}",
                        uint32_t{header.pe_count}, map_count * kLvmPeEntriesMax);
  }
  return base::Ok();
}

}  // namespace

base::Result<LvmDeviceHeader> DecodeLvmDeviceHeader(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(LvmDeviceHeader)) {
    return NotRecognizedError("LVM header: only {} bytes", bytes.size());
  }
  const auto header = base::LoadAs<LvmDeviceHeader>(bytes);
  if (header.magic != kLvmMagic) {
    return NotRecognizedError("LVM header: magic {:#x}, expected {:#x}", uint32_t{header.magic},
                              kLvmMagic);
  }
  if (header.major != kLvmMajor && !header.is_lvm5()) {
    return VersionError("LVM header: major version {}, only {} and {} are known",
                        uint32_t{header.major}, kLvm5Major, kLvmMajor);
  }
  TRY_STATUS(header.is_lvm5() ? CheckLvm5(header) : CheckLvm6(header));
  if (header.data_offset != kLvmDataOffset) {
    return CorruptError("LVM header: data offset {:#x}, expected {:#x}",
                        uint64_t{header.data_offset}, kLvmDataOffset);
  }
  if (header.volume_count != 1) {
    return CorruptError("LVM header: {} volumes, expected 1", uint32_t{header.volume_count});
  }
  return header;
}

base::Result<LvmVolumeEntry> DecodeLvmVolumeEntry(std::span<const std::byte> bytes,
                                                  uint32_t lvm_major) {
  if (bytes.size() < sizeof(LvmVolumeEntry)) {
    return NotRecognizedError("LVM volume entry: only {} bytes", bytes.size());
  }
  const auto entry = base::LoadAs<LvmVolumeEntry>(bytes);
  const uint64_t volume_bytes = entry.volume_bytes;
  if (volume_bytes == 0 || volume_bytes > kVolumeBytesMax || volume_bytes % kUnitBytes != 0) {
    return CorruptError("LVM volume entry: size {:#x} is not 1 to 262144 units of 256 MiB",
                        volume_bytes);
  }
  if (entry.state == 0 || entry.state > 3) {
    return CorruptError("LVM volume entry: state {}, expected 1 to 3", uint32_t{entry.state});
  }
  if (entry.device_count == 0 || entry.device_count > kLvmDevicesMax) {
    return CorruptError("LVM volume entry: {} devices, expected 1 to {}",
                        uint32_t{entry.device_count}, kLvmDevicesMax);
  }
  const uint64_t first = entry.first_unit;
  const uint64_t last = entry.last_unit;
  if (last < first || last >= volume_bytes / kUnitBytes || entry.unit_count != last - first + 1) {
    return CorruptError("LVM volume entry: units {} to {}, count {}, volume of {}", first, last,
                        uint32_t{entry.unit_count}, volume_bytes / kUnitBytes);
  }
  const bool has_pe_count = lvm_major != kLvm5Major;
  if (has_pe_count && (entry.pe_count == 0 || entry.pe_count > kLvmPeEntriesMax)) {
    return CorruptError("LVM volume entry: {} extents, expected 1 to {}", uint32_t{entry.pe_count},
                        kLvmPeEntriesMax);
  }
  return entry;
}

base::Result<LvmPeEntry> DecodeLvmPeEntry(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(LvmPeEntry)) {
    return NotRecognizedError("LVM extent entry: only {} bytes", bytes.size());
  }
  const auto entry = base::LoadAs<LvmPeEntry>(bytes);
  if (entry.used != 1) return CorruptError("LVM extent entry: used byte {}", entry.used);
  const uint64_t length = entry.length_bytes;
  if (length == 0 || length > kLvmPeEntryBytesMax || length % kUnitBytes != 0) {
    return CorruptError("LVM extent entry: length {:#x} is not 1 to 65536 units of 256 MiB",
                        length);
  }
  const uint64_t logical = entry.logical_offset;
  const uint64_t physical = entry.physical_offset;
  if (logical % kUnitBytes != 0 || logical > kVolumeBytesMax - length ||
      physical < kLvmDataOffset || (physical - kLvmDataOffset) % kUnitBytes != 0 ||
      physical - kLvmDataOffset > kVolumeBytesMax - length) {
    return CorruptError("LVM extent entry: logical offset {:#x}, physical offset {:#x}", logical,
                        physical);
  }
  return entry;
}

std::string TextOf(std::span<const char> field) {
  return std::string(field.begin(), std::find(field.begin(), field.end(), '\0'));
}

void SetText(std::span<char> field, std::string_view text) {
  std::fill(field.begin(), field.end(), '\0');
  std::copy_n(text.begin(), std::min(text.size(), field.size()), field.begin());
}

}  // namespace vmfs
