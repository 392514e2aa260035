#include "vmfs/fsck/repair_log.h"

#include <algorithm>
#include <cstring>

#include "fs/base/aligned_buffer.h"
#include "vmfs/format/corrupt.h"

namespace vmfs::fsck {
namespace {

using base::BlockDevice;
using base::Result;
using base::Status;
using base::Task;

constexpr uint64_t kChunkBytes = 1 << 20;
constexpr uint64_t kSmallLogImages = kRepairLogSlots - 1;

Task<Status> ReadAt(BlockDevice& volume, uint64_t address, std::span<std::byte> target) {
  const uint64_t step = volume.limits().transfer_bytes_max;
  for (uint64_t done = 0; done < target.size(); done += step) {
    const base::IoVec piece{target.data() + done, std::min<uint64_t>(step, target.size() - done)};
    const base::IoRequest request{address + done, std::span<const base::IoVec>(&piece, 1)};
    CO_TRY_STATUS(co_await volume.Read(request));
  }
  co_return base::Ok();
}

Task<Status> WriteAt(BlockDevice& volume, uint64_t address, std::span<std::byte> source) {
  const uint64_t step = volume.limits().transfer_bytes_max;
  for (uint64_t done = 0; done < source.size(); done += step) {
    const base::IoVec piece{source.data() + done, std::min<uint64_t>(step, source.size() - done)};
    const base::IoRequest request{address + done, std::span<const base::IoVec>(&piece, 1)};
    CO_TRY_STATUS(co_await volume.Write(request));
  }
  co_return base::Ok();
}

ConstMetadataSpan SlotIn(std::span<const std::byte> chunk, uint64_t slot) {
  return chunk.subspan(slot * kMetadataBlockBytes).first<kMetadataBlockBytes>();
}

Task<Status> ReadChunk(BlockDevice& volume, PendingRepair* pending, uint32_t index,
                       bool ignore_checksums) {
  const uint64_t address = pending->record.chunk_addresses[index];
  base::AlignedBuffer buffer(kChunkBytes);
  const uint64_t length = std::min<uint64_t>(kChunkBytes, volume.size_bytes() - address);
  CO_TRY_STATUS(co_await ReadAt(volume, address, buffer.span().first(length)));
  CO_TRY(const std::vector<RepairEntry> entries,
         DecodeRepairChunk(SlotIn(buffer.span(), 0), pending->record.identity, index,
                           volume.size_bytes()));
  for (size_t i = 0; i < entries.size(); ++i) {
    const ConstMetadataSpan image = SlotIn(buffer.span(), i + 1);
    const uint32_t crc =
        RepairImageCrc(pending->record.identity, entries[i].home_address, image);
    if (crc != entries[i].image_crc && !ignore_checksums) {
      co_return base::Error(
          base::Code::kChecksumMismatch,
          fmt::format("repair log: image {} of chunk {}, for volume address {:#x}: CRC {:#010x}, "
                      "expected {:#010x}",
                      i, index, entries[i].home_address, crc, entries[i].image_crc));
    }
    auto copy = std::make_unique<MetadataBytes>();
    std::ranges::copy(image, copy->begin());
    pending->images[entries[i].home_address] = std::move(copy);
  }
  co_return base::Ok();
}

Task<Status> ClearRecord(BlockDevice& volume) {
  base::AlignedBuffer zeros(kMetadataBlockBytes);
  std::memset(zeros.data(), 0, zeros.size());
  CO_TRY_STATUS(co_await WriteAt(volume, kRepairRecordOffset, zeros.span()));
  co_return co_await volume.Flush();
}

// Data for their second owners, into blocks that nothing uses.
Task<Status> WriteCopies(BlockDevice& volume, OverlayDevice& overlay) {
  base::AlignedBuffer buffer(kChunkBytes);
  for (const OverlayDevice::Copy& copy : overlay.copies()) {
    for (uint64_t done = 0; done < copy.length_bytes; done += kChunkBytes) {
      const auto piece = buffer.span().first(std::min(kChunkBytes, copy.length_bytes - done));
      CO_TRY_STATUS(co_await ReadAt(volume, copy.from + done, piece));
      CO_TRY_STATUS(co_await WriteAt(volume, copy.to + done, piece));
    }
  }
  co_return base::Ok();
}

// Chunk after chunk: a first block with the entries, then their images.
Task<Status> WriteLog(BlockDevice& volume, OverlayDevice& overlay, RepairRecord* record) {
  auto block = overlay.blocks().begin();
  uint32_t chunk_index = 0;
  base::AlignedBuffer buffer(kChunkBytes);
  std::vector<uint64_t> used;
  for (const uint64_t address : record->chunk_addresses) {
    const uint64_t room = address == kRepairLogOffset ? kSmallLogImages : kRepairImagesMax;
    std::vector<RepairEntry> entries;
    for (; block != overlay.blocks().end() && entries.size() < room; ++block) {
      const ConstMetadataSpan image(*block->second);
      const size_t at = (entries.size() + 1) * kMetadataBlockBytes;
      std::memcpy(buffer.data() + at, image.data(), image.size());
      entries.push_back(
          {block->first, RepairImageCrc(record->identity, block->first, image)});
    }
    if (entries.empty()) break;
    EncodeRepairChunk(record->identity, chunk_index++, entries,
                      buffer.span().first<kMetadataBlockBytes>());
    const uint64_t length = (entries.size() + 1) * kMetadataBlockBytes;
    CO_TRY_STATUS(co_await WriteAt(volume, address, buffer.span().first(length)));
    used.push_back(address);
  }
  record->chunk_addresses = used;
  if (block == overlay.blocks().end()) co_return base::Ok();
  co_return base::Error(base::Code::kNoSpace,
                        fmt::format("repair: no room for a log of {} blocks",
                                    overlay.blocks().size()));
}

Task<Status> WriteHomes(BlockDevice& volume,
                        const std::map<uint64_t, std::unique_ptr<MetadataBytes>>* images) {
  base::AlignedBuffer buffer(kMetadataBlockBytes);
  for (const auto& [address, image] : *images) {
    std::memcpy(buffer.data(), image->data(), image->size());
    CO_TRY_STATUS(co_await WriteAt(volume, address, buffer.span()));
  }
  co_return base::Ok();
}

Task<Status> BringHome(BlockDevice& volume,
                       const std::map<uint64_t, std::unique_ptr<MetadataBytes>>* images,
                       RepairFaults faults) {
  CO_TRY_STATUS(co_await WriteHomes(volume, images));
  if (!faults.clear_record_early) CO_TRY_STATUS(co_await volume.Flush());
  co_return co_await ClearRecord(volume);
}

}  // namespace

uint64_t ChunksNeeded(uint64_t image_count) {
  return image_count <= kSmallLogImages ? 0
                                        : (image_count + kRepairImagesMax - 1) / kRepairImagesMax;
}

Task<Result<PendingRepair>> ReadPendingRepair(BlockDevice& volume, bool ignore_checksums) {
  PendingRepair pending;
  if (volume.size_bytes() < kHeartbeatOffset) co_return pending;
  base::AlignedBuffer buffer(kMetadataBlockBytes);
  CO_TRY_STATUS(co_await ReadAt(volume, kRepairRecordOffset, buffer.span()));
  const Result<RepairRecord> record =
      DecodeRepairRecord(buffer.span().first<kMetadataBlockBytes>(), volume.size_bytes());
  if (!record) co_return pending;
  pending.record = *record;
  for (uint32_t i = 0; i < record->chunk_addresses.size(); ++i) {
    CO_TRY_STATUS(co_await ReadChunk(volume, &pending, i, ignore_checksums));
  }
  pending.exists = true;
  co_return pending;
}

Task<Status> FinishRepair(BlockDevice& volume, PendingRepair& pending, RepairFaults faults) {
  co_return co_await BringHome(volume, &pending.images, faults);
}

Task<Status> WriteRepair(BlockDevice& volume, OverlayDevice& overlay,
                         const RepairIdentity* identity, std::span<const uint64_t> chunks,
                         RepairFaults faults) {
  RepairRecord record;
  record.identity = *identity;
  if (overlay.blocks().size() <= kSmallLogImages) {
    record.chunk_addresses.push_back(kRepairLogOffset);
  } else {
    record.chunk_addresses.assign(chunks.begin(), chunks.end());
  }
  CO_TRY_STATUS(co_await WriteCopies(volume, overlay));
  CO_TRY_STATUS(co_await WriteLog(volume, overlay, &record));
  if (!faults.skip_log_flush) CO_TRY_STATUS(co_await volume.Flush());
  base::AlignedBuffer buffer(kMetadataBlockBytes);
  EncodeRepairRecord(record, buffer.span().first<kMetadataBlockBytes>());
  CO_TRY_STATUS(co_await WriteAt(volume, kRepairRecordOffset, buffer.span()));
  CO_TRY_STATUS(co_await volume.Flush());
  co_return co_await BringHome(volume, &overlay.blocks(), faults);
}

}  // namespace vmfs::fsck
