#include <algorithm>

#include <fmt/format.h>

#include "fs/base/log.h"
#include "vmfs/format/heartbeat_slot.h"
#include "vmfs/lock/slot_state.h"
#include "vmfs/volume/mount.h"

namespace vmfs {
namespace {

// Adjacent space, to be given back to the device in one request.
struct Range {
  uint64_t address;
  uint64_t length_bytes;
};

std::vector<Range> MergeAdjacent(std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return a.address < b.address; });
  std::vector<Range> merged;
  for (const Range& range : ranges) {
    if (!merged.empty() && merged.back().address + merged.back().length_bytes == range.address) {
      merged.back().length_bytes += range.length_bytes;
    } else {
      merged.push_back(range);
    }
  }
  return merged;
}

}  // namespace

Resource& MountedCore::ResourceOf(uint8_t kind) {
  Resource* resource = core_.ResourceOf(static_cast<ResourceKind>(kind));
  CHECK(resource != nullptr);
  return *resource;
}

uint64_t MountedCore::TokenOfLock(uint64_t lock_address) {
  return core_.locks->TokenOf(lock_address);
}

void MountedCore::OnFreedItems(std::span<const FreedItem> items) {
  std::vector<FreedItem> with_space;
  for (const FreedItem& item : items) {
    Resource& resource = ResourceOf(item.resource);
    if (item.resource == static_cast<uint8_t>(ResourceKind::kFd)) {
      resource.allocator->Return({item.cluster, item.item});
    } else {
      with_space.push_back(item);
    }
  }
  if (!with_space.empty()) core_.unmapping.Add(UnmapFreed(with_space));
}

// Space goes back to the device first and becomes free for others only then, or an unmap could
// overtake the next owner's write.
base::Task<void> MountedCore::UnmapFreed(std::vector<FreedItem>& source) {
  const std::vector<FreedItem> items = std::move(source);
  std::vector<Range> ranges;
  for (const FreedItem& item : items) {
    const Allocator& allocator = *ResourceOf(item.resource).allocator;
    const base::Result<uint64_t> address = allocator.AddressOf({item.cluster, item.item});
    const bool is_block = item.resource == static_cast<uint8_t>(ResourceKind::kSmallBlock);
    const uint64_t length = is_block ? kFileBlockBytes : allocator.geometry().resource_bytes;
    if (!address) continue;
    core_.cache->Forget(*address, length);
    ranges.push_back({*address, length});
  }
  if (core_.device.limits().can_unmap) {
    for (const Range& range : MergeAdjacent(std::move(ranges))) {
      const base::Status status = co_await core_.device.Unmap(range.address, range.length_bytes);
      if (!status) base::LogWarn("vmfs", "unmap freed blocks: {}", status.error().message());
      // What reads as zeros now is given out without being zeroed, and is so only once flushed.
      if (!core_.options.journal_faults.skip_flush_after_unmap) core_.journal->NoteDataWrite();
    }
  }
  for (const FreedItem& item : items) {
    ResourceOf(item.resource).allocator->Return({item.cluster, item.item});
  }
}

void MountedCore::OnJournalStopped(const base::Error& error) {
  stopped_reason_ = error.message();
}

base::Task<base::Status> MountedCore::MakeHome() {
  if (!core_.journal || journal_given_back_) return AlreadyHome();
  return core_.journal->Checkpoint();
}

base::Task<base::Status> MountedCore::AlreadyHome() {
  co_return base::Ok();
}

// A read-only mount writes nothing, so what a journal holds is laid over the volume in memory.
base::Task<base::Status> MountedCore::OverlayDirtyJournals() {
  CO_TRY(const std::vector<SlotState> slots, co_await Heartbeat::ReadSlots(core_.device));
  for (const SlotState& state : slots) {
    if (state.fault || state.slot.state() == HeartbeatState::kFree) continue;
    const HeartbeatSlot& slot = state.slot;
    if (core_.options.guard && core_.ours) {
      CO_TRY(const bool is_dead, core_.options.guard->TryLock(kGuardByteOffset + state.index));
      if (!is_dead) {
        co_return base::Error(base::Code::kLockHeld,
                              fmt::format("mount {}: in use by {}", core_.device.name(),
                                          DescribeHolder(state.index, slot)));
      }
      core_.options.guard->Unlock(kGuardByteOffset + state.index);
    }
    if (!core_.ours) {
      base::LogWarn("vmfs",
                    "volume is in use by {} or was not unmounted cleanly: "
                    "what is read may be old",
                    slot.owner.ToString());
      continue;
    }
    if (slot.journal_volume_address == 0) continue;
    JournalOwner owner{core_.superblock.uuid, slot.journal_volume_address, slot.own_address,
                       slot.generation, false};
    CO_TRY(const JournalContents contents, co_await ReadJournal(core_.device, &owner));
    for (const auto& [address, image] : contents.images) {
      overlay_.push_back(core_.cache->Overlay(address, *image));
    }
  }
  co_return base::Ok();
}

base::Task<base::Status> MountedCore::Stop() {
  co_await StopLoading();
  if (!core_.writable) {
    overlay_.clear();
    co_return base::Ok();
  }
  base::Status status = co_await StopWriting();
  if (!status) {
    base::Error error = status.error();
    co_await LetGo(error);
  }
  core_.writable = false;
  co_return status;
}

base::Task<base::Status> MountedCore::StopWriting() {
  CO_TRY_STATUS(co_await core_.journal->CheckpointAll());
  co_await core_.journal->Drain();
  co_await core_.unmapping.Join();
  // What had no room in the orphan set's last descriptor is home now: the ring is not needed.
  if (core_.journal->orphan_count() > 0) {
    co_return base::Error(base::Code::kBusy, "unmount: files without a name are still open");
  }
  SystemFile file;
  ResourceGeometry geometry;
  CO_TRY_STATUS(co_await LoadJournalFile(file, geometry));
  const JournalKey key{core_.heartbeat->slot_address(), core_.heartbeat->generation()};
  CO_TRY_STATUS(co_await GiveBackJournalBlock(core_.device, *core_.locks, file, geometry,
                                              journal_block_, key));
  journal_given_back_ = true;
  CO_TRY_STATUS(co_await core_.locks->ReleaseAll());
  co_return co_await core_.heartbeat->Release();
}

}  // namespace vmfs
