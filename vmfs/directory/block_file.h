// `BlockFile`: what the directory code sees of the file it lives in: 4 KiB pieces that can be read,
// modified in a transaction and added at the end.
//
// The volume implements it over an inode's block map; tests implement it in memory.
// Thread rule: the volume's executor; the directory's lock is held by the caller.
#pragma once

#include <cstdint>
#include <span>

#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/journal/metadata_cache.h"
#include "vmfs/journal/transaction.h"

namespace vmfs {

class BlockFile {
 public:
  virtual ~BlockFile() = default;

  // Length of the file; a multiple of 4 KiB.
  virtual uint64_t size_bytes() const = 0;

  // The piece at `piece_index` x 4 KiB. Errors: kOutOfRange behind the end, kIo, kCorrupt.
  virtual base::Task<base::Result<BlockRef>> Piece(uint64_t piece_index) = 0;

  // Bytes of a piece for writing, until the next suspension point.
  virtual std::span<std::byte, kMetadataBlockBytes> Modify(Transaction& transaction,
                                                           MetadataBlock& piece) = 0;

  // Makes sure that `piece_count` more pieces could be added without failing (space reserved,
  // blocks loaded). Nothing is modified. Errors: kNoSpace, kIo.
  virtual base::Task<base::Status> PrepareToExtend(uint64_t piece_count) = 0;

  // Adds `piece_count` zeroed pieces at the end, as prepared; cannot fail any more.
  virtual void Extend(Transaction& transaction, uint64_t piece_count) = 0;

  // The piece, which is known to be in memory: just loaded by Piece() or added by Extend().
  virtual BlockRef LoadedPiece(uint64_t piece_index) = 0;
};

}  // namespace vmfs
