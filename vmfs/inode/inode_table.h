// `InodeTable`: the inodes in memory, by descriptor address.
//
// An inode lives while it is referred to; a bounded number of unused ones is kept, least recently
// used first out. Thread rule: the volume's executor.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/inode/inode.h"
#include "vmfs/volume/core.h"

namespace vmfs {

class InodeTable;

// A counted reference to an inode in memory.
class InodeRef {
 public:
  InodeRef() = default;
  InodeRef(InodeTable& table, Inode& inode);
  InodeRef(const InodeRef& other);

  InodeRef(InodeRef&& other) noexcept
      : table_(std::exchange(other.table_, nullptr)),
        inode_(std::exchange(other.inode_, nullptr)) {}

  InodeRef& operator=(InodeRef other) noexcept {
    std::swap(table_, other.table_);
    std::swap(inode_, other.inode_);
    return *this;
  }

  ~InodeRef();

  explicit operator bool() const { return inode_ != nullptr; }

  Inode& operator*() const { return *inode_; }

  Inode* operator->() const { return inode_; }

 private:
  InodeTable* table_ = nullptr;
  Inode* inode_ = nullptr;
};

class InodeTable {
 public:
  InodeTable(VolumeCore& core, size_t idle_max) : core_(core), idle_max_(idle_max) {}

  InodeTable(const InodeTable&) = delete;
  InodeTable& operator=(const InodeTable&) = delete;
  ~InodeTable();

  // The inode of descriptor `fd`, from memory or disk. Errors: kStale for a descriptor that is not
  // in use, kCorrupt, those of the device.
  base::Task<base::Result<InodeRef>> Get(FdAddress fd);

  // As Get, for a directory, with its entry code ready. Errors: also kNotDirectory.
  base::Task<base::Result<InodeRef>> GetDirectory(FdAddress fd);

  // Puts a new inode, whose block was just made, into the table.
  InodeRef Add(FdAddress fd, uint64_t lock_address, BlockRef block);

  // Inodes whose times are not in their descriptors yet.
  std::vector<InodeRef> WithLazyTimes();

  bool HasLazyTimes() const;

  // Lets go of all unused inodes and their on-disk locks.
  void DropIdle();

  size_t count() const { return inodes_.size(); }

 private:
  friend class InodeRef;
  base::Task<void> ReadAhead(FdAddress fd, uint64_t lock_address);
  void BecomeUnused(Inode& inode);
  void LeaveIdle(Inode& inode);
  void Erase(Inode& inode);

  VolumeCore& core_;
  const size_t idle_max_;
  std::unordered_map<uint32_t, std::unique_ptr<Inode>> inodes_;
  // Deleted ones that somebody still looks at, though their descriptors are in use again.
  std::vector<std::unique_ptr<Inode>> replaced_;
  std::list<Inode*> idle_;
  FdAddress last_read_;        // the last descriptor that was not in memory
  uint32_t follow_count_ = 0;  // so many followed closely on the one before
};

}  // namespace vmfs
