#include "disklib/sparse/stream_format.h"

#include <fmt/format.h>

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;

Error Corrupt(uint64_t sector, std::string_view found) {
  return Error(Code::kCorrupt, fmt::format("stream record at sector {}: {}", sector, found));
}

Result<StreamItem> DecodeMarker(std::span<const std::byte> bytes, uint64_t sector) {
  const auto marker = base::LoadAs<StreamMarker>(bytes);
  StreamItem item;
  item.type = marker.type;
  const bool is_end = marker.type == kMarkerEndOfStream && marker.sector_count == 0;
  item.kind = is_end ? StreamItem::Kind::kEnd : StreamItem::Kind::kMarker;
  if (marker.sector_count >= kSectorAddressCount) {
    return Corrupt(
        sector, fmt::format("marker {} of {} sectors", item.type, uint64_t{marker.sector_count}));
  }
  item.sector_count = 1 + marker.sector_count;
  return item;
}

Result<StreamItem> DecodeGrain(const HostedHeader& header, const StreamRecord& record,
                               uint64_t sector) {
  const uint64_t lba = record.value;
  if (lba >= header.capacity_sectors || lba % header.grain_sectors != 0) {
    return Corrupt(sector,
                   fmt::format("grain of disk sector {}, grains have {} of {} sectors", lba,
                               uint64_t{header.grain_sectors}, uint64_t{header.capacity_sectors}));
  }
  if (record.size_bytes > StreamRecordBytesMax(header.grain_sectors)) {
    return Corrupt(sector, fmt::format("{} compressed bytes, a grain has at most {}",
                                       uint32_t{record.size_bytes},
                                       StreamRecordBytesMax(header.grain_sectors)));
  }
  StreamItem item;
  item.kind = StreamItem::Kind::kGrain;
  item.grain = lba / header.grain_sectors;
  item.compressed_bytes = record.size_bytes;
  item.sector_count = StreamRecordSectors(item.compressed_bytes);
  return item;
}

}  // namespace

StreamMarker MakeStreamMarker(uint32_t type, uint64_t sector_count) {
  StreamMarker marker{};
  marker.sector_count = sector_count;
  marker.type = type;
  return marker;
}

Result<StreamItem> DecodeStreamItem(const HostedHeader& header, std::span<const std::byte> bytes,
                                    uint64_t sector, uint64_t file_sectors) {
  if (bytes.size() < kSectorBytes) return Corrupt(sector, "behind the end of the file");
  const auto record = base::LoadAs<StreamRecord>(bytes);
  TRY(const StreamItem item,
      record.is_marker() ? DecodeMarker(bytes, sector) : DecodeGrain(header, record, sector));
  if (sector > file_sectors || item.sector_count > file_sectors - sector) {
    return Corrupt(sector, fmt::format("{} sectors end behind the file of {}", item.sector_count,
                                       file_sectors));
  }
  return item;
}

Status CheckStreamFooter(const HostedHeader& header, const HostedHeader& footer) {
  const bool is_same = header.version == footer.version && header.flags == footer.flags &&
                       header.capacity_sectors == footer.capacity_sectors &&
                       header.grain_sectors == footer.grain_sectors &&
                       header.compression == footer.compression;
  if (is_same && footer.directory_sector != kDirectoryAtEnd) return base::Ok();
  return Error(Code::kCorrupt, "stream footer: it does not agree with the header");
}

}  // namespace disklib
