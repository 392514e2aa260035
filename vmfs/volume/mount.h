// Mounting: from a device to a running `VolumeCore`, and the clean way back.
//
// Thread rule: the volume's executor. Place: used by `Volume` alone.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/journal/journal_block_allocation.h"
#include "vmfs/journal/replay.h"
#include "vmfs/volume/core.h"
#include "vmfs/volume/fenced_device.h"

namespace vmfs {

// Carries out a mount, step by step; lives as long as the volume, for the unmount.
class MountedCore : private JournalClient, private ReleaseBarrier, private TakeoverHandler {
 public:
  MountedCore(base::Executor& executor, base::BlockDevice& device)
      : raw_device_(device), device_(device), core_(executor, device_) {}

  ~MountedCore() override = default;

  // Everything up to the point where files can be read and written; `leftover_orphans` are still to
  // be deleted. Errors: see `Volume::Mount`.
  base::Task<base::Status> Start(MountOptions& options);

  // Everything durable and home, journal empty, locks and heartbeat given back. After an error the
  // volume has been let go of as after a crash.
  base::Task<base::Status> Stop();

  VolumeCore& core() { return core_; }

  const std::vector<Orphan>& leftover_orphans() const { return leftover_orphans_; }

  bool leftover_scan() const { return leftover_scan_; }

  const std::string& stopped_reason() const { return stopped_reason_; }

 private:
  base::Task<base::Status> ReadSuperblock();
  base::Status CheckWritable() const;
  base::Status CheckMachine() const;
  bool BelongsToAnotherMachine() const;
  base::Task<base::Status> RecordMachine();
  base::Task<base::Status> LoadResource(Resource& resource, ResourceKind kind, FdAddress fd,
                                        uint64_t inode_address);
  base::Task<base::Status> LoadResources();
  base::Task<base::Status> LoadCounts();
  base::Task<void> LoadBlockCounts();
  base::Task<void> StopLoading();
  base::Task<base::Status> LoadJournalFile(SystemFile& file, ResourceGeometry& geometry);
  base::Task<void> LetGo(base::Error& error);
  base::Task<base::Status> StartWriting();
  base::Task<base::Status> StartJournal();
  base::Task<base::Status> OverlayDirtyJournals();
  base::Task<base::Status> StopWriting();
  base::Task<base::Status> AlreadyHome();
  base::Task<void> UnmapFreed(std::vector<FreedItem>& source);
  Resource& ResourceOf(uint8_t kind);

  uint64_t TokenOfLock(uint64_t lock_address) override;
  void OnFreedItems(std::span<const FreedItem> items) override;

  void OnTransactionBegun() override { core_.WakeTicker(); }

  void OnJournalStopped(const base::Error& error) override;
  base::Task<base::Status> MakeHome() override;
  base::Task<base::Status> Replay(const DeadSlot* dead) override;

  base::BlockDevice& raw_device_;  // for the heartbeat alone
  FencedDevice device_;
  VolumeCore core_;
  StrataMark mark_;
  std::unique_ptr<ProcessGuard> cautious_guard_;  // used instead of the volume's
  JournalBlock journal_block_;
  std::vector<Orphan> leftover_orphans_;
  bool leftover_scan_ = false;
  std::vector<BlockRef> overlay_;  // read-only mounts: what a journal would bring home
  std::string stopped_reason_;
  bool journal_given_back_ = false;
};

}  // namespace vmfs
