// `DirectoryFile`: the file below a directory, as the entry code sees it.
//
// Its bytes are metadata: read through the cache, modified in transactions. It grows by sub-blocks
// to 16, then moves into file blocks (vmfs/FORMAT.md, "Directories"). Thread rule: the volume's
// executor; the directory's lock is held by the caller.
#pragma once

#include <cstdint>
#include <vector>

#include "vmfs/directory/block_file.h"
#include "vmfs/inode/inode.h"
#include "vmfs/resource/allocator.h"
#include "vmfs/volume/core.h"

namespace vmfs {

class DirectoryFile : public BlockFile {
 public:
  // Blocks that `Extend` modifies besides the new pieces: descriptor, clusters.
  static constexpr uint32_t kExtendBlocksMax = 4;

  DirectoryFile(VolumeCore& core, Inode& inode) : core_(core), inode_(inode) {}

  uint64_t size_bytes() const override { return inode_.size_bytes; }

  base::Task<base::Result<BlockRef>> Piece(uint64_t piece_index) override;
  std::span<std::byte, kMetadataBlockBytes> Modify(Transaction& transaction,
                                                   MetadataBlock& piece) override;
  base::Task<base::Status> PrepareToExtend(uint64_t piece_count) override;
  void Extend(Transaction& transaction, uint64_t piece_count) override;
  BlockRef LoadedPiece(uint64_t piece_index) override;

 private:
  uint64_t CapacityBytes() const;
  base::Task<base::Status> ReserveUnit();
  base::Task<base::Status> MoveToFileBlocks();

  VolumeCore& core_;
  Inode& inode_;
  std::vector<Reservation> prepared_units_;
  std::vector<BlockRef> moved_pieces_;  // in memory until the prepared change has been applied
};

}  // namespace vmfs
