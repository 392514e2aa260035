#include "vmfs/format/journal_block.h"

#include <cstring>

#include "fs/base/check.h"
#include "fs/base/crc32c.h"
#include "vmfs/format/corrupt.h"

namespace vmfs {
namespace {

// ESXi's empty form. The 8 bytes at 0x08 look random in every sample; ours are zero.
struct EmptyHeader {
  Le32 signature = 0x46534A36;
  Le32 version = 0x00010000;
  std::array<uint8_t, 8> unknown_0x08{};
  Le32 one_0x10 = 1;
  std::array<uint8_t, 0x0c> unknown_0x14{};
  Le32 second_signature = 0x4A364A48;
  Le32 zero_0x24;
  std::array<uint8_t, 4> bytes_0x28 = {1, 1, 1, 0x0c};
  Le32 one_0x2c = 1;
  std::array<uint8_t, 0x1d0> unknown_0x30{};
  Le32 zero_0x200;
  Le64 own_address;
};
static_assert(base::OnDisk<EmptyHeader> && offsetof(EmptyHeader, second_signature) == 0x20);
static_assert(offsetof(EmptyHeader, own_address) == 0x204);

struct EmptySlot {
  Le32 signature = 0x4A364F54;
  Le16 transaction = 0xFFFF;
};
static_assert(base::OnDisk<EmptySlot>);

struct DiskEntry {
  Le64 home_address;
  Le64 lock_address;
  Le64 lock_token;
  Le32 image_crc;
};

struct DiskOrphan {
  Le32 fd;
  Le32 generation;
};

constexpr uint32_t kScanDescriptors = 1;

struct DiskTransaction {
  std::array<char, 8> magic = kTransactionMagic;
  Le64 sequence;
  Le64 heartbeat_generation;
  Le64 own_address;
  base::Uuid volume_uuid;
  Le16 entry_count;
  Le16 orphan_count;
  Le32 flags;
  std::array<uint8_t, 8> reserved_0x38{};
  std::array<DiskEntry, kTransactionImagesMax> entries{};
  std::array<DiskOrphan, kOrphansMax> orphans{};
  std::array<uint8_t, 0x4d8> reserved_0xb24{};
  Le32 crc;
};
static_assert(base::OnDisk<DiskTransaction> && sizeof(DiskTransaction) == kMetadataBlockBytes);
static_assert(offsetof(DiskTransaction, entry_count) == 0x30);
static_assert(offsetof(DiskTransaction, entries) == 0x40);
static_assert(offsetof(DiskTransaction, orphans) == 0x724);
static_assert(offsetof(DiskTransaction, crc) == 0xffc);

template <typename T>
uint32_t CrcBefore(const T& value, size_t crc_offset) {
  return base::Crc32c(base::BytesOf(value).first(crc_offset));
}

base::Error Torn(uint32_t slot, const char* what) {
  return base::Error(base::Code::kJournalTorn,
                     fmt::format("journal slot {}: {}, the log ends here", slot, what));
}

base::Status CheckHeader(const JournalHeader& header, const base::Uuid& volume_uuid,
                         uint64_t journal_address) {
  if (header.volume_uuid != volume_uuid) {
    return CorruptError("journal {:#x}: of volume {}, found on {}", journal_address,
                        header.volume_uuid.ToString(), volume_uuid.ToString());
  }
  if (header.own_address != journal_address) {
    return CorruptError("journal {:#x}: says its address is {:#x}", journal_address,
                        uint64_t{header.own_address});
  }
  if (header.tail_slot == 0 || header.tail_slot > kJournalSlotCount) {
    return CorruptError("journal {:#x}: tail slot {}, expected 1 to {}", journal_address,
                        uint32_t{header.tail_slot}, kJournalSlotCount);
  }
  return base::Ok();
}

}  // namespace

void EncodeEmptyJournalHeader(uint64_t journal_address, MetadataSpan block) {
  std::memset(block.data(), 0, block.size());
  EmptyHeader header;
  header.own_address = journal_address;
  base::StoreAs(block, 0, header);
}

void EncodeEmptyJournalSlot(MetadataSpan block) {
  std::memset(block.data(), 0, block.size());
  base::StoreAs(block, 0, EmptySlot{});
}

void EncodeEmptyJournal(uint64_t journal_address, std::span<std::byte> bytes) {
  CHECK(bytes.size() == kJournalBlockBytes);
  EncodeEmptyJournalHeader(journal_address, bytes.first<kMetadataBlockBytes>());
  for (uint32_t slot = 1; slot <= kJournalSlotCount; ++slot) {
    const size_t offset = size_t{slot} * kMetadataBlockBytes;
    EncodeEmptyJournalSlot(bytes.subspan(offset).first<kMetadataBlockBytes>());
  }
}

JournalContent ClassifyJournal(std::span<const std::byte> first_sector) {
  if (first_sector.size() < kJournalSectorBytes) return JournalContent::kForeign;
  const auto sector = first_sector.first(kJournalSectorBytes);
  if (IsZero(sector)) return JournalContent::kNeverUsed;
  if (base::LoadAs<JournalHeader>(sector).magic == kJournalMagic) return JournalContent::kOurs;
  const EmptyHeader empty;
  const bool is_empty_form = base::LoadAs<Le32>(sector) == empty.signature &&
                             base::LoadAs<Le32>(sector, 4) == empty.version &&
                             base::LoadAs<Le32>(sector, 0x20) == empty.second_signature;
  return is_empty_form ? JournalContent::kEmpty : JournalContent::kForeign;
}

bool IsEmptyJournalSlot(std::span<const std::byte> slot) {
  if (slot.size() < sizeof(EmptySlot)) return false;
  const auto found = base::LoadAs<EmptySlot>(slot);
  const EmptySlot empty;
  const bool is_free_form =
      found.signature == empty.signature && found.transaction == empty.transaction;
  return is_free_form || IsZero(slot);
}

void EncodeJournalHeader(JournalHeader header, std::span<std::byte> sector) {
  CHECK(sector.size() >= sizeof(JournalHeader));
  header.magic = kJournalMagic;
  header.version = kJournalVersion;
  header.crc = CrcBefore(header, offsetof(JournalHeader, crc));
  base::StoreAs(sector, 0, header);
}

base::Result<JournalHeader> DecodeJournalHeader(std::span<const std::byte> sector,
                                                const base::Uuid& volume_uuid,
                                                uint64_t journal_address) {
  if (sector.size() < sizeof(JournalHeader)) {
    return NotRecognizedError("journal {:#x}: only {} bytes", journal_address, sector.size());
  }
  const auto header = base::LoadAs<JournalHeader>(sector);
  if (header.magic != kJournalMagic) {
    return NotRecognizedError("journal {:#x}: not one of ours", journal_address);
  }
  const uint32_t crc = CrcBefore(header, offsetof(JournalHeader, crc));
  if (header.crc != crc) {
    return base::Error(base::Code::kChecksumMismatch,
                       fmt::format("journal {:#x}: header CRC {:#010x}, expected {:#010x}",
                                   journal_address, uint32_t{header.crc}, crc));
  }
  if (header.version != kJournalVersion) {
    return VersionError("journal {:#x}: version {}, only {} is known", journal_address,
                        uint32_t{header.version}, kJournalVersion);
  }
  TRY_STATUS(CheckHeader(header, volume_uuid, journal_address));
  return header;
}

uint32_t ImageCrc(const JournalRound& round, uint64_t sequence, uint32_t slot,
                  uint64_t home_address, std::span<const std::byte> image) {
  struct Place {
    base::Uuid volume_uuid;
    Le64 journal_address, heartbeat_generation, sequence, slot, home_address;
  };
  const Place place{round.volume_uuid, round.journal_address, round.heartbeat_generation,
                    sequence,          slot,                  home_address};
  return base::Crc32c(image, base::Crc32c(base::BytesOf(place)));
}

void EncodeTransaction(const TransactionDescriptor& transaction, const JournalRound& round,
                       uint32_t slot, MetadataSpan block) {
  CHECK(transaction.entries.size() <= kTransactionImagesMax);
  CHECK(transaction.orphans.size() <= kOrphansMax);
  DiskTransaction disk;
  disk.sequence = transaction.sequence;
  disk.heartbeat_generation = round.heartbeat_generation;
  disk.own_address = JournalSlotAddress(round.journal_address, slot);
  disk.volume_uuid = round.volume_uuid;
  disk.entry_count = static_cast<uint16_t>(transaction.entries.size());
  disk.orphan_count = static_cast<uint16_t>(transaction.orphans.size());
  disk.flags = transaction.scan_descriptors ? kScanDescriptors : 0;
  for (size_t i = 0; i < transaction.entries.size(); ++i) {
    const TransactionEntry& entry = transaction.entries[i];
    disk.entries[i] = {entry.home_address, entry.lock_address, entry.lock_token, entry.image_crc};
  }
  for (size_t i = 0; i < transaction.orphans.size(); ++i) {
    disk.orphans[i] = {transaction.orphans[i].fd, transaction.orphans[i].generation};
  }
  disk.crc = CrcBefore(disk, offsetof(DiskTransaction, crc));
  base::StoreAs(block, 0, disk);
}

base::Result<TransactionDescriptor> DecodeTransaction(ConstMetadataSpan block,
                                                      const JournalRound& round, uint32_t slot,
                                                      uint64_t expected_sequence) {
  const auto disk = base::LoadAs<DiskTransaction>(block);
  if (disk.magic != kTransactionMagic) return Torn(slot, "no transaction");
  if (disk.crc != CrcBefore(disk, offsetof(DiskTransaction, crc))) return Torn(slot, "bad CRC");
  if (disk.volume_uuid != round.volume_uuid ||
      disk.heartbeat_generation != round.heartbeat_generation ||
      disk.own_address != JournalSlotAddress(round.journal_address, slot)) {
    return Torn(slot, "transaction of another round or place");
  }
  if (disk.sequence != expected_sequence) return Torn(slot, "transaction of another sequence");
  if (disk.entry_count > kTransactionImagesMax || disk.orphan_count > kOrphansMax) {
    return CorruptError("journal slot {}: {} images and {} orphans", slot,
                        uint16_t{disk.entry_count}, uint16_t{disk.orphan_count});
  }
  TransactionDescriptor transaction;
  transaction.sequence = disk.sequence;
  transaction.scan_descriptors = (disk.flags & kScanDescriptors) != 0;
  for (size_t i = 0; i < disk.entry_count; ++i) {
    const DiskEntry& entry = disk.entries[i];
    transaction.entries.push_back(
        {entry.home_address, entry.lock_address, entry.lock_token, entry.image_crc});
  }
  for (size_t i = 0; i < disk.orphan_count; ++i) {
    transaction.orphans.push_back({disk.orphans[i].fd, disk.orphans[i].generation});
  }
  return transaction;
}

}  // namespace vmfs
