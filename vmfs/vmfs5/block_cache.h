// 4 KiB blocks of a VMFS-5 volume by volume address, read once and kept, with bounded memory.
//
// Nothing here is ever modified, so blocks are handed out as shared values. Thread rule: the
// volume's executor. Place: under `Reader`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <utility>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/format/metadata_block.h"

namespace vmfs::vmfs5 {

using CachedBlock = std::shared_ptr<const MetadataBytes>;

class BlockCache {
 public:
  // `volume` is addressed by volume address. At most `blocks_max` blocks are kept.
  BlockCache(base::BlockDevice& volume, size_t blocks_max)
      : volume_(volume), blocks_max_(blocks_max) {}
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  // The block that holds volume address `address`. Errors: kCorrupt (outside the volume: addresses
  // come from the disk), those of BlockDevice::Read.
  base::Task<base::Result<CachedBlock>> Get(uint64_t address);

  size_t block_count() const { return blocks_.size(); }

 private:
  using Recent = std::list<std::pair<uint64_t, CachedBlock>>;

  void Keep(uint64_t address, const CachedBlock& block);

  base::BlockDevice& volume_;
  const size_t blocks_max_;
  Recent recent_;  // most recently used first
  std::unordered_map<uint64_t, Recent::iterator> blocks_;
};

}  // namespace vmfs::vmfs5
