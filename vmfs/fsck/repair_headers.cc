// Superblock, mark, private area, heartbeats, and the journals of hosts that died.
#include <algorithm>
#include <vector>

#include "vmfs/format/corrupt.h"
#include "vmfs/format/repair_record.h"
#include "vmfs/fsck/repair_work.h"
#include "vmfs/lock/slot_state.h"

namespace vmfs::fsck {
namespace {

using base::Result;
using base::Status;
using base::Task;

// Makes every block of the range that holds anything zero.
Task<Status> ZeroRange(RepairWork& work, uint64_t begin, uint64_t end) {
  MetadataBytes block;
  bool changed = false;
  for (uint64_t address = begin; address < end; address += kMetadataBlockBytes) {
    const Status read = co_await work.ReadBlock(address, block);
    if (read && IsZero(block)) continue;
    block.fill(std::byte{0});
    CO_TRY_STATUS(co_await work.WriteBlock(address, block));
    changed = true;
  }
  if (changed) {
    work.Act(FindingCode::kReservedArea, "volume address {:#x} to {:#x}: zeroed", begin, end);
  }
  co_return base::Ok();
}

Task<Status> RepairMark(RepairWork& work) {
  MetadataBytes block;
  CO_TRY_STATUS(co_await work.ReadBlock(kSuperblockOffset, block));
  const uint64_t changes = work.overlay().change_count();
  // What forbids writing, and every field that the format fixes: on a volume of ours it can only be
  // damage.
  Superblock superblock = WithFixedFields(base::LoadAs<Superblock>(block));
  superblock.config_flags = superblock.config_flags & kConfigFlagsKnown;
  // A mark that is whole by its own checksum knows the UUID better.
  const base::Uuid marked = base::LoadAs<StrataMark>(block, kMarkOffset).uuid;
  if (DecodeMark(block, marked)) superblock.uuid = marked;
  base::StoreAs(std::span<std::byte>(block), 0, superblock);
  const Result<StrataMark> mark = DecodeMark(block, superblock.uuid);
  if (!mark) {
    // Version and features of a mark that cannot be believed: those of the only format there is.
    // Which machine it belongs to is lost: the next one that mounts it says so again.
    StrataMark fresh;
    fresh.uuid = superblock.uuid;
    EncodeMark(fresh, block);
    work.Act(FindingCode::kMark, "mark: written anew");
  }
  std::fill(block.begin() + kMarkOffset + sizeof(StrataMark), block.end(), std::byte{0});
  CO_TRY_STATUS(co_await work.WriteBlock(kSuperblockOffset, block));
  if (mark && work.overlay().change_count() != changes) {
    work.Act(FindingCode::kSuperblock, "superblock: fixed fields and reserved bytes set right");
  }
  co_return base::Ok();
}

// The journal of a slot that cannot be read: one marked used whose header names the slot.
Task<Result<std::optional<HeartbeatSlot>>> FindLostHolder(RepairWork& work, uint32_t index) {
  State& state = *work.state();
  const ResourceGeometry& geometry = work.volume().geometry(ResourceKind::kJournal);
  std::optional<HeartbeatSlot> found;
  MetadataBytes block;
  for (uint64_t i = 0; i < state.journal.marked.count(); ++i) {
    if (!state.journal.marked.Get(i)) continue;
    const ResourceIndex where{i / geometry.resources_per_cluster,
                              static_cast<uint32_t>(i % geometry.resources_per_cluster)};
    const Result<uint64_t> address = work.volume().ItemAddress(ResourceKind::kJournal, where);
    if (!address) continue;
    const Status read = co_await work.ReadBlock(*address, block);
    if (!read || ClassifyJournal(block) != JournalContent::kOurs) continue;
    const Result<JournalHeader> header =
        DecodeJournalHeader(block, work.volume().superblock().uuid, *address);
    if (!header || header->heartbeat_address != HeartbeatAddress(index)) continue;
    HeartbeatSlot slot = MakeFreeHeartbeatSlot(HeartbeatAddress(index));
    slot.set_state(HeartbeatState::kInUse);
    slot.generation = uint64_t{header->heartbeat_generation};
    slot.owner = header->owner;
    slot.journal_block = static_cast<uint32_t>(
        Address::MakeJournalBlock(where.cluster, where.item).raw());
    slot.journal_volume_address = *address;
    found = slot;
  }
  co_return found;
}

Task<Status> RepairHeartbeat(RepairWork& work, uint32_t index) {
  MetadataBytes block;
  CO_TRY_STATUS(co_await work.ReadBlock(HeartbeatAddress(index), block));
  const Result<HeartbeatSlot> slot = DecodeHeartbeatSlot(block, HeartbeatAddress(index));
  HeartbeatSlot fixed;
  if (slot && slot->state() != HeartbeatState::kFree) co_return base::Ok();  // released below
  if (slot) {
    fixed = FreedSlot(*slot);
    work.Act(FindingCode::kHeartbeat, "heartbeat {}: owner and journal of a free slot cleared",
             index);
  } else {
    CO_TRY(const std::optional<HeartbeatSlot> holder, co_await FindLostHolder(work, index));
    fixed = holder.value_or(MakeFreeHeartbeatSlot(HeartbeatAddress(index)));
    // Above what any lock names, so that no stale lock comes alive.
    if (!holder) fixed.generation = (work.state()->lock_generations[index] + 2) & ~uint64_t{1};
    work.Act(FindingCode::kHeartbeat, "heartbeat {}: {}", index,
             holder ? "found again in its journal" : "written anew, free");
  }
  block.fill(std::byte{0});
  base::StoreAs(std::span<std::byte>(block), 0, fixed);
  co_return co_await work.WriteBlock(HeartbeatAddress(index), block);
}

// The journal block of a dead host in the form that an unmount leaves.
Task<Status> EmptyJournal(RepairWork& work, uint64_t address) {
  MetadataBytes block;
  for (uint64_t offset = 0; offset < kJournalBlockBytes; offset += kMetadataBlockBytes) {
    if (offset == 0) {
      EncodeEmptyJournalHeader(address, block);
    } else {
      EncodeEmptyJournalSlot(block);
    }
    CO_TRY_STATUS(co_await work.WriteBlock(address + offset, block));
  }
  co_return base::Ok();
}

// Whether the slot's journal is one of `.jbc.sf`: nothing else may be emptied.
bool HasJournal(RepairWork& work, const HeartbeatSlot& slot) {
  const Address address(slot.journal_block);
  if (address.kind() != AddressKind::kJournalBlock) return false;
  const Result<uint64_t> place = work.volume().DataAddress(address);
  return place && *place == slot.journal_volume_address;
}

// What a takeover does: images home, journal empty, slot free. The images are in the check's view
// of the volume already.
Task<Status> ReleaseDead(RepairWork& work) {
  State& state = *work.state();
  work.NoteOrphans(state.known_orphans);
  for (const auto& [address, image] : work.volume().overlay()) {
    CO_TRY_STATUS(co_await work.WriteBlock(address, *image));
  }
  for (uint32_t index = 0; index < kHeartbeatSlotCount; ++index) {
    const HeartbeatSlot slot = state.heartbeats[index];
    if (slot.state_value == 0 || slot.state() == HeartbeatState::kFree) continue;
    MetadataBytes block;
    CO_TRY_STATUS(co_await work.ReadBlock(HeartbeatAddress(index), block));
    HeartbeatSlot freed = FreedSlot(slot);
    freed.generation = std::max<uint64_t>(freed.generation,
                                          (state.lock_generations[index] + 2) & ~uint64_t{1});
    base::StoreAs(std::span<std::byte>(block), 0, freed);
    CO_TRY_STATUS(co_await work.WriteBlock(HeartbeatAddress(index), block));
    if (slot.journal_block != 0 && HasJournal(work, slot)) {
      CO_TRY_STATUS(co_await EmptyJournal(work, slot.journal_volume_address));
    }
    work.Act(FindingCode::kInUse, "heartbeat {}: taken over from {}, which is dead", index,
             slot.owner.ToString());
  }
  co_return base::Ok();
}

}  // namespace

Task<Status> RepairSuperblock(RepairWork& work) {
  if (work.state() != nullptr) co_return base::Ok();
  MetadataBytes block;
  CO_TRY_STATUS(co_await work.ReadBlock(kSuperblockOffset, block));
  auto superblock = base::LoadAs<Superblock>(block);
  // The mark carries the UUID under its own checksum: it says whose the superblock is. Damaged
  // itself, it still says that the volume is ours.
  const auto stored = base::LoadAs<StrataMark>(block, kMarkOffset);
  const bool is_whole_mark = DecodeMark(block, stored.uuid).has_value();
  const bool is_ours = superblock.magic == kSuperblockMagic && stored.magic == kMarkMagic;
  if (!is_whole_mark && !is_ours) co_return base::Ok();
  superblock = WithFixedFields(superblock);
  if (is_whole_mark) superblock.uuid = stored.uuid;
  base::StoreAs(std::span<std::byte>(block), 0, superblock);
  CO_TRY_STATUS(co_await work.WriteBlock(kSuperblockOffset, block));
  work.Act(FindingCode::kSuperblock, "superblock: its fixed fields written anew");
  co_return base::Ok();
}

Task<Status> RepairHeaders(RepairWork& work) {
  if (work.state() == nullptr) co_return base::Ok();
  bool has_bad_mark = false, has_reserved = false;
  for (const Finding& finding : work.state()->report().findings) {
    has_bad_mark = has_bad_mark || finding.code == FindingCode::kMark ||
                   finding.code == FindingCode::kSuperblock ||
                   (finding.code == FindingCode::kReservedArea && finding.place.address == 0);
    has_reserved = has_reserved ||
                   (finding.code == FindingCode::kReservedArea && finding.place.address != 0);
  }
  if (has_bad_mark) CO_TRY_STATUS(co_await RepairMark(work));
  if (has_reserved) {
    const uint64_t begin = kSuperblockOffset + kMetadataBlockBytes;
    CO_TRY_STATUS(co_await ZeroRange(work, begin, kMailboxOffset));
    CO_TRY_STATUS(co_await ZeroRange(work, kMailboxOffset + kMailboxBytes,
                                     kRepairRecordOffset + kMetadataBlockBytes));
  }
  std::vector<uint32_t> slots;
  for (const Finding& finding : work.state()->report().findings) {
    if (finding.code != FindingCode::kHeartbeat || finding.place.address == 0) continue;
    slots.push_back(static_cast<uint32_t>(finding.place.number));
  }
  const uint64_t changes = work.overlay().change_count();
  for (const uint32_t index : slots) CO_TRY_STATUS(co_await RepairHeartbeat(work, index));
  // A slot that was found again has a journal which the next check shows.
  if (changes == work.overlay().change_count() && work.state()->report().is_dirty) {
    CO_TRY_STATUS(co_await ReleaseDead(work));
  }
  co_return base::Ok();
}

}  // namespace vmfs::fsck
