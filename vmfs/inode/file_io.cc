#include "vmfs/inode/file_io.h"

#include <algorithm>

#include <fmt/format.h>

#include "vmfs/inode/block_map.h"
#include "vmfs/inode/buffers.h"
#include "vmfs/inode/layout.h"
#include "vmfs/inode/sector_edges.h"
#include "vmfs/resource/grow.h"

namespace vmfs {
namespace {

// The run at `offset`, lengthened over adjacent units while the map is in memory.
base::Task<base::Result<FileRun>> FindLongRun(VolumeCore& core, Inode& inode, uint64_t offset,
                                              uint64_t wanted_bytes) {
  FileRun run;
  if (!TryFindRun(core, inode, offset, run)) {
    CO_TRY(run, co_await FindRun(core, inode, offset));
  }
  while (run.length_bytes < wanted_bytes) {
    FileRun next;
    if (!TryFindRun(core, inode, offset + run.length_bytes, next)) break;
    const bool adjacent = run.is_hole
                              ? next.is_hole
                              : !next.is_hole && next.address == run.address + run.length_bytes;
    if (!adjacent) break;
    run.length_bytes += next.length_bytes;
  }
  run.length_bytes = std::min(run.length_bytes, wanted_bytes);
  co_return run;
}

void ReadInline(const Inode& inode, const base::IoRequest& request, uint64_t length) {
  const auto data = InlineData(inode.block->bytes()).subspan(request.offset_bytes, length);
  CopyToBuffers(data, request.buffers);
}

base::Task<base::Status> ReadRun(VolumeCore& core, const base::IoRequest* request, uint64_t done,
                                 const FileRun* run, bool is_last) {
  uint64_t length = run->length_bytes;
  if (is_last && run->address % kSectorBytes == 0) {
    // The end of a file rarely fills a sector; the caller's buffer usually has room for all of it.
    const uint64_t rounded = (length + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
    if (done + rounded <= request->size_bytes()) length = rounded;
  }
  const BufferSlice slice(request->buffers, done, length);
  if (run->is_hole) {
    ZeroBuffers(slice.pieces());
    co_return base::Ok();
  }
  co_return co_await ReadBytes(core, run->address, slice.pieces());
}

// What to do about one write before its data can go to the device; the lock is held shared.
enum class Preparation : uint8_t { kNone, kInline, kChangeLayout, kZeroTail };

Preparation WhatIsNeeded(const Inode& inode, uint64_t end_bytes) {
  if (NeedsLayoutFor(inode, end_bytes)) return Preparation::kChangeLayout;
  if (inode.map_kind == MapKind::kInline) return Preparation::kInline;
  if (end_bytes > inode.size_bytes && !inode.tail_is_zero) return Preparation::kZeroTail;
  return Preparation::kNone;
}

base::Task<base::Status> WriteInline(VolumeCore& core, Inode& inode, base::IoRequest request) {
  CO_TRY_STATUS(co_await LockOnDisk(core, inode));
  CO_TRY(Transaction transaction, co_await core.journal->Begin(1));
  const uint64_t end = request.offset_bytes + request.size_bytes();
  const MetadataSpan bytes = transaction.Modify(*inode.block, inode.lock_address);
  CopyFromBuffers(request.buffers,
                  InlineData(bytes).subspan(request.offset_bytes, request.size_bytes()));
  inode.Update(transaction, [&](InodeMetadata& metadata) {
    metadata.length_bytes = std::max<uint64_t>(metadata.length_bytes, end);
  });
  inode.last_sequence = core.journal->running_sequence();
  co_return base::Ok();
}

// Prepares the inode for a write that ends at `end_bytes`, alone. Inline writes are done here.
base::Task<base::Result<bool>> PrepareExclusively(VolumeCore& core, Inode& inode,
                                                  base::IoRequest request, uint64_t end_bytes) {
  co_await inode.lock.AcquireExclusive();
  base::ExclusiveGuard guard(inode.lock);
  switch (WhatIsNeeded(inode, end_bytes)) {
    case Preparation::kChangeLayout:
      CO_TRY_STATUS(co_await MakeLayoutFor(core, inode, end_bytes));
      break;
    case Preparation::kZeroTail: CO_TRY_STATUS(co_await ZeroTail(core, inode)); break;
    case Preparation::kInline:
      CO_TRY_STATUS(co_await WriteInline(core, inode, request));
      co_return true;
    case Preparation::kNone: break;
  }
  co_return false;
}

base::Task<base::Status> GrowLength(VolumeCore& core, Inode& inode, uint64_t end_bytes) {
  if (end_bytes <= inode.size_bytes) co_return base::Ok();
  CO_TRY_STATUS(co_await LockOnDisk(core, inode));
  CO_TRY(Transaction transaction, co_await core.journal->Begin(1));
  inode.Update(transaction, [&](InodeMetadata& metadata) {
    metadata.length_bytes = std::max<uint64_t>(metadata.length_bytes, end_bytes);
  });
  inode.last_sequence = core.journal->running_sequence();
  co_return base::Ok();
}

// Links come in the order of the file: a block that follows others still on their way waits for
// them, so that writes which arrive out of order do not look like holes.
base::Task<void> WaitForLowerBlocks(Inode& inode, uint64_t index) {
  while (*inode.allocating.begin() < index) co_await inode.changed.Wait();
}

base::Task<base::Status> FillAndLink(VolumeCore& core, Inode& inode, uint64_t index,
                                     uint64_t offset_in_unit, std::span<const base::IoVec> pieces,
                                     uint64_t end_bytes) {
  const uint64_t length = base::TotalBytes(pieces);
  const bool covers_all = length == kFileBlockBytes;
  const ResourceIndex hint{inode.last_cluster_hint, inode.last_item_hint};
  CO_TRY(Reservation block, co_await ReserveZeroed(core, core.file_blocks, hint,
                                                   /*skip_zeroing=*/covers_all));
  inode.last_cluster_hint = block.index().cluster;
  inode.last_item_hint = block.index().item + 1;
  CO_TRY(const uint64_t address, core.file_blocks.allocator->AddressOf(block.index()));
  if (length > 0) {
    CO_TRY_STATUS(co_await WriteBytes(core, inode, address + offset_in_unit, pieces));
  }
  if (inode.map_kind == MapKind::kFileBlocks) co_await WaitForLowerBlocks(inode, index);
  co_return co_await LinkBlock(core, inode, index, block, end_bytes);
}

// The first writer of an unallocated block allocates it; others wait and find it mapped.
base::Task<base::Status> WriteIntoHole(VolumeCore& core, Inode& inode, uint64_t index,
                                       uint64_t offset_in_unit, std::span<const base::IoVec> pieces,
                                       uint64_t end_bytes, bool& somebody_else) {
  somebody_else = inode.allocating.contains(index);
  if (somebody_else) {
    while (inode.allocating.contains(index)) co_await inode.changed.Wait();
    co_return base::Ok();
  }
  inode.allocating.insert(index);
  const base::Status status =
      co_await FillAndLink(core, inode, index, offset_in_unit, pieces, end_bytes);
  inode.allocating.erase(index);
  inode.changed.NotifyAll();
  co_return status;
}

// Writes one part that lies within a unit or an adjacent run of units; answers its length.
base::Task<base::Result<uint64_t>> WritePart(VolumeCore& core, Inode& inode,
                                             const base::IoRequest* request, uint64_t done) {
  const uint64_t offset = request->offset_bytes + done;
  const uint64_t left = request->size_bytes() - done;
  for (;;) {
    CO_TRY(const FileRun run, co_await FindLongRun(core, inode, offset, left));
    if (!run.is_hole) {
      const BufferSlice slice(request->buffers, done, run.length_bytes);
      CO_TRY_STATUS(co_await WriteBytes(core, inode, run.address, slice.pieces()));
      CO_TRY_STATUS(co_await GrowLength(core, inode, offset + run.length_bytes));
      co_return run.length_bytes;
    }
    const uint64_t in_unit = offset % inode.unit_bytes;
    const uint64_t length = std::min(left, inode.unit_bytes - in_unit);
    const BufferSlice slice(request->buffers, done, length);
    bool somebody_else = false;
    CO_TRY_STATUS(co_await WriteIntoHole(core, inode, offset / inode.unit_bytes, in_unit,
                                         slice.pieces(), offset + length, somebody_else));
    if (!somebody_else) co_return length;
  }
}

}  // namespace

base::Task<base::Result<uint64_t>> ReadFile(VolumeCore& core, Inode& inode,
                                            base::IoRequest request) {
  co_await inode.lock.AcquireShared();
  base::SharedGuard guard(inode.lock);
  if (request.offset_bytes >= inode.size_bytes) co_return uint64_t{0};
  const uint64_t length = std::min(request.size_bytes(), inode.size_bytes - request.offset_bytes);
  if (inode.map_kind == MapKind::kInline) {
    ReadInline(inode, request, length);
    co_return length;
  }
  for (uint64_t done = 0; done < length;) {
    CO_TRY(const FileRun run,
           co_await FindLongRun(core, inode, request.offset_bytes + done, length - done));
    const bool is_last = done + run.length_bytes == length;
    CO_TRY_STATUS(co_await ReadRun(core, &request, done, &run, is_last));
    done += run.length_bytes;
  }
  co_return length;
}

base::Task<base::Result<uint64_t>> WriteFile(VolumeCore& core, Inode& inode,
                                             base::IoRequest request) {
  const uint64_t length = request.size_bytes();
  const uint64_t end = request.offset_bytes + length;
  if (end > kFileBytesMax || end < length) co_return base::Code::kTooLarge;
  CO_TRY_STATUS(core.CheckWritable());
  if (length == 0) co_return uint64_t{0};
  if (!request.keeps_times) inode.lazy_modified_s = core.NowSeconds();
  core.WakeTicker();
  co_await inode.lock.AcquireShared();
  while (WhatIsNeeded(inode, end) != Preparation::kNone) {
    inode.lock.ReleaseShared();
    CO_TRY(const bool written, co_await PrepareExclusively(core, inode, request, end));
    if (written) co_return length;
    co_await inode.lock.AcquireShared();
  }
  base::SharedGuard guard(inode.lock);
  uint64_t done = 0;
  while (done < length) {
    const base::Result<uint64_t> part = co_await WritePart(core, inode, &request, done);
    if (!part) {
      inode.tail_is_zero = false;  // part of it may have reached the device behind the end
      if (done > 0 && part.error().code() == base::Code::kNoSpace) break;
      co_return part.error();
    }
    done += *part;
  }
  co_return done;
}

base::Task<base::Status> AllocateUnit(VolumeCore& core, Inode& inode, uint64_t index,
                                      uint64_t end_bytes) {
  // A coroutine of its own, so that the flag outlives the call.
  bool somebody_else = false;
  const std::span<const base::IoVec> nothing;
  co_return co_await WriteIntoHole(core, inode, index, 0, nothing, end_bytes, somebody_else);
}

base::Task<base::Status> ZeroMapped(VolumeCore& core, Inode& inode, uint64_t address,
                                    uint64_t length_bytes) {
  // Ragged edges as bytes, the sectors between them by the device.
  static constexpr std::array<std::byte, kSectorBytes> kZeros{};
  const uint64_t end = address + length_bytes;
  const uint64_t first_sector =
      std::min(end, (address + kSectorBytes - 1) / kSectorBytes * kSectorBytes);
  const uint64_t last_sector = std::max(first_sector, end / kSectorBytes * kSectorBytes);
  if (address < first_sector) {
    const base::IoVec piece{const_cast<std::byte*>(kZeros.data()), first_sector - address};
    CO_TRY_STATUS(co_await WriteBytes(core, inode, address, std::span(&piece, 1)));
  }
  if (first_sector < last_sector) {
    CO_TRY_STATUS(co_await core.device.WriteZeroes(first_sector, last_sector - first_sector,
                                                   /*may_unmap=*/false));
    core.journal->NoteDataWrite();
  }
  if (last_sector < end) {
    const base::IoVec piece{const_cast<std::byte*>(kZeros.data()), end - last_sector};
    CO_TRY_STATUS(co_await WriteBytes(core, inode, last_sector, std::span(&piece, 1)));
  }
  co_return base::Ok();
}

namespace {

// Blocks allocated behind the end may hold data whose length a crash has lost.
base::Task<base::Status> ZeroUnitsBehindEnd(VolumeCore& core, Inode& inode) {
  const uint64_t unit = inode.unit_bytes;
  const uint64_t reach = MapReachBytes(inode.map_kind);
  for (uint64_t at = (inode.size_bytes + unit - 1) / unit * unit; at < reach;) {
    CO_TRY(const FileRun run, co_await FindRun(core, inode, at));
    if (!run.is_hole) CO_TRY_STATUS(co_await ZeroOnDevice(core, run.address, run.length_bytes));
    at += run.length_bytes;
  }
  co_return base::Ok();
}

}  // namespace

base::Task<base::Status> ZeroTail(VolumeCore& core, Inode& inode) {
  if (inode.tail_is_zero || inode.map_kind == MapKind::kInline) co_return base::Ok();
  if (inode.size_bytes % inode.unit_bytes != 0) {
    CO_TRY(const FileRun run, co_await FindRun(core, inode, inode.size_bytes));
    if (!run.is_hole) {
      const uint64_t to_unit_end = inode.unit_bytes - inode.size_bytes % inode.unit_bytes;
      CO_TRY_STATUS(co_await ZeroMapped(core, inode, run.address, to_unit_end));
    }
  }
  CO_TRY_STATUS(co_await ZeroUnitsBehindEnd(core, inode));
  inode.tail_is_zero = true;
  co_return base::Ok();
}

}  // namespace vmfs
