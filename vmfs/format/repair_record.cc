#include "vmfs/format/repair_record.h"

#include <algorithm>

#include "fs/base/check.h"
#include "fs/base/crc32c.h"
#include "vmfs/format/corrupt.h"

namespace vmfs {
namespace {

using base::Le32;
using base::Le64;

constexpr uint32_t kRepairVersion = 1;

struct RecordBlock {
  std::array<char, 8> magic = kRepairMagic;
  Le32 version = kRepairVersion;
  Le32 chunk_count;
  base::Uuid volume_uuid;
  Le64 number;
  std::array<uint8_t, 0x18> reserved_0x28{};
  std::array<Le64, kRepairChunksMax> chunks{};
  std::array<uint8_t, 0x1c> reserved_0xfe0{};
  Le32 crc;  // CRC32C of the bytes before
};
static_assert(base::OnDisk<RecordBlock> && sizeof(RecordBlock) == kMetadataBlockBytes);
static_assert(offsetof(RecordBlock, volume_uuid) == 0x10);
static_assert(offsetof(RecordBlock, number) == 0x20);
static_assert(offsetof(RecordBlock, chunks) == 0x40);

struct ChunkEntry {
  Le64 home_address;
  Le32 image_crc;
};

struct ChunkBlock {
  std::array<char, 8> magic = kRepairChunkMagic;
  Le32 index;
  Le32 image_count;
  base::Uuid volume_uuid;
  Le64 number;
  std::array<uint8_t, 0x18> reserved_0x28{};
  std::array<ChunkEntry, kRepairImagesMax> entries{};
  std::array<uint8_t, 0x3c8> reserved_0xc34{};
  Le32 crc;  // CRC32C of the bytes before
};
static_assert(base::OnDisk<ChunkBlock> && sizeof(ChunkBlock) == kMetadataBlockBytes);
static_assert(offsetof(ChunkBlock, entries) == 0x40);

template <typename T>
uint32_t CrcOf(const T& block) {
  return base::Crc32c(base::BytesOf(block).first(offsetof(T, crc)));
}

bool IsBlockOf(uint64_t address, uint64_t volume_bytes) {
  return address % kMetadataBlockBytes == 0 && volume_bytes >= kMetadataBlockBytes &&
         address <= volume_bytes - kMetadataBlockBytes;
}

}  // namespace

void EncodeRepairRecord(const RepairRecord& record, MetadataSpan block) {
  CHECK(!record.chunk_addresses.empty() && record.chunk_addresses.size() <= kRepairChunksMax);
  RecordBlock stored;
  stored.chunk_count = static_cast<uint32_t>(record.chunk_addresses.size());
  stored.volume_uuid = record.identity.volume_uuid;
  stored.number = record.identity.number;
  std::ranges::copy(record.chunk_addresses, stored.chunks.begin());
  stored.crc = CrcOf(stored);
  base::StoreAs(std::span<std::byte>(block), 0, stored);
}

void EncodeRepairChunk(const RepairIdentity& identity, uint32_t index,
                       std::span<const RepairEntry> entries, MetadataSpan block) {
  CHECK(!entries.empty() && entries.size() <= kRepairImagesMax);
  ChunkBlock stored;
  stored.index = index;
  stored.image_count = static_cast<uint32_t>(entries.size());
  stored.volume_uuid = identity.volume_uuid;
  stored.number = identity.number;
  for (size_t i = 0; i < entries.size(); ++i) {
    stored.entries[i] = {entries[i].home_address, entries[i].image_crc};
  }
  stored.crc = CrcOf(stored);
  base::StoreAs(std::span<std::byte>(block), 0, stored);
}

base::Result<RepairRecord> DecodeRepairRecord(ConstMetadataSpan block, uint64_t volume_bytes) {
  const auto stored = base::LoadAs<RecordBlock>(block);
  if (stored.magic != kRepairMagic) return NotRecognizedError("repair record: none");
  if (stored.crc != CrcOf(stored)) {
    return base::Error(base::Code::kChecksumMismatch,
                       fmt::format("repair record: CRC {:#010x}, expected {:#010x}",
                                   uint32_t{stored.crc}, CrcOf(stored)));
  }
  if (stored.version != kRepairVersion) {
    return VersionError("repair record: version {}, only {} is known", uint32_t{stored.version},
                        kRepairVersion);
  }
  if (stored.chunk_count == 0 || stored.chunk_count > kRepairChunksMax) {
    return CorruptError("repair record: {} chunks, expected 1 to {}", uint32_t{stored.chunk_count},
                        kRepairChunksMax);
  }
  RepairRecord record;
  record.identity = {stored.volume_uuid, stored.number};
  for (uint32_t i = 0; i < stored.chunk_count; ++i) {
    const uint64_t address = stored.chunks[i];
    if (!IsBlockOf(address, volume_bytes)) {
      return CorruptError("repair record: chunk {} at volume address {:#x}", i, address);
    }
    record.chunk_addresses.push_back(address);
  }
  return record;
}

base::Result<std::vector<RepairEntry>> DecodeRepairChunk(ConstMetadataSpan block,
                                                         const RepairIdentity& identity,
                                                         uint32_t index, uint64_t volume_bytes) {
  const auto stored = base::LoadAs<ChunkBlock>(block);
  if (stored.magic != kRepairChunkMagic || stored.crc != CrcOf(stored)) {
    return base::Error(base::Code::kChecksumMismatch,
                       fmt::format("repair log: chunk {} is not what was written", index));
  }
  const RepairIdentity found{stored.volume_uuid, stored.number};
  if (found != identity || stored.index != index || stored.image_count == 0 ||
      stored.image_count > kRepairImagesMax) {
    return CorruptError("repair log: chunk {} says it is {}, with {} images", index,
                        uint32_t{stored.index}, uint32_t{stored.image_count});
  }
  std::vector<RepairEntry> entries;
  for (uint32_t i = 0; i < stored.image_count; ++i) {
    const ChunkEntry& entry = stored.entries[i];
    if (!IsBlockOf(entry.home_address, volume_bytes)) {
      return CorruptError("repair log: image {} of chunk {} for volume address {:#x}", i, index,
                          uint64_t{entry.home_address});
    }
    entries.push_back({entry.home_address, entry.image_crc});
  }
  return entries;
}

uint32_t RepairImageCrc(const RepairIdentity& identity, uint64_t home_address,
                        ConstMetadataSpan image) {
  const Le64 number = identity.number;
  const Le64 home = home_address;
  uint32_t crc = base::Crc32c(base::BytesOf(identity.volume_uuid));
  crc = base::Crc32c(base::BytesOf(number), crc);
  crc = base::Crc32c(base::BytesOf(home), crc);
  return base::Crc32c(image, crc);
}

}  // namespace vmfs
