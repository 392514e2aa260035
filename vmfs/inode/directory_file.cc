#include "vmfs/inode/directory_file.h"

#include <algorithm>

#include <fmt/format.h>

#include "vmfs/inode/block_map.h"
#include "vmfs/inode/layout.h"

namespace vmfs {
namespace {

constexpr uint32_t kSubBlocksMax = 16;

}  // namespace

base::Task<base::Result<BlockRef>> DirectoryFile::Piece(uint64_t piece_index) {
  const uint64_t offset = piece_index * kMetadataBlockBytes;
  if (offset >= inode_.size_bytes || inode_.map_kind == MapKind::kInline) {
    co_return base::Error(base::Code::kOutOfRange,
                          fmt::format("read directory {}: piece {} is behind its end",
                                      inode_.fd.ToString(), piece_index));
  }
  CO_TRY(const FileRun run, co_await FindRun(core_, inode_, offset));
  if (run.is_hole) {
    co_return base::Error(base::Code::kCorrupt, fmt::format("read directory {}: piece {} is a hole",
                                                            inode_.fd.ToString(), piece_index));
  }
  co_return co_await core_.cache->Get(run.address);
}

std::span<std::byte, kMetadataBlockBytes> DirectoryFile::Modify(Transaction& transaction,
                                                                MetadataBlock& piece) {
  inode_.last_sequence = core_.journal->running_sequence();
  return transaction.Modify(piece, inode_.lock_address);
}

uint64_t DirectoryFile::CapacityBytes() const {
  return inode_.metadata().block_count * inode_.unit_bytes;
}

base::Task<base::Status> DirectoryFile::ReserveUnit() {
  const bool sub_blocks = inode_.map_kind == MapKind::kSubBlocks;
  Resource& resource = sub_blocks ? core_.sub_blocks : core_.file_blocks;
  const uint64_t cluster_count =
      std::max<uint64_t>(1, resource.allocator->geometry().cluster_count());
  const ResourceIndex hint{inode_.fd.cluster() % cluster_count, 0};
  CO_TRY(Reservation unit, co_await ReserveZeroed(core_, resource, hint, false));
  prepared_units_.push_back(std::move(unit));
  co_return base::Ok();
}

base::Task<base::Status> DirectoryFile::PrepareToExtend(uint64_t piece_count) {
  const uint64_t wanted = inode_.size_bytes + piece_count * kMetadataBlockBytes;
  prepared_units_.clear();
  moved_pieces_.clear();
  CO_TRY_STATUS(co_await LockOnDisk(core_, inode_));
  if (inode_.map_kind == MapKind::kSubBlocks && wanted > uint64_t{kSubBlocksMax} * kSubBlockBytes) {
    CO_TRY_STATUS(co_await MoveToFileBlocks());
  }
  if (wanted > MapReachBytes(inode_.map_kind)) co_return base::Code::kNoSpace;
  while (CapacityBytes() + prepared_units_.size() * inode_.unit_bytes < wanted) {
    CO_TRY_STATUS(co_await ReserveUnit());
  }
  co_return base::Ok();
}

// The sub-blocks' contents, as they are in memory, become the first file block.
base::Task<base::Status> DirectoryFile::MoveToFileBlocks() {
  const uint64_t piece_total = inode_.size_bytes / kMetadataBlockBytes;
  const uint64_t unit_count = inode_.metadata().block_count;
  CO_TRY(Reservation block,
         co_await ReserveZeroed(core_, core_.file_blocks, {inode_.last_cluster_hint, 0}, false));
  CO_TRY(const uint64_t address, core_.file_blocks.allocator->AddressOf(block.index()));
  std::vector<std::byte> contents(inode_.size_bytes);
  for (uint64_t i = 0; i < piece_total; ++i) {
    CO_TRY(const BlockRef piece, co_await Piece(i));
    std::copy(piece->bytes().begin(), piece->bytes().end(),
              contents.begin() + static_cast<std::ptrdiff_t>(i * kMetadataBlockBytes));
  }
  const base::IoVec buffer{contents.data(), contents.size()};
  const base::IoRequest request{address, std::span(&buffer, 1)};
  CO_TRY_STATUS(co_await core_.device.Write(request));
  core_.journal->NoteDataWrite();
  std::vector<ClusterHandle> clusters;
  for (uint32_t slot = 0; slot < unit_count; ++slot) {
    const ResourceIndex index = GetSlot(inode_.block->bytes(), slot).index();
    CO_TRY(ClusterHandle cluster, co_await core_.sub_blocks.allocator->Open(index.cluster));
    CO_TRY_STATUS(core_.sub_blocks.allocator->CheckUsed(cluster, index));
    clusters.push_back(std::move(cluster));
  }
  CO_TRY(Transaction transaction, co_await core_.journal->Begin(kSubBlocksMax + 2));
  core_.file_blocks.allocator->Apply(transaction, block, inode_.fd, core_.NowSeconds());
  const MetadataSpan bytes = transaction.Modify(*inode_.block, inode_.lock_address);
  for (uint32_t slot = 0; slot < unit_count; ++slot) {
    const ResourceIndex index = GetSlot(bytes, slot).index();
    core_.sub_blocks.allocator->Free(transaction, clusters[slot], index, inode_.fd);
    SetSlot(bytes, slot, Address());
  }
  inode_.Update(transaction, [](InodeMetadata& metadata) {
    metadata.SetMapKind(MapKind::kFileBlocks);
    metadata.SetBlockCount(1);
  });
  SetSlot(transaction.Modify(*inode_.block, inode_.lock_address), 0,
          Address::MakeFileBlock(address / kFileBlockBytes));
  inode_.last_sequence = core_.journal->running_sequence();
  transaction.End();
  // What was prepared before refers to pieces by number: they must be found at their new place.
  for (uint64_t i = 0; i < piece_total; ++i) {
    CO_TRY(BlockRef piece, co_await core_.cache->Get(address + i * kMetadataBlockBytes));
    moved_pieces_.push_back(std::move(piece));
  }
  co_return base::Ok();
}

void DirectoryFile::Extend(Transaction& transaction, uint64_t piece_count) {
  const uint64_t new_size = inode_.size_bytes + piece_count * kMetadataBlockBytes;
  const bool sub_blocks = inode_.map_kind == MapKind::kSubBlocks;
  Allocator& allocator = sub_blocks ? *core_.sub_blocks.allocator : *core_.file_blocks.allocator;
  uint64_t unit_count = inode_.metadata().block_count;
  for (Reservation& unit : prepared_units_) {
    const ResourceIndex index = unit.index();
    allocator.Apply(transaction, unit, inode_.fd, core_.NowSeconds());
    const Address address =
        sub_blocks ? Address::MakeSubBlock(index.cluster, index.item)
                   : Address::MakeFileBlock(index.cluster * kSmallBlocksPerCluster + index.item);
    SetSlot(transaction.Modify(*inode_.block, inode_.lock_address),
            static_cast<uint32_t>(unit_count++), address);
  }
  prepared_units_.clear();
  const uint64_t first_new = inode_.size_bytes / kMetadataBlockBytes;
  inode_.Update(transaction, [&](InodeMetadata& metadata) {
    metadata.length_bytes = new_size;
    metadata.SetBlockCount(unit_count);
  });
  CHECK(new_size <= CapacityBytes());
  for (uint64_t i = 0; i < piece_count; ++i) {
    FileRun run;
    CHECK(TryFindRun(core_, inode_, (first_new + i) * kMetadataBlockBytes, run) && !run.is_hole);
    const BlockRef piece = core_.cache->Fresh(run.address);
    Modify(transaction, *piece);
  }
}

BlockRef DirectoryFile::LoadedPiece(uint64_t piece_index) {
  FileRun run;
  CHECK(TryFindRun(core_, inode_, piece_index * kMetadataBlockBytes, run) && !run.is_hole);
  const BlockRef piece = core_.cache->Peek(run.address);
  CHECK(piece);
  return piece;
}

}  // namespace vmfs
