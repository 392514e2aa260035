// Journals of heartbeats in use: replayed into memory where they are ours and valid.
#include "fs/base/aligned_buffer.h"
#include "vmfs/fsck/state.h"

namespace vmfs::fsck {
namespace {

using base::Status;
using base::Task;

// One journal block in memory and the scan through its ring.
class JournalScan {
 public:
  JournalScan(State& state, const HeartbeatSlot& slot, const JournalHeader& header,
              std::span<const std::byte> bytes)
      : state_(state), slot_(slot), bytes_(bytes) {
    round_ = {header.volume_uuid, header.own_address, header.heartbeat_generation};
    ring_slot_ = header.tail_slot;
    sequence_ = header.tail_sequence;
  }

  // The next transaction, as long as it and all its images are whole.
  bool Next() {
    if (slots_read_ >= kJournalSlotCount) return false;
    auto decoded = DecodeTransaction(SlotBytes(ring_slot_), round_, ring_slot_, sequence_);
    if (!decoded) {
      if (decoded.error().code() == base::Code::kCorrupt) {
        state_.Error(FindingCode::kJournal, "{}", decoded.error().message());
      }
      return false;
    }
    for (size_t i = 0; i < decoded->entries.size(); ++i) {
      const uint32_t at = ImageSlot(i);
      const TransactionEntry& entry = decoded->entries[i];
      if (ImageCrc(round_, sequence_, at, entry.home_address, SlotBytes(at)) != entry.image_crc) {
        return false;
      }
    }
    transaction_ = *std::move(decoded);
    image_begin_ = ring_slot_;
    const auto used = static_cast<uint32_t>(transaction_.entries.size()) + 1;
    slots_read_ += used;
    ring_slot_ = NextJournalSlot(ring_slot_, used);
    ++sequence_;
    return true;
  }

  const TransactionDescriptor& transaction() const { return transaction_; }
  ConstMetadataSpan Image(size_t index) const {
    return SlotBytes(NextJournalSlot(image_begin_, static_cast<uint32_t>(index) + 1));
  }
  // Whether the journal's owner still holds the lock, and has since it logged the image: else the
  // image was home, and may be old.
  bool Covers(const LockBlock& lock, uint64_t logged_token) const {
    if (lock.mode() == LockMode::kFree || lock.token != logged_token) return false;
    return lock.heartbeat_address == slot_.own_address &&
           lock.heartbeat_generation == round_.heartbeat_generation;
  }

 private:
  uint32_t ImageSlot(size_t index) const {
    return NextJournalSlot(ring_slot_, static_cast<uint32_t>(index) + 1);
  }
  ConstMetadataSpan SlotBytes(uint32_t slot) const {
    return bytes_.subspan(size_t{slot} * kMetadataBlockBytes).first<kMetadataBlockBytes>();
  }

  State& state_;
  const HeartbeatSlot& slot_;
  const std::span<const std::byte> bytes_;
  JournalRound round_;
  TransactionDescriptor transaction_;
  uint32_t ring_slot_ = 1;
  uint32_t image_begin_ = 1;
  uint32_t slots_read_ = 0;
  uint64_t sequence_ = 0;
};

bool IsImageAddress(State& state, uint64_t address) {
  return address % kMetadataBlockBytes == 0 &&
         address <= state.volume().size_bytes() - kMetadataBlockBytes;
}

Task<Status> ApplyTransaction(State& state, const JournalScan* scan) {
  const TransactionDescriptor& transaction = scan->transaction();
  MetadataBytes lock_bytes;
  for (size_t i = 0; i < transaction.entries.size(); ++i) {
    const TransactionEntry& entry = transaction.entries[i];
    if (!IsImageAddress(state, entry.home_address)) {
      state.Error(FindingCode::kJournal, "journal: transaction {}: image for volume address {:#x}",
                  transaction.sequence, entry.home_address);
      continue;
    }
    bool covered = entry.lock_address == 0;
    if (!covered && IsImageAddress(state, entry.lock_address)) {
      const bool read = co_await state.Read(entry.lock_address, lock_bytes);
      const auto lock = DecodeLockBlock(lock_bytes, entry.lock_address);
      covered = read && lock.has_value() && scan->Covers(*lock, entry.lock_token);
    }
    if (!covered) continue;
    state.volume().Overlay(entry.home_address, scan->Image(i));
    ++state.report().counters.journal_images_replayed;
  }
  co_return base::Ok();
}

Task<Status> ReplayInMemory(State& state, uint32_t index, uint64_t address,
                            std::span<const std::byte> bytes) {
  const HeartbeatSlot& slot = state.heartbeats[index];
  const auto header = DecodeJournalHeader(bytes, state.volume().superblock().uuid, address);
  if (!header) {
    state.Error(PlaceOfHeartbeat(index), FindingCode::kJournal, "heartbeat {}: {}", index,
                header.error().message());
    co_return base::Ok();
  }
  if (header->heartbeat_address != slot.own_address ||
      (slot.state() == HeartbeatState::kInUse && header->heartbeat_generation != slot.generation)) {
    // Its host died before it took the block, or behind giving it back; another has it now.
    state.Info(FindingCode::kJournalPending,
               "heartbeat {}: its journal belongs to heartbeat {:#x}, generation {}", index,
               uint64_t{header->heartbeat_address}, uint64_t{header->heartbeat_generation});
    co_return base::Ok();
  }
  JournalScan scan(state, slot, *header, bytes);
  uint64_t transaction_count = 0;
  for (; scan.Next(); ++transaction_count) {
    CO_TRY_STATUS(co_await ApplyTransaction(state, &scan));
  }
  const auto& orphans = scan.transaction().orphans;
  state.known_orphans.insert(state.known_orphans.end(), orphans.begin(), orphans.end());
  state.Info(FindingCode::kJournalPending,
             "heartbeat {}: its journal holds {} transactions; checked as if replayed", index,
             transaction_count);
  co_return base::Ok();
}

Task<Status> CheckJournal(State& state, uint32_t index) {
  const HeartbeatSlot& slot = state.heartbeats[index];
  const uint64_t address = slot.journal_volume_address;
  if (slot.journal_block == 0) co_return base::Ok();
  const uint64_t size_bytes = state.volume().size_bytes();
  if (address % kMetadataBlockBytes != 0 || address > size_bytes - kJournalBlockBytes) {
    state.Error(PlaceOfHeartbeat(index), FindingCode::kHeartbeat,
                "heartbeat {}: journal at volume address {:#x}", index, address);
    co_return base::Ok();
  }
  base::AlignedBuffer buffer(kJournalBlockBytes);
  const bool read = co_await state.Read(address, buffer.span());
  if (!read) co_return base::Ok();
  const JournalContent content = ClassifyJournal(buffer.span());
  if (content == JournalContent::kOurs) {
    CO_TRY_STATUS(co_await ReplayInMemory(state, index, address, buffer.span()));
  } else if (content == JournalContent::kForeign || !state.report().is_ours) {
    state.Error(PlaceOfHeartbeat(index), FindingCode::kJournal,
                "heartbeat {}: a journal this program cannot replay at volume address {:#x}", index,
                address);
  }
  co_return base::Ok();
}

}  // namespace

Task<Status> CheckJournals(State& state) {
  for (uint32_t index = 0; index < kHeartbeatSlotCount; ++index) {
    if (state.heartbeats[index].state_value == 0) continue;
    if (state.heartbeats[index].state() == HeartbeatState::kFree) continue;
    CO_TRY_STATUS(state.Progress("journals", index, kHeartbeatSlotCount));
    CO_TRY_STATUS(co_await CheckJournal(state, index));
  }
  co_return base::Ok();
}

}  // namespace vmfs::fsck
