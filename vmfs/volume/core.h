// `VolumeCore`: what all parts of a mounted volume share: device, cache, journal, locks,
// allocators.
//
// Built once by the mount (`mount.h`), torn down by the unmount. On a read-only volume heartbeat,
// locks and journal are null. Thread rule: the volume's executor.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "fs/base/alarm.h"
#include "fs/base/block_device.h"
#include "fs/base/executor.h"
#include "fs/base/sync.h"
#include "vmfs/format/superblock.h"
#include "vmfs/journal/journal.h"
#include "vmfs/journal/metadata_cache.h"
#include "vmfs/lock/heartbeat.h"
#include "vmfs/lock/lock_manager.h"
#include "vmfs/resource/allocator.h"
#include "vmfs/resource/system_file.h"
#include "vmfs/volume/volume.h"

namespace vmfs {

// One resource file with its allocator.
struct Resource {
  SystemFile file;
  std::unique_ptr<Allocator> allocator;
};

struct VolumeCore {
  VolumeCore(base::Executor& the_executor, base::BlockDevice& the_device)
      : executor(the_executor),
        device(the_device),
        growth_lock(the_executor),
        loading(the_executor),
        unmapping(the_executor),
        ticker(the_executor) {}

  base::Executor& executor;
  base::BlockDevice& device;
  MountOptions options;
  Superblock superblock;
  bool ours = false;
  bool writable = false;

  std::unique_ptr<MetadataCache> cache;
  std::unique_ptr<Heartbeat> heartbeat;
  std::unique_ptr<LockManager> locks;
  std::unique_ptr<Journal> journal;

  Resource descriptors;     // .fdc.sf
  Resource sub_blocks;      // .sbc.sf
  Resource pb2_blocks;      // .pb2.sf
  Resource journal_blocks;  // .jbc.sf
  Resource file_blocks;     // .fbb.sf: the small blocks

  base::AsyncLock growth_lock;  // one resource file grows at a time
  base::TaskGroup loading;      // counts of a large volume's free blocks; statfs waits for them
  base::TaskGroup unmapping;    // freed space on its way back to the device and the allocators

  base::Alarm ticker;         // sleeps between background commits
  bool ticker_rests = false;  // nothing to commit: it sleeps until there is

  // Something changed that a background commit must pick up.
  void WakeTicker() {
    if (!ticker_rests) return;
    ticker_rests = false;
    ticker.Ring();
  }

  uint32_t NowSeconds() const {
    return static_cast<uint32_t>(executor.WallMicroseconds() / 1'000'000);
  }

  // Volume address of a descriptor's lock block; its metadata block follows. Errors: kCorrupt.
  base::Result<uint64_t> LockAddressOf(FdAddress fd) const {
    return descriptors.allocator->AddressOf({fd.cluster(), fd.item()});
  }

  // The resource file of a kind that grows; null for others.
  Resource* ResourceOf(ResourceKind kind) {
    switch (kind) {
      case ResourceKind::kFd: return &descriptors;
      case ResourceKind::kSubBlock: return &sub_blocks;
      case ResourceKind::kPb2: return &pb2_blocks;
      case ResourceKind::kSmallBlock: return &file_blocks;
      default: return nullptr;
    }
  }

  // Ok when modifications are possible at all. A lapsed lease is waited for by `FencedDevice`; a
  // lost one is final.
  base::Status CheckWritable() const {
    if (!writable) return base::Code::kReadOnly;
    if (heartbeat->fenced()) return base::Error(base::Code::kFenced, heartbeat->fence_reason());
    return base::Ok();
  }
};

}  // namespace vmfs
