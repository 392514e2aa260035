// Journal blocks (2 MiB in `.jbc.sf`): ESXi's empty form, and our own contents while in use.
//
// While a host of ours owns the block, the first sector holds the ring header and slots 1 to 511 of
// 4 KiB a ring of transactions: a descriptor slot, then one image per entry. Every checksum covers
// where and in which round the bytes were meant to be as well as the bytes, so that a misdirected
// or stale slot is never replayed (vmfs/FORMAT.md, "Journal"). Plain values, any thread; no I/O.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "fs/base/on_disk.h"
#include "fs/base/result.h"
#include "fs/base/uuid.h"
#include "vmfs/format/address.h"
#include "vmfs/format/metadata_block.h"
#include "vmfs/format/resource.h"

namespace vmfs {

inline constexpr uint32_t kJournalSlotCount = 511;  // slots 1 to 511; slot 0 is the header
inline constexpr uint32_t kJournalSectorBytes = 512;
inline constexpr uint32_t kTransactionImagesMax = 63;
inline constexpr uint32_t kOrphansMax = 128;

// Volume address of slot `slot` (1 to 511) of the journal block at `journal_address`; a ring
// position behind 511 goes on at 1.
constexpr uint64_t JournalSlotAddress(uint64_t journal_address, uint32_t slot) {
  return journal_address + uint64_t{slot} * kMetadataBlockBytes;
}
constexpr uint32_t NextJournalSlot(uint32_t slot, uint32_t count = 1) {
  return (slot - 1 + count) % kJournalSlotCount + 1;
}

// The empty form: what ESXi leaves in a journal block that has been used and given back, and what
// unmount and takeover of ours leave too. `bytes` is the whole 2 MiB block, zeroed or not.
void EncodeEmptyJournal(uint64_t journal_address, std::span<std::byte> bytes);
// The first metadata block of the empty form, and any of the other 511: for writing piece by piece.
void EncodeEmptyJournalHeader(uint64_t journal_address, MetadataSpan block);
void EncodeEmptyJournalSlot(MetadataSpan block);

// What lies in a journal block, told by its first sector.
enum class JournalContent : uint8_t {
  kNeverUsed,  // all zero
  kEmpty,      // ESXi's empty form
  kOurs,       // our ring header's magic; validity is DecodeJournalHeader's matter
  kForeign,    // anything else: a volume with this is dirty in a way we cannot replay
};
JournalContent ClassifyJournal(std::span<const std::byte> first_sector);
// Whether a slot is one of the empty form, or all zero.
bool IsEmptyJournalSlot(std::span<const std::byte> slot);

inline constexpr std::array<char, 8> kJournalMagic = {'S', 'T', 'R', 'J', 'R', 'N', 'L', '1'};
inline constexpr std::array<char, 8> kTransactionMagic = {'S', 'T', 'R', 'T', 'R', 'A', 'N', '1'};
inline constexpr uint32_t kJournalVersion = 1;

// The ring header, sector 0 of the journal block.
struct JournalHeader {
  std::array<char, 8> magic = kJournalMagic;
  Le32 version = kJournalVersion;
  Le32 reserved_0x0c;
  base::Uuid volume_uuid;  // of the file system
  base::Uuid owner;        // of the host
  Le64 own_address;        // volume address of the journal block
  Le64 heartbeat_address;
  Le64 heartbeat_generation;
  Le64 tail_sequence;  // of the oldest transaction that is not known to be home
  Le32 tail_slot;      // where it begins, or will begin
  std::array<uint8_t, 0x1a8> reserved_0x54{};
  Le32 crc;  // CRC32C of the bytes before
};
static_assert(base::OnDisk<JournalHeader> && sizeof(JournalHeader) == kJournalSectorBytes);
static_assert(offsetof(JournalHeader, volume_uuid) == 0x10);
static_assert(offsetof(JournalHeader, owner) == 0x20);
static_assert(offsetof(JournalHeader, own_address) == 0x30);
static_assert(offsetof(JournalHeader, heartbeat_address) == 0x38);
static_assert(offsetof(JournalHeader, heartbeat_generation) == 0x40);
static_assert(offsetof(JournalHeader, tail_sequence) == 0x48);
static_assert(offsetof(JournalHeader, tail_slot) == 0x50);
static_assert(offsetof(JournalHeader, crc) == 0x1fc);

// Fills magic, version and CRC and stores the header. `sector` is 512 bytes or more.
void EncodeJournalHeader(JournalHeader header, std::span<std::byte> sector);
// Errors: kNotRecognized, kVersionUnsupported, kChecksumMismatch, kCorrupt (another volume's or
// another block's header, tail slot out of range).
base::Result<JournalHeader> DecodeJournalHeader(std::span<const std::byte> sector,
                                                const base::Uuid& volume_uuid,
                                                uint64_t journal_address);

// Where a transaction belongs: what its checksums cover besides content.
struct JournalRound {
  base::Uuid volume_uuid;
  uint64_t journal_address = 0;
  uint64_t heartbeat_generation = 0;  // of the owner: older rounds do not count
};

struct TransactionEntry {
  uint64_t home_address = 0;  // volume address of the 4 KiB block
  uint64_t lock_address = 0;  // of the lock block that covers it; 0: none
  uint64_t lock_token = 0;    // its token while the owner holds it
  uint32_t image_crc = 0;     // ImageCrc() of the image
  friend bool operator==(const TransactionEntry&, const TransactionEntry&) = default;
};

// A descriptor with link count 0 that is still open or not yet freed.
struct Orphan {
  uint32_t fd = 0;
  uint32_t generation = 0;
  friend bool operator==(const Orphan&, const Orphan&) = default;
};

// A descriptor slot in memory. Image i of `entries` lies i + 1 slots behind the descriptor.
struct TransactionDescriptor {
  uint64_t sequence = 0;
  std::vector<TransactionEntry> entries;  // 0 to 63
  std::vector<Orphan> orphans;            // 0 to 128: the whole set as of this transaction
  bool scan_descriptors = false;  // more orphans than fit: look through all of `.fdc.sf`
  friend bool operator==(const TransactionDescriptor&, const TransactionDescriptor&) = default;
};

// Checksum of one image: covers round, sequence, slot (1 to 511) and home address.
uint32_t ImageCrc(const JournalRound& round, uint64_t sequence, uint32_t slot,
                  uint64_t home_address, std::span<const std::byte> image);

// Encodes a descriptor into `block` for slot `slot`; image CRCs are already in the entries.
// At most 63 entries and 128 orphans (CHECKed).
void EncodeTransaction(const TransactionDescriptor& transaction, const JournalRound& round,
                       uint32_t slot, MetadataSpan block);

// Decodes the descriptor expected at `slot` with `expected_sequence`.
// Errors: kJournalTorn when it is not there (empty, stale, other round, checksum): the end of the
// log; kCorrupt when its checksum holds but its contents cannot be (never written by us).
base::Result<TransactionDescriptor> DecodeTransaction(ConstMetadataSpan block,
                                                      const JournalRound& round, uint32_t slot,
                                                      uint64_t expected_sequence);

}  // namespace vmfs
