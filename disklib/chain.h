// `Chain`: an open virtual disk, a `base::BlockDevice` over its links, base to top.
//
// A chain has one link here; reads and writes go to the top. Content ids: before the first change
// after each open a new id is drawn and made durable, so that equal ids always mean equal content
// (disklib/FORMAT.md, "Content ids"). Each request holds the chain shared; whoever changes its
// shape (extend, close) holds it alone: the hold-and-drain point. `fds` filters stand between a
// handle and its chain. Place: Lib > Chain > Link > Extent. Thread rule: the executor of the files
// below.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "disklib/link.h"
#include "disklib/object_backend.h"
#include "disklib/open_disks.h"
#include "fs/base/block_device.h"
#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/sync.h"
#include "fs/base/task.h"

namespace disklib {

class Chain : public base::BlockDevice {
 public:
  // `claim` holds the disk's files; with `writable` it allows writes. `is_thin`: unmapped space
  // goes back to the file system. Made by `Lib::Open`.
  Chain(base::Executor& executor, ObjectBackend& backend, std::unique_ptr<Link> link,
        OpenDisks::Claim claim, bool is_thin);

  const base::Limits& limits() const override { return limits_; }

  uint64_t size_bytes() const override { return link_->size_bytes(); }

  const std::string& name() const override { return link_->path(); }

  bool writable() const { return limits_.can_write; }

  const Link& top() const { return *link_; }

  Link& top() { return *link_; }

  OpenDisks::Claim& claim() { return claim_; }

  // As BlockDevice. Write and its kin also answer what changing the content id met: kNoSpace, kIo.
  base::Task<base::Status> Read(base::IoRequest request) override;
  base::Task<base::Status> Write(base::IoRequest request) override;
  base::Task<base::Status> Flush() override;
  base::Task<base::Status> Unmap(uint64_t offset_bytes, uint64_t length_bytes) override;
  base::Task<base::Status> WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes,
                                       bool may_unmap) override;
  base::Task<base::Status> CompareAndWrite(uint64_t offset_bytes,
                                           std::span<const std::byte> expected,
                                           std::span<const std::byte> replacement) override;
  base::Task<base::Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                     std::vector<base::MapRun>& runs) override;
  base::Task<base::Status> Close() override;

  // The next data or hole from `offset_bytes`. Error kNoData: nothing there (ENXIO).
  base::Task<base::Result<uint64_t>> Seek(fss::SeekKind kind, uint64_t offset_bytes);

  // The range as one piece of a file that may be read without asking the chain.
  FlatRange DirectRead(uint64_t offset_bytes, uint64_t length_bytes) const {
    return Covers(offset_bytes, length_bytes) ? link_->FlatRangeOf(offset_bytes, length_bytes)
                                              : FlatRange();
  }

  // The same for writing; nothing before the content id has changed.
  FlatRange DirectWrite(uint64_t offset_bytes, uint64_t length_bytes) const {
    const FlatRange range = content_marked_ ? DirectRead(offset_bytes, length_bytes) : FlatRange();
    return range.can_write ? range : FlatRange();
  }

  // Changes the content id unless this open has done so already. Called by everything that
  // modifies.
  base::Task<base::Status> MarkContent();

  // Stores a changed descriptor text in one step and takes it over. For operations on open disks.
  // Errors: as ObjectBackend::ReplaceContents.
  base::Task<base::Status> StoreDescriptor(std::string_view text);

  // Holds off all requests: `co_await drain().AcquireExclusive()`.
  base::AsyncSharedLock& drain() { return drain_; }

 private:
  bool Covers(uint64_t offset_bytes, uint64_t length_bytes) const {
    return length_bytes > 0 && offset_bytes <= size_bytes() &&
           length_bytes <= size_bytes() - offset_bytes;
  }

  base::Status CheckRange(uint64_t offset_bytes, uint64_t length_bytes) const;
  base::Task<base::Status> ChangeContentId();

  base::Executor& executor_;
  ObjectBackend& backend_;
  std::unique_ptr<Link> link_;
  OpenDisks::Claim claim_;
  base::Limits limits_;
  base::AsyncSharedLock drain_;
  base::AsyncLock mark_lock_;
  bool content_marked_ = false;
};

}  // namespace disklib
