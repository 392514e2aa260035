// `Volume`: a mounted VMFS volume as an `fss::FileSystem`.
//
// Inode numbers are descriptor addresses. Volumes without our mark mount read-only, and so do all
// of VMFS-5. A writable mount holds a heartbeat and a journal; every object it modifies is locked
// on disk first. Thread rule: one executor. Place: above resources, inodes, directories, locks and
// journal; below the switch.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "fs/base/block_device.h"
#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "fs/fss/file_system.h"
#include "vmfs/journal/journal.h"
#include "vmfs/lock/heartbeat.h"
#include "vmfs/lock/lock_manager.h"

namespace vmfs {

struct MountOptions {
  bool read_only = false;
  HostIdentity identity;          // who holds the heartbeat of a writable mount
  ProcessGuard* guard = nullptr;  // outlives the volume; null: the medium has none
  // The machine, where locks on the medium exclude its own processes only, as those of files and
  // block nodes do: a volume then belongs to the first machine that mounts it writable. Zero: the
  // medium needs no such care.
  base::Uuid machine;
  bool adopt = false;  // takes over a volume that belongs to another machine
  LeaseTimes lease;
  uint64_t commit_interval_us =
      5'000'000;                   // age at which modifications are committed by themselves
  size_t cache_blocks_max = 4096;  // idle metadata blocks kept: 16 MiB
  size_t idle_inodes_max = 256;
  // Volumes of others, mounted by an ordinary user: everything belongs to this user.
  std::optional<uint32_t> foreign_uid, foreign_gid;
  LockManagerOptions lock_options;
  JournalFaults journal_faults;    // for tests of the tests
  bool ignore_journal_checksums = false;  // likewise
};

struct VolumeFigures {
  uint64_t size_bytes = 0;
  uint64_t free_bytes = 0;
  size_t cached_metadata_blocks = 0;
  size_t inodes_in_memory = 0;
  size_t locks_cached = 0;
  JournalFigures journal;
  bool writable = false;
  bool ours = false;           // carries our mark
  std::string stopped_reason;  // not empty: nothing is written any more
};

class Volume : public fss::FileSystem {
 public:
  // Mounts the volume on `device` (addressed by volume offset, see `lvm_device.h`), which outlives
  // it. A writable mount takes over what a dead host left behind: journal, slot, orphans. Errors:
  // kNotRecognized, kVersionUnsupported, kCorrupt, kLockHeld naming the holder, kReadOnly (foreign
  // and not asked for read-only), kNotPermitted (of another machine, and not asked to adopt it),
  // those of the device.
  static base::Task<base::Result<std::unique_ptr<Volume>>> Mount(base::Executor& executor,
                                                                 base::BlockDevice& device,
                                                                 MountOptions& options);

  virtual VolumeFigures figures() const = 0;

  // Whether the name is one of the system files in the root, which nobody may touch.
  static bool IsSystemName(fss::InodeNumber parent, std::string_view name);

  static constexpr fss::InodeNumber kRootInode = 4;
};

}  // namespace vmfs
