// `DiskLocks`: the locks on disk images in folders of the host, the ones QEMU takes.
//
// QEMU and Strata refuse each other's open disks by OFD byte locks (disklib/FORMAT.md, "Locks in
// host folders"): byte 100 + n says "I use permission n", byte 200 + n "nobody else may". One
// process has one lock descriptor a file, whose bytes are those of its strongest hold: who of this
// process may open what is not decided here. Thread rule: one executor's thread; the calls do not
// wait. Place in the stack: below the posix driver.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>

#include "fs/base/result.h"

namespace fss {

class DiskLocks {
 public:
  DiskLocks() = default;
  DiskLocks(const DiskLocks&) = delete;
  DiskLocks& operator=(const DiskLocks&) = delete;
  ~DiskLocks();

  // A hold on one file; destroying it lets go. Must not outlive the DiskLocks.
  class Hold {
   public:
    Hold() = default;

    Hold(Hold&& other) noexcept
        : locks_(std::exchange(other.locks_, nullptr)),
          host_inode_(other.host_inode_),
          writes_(other.writes_) {}

    Hold& operator=(Hold&&) = delete;

    ~Hold() {
      if (locks_ != nullptr) locks_->Release(host_inode_, writes_);
    }

   private:
    friend class DiskLocks;

    Hold(DiskLocks& locks, uint64_t host_inode, bool writes)
        : locks_(&locks), host_inode_(host_inode), writes_(writes) {}

    DiskLocks* locks_ = nullptr;
    uint64_t host_inode_ = 0;
    bool writes_ = false;
  };

  // Locks a file. `descriptor` is any of it that can read; a new one is opened where the file has
  // no hold yet. Errors: kLockHeld (another process has the disk open, saying what for), kIo.
  base::Result<Hold> Acquire(uint64_t host_inode, int descriptor, bool writes);

 private:
  friend class Hold;

  struct Entry {
    int descriptor = -1;
    uint32_t reader_count = 0;
    uint32_t writer_count = 0;
  };

  void Release(uint64_t host_inode, bool writes);

  std::unordered_map<uint64_t, Entry> entries_;
};

}  // namespace fss
