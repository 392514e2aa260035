// `VDisk`: a virtual disk as one raw image file, live. What the mount shows under devices/vdisks.
//
// Wiring in the mount: one `VDisks` per volume, over its `Lib`. FUSE open -> `VDisks::Open(path,
// writable)`; read, write, fsync, fallocate, lseek -> the `VDisk`, which is an `fss::File`; getattr
// -> `VDisks::GetAttributes`; ftruncate -> `VDisks::Resize`; release -> `VDisk::Close`, then
// destroy. Which disks a folder has: `DiskLister` (`disk_list.h`). All opens of one disk share one
// chain; the first open for writing makes it writable, the last close ends it. Hot path: a request
// inside one piece of a file (a flat extent, a grain of a frozen link) is handed to that file; no
// copy, and for reads no coroutine. Thread rule: the executor of the Lib.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/chain.h"
#include "disklib/lib.h"
#include "fs/base/result.h"
#include "fs/base/sync.h"
#include "fs/base/task.h"
#include "fs/fss/file_system.h"

namespace disklib {

// A disk that somebody has open through VDisks; shared by its opens.
struct SharedDisk : std::enable_shared_from_this<SharedDisk> {
  SharedDisk(base::Executor& executor, std::string_view descriptor_path)
      : path(descriptor_path), lock(executor) {}

  std::string path;
  std::unique_ptr<Chain> chain;
  std::vector<std::unique_ptr<Chain>>
      predecessors;  // were open for reading; requests may be inside
  uint32_t open_count = 0;
  base::AsyncLock lock;  // held while the chain is opened, exchanged or closed
};

class VDisks;

// One open of a disk as a raw image of its capacity.
class VDisk final : public fss::File {
 public:
  ~VDisk() override;

  // The inode of the descriptor's file; the tree above has numbers of its own.
  fss::InodeNumber inode() const override { return disk_->chain->top().object_id(); }

  uint64_t size_bytes() const override { return disk_->chain->size_bytes(); }

  // As fss::File, any offset and length. Reads end at the capacity.
  base::Task<base::Result<uint64_t>> Read(base::IoRequest request) override {
    const FlatRange direct = disk_->chain->DirectRead(request.offset_bytes, request.size_bytes());
    if (direct.object == nullptr) return ReadThroughChain(request);
    request.offset_bytes = direct.offset_bytes;
    return direct.object->Read(request);
  }

  // Writes end at the capacity, too: kNoSpace behind it, as on a device. Errors: kReadOnly, kIo.
  base::Task<base::Result<uint64_t>> Write(base::IoRequest request) override {
    const bool is_direct =
        writable_ && disk_->chain->DirectWrite(request.offset_bytes, request.size_bytes()).object;
    return is_direct ? WriteDirectly(request) : WriteThroughChain(request);
  }

  base::Task<base::Status> Sync(bool data_only) override;

  // kPunchHole unmaps, the zeroing modes write zeros, the allocating modes succeed inside the disk.
  // Error kNoSpace: the range passes the capacity and the mode grows files.
  base::Task<base::Status> Allocate(fss::AllocateMode mode, uint64_t offset_bytes,
                                    uint64_t length_bytes) override;

  base::Task<base::Result<uint64_t>> Seek(fss::SeekKind kind, uint64_t offset_bytes) override {
    return disk_->chain->Seek(kind, offset_bytes);
  }

  // Any range inside the disk.
  base::Task<base::Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                     std::vector<base::MapRun>& runs) override;

  base::Task<base::Status> Close() override;

 private:
  friend class VDisks;

  VDisk(VDisks& disks, std::shared_ptr<SharedDisk> disk, bool writable)
      : disks_(disks), disk_(std::move(disk)), writable_(writable) {}

  base::Task<base::Result<uint64_t>> ReadThroughChain(base::IoRequest request);
  base::Task<base::Result<uint64_t>> WriteThroughChain(base::IoRequest request);
  base::Task<base::Result<uint64_t>> WriteDirectly(base::IoRequest request);

  VDisks& disks_;
  std::shared_ptr<SharedDisk> disk_;  // shared with the other opens and the table
  bool writable_;
  bool is_closed_ = false;
};

// What getattr on a vdisk answers.
struct VDiskAttributes {
  uint64_t size_bytes = 0;
  uint64_t allocated_bytes = 0;
  uint64_t modified_us = 0;
};

class VDisks {
 public:
  // `lib` outlives this. `user` names who opens disks in refusals: "devices/vdisks".
  explicit VDisks(Lib& lib, std::string_view user = "devices/vdisks") : lib_(lib), user_(user) {}

  VDisks(const VDisks&) = delete;
  VDisks& operator=(const VDisks&) = delete;
  ~VDisks();

  const OpenDisks& open_disks() const { return lib_.open_disks(); }

  // Opens the disk whose descriptor stands at `path`. Errors: as Lib::Open.
  base::Task<base::Result<std::unique_ptr<VDisk>>> Open(std::string_view path, bool writable);

  // Size and space. Reads the descriptor unless the disk is open. Errors: as Lib::GetInfo.
  base::Task<base::Result<VDiskAttributes>> GetAttributes(std::string_view path);

  // ftruncate: a larger size extends, the same succeeds, a smaller is kInvalidArgument.
  // A disk with snapshots goes on in a new link. `size_bytes` must be whole sectors
  // (kInvalidArgument). Errors: as ExtendDisk; kBusy where the disk grows only while it is closed.
  base::Task<base::Status> Resize(std::string_view path, uint64_t size_bytes);

 private:
  friend class VDisk;
  base::Task<base::Status> OpenChain(SharedDisk& disk, bool writable);
  base::Task<base::Status> Release(SharedDisk& disk);
  void Forget(const SharedDisk& disk);
  void FollowLeaf(SharedDisk& disk);

  Lib& lib_;
  std::string user_;
  std::map<std::string, std::shared_ptr<SharedDisk>, std::less<>> open_;
};

}  // namespace disklib
