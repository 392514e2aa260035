#include "vmfs/volume/volume_file.h"

#include <utility>

#include "fs/base/log.h"
#include "vmfs/inode/block_map.h"
#include "vmfs/inode/file_io.h"
#include "vmfs/inode/file_space.h"

namespace vmfs {

base::Task<base::Status> WriteTimes(VolumeCore& core, Inode& inode) {
  if (!inode.lazy_modified_s && !inode.lazy_accessed_s) co_return base::Ok();
  if (inode.removed) co_return base::Ok();
  CO_TRY_STATUS(co_await LockOnDisk(core, inode));
  CO_TRY(Transaction transaction, co_await core.journal->Begin(1));
  const uint32_t changed_s = inode.lazy_modified_s.value_or(0);
  inode.Update(transaction, [&](InodeMetadata& metadata) {
    metadata.changed_s = std::max<uint32_t>(metadata.changed_s, changed_s);
  });
  inode.times_sequence = core.journal->running_sequence();
  co_return base::Ok();
}

namespace {

class VolumeFile : public fss::File {
 public:
  VolumeFile(VolumeCore& core, Names& names, InodeRef inode, fss::OpenMode mode)
      : core_(core), names_(names), inode_(std::move(inode)), mode_(mode) {
    ++inode_->open_count;
  }

  ~VolumeFile() override { CHECK(closed_); }

  fss::InodeNumber inode() const override { return inode_->fd.raw(); }

  uint64_t size_bytes() const override { return inode_->size_bytes; }

  base::Task<base::Result<uint64_t>> Read(base::IoRequest request) override {
    return ReadFile(core_, *inode_, request);
  }

  base::Task<base::Result<uint64_t>> Write(base::IoRequest request) override {
    if (!fss::Writes(mode_)) return Refuse();
    return WriteFile(core_, *inode_, request);
  }

  base::Task<base::Status> Sync(bool data_only) override {
    if (!core_.writable) co_return base::Ok();
    if (!data_only) CO_TRY_STATUS(co_await WriteTimes(core_, *inode_));
    const uint64_t wanted = data_only ? inode_->last_sequence
                                      : std::max(inode_->last_sequence, inode_->times_sequence);
    if (wanted > core_.journal->durable_sequence()) {
      co_return co_await core_.journal->Commit();
    }
    co_return co_await core_.journal->FlushData();
  }

  base::Task<base::Status> Allocate(fss::AllocateMode mode, uint64_t offset_bytes,
                                    uint64_t length_bytes) override {
    return AllocateRange(core_, *inode_, mode, offset_bytes, length_bytes, TimeKeeper::kVolume);
  }

  base::Task<base::Status> AllocateKeepingTimes(fss::AllocateMode mode, uint64_t offset_bytes,
                                                uint64_t length_bytes) override {
    return AllocateRange(core_, *inode_, mode, offset_bytes, length_bytes, TimeKeeper::kCaller);
  }

  base::Task<base::Result<uint64_t>> Seek(fss::SeekKind kind, uint64_t offset_bytes) override {
    return SeekFile(core_, *inode_, kind, offset_bytes);
  }

  base::Task<base::Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                     std::vector<base::MapRun>& runs) override {
    return MapFile(core_, *inode_, offset_bytes, length_bytes, runs);
  }

  base::Task<base::Status> Close() override {
    CHECK(!closed_);
    closed_ = true;
    const bool last = --inode_->open_count == 0;
    base::Status given_back;
    if (core_.writable) given_back = co_await GiveBackLock();
    if (!last || !core_.writable || inode_->removed || inode_->metadata().link_count > 0) {
      co_return given_back;
    }
    const base::Status status = co_await names_.Delete(*inode_);
    if (!status) base::LogWarn("vmfs", "delete at last close: {}", status.error().message());
    co_return base::Ok();
  }

 private:
  // Another host may open the disk from now on. Locks of plain files are kept for the next use.
  base::Task<base::Status> GiveBackLock() {
    if (mode_ == fss::OpenMode::kSharedDisk) {
      co_return co_await core_.locks->LeaveReaders(inode_->lock_address);
    }
    const bool is_going = inode_->removed || inode_->metadata().link_count == 0;
    if (mode_ != fss::OpenMode::kExclusiveDisk || is_going) co_return base::Ok();
    CO_TRY_STATUS(co_await WriteTimes(core_, *inode_));
    if (inode_->use_count > 1) co_return base::Ok();
    inode_->disk_lock.Reset();
    co_return co_await core_.locks->GiveBackIdle(inode_->lock_address);
  }

  static base::Task<base::Result<uint64_t>> Refuse() { co_return base::Code::kReadOnly; }

  VolumeCore& core_;
  Names& names_;
  InodeRef inode_;
  const fss::OpenMode mode_;
  bool closed_ = false;
};

}  // namespace

std::unique_ptr<fss::File> MakeVolumeFile(VolumeCore& core, Names& names, InodeRef inode,
                                          fss::OpenMode mode) {
  return std::make_unique<VolumeFile>(core, names, std::move(inode), mode);
}

}  // namespace vmfs
