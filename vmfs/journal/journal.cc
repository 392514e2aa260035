#include "vmfs/journal/journal.h"

#include <algorithm>

#include "fs/base/log.h"

namespace vmfs {
namespace {

// So many full transactions may wait for the one being written. With them a quarter of the ring is
// the most that one write makes durable, and the rest can be on its way home meanwhile.
constexpr size_t kSealedMax = 3;
constexpr uint32_t kSlotsPerWriteMax = kJournalSlotCount / 2;

}  // namespace

Journal::Journal(base::Executor& executor, MetadataCache& cache, JournalClient& client,
                 JournalOptions options)
    : executor_(executor),
      cache_(cache),
      client_(client),
      options_(options),
      changed_(executor),
      commit_lock_(executor),
      checkpoint_lock_(executor),
      flush_lock_(executor),
      background_(executor) {}

Journal::~Journal() {
  CHECK(running_.active_count == 0);
  // After a stop, images stay in memory as they are; the cache lets go of them with the volume.
  for (const BlockRef& block : running_.blocks) block->in_running_transaction_ = false;
  for (Committed& sealed : sealed_) Retire(sealed);
  for (Committed& committed : committed_) Retire(committed);
}

base::Task<base::Status> Journal::Initialize() {
  CO_TRY_STATUS(co_await WriteHeader(running_.sequence, head_slot_));
  co_return base::Ok();
}

base::Task<base::Result<Transaction>> Journal::Begin(uint32_t block_count_max) {
  CHECK(block_count_max <= kTransactionImagesMax);
  for (;;) {
    if (stop_error_) co_return StopError();
    if (closing_) {
      co_await changed_.Wait();
      continue;
    }
    const size_t planned = running_.blocks.size() + running_.reserved_count + block_count_max;
    if (planned <= kTransactionImagesMax) break;
    // Room comes by sealing, or by operations ending with fewer blocks than they reserved. Whoever
    // only wants room does not wait for the device, unless too much waits for it already.
    if (running_.blocks.empty() || sealed_.size() >= kSealedMax) {
      co_await changed_.Wait();
    } else {
      CO_TRY_STATUS(co_await SealRunning());
      if (!writes_in_background_) background_.Add(WriteSealedInBackground());
    }
  }
  if (running_.empty()) running_.started_us = executor_.NowMicroseconds();
  running_.reserved_count += block_count_max;
  ++running_.active_count;
  client_.OnTransactionBegun();
  co_return Transaction(*this, block_count_max);
}

void Journal::Add(MetadataBlock& block, uint64_t covering_lock) {
  block.in_running_transaction_ = true;
  block.covering_lock_ = covering_lock;
  running_.blocks.emplace_back(&block);
}

std::span<std::byte, kMetadataBlockBytes> Transaction::Modify(MetadataBlock& block,
                                                              uint64_t covering_lock) {
  CHECK(journal_ != nullptr);
  modified_any_ = true;
  if (!block.in_running_transaction_) {
    CHECK(credits_ > 0);
    --credits_;
    --journal_->running_.reserved_count;
    journal_->Add(block, covering_lock);
  }
  DCHECK(block.covering_lock_ == covering_lock);
  return *block.bytes_;
}

void Transaction::Abort() {
  if (journal_ && modified_any_) {
    journal_->Stop(base::Error(base::Code::kInternal, "an operation failed half way"));
  }
  End();
}

void Transaction::End() {
  if (!journal_) return;
  Journal& journal = *std::exchange(journal_, nullptr);
  journal.running_.reserved_count -= credits_;
  --journal.running_.active_count;
  journal.changed_.NotifyAll();
}

base::Task<base::Status> Journal::Commit() {
  if (!running_.empty() || running_.active_count > 0) CO_TRY_STATUS(co_await SealRunning());
  CO_TRY_STATUS(co_await WriteSealed(running_.sequence - 1));
  co_return co_await FlushData();
}

// Waits for the operations that have begun, then takes the running transaction out of their way.
// Whoever comes while somebody else is doing so finds it done.
base::Task<base::Status> Journal::SealRunning() {
  const uint64_t wanted = running_.sequence;
  while (closing_ && running_.sequence == wanted) co_await changed_.Wait();
  if (stop_error_) co_return StopError();
  if (running_.sequence != wanted) co_return base::Ok();
  closing_ = true;
  while (running_.active_count > 0) co_await changed_.Wait();
  // The operations that were under way may have changed nothing: nothing is written then.
  if (!running_.empty()) sealed_.push_back(CloseRunning());
  closing_ = false;
  changed_.NotifyAll();
  co_return base::Ok();
}

// Makes everything up to `wanted`, which is sealed, durable; and what else is sealed by then.
// Whoever comes while a write is under way waits here and then finds its work done by the next.
base::Task<base::Status> Journal::WriteSealed(uint64_t wanted) {
  if (stop_error_) co_return StopError();
  while (durable_sequence_ < wanted) {
    co_await commit_lock_.Acquire();
    base::LockGuard guard(commit_lock_);
    if (stop_error_) co_return StopError();
    if (durable_sequence_ >= wanted) break;
    size_t count = 0;
    const uint32_t slot_count = PlaceInRing(count);
    const base::Status status = co_await WriteRing(count, slot_count);
    if (!status) {
      Stop(status.error());
      co_return status;
    }
    NoteDurable(count);
  }
  co_return base::Ok();
}

base::Task<void> Journal::WriteSealedInBackground() {
  writes_in_background_ = true;
  while (!sealed_.empty() && !stop_error_) {
    // Whoever needs it durable looks for itself; the error is kept by the stop.
    const base::Status status = co_await WriteSealed(sealed_.back().sequence);
    static_cast<void>(status);
  }
  writes_in_background_ = false;
}

void Journal::NoteDurable(size_t count) {
  for (size_t i = 0; i < count; ++i) {
    Committed& closed = sealed_.front();
    head_slot_ = NextJournalSlot(closed.first_slot, closed.slot_count);
    durable_sequence_ = closed.sequence;
    ++figures_.commit_count;
    figures_.image_count += closed.images.size();
    if (options_.faults.release_freed_at_commit) client_.OnFreedItems(closed.freed);
    committed_.push_back(std::move(closed));
    sealed_.pop_front();
  }
  last_commit_us_ = executor_.NowMicroseconds();
  changed_.NotifyAll();
  if (FreeSlotCount() < kJournalSlotCount / 2 && !checkpoint_lock_.held()) {
    background_.Add(CheckpointInBackground());
  }
}

// Takes an immutable copy of every block; the next transaction may modify the blocks again while
// this one is being written. No operation is active.
Journal::Committed Journal::CloseRunning() {
  Committed closed{};
  closed.sequence = running_.sequence;
  closed.has_orphans = !orphans_.empty();
  closed.freed = std::move(running_.freed);
  closed.images.reserve(running_.blocks.size());
  for (BlockRef& block : running_.blocks) {
    block->in_running_transaction_ = false;
    ++block->images_not_home_count_;
    const uint64_t lock = block->covering_lock_;
    auto bytes = std::make_shared<const MetadataBytes>(*block->bytes_);
    closed.images.push_back({std::move(block), lock, client_.TokenOfLock(lock), std::move(bytes)});
  }
  closed.slot_count = static_cast<uint32_t>(closed.images.size()) + 1;
  closed.descriptor = Describe(closed);
  running_ = Running{};
  running_.sequence = closed.sequence + 1;
  return closed;
}

JournalRound Journal::Round() const {
  return {options_.fs_uuid, options_.ring_address, options_.heartbeat_generation};
}

TransactionDescriptor Journal::Describe(const Committed& closed) const {
  TransactionDescriptor descriptor;
  descriptor.sequence = closed.sequence;
  for (const Image& image : closed.images) {
    descriptor.entries.push_back({image.block->address(), image.covering_lock, image.token, 0});
  }
  descriptor.scan_descriptors = orphans_.size() > kOrphansMax;
  for (const auto& [fd, generation] : orphans_) {
    if (!descriptor.scan_descriptors) descriptor.orphans.push_back({fd, generation});
  }
  return descriptor;
}

// Gives the oldest sealed transactions, as many as one write takes, their places behind the head.
// Sets their `count`, answers how many slots they take together.
uint32_t Journal::PlaceInRing(size_t& count) {
  CHECK(!sealed_.empty());
  uint32_t slot_count = 0;
  for (count = 0; count < sealed_.size(); ++count) {
    Committed& closed = sealed_[count];
    if (count > 0 && slot_count + closed.slot_count > kSlotsPerWriteMax) break;
    closed.first_slot = NextJournalSlot(head_slot_, slot_count);
    slot_count += closed.slot_count;
  }
  return slot_count;
}

base::Task<base::Status> Journal::WriteRing(size_t count, uint32_t slot_count) {
  CO_TRY_STATUS(co_await MakeRoom(slot_count));
  const bool data_is_late =
      options_.faults.skip_flush_before_ring || options_.faults.data_after_ring;
  if (!data_is_late) CO_TRY_STATUS(co_await FlushWrittenData());
  std::vector<base::IoVec> slots;
  std::vector<MetadataBytes> descriptors(count);
  for (size_t i = 0; i < count; ++i) {
    Committed& closed = sealed_[i];
    // The device only reads from the buffers of a write.
    slots.push_back({descriptors[i].data(), kMetadataBlockBytes});
    for (const Image& image : closed.images) {
      slots.push_back({const_cast<std::byte*>(image.bytes->data()), kMetadataBlockBytes});
    }
    EncodeSealed(closed, descriptors[i]);
  }
  if (options_.faults.home_before_ring) CO_TRY_STATUS(co_await WriteHomeTooEarly(count));
  CO_TRY_STATUS(co_await WriteSlots(sealed_.front().first_slot, slots));
  if (!options_.faults.skip_flush_after_ring) CO_TRY_STATUS(co_await Flush());
  if (options_.faults.data_after_ring) CO_TRY_STATUS(co_await FlushWrittenData());
  co_return base::Ok();
}

// The descriptor of a transaction whose place in the ring is known.
void Journal::EncodeSealed(Committed& closed, MetadataBytes& bytes) const {
  const JournalRound round = Round();
  TransactionDescriptor& descriptor = closed.descriptor;
  for (uint32_t i = 0; i < closed.images.size(); ++i) {
    const Image& image = closed.images[i];
    descriptor.entries[i].image_crc =
        ImageCrc(round, closed.sequence, NextJournalSlot(closed.first_slot, i + 1),
                 image.block->address(), *image.bytes);
  }
  EncodeTransaction(descriptor, round, closed.first_slot, bytes);
}

// Only as a planted fault: what the order of writes exists to prevent.
base::Task<base::Status> Journal::WriteHomeTooEarly(size_t count) {
  for (size_t i = 0; i < count; ++i) {
    for (const Image& image : sealed_[i].images) {
      const base::IoVec piece{const_cast<std::byte*>(image.bytes->data()), kMetadataBlockBytes};
      const base::IoRequest request{image.block->address(), std::span(&piece, 1)};
      CO_TRY_STATUS(co_await cache_.volume().Write(request));
    }
  }
  co_return base::Ok();
}

// One write, or two where the ring wraps.
base::Task<base::Status> Journal::WriteSlots(uint32_t first_slot,
                                             std::span<const base::IoVec> slots) {
  const size_t before_wrap = std::min<size_t>(slots.size(), kJournalSlotCount - first_slot + 1);
  const base::IoRequest first{JournalSlotAddress(options_.ring_address, first_slot),
                              slots.first(before_wrap)};
  CO_TRY_STATUS(co_await cache_.volume().Write(first));
  if (before_wrap < slots.size()) {
    const base::IoRequest rest{JournalSlotAddress(options_.ring_address, 1),
                               slots.subspan(before_wrap)};
    CO_TRY_STATUS(co_await cache_.volume().Write(rest));
  }
  co_return base::Ok();
}

base::Task<base::Status> Journal::MakeRoom(uint32_t slot_count) {
  while (FreeSlotCount() < slot_count) {
    co_await checkpoint_lock_.Acquire();
    base::LockGuard guard(checkpoint_lock_);
    if (FreeSlotCount() >= slot_count) break;
    CO_TRY_STATUS(co_await CheckpointLocked());
  }
  co_return base::Ok();
}

uint32_t Journal::FreeSlotCount() const {
  if (committed_.empty()) return kJournalSlotCount - 1;
  const uint32_t tail = committed_.front().first_slot;
  const uint32_t used = (head_slot_ + kJournalSlotCount - tail) % kJournalSlotCount;
  return kJournalSlotCount - 1 - used;
}

// A flush covers the data writes that were answered before it started.
base::Task<base::Status> Journal::Flush() {
  const uint64_t covered_count = data_write_count_;
  const base::Status status = co_await cache_.volume().Flush();
  if (status) data_flushed_count_ = std::max(data_flushed_count_, covered_count);
  co_return status;
}

base::Task<base::Status> Journal::FlushData() {
  if (options_.faults.skip_flush_of_data) co_return base::Ok();
  co_return co_await FlushWrittenData();
}

// Callers that meet here share flushes: each waits for one that started after its own writes.
base::Task<base::Status> Journal::FlushWrittenData() {
  const uint64_t wanted_count = data_write_count_;
  while (data_flushed_count_ < wanted_count) {
    co_await flush_lock_.Acquire();
    base::LockGuard guard(flush_lock_);
    if (data_flushed_count_ >= wanted_count) break;
    CO_TRY_STATUS(co_await Flush());
  }
  co_return base::Ok();
}

base::Task<base::Status> Journal::Tick(uint64_t age_us) {
  const uint64_t now_us = executor_.NowMicroseconds();
  if (stop_error_) co_return StopError();
  if (!running_.empty()) {
    if (now_us - running_.started_us >= age_us) co_return co_await Commit();
    co_return base::Ok();
  }
  if (busy() && now_us - last_commit_us_ >= age_us) co_return co_await Checkpoint();
  co_return base::Ok();
}

void Journal::Stop(const base::Error& error) {
  if (stop_error_) return;
  stop_error_ = error.Within("journal stopped");
  base::LogError("vmfs", "{}", stop_error_->message());
  changed_.NotifyAll();
  client_.OnJournalStopped(*stop_error_);
}

base::Task<void> Journal::Drain() {
  return background_.Join();
}

std::vector<Orphan> Journal::orphans() const {
  std::vector<Orphan> orphans;
  for (const auto& [fd, generation] : orphans_) orphans.push_back({fd, generation});
  return orphans;
}

JournalFigures Journal::figures() const {
  JournalFigures figures = figures_;
  figures.slots_used = kJournalSlotCount - 1 - FreeSlotCount();
  figures.blocks_running = static_cast<uint32_t>(running_.blocks.size());
  return figures;
}

}  // namespace vmfs
