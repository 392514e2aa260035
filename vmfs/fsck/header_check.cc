// Superblock, mark, private area and heartbeats.
#include <algorithm>

#include "fs/base/aligned_buffer.h"
#include "vmfs/format/repair_record.h"
#include "vmfs/fsck/state.h"

namespace vmfs::fsck {
namespace {

using base::Status;
using base::Task;

constexpr uint64_t kPieceBytes = 1 << 20;

void CheckMark(State& state, ConstMetadataSpan block) {
  RawVolume& volume = state.volume();
  FsckReport& report = state.report();
  report.is_ours = volume.is_ours();
  if (!report.is_ours) return;
  if (!volume.mark().has_value()) {
    state.Error(FindingCode::kMark, "{}", volume.mark().error().message());
  }
  for (const std::string& reason : ReadOnlyReasons(volume.superblock())) {
    state.Error(FindingCode::kSuperblock, "superblock: {}; it mounts read-only", reason);
  }
  const Superblock& found = volume.superblock();
  const Superblock fixed = WithFixedFields(found);
  const bool is_fixed = std::ranges::equal(base::BytesOf(found), base::BytesOf(fixed));
  if (!is_fixed && ReadOnlyReasons(found).empty()) {
    state.Warning(FindingCode::kSuperblock, "superblock: a field that the format fixes is another");
  }
  if (!IsZero(block.subspan(kMarkOffset + sizeof(StrataMark)))) {
    state.Warning(FindingCode::kReservedArea, "superblock: bytes behind the mark are not zero");
  }
}

// The private area: everything between the superblock and the heartbeats but the mailboxes and the
// log of repairs.
void CheckPrivateArea(State& state, std::span<const std::byte> bytes) {
  const auto check = [&](uint64_t begin, uint64_t end) {
    if (IsZero(bytes.subspan(begin, end - begin))) return;
    FindingPlace place;
    place.address = kSuperblockOffset + begin;
    state.Warning(place, FindingCode::kReservedArea, "volume address {:#x} to {:#x}: must be zero",
                  kSuperblockOffset + begin, kSuperblockOffset + end);
  };
  const uint64_t mailbox = kMailboxOffset - kSuperblockOffset;
  const uint64_t record = kRepairRecordOffset - kSuperblockOffset;
  check(kMetadataBlockBytes, mailbox);
  check(mailbox + kMailboxBytes, record);
  // The log behind the record means nothing without one.
  check(record, record + kMetadataBlockBytes);
}

void CheckHeartbeat(State& state, uint32_t index, std::span<const std::byte> bytes) {
  const auto slot = DecodeHeartbeatSlot(bytes, HeartbeatAddress(index));
  if (!slot) {
    state.Error(PlaceOfHeartbeat(index), FindingCode::kHeartbeat, "{}", slot.error().message());
    return;
  }
  state.heartbeats[index] = *slot;
  if (slot->state() == HeartbeatState::kFree) {
    if (!slot->owner.is_zero() || slot->journal_block != 0) {
      state.Warning(PlaceOfHeartbeat(index), FindingCode::kHeartbeat,
                    "heartbeat {}: free, but names an owner or a journal", index);
    }
    return;
  }
  state.report().is_dirty = true;
  state.Info(FindingCode::kInUse, "heartbeat {}: in use by {} ({}): mounted, or its host died",
             index, slot->owner.ToString(), TextOf(slot->host_name));
}

}  // namespace

Superblock WithFixedFields(Superblock superblock) {
  const uint64_t first_inode = kFdcBaseOffset + 0x20000;
  superblock.magic = kSuperblockMagic;
  superblock.major = kVmfs6Major;
  superblock.minor = kVmfs6Minor;
  superblock.disk_block_bytes = 512;
  superblock.file_block_bytes = kFileBlockBytes;
  superblock.fdc_cluster_group_offset = kResourceGroupOffset;
  superblock.fdc_clusters_per_group = 8;
  superblock.sub_block_bytes = static_cast<uint32_t>(kSubBlockBytes);
  superblock.journal_slots_per_transaction = 64;
  superblock.pb2_volume_address = first_inode + uint64_t{kPb2Fd.item()} * kInodeBytes;
  superblock.pb2_fd = kPb2Fd.raw();
  superblock.sdd_volume_address = first_inode + uint64_t{kSddFd.item()} * kInodeBytes;
  superblock.sdd_fd = kSddFd.raw();
  superblock.checksum_type = 0;
  superblock.physical_sector_bytes = 512;
  superblock.metadata_alignment = kMetadataBlockBytes;
  superblock.log2_small_blocks_per_large = 9;
  superblock.log2_pointer_block_bytes = 16;
  superblock.small_block_address_bits = 44;
  superblock.unmap_granularity_bytes = static_cast<uint32_t>(kMebibyte);
  superblock.journal_block_bytes = static_cast<uint32_t>(kJournalBlockBytes);
  return superblock;
}

void State::CheckLock(std::span<const std::byte> bytes, uint64_t address, LockType type) {
  const auto lock = DecodeLockBlock(bytes, address, type);
  if (!lock) {
    FindingPlace place;
    place.address = address;
    place.number = static_cast<uint32_t>(type);
    Error(place, FindingCode::kLock, "{}", lock.error().message());
    return;
  }
  NoteHolder(lock->heartbeat_address, lock->heartbeat_generation);
  for (uint32_t i = 0; i < lock->holder_count; ++i) {
    NoteHolder(lock->holders[i].heartbeat_address, lock->holders[i].heartbeat_generation);
  }
  if (lock->mode() == LockMode::kFree) return;
  const auto is_live = [this](uint64_t heartbeat, uint64_t generation) {
    if (!IsHeartbeatAddress(heartbeat)) return false;
    const HeartbeatSlot& slot = heartbeats[HeartbeatIndex(heartbeat)];
    return slot.state() != HeartbeatState::kFree && slot.generation == generation;
  };
  bool live = is_live(lock->heartbeat_address, lock->heartbeat_generation);
  for (uint32_t i = 0; i < lock->holder_count; ++i) {
    const LockHolder& holder = lock->holders[i];
    live = live || is_live(holder.heartbeat_address, holder.heartbeat_generation);
  }
  if (live) return;
  Info(FindingCode::kStaleLock, "lock {:#x}: mode {}, its holder is gone", address,
       uint32_t{lock->mode_value});
}

Task<Status> CheckHeaders(State& state) {
  CO_TRY_STATUS(state.Progress("headers", 0, 1));
  base::AlignedBuffer buffer(kPieceBytes);
  const bool has_superblock = co_await state.Read(kSuperblockOffset, buffer.span());
  if (has_superblock) {
    CheckMark(state, buffer.span().first<kMetadataBlockBytes>());
    if (state.report().is_ours) CheckPrivateArea(state, buffer.span());
  }
  constexpr uint32_t kSlotsPerPiece = kPieceBytes / kMetadataBlockBytes;
  for (uint32_t first = 0; first < kHeartbeatSlotCount; first += kSlotsPerPiece) {
    const bool has_slots = co_await state.Read(HeartbeatAddress(first), buffer.span());
    for (uint32_t i = 0; has_slots && i < kSlotsPerPiece; ++i) {
      CheckHeartbeat(state, first + i,
                     buffer.span().subspan(i * uint64_t{kMetadataBlockBytes}, kMetadataBlockBytes));
    }
  }
  co_return base::Ok();
}

}  // namespace vmfs::fsck
