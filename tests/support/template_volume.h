// `TemplateVolume`: a small volume with a file of every map kind, to be damaged on cheap copies.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "fs/base/sim_executor.h"
#include "tests/support/sim_disk.h"
#include "tests/support/vmfs_volume.h"
#include "vmfs/format/address.h"
#include "vmfs/format/metadata_block.h"

namespace vmfs {

class TemplateVolume {
 public:
  // Made once.
  static TemplateVolume& Get();

  // A copy that shares what nobody writes.
  std::unique_ptr<base::SimDisk> Copy(base::SimExecutor& executor);

  // Device offsets of all metadata blocks that mkfs or a mount has written, ascending.
  const std::vector<uint64_t>& metadata_blocks() const { return blocks_; }

  // Metadata blocks as they were before they were written again.
  struct OldBlock {
    uint64_t offset;
    MetadataBytes bytes;
  };
  const std::vector<OldBlock>& old_blocks() const { return old_blocks_; }

  // Of "/sparse", which has pointer blocks: device offset of its descriptor's metadata block and of
  // its first two pointer blocks.
  uint64_t sparse_inode_offset() const { return sparse_inode_offset_; }
  uint64_t pointer_block_offset(size_t index) const { return pointer_block_offsets_[index]; }

  // Every file, by path.
  static const std::vector<const char*>& Paths();

 private:
  TemplateVolume();
  void FindMetadata();
  void KeepOldBlock(uint64_t offset, std::span<const std::byte> bytes);
  void FindMaps(FdAddress sparse);

  base::SimExecutor executor_{13};
  DeadGuard guard_;
  SimVolume volume_;
  std::vector<uint64_t> blocks_;
  std::vector<OldBlock> old_blocks_;
  uint64_t sparse_inode_offset_ = 0;
  uint64_t pointer_block_offsets_[2] = {};
};

}  // namespace vmfs
