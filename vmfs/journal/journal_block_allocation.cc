#include "vmfs/journal/journal_block_allocation.h"

#include <optional>
#include <vector>

#include "vmfs/format/journal_block.h"

namespace vmfs {
namespace {

base::Task<base::Status> Open(base::BlockDevice& volume, LockManager& locks, SystemFile& file,
                              const ResourceGeometry* geometry, uint64_t cluster,
                              JournalCluster& open) {
  CO_TRY(const uint64_t lock_address, file.AddressOf(geometry->LockOffset(cluster)));
  open.metadata_address = lock_address + kMetadataBlockBytes;
  CO_TRY(open.lock, co_await locks.Acquire(lock_address));
  const base::IoVec piece{open.bytes.data(), open.bytes.size()};
  const base::IoRequest request{open.metadata_address, std::span(&piece, 1)};
  CO_TRY_STATUS(co_await volume.Read(request));
  const auto metadata = DecodeClusterMetadata(open.bytes, *geometry, cluster);
  if (!metadata) co_return metadata.error();
  co_return base::Ok();
}

base::Task<base::Status> StoreMark(base::BlockDevice& volume, JournalCluster& open, uint32_t item,
                                   bool is_free) {
  MarkResource(open.bytes, 1, item, is_free);
  const base::IoVec piece{open.bytes.data(), open.bytes.size()};
  const base::IoRequest request{open.metadata_address, std::span(&piece, 1)};
  CO_TRY_STATUS(co_await volume.Write(request));
  co_return co_await volume.Flush();
}

std::optional<uint32_t> FindAdjacentFree(const JournalCluster& open, const SystemFile& file,
                                         const ResourceGeometry& geometry, uint64_t cluster) {
  const uint32_t count = geometry.ResourcesIn(cluster);
  for (uint32_t from = 0;;) {
    const std::optional<uint32_t> item = FindFree(open.bytes, 1, from, count);
    if (!item) return std::nullopt;
    const uint64_t offset = geometry.ItemOffset(cluster, *item);
    if (file.AdjacentBytes(offset, kJournalBlockBytes) == kJournalBlockBytes) return item;
    from = *item + 1;
  }
}

// Whether a ring lies there that another host, or the same one in another life, has begun.
base::Task<base::Result<bool>> IsRingOfAnother(base::BlockDevice& volume, uint64_t address,
                                               JournalKey key) {
  MetadataBytes bytes;
  const base::IoVec piece{bytes.data(), bytes.size()};
  const base::IoRequest request{address, std::span(&piece, 1)};
  CO_TRY_STATUS(co_await volume.Read(request));
  if (ClassifyJournal(std::span(bytes).first<kJournalSectorBytes>()) != JournalContent::kOurs) {
    co_return false;
  }
  const auto header = base::LoadAs<JournalHeader>(bytes);
  co_return header.heartbeat_address != key.heartbeat_address ||
      header.heartbeat_generation != key.heartbeat_generation;
}

}  // namespace

base::Task<base::Status> FindJournalBlock(base::BlockDevice& volume, LockManager& locks,
                                          SystemFile& file, ResourceGeometry geometry,
                                          FreeJournalBlock& found) {
  for (uint64_t cluster = 0; cluster < geometry.cluster_count(); ++cluster) {
    CO_TRY_STATUS(co_await Open(volume, locks, file, &geometry, cluster, found.cluster));
    const std::optional<uint32_t> item = FindAdjacentFree(found.cluster, file, geometry, cluster);
    if (!item) continue;
    found.block.index = {cluster, *item};
    CO_TRY(found.block.volume_address, file.AddressOf(geometry.ItemOffset(found.block.index)));
    co_return base::Ok();
  }
  co_return base::Error(base::Code::kNoSpace, "take a journal block: all are in use");
}

base::Task<base::Status> TakeJournalBlock(base::BlockDevice& volume, Heartbeat& heartbeat,
                                          FreeJournalBlock& found) {
  const JournalBlock& block = found.block;
  CO_TRY_STATUS(co_await heartbeat.SetJournal(block.address(), block.volume_address));
  co_return co_await StoreMark(volume, found.cluster, block.index.item, /*is_free=*/false);
}

base::Task<base::Result<bool>> IsJournalBlockUsed(base::BlockDevice& volume, LockManager& locks,
                                                  SystemFile& file, ResourceGeometry geometry,
                                                  JournalBlock block) {
  if (!geometry.Contains(block.index)) co_return base::Code::kCorrupt;
  JournalCluster open;
  CO_TRY_STATUS(co_await Open(volume, locks, file, &geometry, block.index.cluster, open));
  co_return !IsFree(open.bytes, 1, block.index.item);
}

base::Task<base::Status> GiveBackJournalBlock(base::BlockDevice& volume, LockManager& locks,
                                              SystemFile& file, ResourceGeometry geometry,
                                              JournalBlock block, JournalKey key) {
  if (!geometry.Contains(block.index)) co_return base::Code::kCorrupt;
  JournalCluster open;
  CO_TRY_STATUS(co_await Open(volume, locks, file, &geometry, block.index.cluster, open));
  if (IsFree(open.bytes, 1, block.index.item)) co_return base::Ok();
  CO_TRY(const bool of_another, co_await IsRingOfAnother(volume, block.volume_address, key));
  if (of_another) co_return base::Ok();
  std::vector<std::byte> empty(kJournalBlockBytes);
  EncodeEmptyJournal(block.volume_address, empty);
  constexpr uint64_t kWriteBytes = 1 << 20;
  // The header goes last: until it is written, the ring can still be replayed from its own slots
  // only if they are whole, and they are no longer needed.
  for (uint64_t offset = kJournalBlockBytes; offset > 0;) {
    offset -= kWriteBytes;
    const base::IoVec piece{empty.data() + offset, kWriteBytes};
    const base::IoRequest request{block.volume_address + offset, std::span(&piece, 1)};
    CO_TRY_STATUS(co_await volume.Write(request));
  }
  CO_TRY_STATUS(co_await volume.Flush());
  co_return co_await StoreMark(volume, open, block.index.item, /*is_free=*/true);
}

}  // namespace vmfs
