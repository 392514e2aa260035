#include "vmfs/resource/grow.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "fs/base/log.h"

namespace vmfs {
namespace {

constexpr uint64_t kPointersPerPiece = kMetadataBlockBytes / 8;
constexpr uint32_t kFixedBlocksMax =
    6;  // descriptor, header, pointer piece, PB2 cluster, last cluster
constexpr uint64_t kNewBlocksMax = 40;

// What one growth will do, with everything it needs.
struct Growth {
  ResourceGeometry geometry;        // as it will be
  std::vector<Reservation> blocks;  // file blocks for the end of the file
  Reservation pointer_block;        // in `.pb2.sf`, when one more is needed
  bool moves_slots_down = false;    // the map changes to pointer blocks
  BlockRef inode, header, pointer_piece;
  HeldLock lock;
  uint64_t lock_address = 0;
  ClusterHandle last_cluster;  // a partial last cluster that becomes larger
  uint32_t last_cluster_was = 0;
};

uint64_t BlocksFor(const ResourceGeometry& geometry) {
  return (geometry.FileLengthBytes() + kFileBlockBytes - 1) / kFileBlockBytes;
}

uint64_t CountMax(ResourceKind kind) {
  return kind == ResourceKind::kSubBlock ? kSubBlocksMax : uint64_t{1} << 24;
}

// A whole cluster, or as many items as `block_count` more blocks hold.
bool ChooseCount(const ResourceGeometry& now, uint64_t block_count_now, uint64_t free_blocks,
                 ResourceGeometry& grown) {
  const uint64_t step = now.resources_per_cluster;
  const uint64_t to_cluster_end = step - now.resource_count % step;
  uint64_t items = std::min(to_cluster_end, CountMax(now.kind) - now.resource_count);
  // New addresses stay within one piece of a pointer block; the next growth goes on in the next.
  const uint64_t left_in_piece = kPointersPerPiece - block_count_now % kPointersPerPiece;
  const uint64_t blocks_max = std::min({free_blocks, kNewBlocksMax, left_in_piece});
  for (; items > 0; items = items / 2) {
    grown = now;
    grown.resource_count = now.resource_count + items;
    if (BlocksFor(grown) <= block_count_now + blocks_max) return true;
  }
  return false;
}

base::Task<base::Status> ReserveBlocks(VolumeCore& core, uint64_t count, Growth& growth) {
  ResourceIndex hint;
  for (uint64_t i = 0; i < count; ++i) {
    CO_TRY(Reservation block, co_await core.file_blocks.allocator->Reserve(hint));
    hint = {block.index().cluster, block.index().item + 1};
    CO_TRY(const uint64_t address, core.file_blocks.allocator->AddressOf(block.index()));
    CO_TRY_STATUS(co_await ZeroOnDevice(core, address, kFileBlockBytes));
    growth.blocks.push_back(std::move(block));
  }
  co_return base::Ok();
}

// Where byte `file_offset` of the grown file will lie.
base::Result<uint64_t> FutureAddress(const VolumeCore& core, const SystemFile& file,
                                     const Growth& growth, uint64_t file_offset) {
  const uint64_t index = file_offset / kFileBlockBytes;
  if (index < file.block_count()) return file.AddressOf(file_offset);
  const uint64_t added = index - file.block_count();
  CHECK(added < growth.blocks.size());
  TRY(const uint64_t begin, core.file_blocks.allocator->AddressOf(growth.blocks[added].index()));
  return begin + file_offset % kFileBlockBytes;
}

// Headers of clusters that did not exist, at home: nothing refers to them before the commit.
base::Task<base::Status> WriteNewHeaders(VolumeCore& core, const Resource& resource,
                                         Growth& growth) {
  const uint64_t first = resource.allocator->geometry().cluster_count();
  for (uint64_t cluster = first; cluster < growth.geometry.cluster_count(); ++cluster) {
    CO_TRY(const uint64_t address,
           FutureAddress(core, resource.file, growth, growth.geometry.LockOffset(cluster)));
    std::vector<std::byte> bytes(kClusterHeaderBytes);
    const LockBlock lock = MakeFreeLock(ClusterLockType(growth.geometry.kind), address);
    base::StoreAs(std::span(bytes), 0, lock);
    EncodeNewCluster(growth.geometry, cluster,
                     MetadataSpan(bytes.data() + kMetadataBlockBytes, kMetadataBlockBytes));
    const base::IoVec piece{bytes.data(), bytes.size()};
    const base::IoRequest request{address, std::span(&piece, 1)};
    CO_TRY_STATUS(co_await core.device.Write(request));
    core.journal->NoteDataWrite();
    core.cache->Forget(address, kClusterHeaderBytes);
  }
  co_return base::Ok();
}

// The pointer block that the new blocks' addresses go to, if the map has or needs one.
base::Task<base::Status> PreparePointers(VolumeCore& core, Resource& resource, Growth& growth) {
  const InodeMetadata inode = base::LoadAs<InodeMetadata>(growth.inode->bytes());
  const uint64_t block_count = resource.file.block_count() + growth.blocks.size();
  const bool direct = inode.map_kind() == MapKind::kFileBlocks;
  if (direct && block_count <= kSlotCount) co_return base::Ok();
  growth.moves_slots_down = direct;
  const uint64_t first = direct ? 0 : resource.file.block_count();
  const uint64_t slot = first / kPointersPerBlock;
  // One growth stays within one piece of one pointer block, or the next one does the rest.
  const Address existing =
      direct ? Address() : GetSlot(growth.inode->bytes(), static_cast<uint32_t>(slot));
  ResourceIndex index = existing.index();
  if (existing.is_hole()) {
    CO_TRY(growth.pointer_block, co_await core.pb2_blocks.allocator->Reserve({0, 0}));
    index = growth.pointer_block.index();
    CO_TRY(const uint64_t begin, core.pb2_blocks.allocator->AddressOf(index));
    CO_TRY_STATUS(co_await core.device.WriteZeroes(begin, kSubBlockBytes, false));
    core.journal->NoteDataWrite();
    core.cache->Forget(begin, kSubBlockBytes);
  }
  CO_TRY(const uint64_t begin, core.pb2_blocks.allocator->AddressOf(index));
  const uint64_t entry = first % kPointersPerBlock;
  CO_TRY(growth.pointer_piece,
         co_await core.cache->Get(begin + entry / kPointersPerPiece * kMetadataBlockBytes));
  co_return base::Ok();
}

// The addresses of the new blocks, into slots or pointers.
void LinkBlocks(VolumeCore& core, Resource& resource, Transaction& transaction, Growth& growth) {
  const MetadataSpan inode = transaction.Modify(*growth.inode, growth.lock_address);
  MetadataSpan pointers = inode;
  if (growth.pointer_piece) {
    pointers = transaction.Modify(*growth.pointer_piece, growth.lock_address);
  }
  if (growth.moves_slots_down) {
    for (uint32_t i = 0; i < kSlotCount; ++i) {
      SetPointer(pointers, i, GetSlot(inode, i));
      SetSlot(inode, i, Address());
    }
  }
  if (growth.pointer_block) {
    const ResourceIndex index = growth.pointer_block.index();
    const uint64_t slot =
        growth.moves_slots_down ? 0 : resource.file.block_count() / kPointersPerBlock;
    core.pb2_blocks.allocator->Apply(transaction, growth.pointer_block, resource.file.fd(),
                                     core.NowSeconds());
    SetSlot(inode, static_cast<uint32_t>(slot), Address::MakePb2(index.cluster, index.item));
  }
  for (Reservation& block : growth.blocks) {
    const ResourceIndex index = block.index();
    const uint64_t volume_block = index.cluster * kSmallBlocksPerCluster + index.item;
    const auto position = static_cast<uint32_t>(resource.file.block_count());
    core.file_blocks.allocator->Apply(transaction, block, resource.file.fd(), core.NowSeconds());
    if (growth.pointer_piece) {
      SetPointer(pointers, static_cast<uint32_t>(position % kPointersPerPiece),
                 Address::MakeFileBlock(volume_block));
    } else {
      SetSlot(inode, position, Address::MakeFileBlock(volume_block));
    }
    resource.file.AppendBlock(volume_block);
  }
}

void UpdateInode(Transaction& transaction, Resource& resource, Growth& growth,
                 bool has_new_pointer_block) {
  const MetadataSpan bytes = transaction.Modify(*growth.inode, growth.lock_address);
  auto metadata = base::LoadAs<InodeMetadata>(bytes);
  metadata.length_bytes = growth.geometry.FileLengthBytes();
  metadata.SetBlockCount(resource.file.block_count());
  if (growth.moves_slots_down) {
    metadata.SetMapKind(MapKind::kPb2);
    metadata.flags = metadata.flags | kInodeMapsThroughPb2;
  }
  if (has_new_pointer_block) metadata.pointer_block_count = metadata.pointer_block_count + 1;
  base::StoreAs(std::span<std::byte>(bytes), 0, metadata);
}

// A partial last cluster gets its new items as free ones.
void ExtendLastCluster(Transaction& transaction, Growth& growth) {
  if (!growth.last_cluster.header) return;
  const uint64_t cluster = growth.last_cluster.cluster;
  const uint32_t total = growth.geometry.ResourcesIn(cluster);
  const MetadataSpan bytes =
      transaction.Modify(*growth.last_cluster.header, growth.last_cluster.lock_address);
  auto metadata = base::LoadAs<ClusterMetadata>(bytes);
  metadata.total_count = static_cast<uint16_t>(total);
  base::StoreAs(std::span<std::byte>(bytes), 0, metadata);
  for (uint32_t item = growth.last_cluster_was; item < total; ++item) {
    MarkResource(bytes, growth.geometry.bits_per_resource, item, /*is_free=*/true);
  }
}

base::Task<base::Status> Prepare(VolumeCore& core, Resource& resource, Growth& growth) {
  const ResourceGeometry& now = resource.allocator->geometry();
  const uint64_t have = resource.file.block_count();
  const Allocator& file_blocks = *core.file_blocks.allocator;
  if (file_blocks.free_count() < kNewBlocksMax) co_await core.loading.Join();
  const uint64_t free_blocks = file_blocks.free_count();
  if (now.resource_count >= CountMax(now.kind) ||
      !ChooseCount(now, have, free_blocks, growth.geometry)) {
    co_return base::Code::kNoSpace;
  }
  CO_TRY(growth.lock_address, core.LockAddressOf(resource.file.fd()));
  CO_TRY(growth.lock, co_await core.locks->Acquire(growth.lock_address));
  CO_TRY(growth.inode, co_await core.cache->Get(resource.file.inode_address()));
  CO_TRY(const uint64_t header_address, resource.file.AddressOf(0));
  CO_TRY(growth.header, co_await core.cache->Get(header_address));
  if (now.resource_count % now.resources_per_cluster != 0) {
    const uint64_t last = now.cluster_count() - 1;
    growth.last_cluster_was = now.ResourcesIn(last);
    CO_TRY(growth.last_cluster, co_await resource.allocator->Open(last));
  }
  CO_TRY_STATUS(co_await ReserveBlocks(core, BlocksFor(growth.geometry) - have, growth));
  CO_TRY_STATUS(co_await WriteNewHeaders(core, resource, growth));
  co_return co_await PreparePointers(core, resource, growth);
}

}  // namespace

base::Task<base::Status> ZeroOnDevice(VolumeCore& core, uint64_t address, uint64_t length_bytes) {
  if (core.device.limits().can_map_status) {
    std::vector<base::MapRun> runs;
    CO_TRY_STATUS(co_await core.device.MapStatus(address, length_bytes, runs));
    if (runs.size() == 1 && runs[0].state != base::MapState::kData) co_return base::Ok();
  }
  const base::Status status =
      co_await core.device.WriteZeroes(address, length_bytes, /*may_unmap=*/false);
  core.journal->NoteDataWrite();
  co_return status;
}

base::Task<base::Result<Reservation>> ReserveItem(VolumeCore& core, Resource& resource,
                                                  ResourceIndex hint) {
  Allocator& allocator = *resource.allocator;
  const bool grows = allocator.geometry().kind != ResourceKind::kSmallBlock;
  bool waited = false;
  for (;;) {
    const uint64_t known_count = allocator.resource_count();
    auto reserved = co_await allocator.Reserve(hint);
    if (reserved || reserved.error().code() != base::Code::kNoSpace) co_return reserved;
    if (!waited && allocator.pending_count() > 0) {
      waited = true;
      CO_TRY_STATUS(co_await core.journal->CheckpointAll());
      co_await core.unmapping.Join();
    } else if (grows) {
      CO_TRY_STATUS(co_await GrowResource(core, resource, known_count));
    } else {
      co_return reserved;
    }
  }
}

base::Task<base::Status> GrowResource(VolumeCore& core, Resource& resource, uint64_t known_count) {
  co_await core.growth_lock.Acquire();
  base::LockGuard guard(core.growth_lock);
  if (resource.allocator->resource_count() > known_count) co_return base::Ok();
  Growth growth;
  CO_TRY_STATUS(co_await Prepare(core, resource, growth));
  const auto blocks_max = static_cast<uint32_t>(
      std::min<size_t>(growth.blocks.size(), kNewBlocksMax) + kFixedBlocksMax);
  CO_TRY(Transaction transaction, co_await core.journal->Begin(blocks_max));
  const bool has_new_pointer_block = static_cast<bool>(growth.pointer_block);
  LinkBlocks(core, resource, transaction, growth);
  UpdateInode(transaction, resource, growth, has_new_pointer_block);
  ExtendLastCluster(transaction, growth);
  const MetadataSpan header = transaction.Modify(*growth.header, growth.lock_address);
  base::StoreAs(std::span<std::byte>(header), 0, MakeResourceHeader(growth.geometry));
  resource.file.SetLength(growth.geometry.FileLengthBytes());
  resource.allocator->SetResourceCount(growth.geometry.resource_count);
  base::LogInfo("vmfs", "grew resource file {}: items={} blocks={}", NameOf(growth.geometry.kind),
                growth.geometry.resource_count, resource.file.block_count());
  co_return base::Ok();
}

}  // namespace vmfs
