#include "vmfs/journal/journal_block_allocation.h"

#include <optional>
#include <vector>

#include "vmfs/format/journal_block.h"

namespace vmfs {
namespace {

// One cluster of journal blocks: its header on the device, its lock in our hands.
struct OpenCluster {
  uint64_t metadata_address = 0;
  HeldLock lock;
  MetadataBytes bytes{};
};

base::Task<base::Status> Open(base::BlockDevice& volume, LockManager& locks, SystemFile& file,
                              const ResourceGeometry* geometry, uint64_t cluster,
                              OpenCluster& open) {
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

base::Task<base::Status> StoreMark(base::BlockDevice& volume, OpenCluster& open, uint32_t item,
                                   bool is_free) {
  MarkResource(open.bytes, 1, item, is_free);
  const base::IoVec piece{open.bytes.data(), open.bytes.size()};
  const base::IoRequest request{open.metadata_address, std::span(&piece, 1)};
  CO_TRY_STATUS(co_await volume.Write(request));
  co_return co_await volume.Flush();
}

std::optional<uint32_t> FindAdjacentFree(const OpenCluster& open, const SystemFile& file,
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

}  // namespace

base::Task<base::Result<JournalBlock>> TakeJournalBlock(base::BlockDevice& volume,
                                                        LockManager& locks, Heartbeat& heartbeat,
                                                        SystemFile& file,
                                                        ResourceGeometry geometry) {
  for (uint64_t cluster = 0; cluster < geometry.cluster_count(); ++cluster) {
    OpenCluster open;
    CO_TRY_STATUS(co_await Open(volume, locks, file, &geometry, cluster, open));
    const std::optional<uint32_t> item = FindAdjacentFree(open, file, geometry, cluster);
    if (!item) continue;
    JournalBlock block;
    block.index = {cluster, *item};
    CO_TRY(block.volume_address, file.AddressOf(geometry.ItemOffset(block.index)));
    CO_TRY_STATUS(co_await heartbeat.SetJournal(block.address(), block.volume_address));
    CO_TRY_STATUS(co_await StoreMark(volume, open, *item, /*is_free=*/false));
    co_return block;
  }
  co_return base::Error(base::Code::kNoSpace, "take a journal block: all are in use");
}

base::Task<base::Result<bool>> IsJournalBlockUsed(base::BlockDevice& volume, LockManager& locks,
                                                  SystemFile& file, ResourceGeometry geometry,
                                                  JournalBlock block) {
  if (!geometry.Contains(block.index)) co_return base::Code::kCorrupt;
  OpenCluster open;
  CO_TRY_STATUS(co_await Open(volume, locks, file, &geometry, block.index.cluster, open));
  co_return !IsFree(open.bytes, 1, block.index.item);
}

base::Task<base::Status> GiveBackJournalBlock(base::BlockDevice& volume, LockManager& locks,
                                              SystemFile& file, ResourceGeometry geometry,
                                              JournalBlock block) {
  if (!geometry.Contains(block.index)) co_return base::Code::kCorrupt;
  OpenCluster open;
  CO_TRY_STATUS(co_await Open(volume, locks, file, &geometry, block.index.cluster, open));
  if (IsFree(open.bytes, 1, block.index.item)) co_return base::Ok();
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
