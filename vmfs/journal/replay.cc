#include "vmfs/journal/replay.h"

#include <fmt/format.h>

#include "fs/base/log.h"
#include "vmfs/format/lock_block.h"

namespace vmfs {
namespace {

constexpr uint64_t kReadBytes = 1 << 20;

ConstMetadataSpan SlotIn(std::span<const std::byte> ring, uint32_t slot) {
  return ConstMetadataSpan(ring.subspan(uint64_t{slot} * kMetadataBlockBytes, kMetadataBlockBytes));
}

base::Task<base::Status> ReadRing(base::BlockDevice& volume, uint64_t address,
                                  std::span<std::byte> ring) {
  for (uint64_t done = 0; done < ring.size(); done += kReadBytes) {
    const base::IoVec piece{ring.data() + done, kReadBytes};
    const base::IoRequest request{address + done, std::span(&piece, 1)};
    CO_TRY_STATUS(co_await volume.Read(request));
  }
  co_return base::Ok();
}

// Whether every image of the transaction is what its descriptor says.
bool ImagesAreWhole(std::span<const std::byte> ring, const TransactionDescriptor& transaction,
                    uint32_t slot, const JournalRound& round) {
  for (uint32_t i = 0; i < transaction.entries.size(); ++i) {
    const uint32_t image_slot = NextJournalSlot(slot, i + 1);
    const TransactionEntry& entry = transaction.entries[i];
    if (ImageCrc(round, transaction.sequence, image_slot, entry.home_address,
                 SlotIn(ring, image_slot)) != entry.image_crc) {
      return false;
    }
  }
  return true;
}

// Whether the dead host still holds the lock that covers an image, and has held it since it logged
// the image: each change of a lock raises its token. Else the block was home before the lock was
// given back.
base::Task<base::Result<bool>> LockIsOwners(base::BlockDevice& volume, const JournalOwner* owner,
                                            const TransactionEntry* entry) {
  alignas(64) std::array<std::byte, 512> sector;
  const base::IoVec piece{sector.data(), sector.size()};
  const base::IoRequest request{entry->lock_address, std::span(&piece, 1)};
  CO_TRY_STATUS(co_await volume.Read(request));
  const base::Result<LockBlock> lock = DecodeLockBlock(sector, entry->lock_address);
  co_return lock && lock->mode() == LockMode::kExclusive && lock->token == entry->lock_token &&
      lock->heartbeat_address == owner->heartbeat_address &&
      lock->heartbeat_generation == owner->heartbeat_generation;
}

base::Task<base::Status> CollectImages(base::BlockDevice& volume, const JournalOwner* owner,
                                       std::span<const std::byte> ring,
                                       const TransactionDescriptor* transaction, uint32_t slot,
                                       JournalContents& contents) {
  for (uint32_t i = 0; i < transaction->entries.size(); ++i) {
    const TransactionEntry& entry = transaction->entries[i];
    if (entry.home_address % kMetadataBlockBytes != 0 ||
        entry.home_address > volume.size_bytes() - kMetadataBlockBytes ||
        entry.lock_address > volume.size_bytes() - kMetadataBlockBytes) {
      co_return base::Error(base::Code::kCorrupt,
                            fmt::format("replay transaction {}: image {} belongs at {:#x}",
                                        transaction->sequence, i, entry.home_address));
    }
    CO_TRY(const bool apply, co_await LockIsOwners(volume, owner, &entry));
    if (!apply) {
      ++contents.skipped_image_count;
      contents.images.erase(entry.home_address);
      continue;
    }
    auto image = std::make_unique<MetadataBytes>();
    const ConstMetadataSpan bytes = SlotIn(ring, NextJournalSlot(slot, i + 1));
    std::copy(bytes.begin(), bytes.end(), image->begin());
    contents.images[entry.home_address] = std::move(image);
  }
  co_return base::Ok();
}

}  // namespace

base::Task<base::Result<JournalContents>> ReadJournal(base::BlockDevice& volume,
                                                      const JournalOwner* owner) {
  JournalContents contents;
  if (owner->journal_address > volume.size_bytes() - kJournalBlockBytes) {
    co_return base::Error(
        base::Code::kCorrupt,
        fmt::format("read journal at {:#x}: outside the volume", owner->journal_address));
  }
  std::vector<std::byte> ring(kJournalBlockBytes);
  CO_TRY_STATUS(co_await ReadRing(volume, owner->journal_address, ring));
  const std::span<const std::byte> sector(ring.data(), kJournalSectorBytes);
  const JournalContent kind = ClassifyJournal(sector);
  if (kind == JournalContent::kForeign) {
    co_return base::Error(
        base::Code::kCorrupt,
        fmt::format("read journal at {:#x}: written by another system", owner->journal_address));
  }
  if (kind != JournalContent::kOurs) co_return contents;
  CO_TRY(const JournalHeader header,
         DecodeJournalHeader(sector, owner->volume_uuid, owner->journal_address));
  if (header.heartbeat_address != owner->heartbeat_address ||
      header.heartbeat_generation != owner->heartbeat_generation) {
    co_return contents;
  }
  const JournalRound round{owner->volume_uuid, owner->journal_address, owner->heartbeat_generation};
  uint32_t slot = header.tail_slot;
  uint64_t sequence = header.tail_sequence;
  for (uint32_t used = 0; used < kJournalSlotCount; ++sequence) {
    const base::Result<TransactionDescriptor> transaction =
        DecodeTransaction(SlotIn(ring, slot), round, slot, sequence);
    if (!transaction) {
      if (transaction.error().code() == base::Code::kJournalTorn) break;
      co_return transaction.error();
    }
    if (!owner->ignore_checksums && !ImagesAreWhole(ring, *transaction, slot, round)) break;
    CO_TRY_STATUS(co_await CollectImages(volume, owner, ring, &*transaction, slot, contents));
    contents.orphans = transaction->orphans;
    contents.scan_descriptors = transaction->scan_descriptors;
    ++contents.transaction_count;
    const auto length = static_cast<uint32_t>(transaction->entries.size() + 1);
    slot = NextJournalSlot(slot, length);
    used += length;
  }
  co_return contents;
}

base::Task<base::Status> WriteImagesHome(base::BlockDevice& volume, JournalContents& contents) {
  for (const auto& [address, image] : contents.images) {
    const base::IoVec piece{image->data(), kMetadataBlockBytes};
    const base::IoRequest request{address, std::span(&piece, 1)};
    CO_TRY_STATUS(co_await volume.Write(request));
  }
  co_return co_await volume.Flush();
}

}  // namespace vmfs
