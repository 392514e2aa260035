#include "vmfs/fsck/repair_room.h"

#include <algorithm>

#include "fs/base/aligned_buffer.h"
#include "vmfs/format/journal_block.h"
#include "vmfs/format/repair_record.h"

namespace vmfs::fsck {
namespace {

using base::BlockDevice;
using base::Result;
using base::Status;
using base::Task;

constexpr uint64_t kChunkBytes = kFileBlockBytes;

// Whether the repair changes anything in the range, or takes data from it or brings data to it.
bool IsTouched(const OverlayDevice& overlay, uint64_t begin, uint64_t length) {
  const auto written = overlay.blocks().lower_bound(begin);
  if (written != overlay.blocks().end() && written->first < begin + length) return true;
  const auto overlaps = [&](uint64_t other, uint64_t other_length) {
    return other < begin + length && begin < other + other_length;
  };
  return std::ranges::any_of(overlay.copies(), [&](const OverlayDevice::Copy& copy) {
    return overlaps(copy.from, copy.length_bytes) || overlaps(copy.to, copy.length_bytes);
  });
}

bool IsUnused(const Usage& usage, uint64_t index) {
  return !usage.marked.Get(index) && !usage.seen.Get(index);
}

void AddFileBlocks(RepairWork& work, uint64_t volume_bytes, uint64_t count,
                   std::vector<uint64_t>& chunks) {
  const Usage& blocks = work.state()->blocks;
  for (uint64_t block = blocks.marked.count(); block-- > 0 && chunks.size() < count;) {
    const uint64_t address = block * kFileBlockBytes;
    const bool exists = address + kFileBlockBytes <= volume_bytes;
    if (exists && IsUnused(blocks, block) &&
        !IsTouched(work.overlay(), address, kFileBlockBytes)) {
      chunks.push_back(address);
    }
  }
}

// Volume addresses of the journal blocks that belong to no host.
std::vector<uint64_t> FreeJournals(RepairWork& work) {
  std::vector<uint64_t> found;
  const ResourceGeometry& geometry = work.volume().geometry(ResourceKind::kJournal);
  const Usage& journal = work.state()->journal;
  for (uint64_t index = 0; index < journal.marked.count(); ++index) {
    const ResourceIndex where{index / geometry.resources_per_cluster,
                              static_cast<uint32_t>(index % geometry.resources_per_cluster)};
    if (!geometry.Contains(where) || !IsUnused(journal, index)) continue;
    const Result<uint64_t> address = work.volume().ItemAddress(ResourceKind::kJournal, where);
    if (address) found.push_back(*address);
  }
  return found;
}

Task<Status> ReadFirst(BlockDevice& volume, uint64_t address, base::AlignedBuffer* buffer) {
  const base::IoVec piece = buffer->piece();
  const base::IoRequest request{address, std::span<const base::IoVec>(&piece, 1)};
  co_return co_await volume.Read(request);
}

bool IsChunk(std::span<const std::byte> block) {
  return base::LoadAs<std::array<char, 8>>(block) == kRepairChunkMagic;
}

Task<Status> Empty(BlockDevice& volume, uint64_t address) {
  base::AlignedBuffer buffer(kJournalBlockBytes);
  EncodeEmptyJournal(address, buffer.span());
  const uint64_t step = volume.limits().transfer_bytes_max;
  for (uint64_t done = 0; done < kJournalBlockBytes; done += step) {
    const base::IoVec piece{buffer.data() + done,
                            std::min<uint64_t>(step, kJournalBlockBytes - done)};
    const base::IoRequest request{address + done, std::span<const base::IoVec>(&piece, 1)};
    CO_TRY_STATUS(co_await volume.Write(request));
  }
  co_return base::Ok();
}

}  // namespace

Task<Result<std::vector<uint64_t>>> ChooseChunks(BlockDevice& volume, RepairWork& work,
                                                 uint64_t count) {
  std::vector<uint64_t> chunks;
  if (work.state() == nullptr) co_return chunks;
  AddFileBlocks(work, volume.size_bytes(), count, chunks);
  if (chunks.size() >= count) co_return chunks;
  base::AlignedBuffer buffer(kMetadataBlockBytes);
  for (const uint64_t address : FreeJournals(work)) {
    // A ring header may be all that is left of a host: until the record is written, its journal is
    // the only copy of what it did.
    CO_TRY_STATUS(co_await ReadFirst(volume, address, &buffer));
    const JournalContent content = ClassifyJournal(buffer.span());
    const bool is_empty = content == JournalContent::kNeverUsed ||
                          content == JournalContent::kEmpty || IsChunk(buffer.span());
    if (!is_empty || IsTouched(work.overlay(), address, kJournalBlockBytes)) continue;
    for (uint64_t done = 0; done < kJournalBlockBytes && chunks.size() < count;
         done += kChunkBytes) {
      chunks.push_back(address + done);
    }
  }
  co_return chunks;
}

Task<Status> EmptyLogJournals(BlockDevice& volume, RepairWork& work) {
  if (work.state() == nullptr) co_return base::Ok();
  base::AlignedBuffer buffer(kMetadataBlockBytes);
  bool changed = false;
  for (const uint64_t address : FreeJournals(work)) {
    CO_TRY_STATUS(co_await ReadFirst(volume, address, &buffer));
    if (!IsChunk(buffer.span())) continue;
    CO_TRY_STATUS(co_await Empty(volume, address));
    changed = true;
  }
  if (!changed) co_return base::Ok();
  co_return co_await volume.Flush();
}

}  // namespace vmfs::fsck
