#include <algorithm>
#include <map>

#include "vmfs/journal/journal.h"

namespace vmfs {
namespace {

constexpr size_t kHomeWriteBlocksMax = 64;  // one device write: 256 KiB
constexpr uint64_t kHomeWritesInFlight = 16;

// Writes one run of adjacent blocks; the first error of all runs is kept in `result`.
base::Task<void> WriteRun(base::BlockDevice& volume, uint64_t address,
                          const std::vector<base::IoVec>* pieces, base::Status& result) {
  const base::IoRequest request{address, std::span(*pieces)};
  const base::Status status = co_await volume.Write(request);
  if (!status && result) result = status;
}

}  // namespace

base::Task<base::Status> Journal::Checkpoint() {
  CO_TRY_STATUS(co_await Commit());
  co_await checkpoint_lock_.Acquire();
  base::LockGuard guard(checkpoint_lock_);
  co_return co_await CheckpointLocked();
}

base::Task<base::Status> Journal::CheckpointAll() {
  CO_TRY_STATUS(co_await Checkpoint());
  if (committed_.empty()) co_return base::Ok();
  // The newest descriptor stays because it names orphans; a newer one without images replaces it.
  running_.forced = true;
  co_return co_await Checkpoint();
}

base::Task<base::Status> Journal::CommitOrphans() {
  running_.forced = true;
  return Commit();
}

base::Task<void> Journal::CheckpointInBackground() {
  co_await checkpoint_lock_.Acquire();
  base::LockGuard guard(checkpoint_lock_);
  // Whoever needs the room looks for itself; the error is kept by the stop.
  const base::Status status = co_await CheckpointLocked();
  if (!status) Stop(status.error());
}

base::Task<base::Status> Journal::CheckpointLocked() {
  if (stop_error_) co_return StopError();
  const size_t committed_count = committed_.size();
  if (committed_count == 0) co_return base::Ok();
  if (options_.faults.tail_before_home) {
    CO_TRY_STATUS(co_await WriteHeader(committed_.back().sequence + 1, head_slot_));
  }
  base::Status status = co_await WriteHome(committed_count);
  if (status) status = co_await MoveTail(committed_count);
  if (!status) Stop(status.error());
  ++figures_.checkpoint_count;
  co_return status;
}

// The newest image of each block, in address order, adjacent ones in one write.
base::Task<base::Status> Journal::WriteHome(size_t committed_count) {
  std::map<uint64_t, std::shared_ptr<const MetadataBytes>> newest;
  for (size_t i = 0; i < committed_count; ++i) {
    for (const Image& image : committed_[i].images) newest[image.block->address()] = image.bytes;
  }
  std::deque<std::vector<base::IoVec>> runs;
  base::Status result;
  base::TaskGroup group(executor_);
  for (auto at = newest.begin(); at != newest.end();) {
    const uint64_t address = at->first;
    std::vector<base::IoVec>& pieces = runs.emplace_back();
    for (uint64_t next = address;
         at != newest.end() && at->first == next && pieces.size() < kHomeWriteBlocksMax;
         ++at, next += kMetadataBlockBytes) {
      pieces.push_back({const_cast<std::byte*>(at->second->data()), kMetadataBlockBytes});
    }
    co_await group.WaitUntilAtMost(kHomeWritesInFlight - 1);
    group.Add(WriteRun(cache_.volume(), address, &pieces, result));
  }
  co_await group.Join();
  if (!result) co_return result;
  if (!options_.faults.skip_flush_after_home && !newest.empty()) co_return co_await Flush();
  co_return base::Ok();
}

// The tail passes everything that is home, except the newest descriptor while it names orphans.
base::Task<base::Status> Journal::MoveTail(size_t committed_count) {
  for (size_t i = 0; i < committed_count; ++i) committed_[i].home = true;
  const bool keep_newest = committed_count == committed_.size() && committed_.back().has_orphans;
  const size_t passed_count = committed_count - (keep_newest ? 1 : 0);
  if (passed_count == 0) co_return base::Ok();
  const bool all_passed = passed_count == committed_.size();
  const uint64_t tail_sequence =
      all_passed ? committed_.back().sequence + 1 : committed_[passed_count].sequence;
  const uint32_t tail_slot = all_passed ? head_slot_ : committed_[passed_count].first_slot;
  CO_TRY_STATUS(co_await WriteHeader(tail_sequence, tail_slot));
  for (size_t i = 0; i < passed_count; ++i) {
    Retire(committed_.front());
    if (!options_.faults.release_freed_at_commit) client_.OnFreedItems(committed_.front().freed);
    committed_.pop_front();
  }
  changed_.NotifyAll();
  co_return base::Ok();
}

void Journal::Retire(Committed& committed) {
  for (Image& image : committed.images) --image.block->images_not_home_count_;
  committed.images.clear();
}

base::Task<base::Status> Journal::WriteHeader(uint64_t tail_sequence, uint32_t tail_slot) {
  JournalHeader header;
  header.volume_uuid = options_.fs_uuid;
  header.owner = options_.owner_uuid;
  header.own_address = options_.ring_address;
  header.heartbeat_address = options_.heartbeat_address;
  header.heartbeat_generation = options_.heartbeat_generation;
  header.tail_sequence = tail_sequence;
  header.tail_slot = tail_slot;
  std::array<std::byte, kJournalSectorBytes> sector{};
  EncodeJournalHeader(header, sector);
  const base::IoVec piece{sector.data(), sector.size()};
  const base::IoRequest request{options_.ring_address, std::span(&piece, 1)};
  CO_TRY_STATUS(co_await cache_.volume().Write(request));
  co_return co_await Flush();
}

}  // namespace vmfs
