// The journal: physical redo of whole 4 KiB metadata blocks, group commit, lazy home writing.
//
// One journal per host, in a 2 MiB block of `.jbc.sf` (vmfs/FORMAT.md, "Journal"). Operations add
// modified blocks to the *running* transaction. When it is full, or somebody wants it durable, it
// is *sealed*, and the next one takes the changes; all that are sealed become durable together,
// with one ring write between two flushes (file data first, then the ring). A *checkpoint* writes
// the images home and moves the tail. What a transaction freed comes back only when the tail has
// passed it: otherwise a replay could write an old directory over new file data.
//
// Order of one commit: data and zeroing of new blocks -> flush -> ring -> flush -> home -> flush ->
// tail. Lock blocks are never in a transaction. Thread rule: the volume's executor.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/sync.h"
#include "fs/base/task.h"
#include "fs/base/uuid.h"
#include "vmfs/format/journal_block.h"
#include "vmfs/journal/metadata_cache.h"
#include "vmfs/journal/transaction.h"

namespace vmfs {

// A resource item that a transaction set free. The journal only hands it back when it may be used.
struct FreedItem {
  uint8_t resource;  // which resource file, in the allocator's own numbering
  uint32_t cluster;
  uint32_t item;
};

// Deliberate faults for tests of the tests: each must be caught by a crash sweep.
struct JournalFaults {
  bool skip_flush_before_ring = false;
  bool skip_flush_after_ring = false;
  bool skip_flush_after_home = false;
  bool skip_flush_of_data = false;  // at the end of an fsync
  bool skip_flush_after_unmap = false;
  bool home_before_ring = false;
  bool tail_before_home = false;
  bool data_after_ring = false;
  bool release_freed_at_commit = false;
  bool replace_one_by_one = false;  // files that are to be replaced together
};

struct JournalOptions {
  uint64_t ring_address = 0;  // volume address of the journal block
  base::Uuid fs_uuid;
  base::Uuid owner_uuid;
  uint64_t heartbeat_address = 0;
  uint64_t heartbeat_generation = 0;
  JournalFaults faults;
};

// What the journal asks of its volume.
class JournalClient {
 public:
  virtual ~JournalClient() = default;

  // Token of a lock that is held, for the images it covers.
  virtual uint64_t TokenOfLock(uint64_t lock_address) = 0;

  // These items may be allocated again, and their space unmapped.
  virtual void OnFreedItems(std::span<const FreedItem> items) = 0;

  // A transaction begins: there will be something to commit.
  virtual void OnTransactionBegun() {}

  // The journal stopped: nothing will be written any more. Called once.
  virtual void OnJournalStopped(const base::Error& error) = 0;
};

struct JournalFigures {
  uint64_t commit_count = 0;
  uint64_t image_count = 0;
  uint64_t checkpoint_count = 0;
  uint32_t slots_used = 0;
  uint32_t blocks_running = 0;
};

class Journal {
 public:
  Journal(base::Executor& executor, MetadataCache& cache, JournalClient& client,
          JournalOptions options);
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;
  ~Journal();

  // Writes an empty ring: header durable before anything else may be logged. Errors: kIo …
  base::Task<base::Status> Initialize();

  // Starts an operation that will modify at most `block_count_max` blocks. May wait for a commit:
  // the caller holds no transaction and waits for nothing but metadata reads until it ends it.
  // Errors: the reason why the journal stopped.
  base::Task<base::Result<Transaction>> Begin(uint32_t block_count_max);

  // Makes everything modified so far durable. Returns at once if it is. Errors: kIo, kFenced …
  base::Task<base::Status> Commit();

  // Commits, and waits until every image is home, flushed, and the tail has moved as far as the
  // orphan set allows. Errors: as Commit.
  base::Task<base::Status> Checkpoint();

  // As Checkpoint, and moves the tail behind everything, so that all freed items come back.
  base::Task<base::Status> CheckpointAll();

  // Commits even if no block was modified, so that the orphan set is on record.
  base::Task<base::Status> CommitOrphans();

  // Commits when the running transaction is older than `age_us`; writes home what is committed when
  // nothing new came since. For the volume's timer.
  base::Task<base::Status> Tick(uint64_t age_us);

  // Notes, within a transaction, that items were freed by it.
  void AddFreed(const FreedItem& item) { running_.freed.push_back(item); }

  // The orphan set as of the running transaction; recorded in its descriptor.
  void AddOrphan(const Orphan& orphan) { orphans_[orphan.fd] = orphan.generation; }

  void RemoveOrphan(uint32_t fd) { orphans_.erase(fd); }

  size_t orphan_count() const { return orphans_.size(); }

  std::vector<Orphan> orphans() const;

  // Number of the running transaction; what is modified now is durable once it is committed.
  uint64_t running_sequence() const { return running_.sequence; }

  uint64_t durable_sequence() const { return durable_sequence_; }

  // The volume wrote file data, which the next commit must flush first.
  void NoteDataWrite() { ++data_write_count_; }

  // Flushes file data if any was written since the last flush. Errors: kIo …
  base::Task<base::Status> FlushData();

  // Stops for good: every later call answers `error`.
  void Stop(const base::Error& error);

  bool stopped() const { return stop_error_.has_value(); }

  // Whether Tick has or will have something to do.
  bool busy() const {
    return !running_.empty() || running_.active_count > 0 || !sealed_.empty() ||
           !(committed_.empty() || (committed_.size() == 1 && committed_[0].home));
  }

  // Ends the background work. The caller has checkpointed or the journal is stopped.
  base::Task<void> Drain();

  JournalFigures figures() const;

 private:
  friend class Transaction;

  struct Image {
    BlockRef block;
    uint64_t covering_lock;
    uint64_t token;
    std::shared_ptr<const MetadataBytes> bytes;
  };

  struct Running {
    uint64_t sequence = 1;
    std::vector<BlockRef> blocks;
    std::vector<FreedItem> freed;
    uint32_t active_count = 0;
    uint32_t reserved_count = 0;
    uint64_t started_us = 0;
    bool forced = false;  // commit even without blocks

    bool empty() const { return blocks.empty() && freed.empty() && !forced; }
  };

  // A transaction that takes no more changes: first sealed, then durable in the ring.
  struct Committed {
    uint64_t sequence;
    uint32_t first_slot;
    uint32_t slot_count;
    bool has_orphans;
    bool home = false;
    std::vector<Image> images;
    std::vector<FreedItem> freed;
    TransactionDescriptor descriptor;  // until it is in the ring
  };

  void Add(MetadataBlock& block, uint64_t covering_lock);

  base::Error StopError() const { return *stop_error_; }

  base::Task<base::Status> SealRunning();
  Committed CloseRunning();
  TransactionDescriptor Describe(const Committed& closed) const;
  base::Task<base::Status> WriteSealed(uint64_t wanted);
  base::Task<void> WriteSealedInBackground();
  void NoteDurable(size_t count);
  uint32_t PlaceInRing(size_t& count);
  base::Task<base::Status> WriteRing(size_t count, uint32_t slot_count);
  void EncodeSealed(Committed& closed, MetadataBytes& bytes) const;
  base::Task<base::Status> WriteHomeTooEarly(size_t count);
  JournalRound Round() const;
  base::Task<base::Status> WriteSlots(uint32_t first_slot, std::span<const base::IoVec> slots);
  base::Task<base::Status> MakeRoom(uint32_t slot_count);
  base::Task<void> CheckpointInBackground();
  base::Task<base::Status> CheckpointLocked();
  base::Task<base::Status> WriteHome(size_t committed_count);
  base::Task<base::Status> MoveTail(size_t committed_count);
  base::Task<base::Status> WriteHeader(uint64_t tail_sequence, uint32_t tail_slot);
  base::Task<base::Status> Flush();
  base::Task<base::Status> FlushWrittenData();
  void Retire(Committed& committed);
  uint32_t FreeSlotCount() const;

  base::Executor& executor_;
  MetadataCache& cache_;
  JournalClient& client_;
  const JournalOptions options_;

  Running running_;
  bool closing_ = false;
  bool writes_in_background_ = false;
  base::AsyncCondition changed_;     // an operation ended, a transaction closed, or a stop
  base::AsyncLock commit_lock_;      // one commit at a time
  base::AsyncLock checkpoint_lock_;  // one checkpoint at a time
  base::AsyncLock flush_lock_;       // callers share flushes
  base::TaskGroup background_;
  std::deque<Committed> sealed_;     // oldest first; on their way into the ring
  std::deque<Committed> committed_;  // oldest first; the live part of the ring
  uint32_t head_slot_ = 1;           // where the next descriptor goes
  uint64_t durable_sequence_ = 0;
  uint64_t last_commit_us_ = 0;
  std::map<uint32_t, uint32_t> orphans_;  // descriptor address -> its generation
  uint64_t data_write_count_ = 0;         // data writes answered so far
  uint64_t data_flushed_count_ = 0;       // of those, how many a flush has covered
  std::optional<base::Error> stop_error_;
  JournalFigures figures_;
};

}  // namespace vmfs
