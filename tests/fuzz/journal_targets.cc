#include <algorithm>
#include <memory>
#include <vector>

#include "fs/base/check.h"
#include "fs/base/crc32c.h"
#include "fs/base/sim_executor.h"
#include "tests/fuzz/pieces.h"
#include "tests/support/sim_disk.h"
#include "vmfs/format/heartbeat_slot.h"
#include "vmfs/format/journal_block.h"
#include "vmfs/format/lock_block.h"
#include "vmfs/format/repair_record.h"
#include "vmfs/journal/replay.h"

namespace fuzz {
namespace {

constexpr uint64_t kJournalAddress = 4 * vmfs::kMebibyte;
constexpr uint64_t kVolumeBytes = 16 * vmfs::kMebibyte;
constexpr uint64_t kLockAddress = 1 * vmfs::kMebibyte;
constexpr uint64_t kGeneration = 7;
constexpr size_t kTransactionsMax = 40;
constexpr size_t kTransactionCrcOffset = 0xffc;

vmfs::JournalRound Round() { return {base::Uuid{}, kJournalAddress, kGeneration}; }

// Stores the CRC that belongs to the bytes before it.
void SealTransaction(vmfs::MetadataSpan block) {
  base::StoreAs(block, kTransactionCrcOffset,
                base::Le32(base::Crc32c(block.first<kTransactionCrcOffset>())));
}

// A ring as our writer makes them, with what the input says in every field that it chooses.
class RingBuilder {
 public:
  RingBuilder(base::SimDisk& disk, Pieces& pieces) : disk_(disk), pieces_(pieces) {}

  void PutHeader() {
    vmfs::JournalHeader header;
    header.own_address = kJournalAddress;
    header.heartbeat_address = vmfs::HeartbeatAddress(0);
    header.heartbeat_generation = kGeneration;
    const uint8_t shape = pieces_.Byte();
    slot_ = 1 + pieces_.Word() % (vmfs::kJournalSlotCount + 2);
    sequence_ = pieces_.Byte();
    header.tail_slot = slot_;
    header.tail_sequence = sequence_;
    if ((shape & 1) != 0) header.own_address = pieces_.Word();
    if ((shape & 2) != 0) header.heartbeat_generation = pieces_.Word();
    std::vector<std::byte> sector(vmfs::kJournalSectorBytes);
    vmfs::EncodeJournalHeader(header, sector);
    if ((shape & 4) != 0) pieces_.Fill(sector);
    disk_.Poke(kJournalAddress, sector);
    slot_ = (slot_ - 1) % vmfs::kJournalSlotCount + 1;
  }

  void PutTransaction() {
    const uint8_t shape = pieces_.Byte();
    vmfs::TransactionDescriptor transaction;
    transaction.sequence = sequence_;
    const size_t image_count = pieces_.Byte() % (vmfs::kTransactionImagesMax + 1);
    for (size_t i = 0; i < image_count; ++i) transaction.entries.push_back(Entry(i));
    for (size_t i = 0; i < (shape & 7); ++i) transaction.orphans.push_back({pieces_.Word(), 1});
    std::vector<std::byte> bytes(vmfs::kMetadataBlockBytes);
    const auto block = std::span<std::byte>(bytes).first<vmfs::kMetadataBlockBytes>();
    vmfs::EncodeTransaction(transaction, Round(), slot_, block);
    if ((shape & 8) != 0) {
      base::StoreAs(block, 0x30, base::Le32(pieces_.Word()));  // counts of images and orphans
    }
    if ((shape & 16) == 0) SealTransaction(block);
    disk_.Poke(vmfs::JournalSlotAddress(kJournalAddress, slot_), block);
    slot_ = vmfs::NextJournalSlot(slot_, static_cast<uint32_t>(image_count) + 1);
    ++sequence_;
  }

 private:
  vmfs::TransactionEntry Entry(size_t i) {
    const uint32_t word = pieces_.Word();
    vmfs::TransactionEntry entry;
    // Mostly places of the volume; where the top bits say so, anywhere.
    entry.home_address = uint64_t{word % 2048} * vmfs::kMetadataBlockBytes;
    if (word >> 24 == 0xff) entry.home_address = ~uint64_t{0} << (word >> 16 & 63);
    entry.lock_address = (word & 0x800000) != 0 ? uint64_t{pieces_.Word()} << 12 : kLockAddress;
    const uint32_t slot = vmfs::NextJournalSlot(slot_, static_cast<uint32_t>(i) + 1);
    std::vector<std::byte> image(vmfs::kMetadataBlockBytes, std::byte(word));
    entry.image_crc = vmfs::ImageCrc(Round(), sequence_, slot, entry.home_address, image);
    disk_.Poke(vmfs::JournalSlotAddress(kJournalAddress, slot), image);
    return entry;
  }

  base::SimDisk& disk_;
  Pieces& pieces_;
  uint32_t slot_ = 1;
  uint64_t sequence_ = 0;
};

// The lock that covers the images, as the dead host held it.
void PutLock(base::SimDisk& disk) {
  vmfs::LockBlock lock = vmfs::MakeFreeLock(vmfs::LockType::kFd, kLockAddress);
  lock.set_mode(vmfs::LockMode::kExclusive);
  lock.heartbeat_address = vmfs::HeartbeatAddress(0);
  lock.heartbeat_generation = kGeneration;
  lock.owner = base::Uuid{{1, 2, 3}};
  disk.Poke(kLockAddress, base::BytesOf(lock));
}

}  // namespace

void RunJournalHeader(Input input) {
  std::vector<std::byte> sector = Padded(input, vmfs::kJournalSectorBytes);
  const auto raw = base::LoadAs<vmfs::JournalHeader>(std::span<const std::byte>(sector));
  (void)vmfs::ClassifyJournal(sector);
  (void)vmfs::ClassifyJournal(input);
  (void)vmfs::IsEmptyJournalSlot(input);
  (void)vmfs::DecodeJournalHeader(sector, raw.volume_uuid, raw.own_address);
  vmfs::EncodeJournalHeader(raw, sector);
  const auto header = vmfs::DecodeJournalHeader(sector, raw.volume_uuid, raw.own_address);
  if (!header) return;
  CHECK(header->tail_slot >= 1 && header->tail_slot <= vmfs::kJournalSlotCount);
}

void RunJournalTransaction(Input input) {
  constexpr uint32_t kSlot = 3;
  constexpr std::ptrdiff_t kPlaceBytes = 0x30;  // magic, sequence, round and place
  std::vector<std::byte> bytes = Padded(input, vmfs::kMetadataBlockBytes);
  const auto block = std::span<std::byte>(bytes).first<vmfs::kMetadataBlockBytes>();
  const uint64_t sequence = base::LoadAs<base::Le64>(std::span<const std::byte>(bytes), 8);
  (void)vmfs::DecodeTransaction(block, Round(), kSlot, sequence);
  // What stands first, and the checksum, would rarely be guessed.
  std::vector<std::byte> fresh(bytes);
  vmfs::TransactionDescriptor placed;
  placed.sequence = sequence;
  vmfs::EncodeTransaction(placed, Round(), kSlot,
                          std::span<std::byte>(fresh).first<vmfs::kMetadataBlockBytes>());
  std::copy_n(fresh.begin(), kPlaceBytes, bytes.begin());
  SealTransaction(block);
  const auto transaction = vmfs::DecodeTransaction(block, Round(), kSlot, sequence);
  if (!transaction) return;
  CHECK(transaction->sequence == sequence);
  CHECK(transaction->entries.size() <= vmfs::kTransactionImagesMax);
  CHECK(transaction->orphans.size() <= vmfs::kOrphansMax);
}

// A whole ring in memory, read and brought home.
void RunJournal(Input input) {
  base::SimExecutor executor(1);
  base::SimDisk::Options options;
  options.size_bytes = kVolumeBytes;
  options.logging = false;
  base::SimDisk disk(executor, options);
  PutLock(disk);
  Pieces pieces(input);
  RingBuilder ring(disk, pieces);
  ring.PutHeader();
  for (size_t i = 0; i < kTransactionsMax && !pieces.empty(); ++i) ring.PutTransaction();
  const vmfs::JournalOwner owner{base::Uuid{}, kJournalAddress, vmfs::HeartbeatAddress(0),
                                 kGeneration};
  auto contents = base::RunSync(executor, vmfs::ReadJournal(disk, &owner));
  if (!contents) return;
  CHECK(contents->transaction_count <= vmfs::kJournalSlotCount);
  CHECK(contents->images.size() <= vmfs::kJournalSlotCount);
  CHECK(base::RunSync(executor, vmfs::WriteImagesHome(disk, *contents)).has_value());
}

// The record of an interrupted repair and a chunk of its log, as they are and with magic and
// checksum put right.
void RunRepairRecord(Input input) {
  vmfs::MetadataBytes bytes{};
  std::copy_n(input.begin(), std::min(input.size(), bytes.size()), bytes.begin());
  const vmfs::MetadataSpan block(bytes);
  (void)vmfs::DecodeRepairRecord(block, kVolumeBytes);
  (void)vmfs::DecodeRepairChunk(block, {}, 0, kVolumeBytes);
  base::StoreAs(block, 0, vmfs::kRepairMagic);
  SealTransaction(block);
  const auto record = vmfs::DecodeRepairRecord(block, kVolumeBytes);
  if (record) {
    CHECK(!record->chunk_addresses.empty());
    for (const uint64_t address : record->chunk_addresses) {
      CHECK(address + vmfs::kMetadataBlockBytes <= kVolumeBytes);
    }
  }
  base::StoreAs(block, 0, vmfs::kRepairChunkMagic);
  SealTransaction(block);
  const auto chunk = vmfs::DecodeRepairChunk(block, {}, 0, kVolumeBytes);
  if (!chunk) return;
  CHECK(!chunk->empty() && chunk->size() <= vmfs::kRepairImagesMax);
  for (const vmfs::RepairEntry& entry : *chunk) {
    CHECK(entry.home_address + vmfs::kMetadataBlockBytes <= kVolumeBytes);
  }
}

}  // namespace fuzz
