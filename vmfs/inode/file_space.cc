#include "vmfs/inode/file_space.h"

#include <algorithm>

#include "vmfs/inode/block_map.h"
#include "vmfs/inode/file_io.h"
#include "vmfs/inode/free_units.h"
#include "vmfs/inode/layout.h"

namespace vmfs {
namespace {

// A walk over a map that is in memory never waits for the disk: others get their turn so often.
constexpr uint32_t kStepsBetweenYields = 64;

base::Task<base::Status> SetLength(VolumeCore& core, Inode& inode, uint64_t size_bytes,
                                   TimeKeeper times) {
  CO_TRY_STATUS(co_await LockOnDisk(core, inode));
  CO_TRY(Transaction transaction, co_await core.journal->Begin(1));
  const uint32_t now_s = core.NowSeconds();
  inode.Update(transaction, [&](InodeMetadata& metadata) {
    metadata.length_bytes = size_bytes;
    if (times == TimeKeeper::kCaller) return;
    metadata.modified_s = now_s;
    metadata.changed_s = now_s;
  });
  inode.last_sequence = core.journal->running_sequence();
  co_return base::Ok();
}

base::Task<base::Status> GrowTo(VolumeCore& core, Inode& inode, uint64_t size_bytes,
                                TimeKeeper times) {
  CO_TRY_STATUS(co_await ZeroTail(core, inode));
  CO_TRY_STATUS(co_await MakeMapReach(core, inode, size_bytes));
  co_return co_await SetLength(core, inode, size_bytes, times);
}

// Zeroes [begin, end) where it is mapped, unit by unit.
base::Task<base::Status> ZeroWhereMapped(VolumeCore& core, Inode& inode, uint64_t begin,
                                         uint64_t end) {
  while (begin < end) {
    CO_TRY(const FileRun run, co_await FindRun(core, inode, begin));
    const uint64_t length = std::min(run.length_bytes, end - begin);
    if (!run.is_hole) CO_TRY_STATUS(co_await ZeroMapped(core, inode, run.address, length));
    begin += length;
  }
  co_return base::Ok();
}

base::Task<base::Status> ZeroInline(VolumeCore& core, Inode& inode, uint64_t begin, uint64_t end) {
  end = std::min(end, inode.size_bytes);
  if (begin >= end) co_return base::Ok();
  CO_TRY_STATUS(co_await LockOnDisk(core, inode));
  CO_TRY(Transaction transaction, co_await core.journal->Begin(1));
  const auto data = InlineData(transaction.Modify(*inode.block, inode.lock_address));
  std::fill(data.begin() + static_cast<std::ptrdiff_t>(begin),
            data.begin() + static_cast<std::ptrdiff_t>(end), std::byte{0});
  inode.last_sequence = core.journal->running_sequence();
  co_return base::Ok();
}

bool AnySlotUsedBehind(const Inode& inode, uint64_t unit) {
  for (uint64_t slot = unit; slot < kSlotCount; ++slot) {
    if (!GetSlot(inode.block->bytes(), static_cast<uint32_t>(slot)).is_hole()) return true;
  }
  return false;
}

// Whether units [first, end) may become holes; changes the map kind where that is needed for it.
base::Task<base::Result<bool>> MayFree(VolumeCore& core, Inode& inode, uint64_t end_unit) {
  if (inode.map_kind == MapKind::kSubBlocks) co_return false;
  if (inode.map_kind != MapKind::kFileBlocks) co_return true;
  if (!AnySlotUsedBehind(inode, end_unit)) co_return true;
  const base::Status status = co_await ConvertToPointerBlocks(core, inode);
  if (status) co_return true;
  if (status.error().code() == base::Code::kNoSpace) co_return false;
  co_return status.error();
}

base::Task<base::Status> PunchHole(VolumeCore& core, Inode& inode, uint64_t begin, uint64_t end) {
  if (inode.map_kind == MapKind::kInline) co_return co_await ZeroInline(core, inode, begin, end);
  const uint64_t unit = inode.unit_bytes;
  const uint64_t first_unit = (begin + unit - 1) / unit;
  const bool to_the_end = end >= inode.size_bytes;
  const uint64_t reach_units = MapReachBytes(inode.map_kind) / unit;
  const uint64_t end_unit =
      std::min(reach_units, to_the_end ? (end + unit - 1) / unit : end / unit);
  bool free_units = first_unit < end_unit;
  if (free_units) {
    CO_TRY(free_units, co_await MayFree(core, inode, end_unit));
  }
  const uint64_t reach_end = std::min(end, reach_units * unit);
  if (!free_units) co_return co_await ZeroWhereMapped(core, inode, begin, reach_end);
  CO_TRY_STATUS(
      co_await ZeroWhereMapped(core, inode, begin, std::min(reach_end, first_unit * unit)));
  CO_TRY_STATUS(co_await FreeUnits(core, inode, first_unit, end_unit));
  if (end_unit * unit < reach_end) {
    CO_TRY_STATUS(co_await ZeroWhereMapped(core, inode, end_unit * unit, reach_end));
  }
  co_return base::Ok();
}

// Allocates holes of [begin, end) as zeros; with `zero_mapped` what is there becomes zero too.
base::Task<base::Status> AllocateUnits(VolumeCore& core, Inode& inode, uint64_t begin, uint64_t end,
                                       bool zero_mapped) {
  while (begin < end) {
    CO_TRY(const FileRun run, co_await FindRun(core, inode, begin));
    const uint64_t to_unit_end = inode.unit_bytes - begin % inode.unit_bytes;
    const uint64_t length = std::min(to_unit_end, end - begin);
    if (run.is_hole) {
      CO_TRY_STATUS(co_await AllocateUnit(core, inode, begin / inode.unit_bytes, 0));
    } else if (zero_mapped) {
      CO_TRY_STATUS(co_await ZeroMapped(core, inode, run.address, length));
    }
    begin += length;
  }
  co_return base::Ok();
}

// What `mode` asks for, but punching.
base::Task<base::Status> Allocate(VolumeCore& core, Inode& inode, fss::AllocateMode mode,
                                  uint64_t begin, uint64_t end, TimeKeeper times) {
  const bool keep_size = mode == fss::AllocateMode::kAllocateKeepSize ||
                         mode == fss::AllocateMode::kZeroRangeKeepSize;
  const bool zero = mode == fss::AllocateMode::kZeroRange ||
                    mode == fss::AllocateMode::kZeroRangeKeepSize;
  const uint64_t new_size = std::max(inode.size_bytes, keep_size ? 0 : end);
  CO_TRY_STATUS(co_await ZeroTail(core, inode));
  CO_TRY_STATUS(co_await MakeMapReach(core, inode, end));
  if (inode.map_kind == MapKind::kInline) {
    if (zero) CO_TRY_STATUS(co_await ZeroInline(core, inode, begin, end));
  } else {
    CO_TRY_STATUS(co_await AllocateUnits(core, inode, begin, end, zero));
  }
  if (new_size == inode.size_bytes) co_return base::Ok();
  co_return co_await SetLength(core, inode, new_size, times);
}

void NoteTime(VolumeCore& core, Inode& inode, TimeKeeper times) {
  if (times == TimeKeeper::kCaller) return;
  inode.lazy_modified_s = core.NowSeconds();
  core.WakeTicker();
}

}  // namespace

base::Task<base::Status> Truncate(VolumeCore& core, Inode& inode, uint64_t size_bytes,
                                  TimeKeeper times) {
  if (size_bytes > kFileBytesMax) co_return base::Code::kTooLarge;
  CO_TRY_STATUS(core.CheckWritable());
  co_await inode.lock.AcquireExclusive();
  base::ExclusiveGuard guard(inode.lock);
  if (size_bytes > inode.size_bytes) co_return co_await GrowTo(core, inode, size_bytes, times);
  NoteTime(core, inode, times);
  co_return co_await ShrinkTo(core, inode, size_bytes);
}

base::Task<base::Status> AllocateRange(VolumeCore& core, Inode& inode, fss::AllocateMode mode,
                                       uint64_t offset_bytes, uint64_t length_bytes,
                                       TimeKeeper times) {
  const uint64_t end = offset_bytes + length_bytes;
  if (length_bytes == 0) co_return base::Code::kInvalidArgument;
  if (end > kFileBytesMax || end < offset_bytes) co_return base::Code::kTooLarge;
  CO_TRY_STATUS(core.CheckWritable());
  co_await inode.lock.AcquireExclusive();
  base::ExclusiveGuard guard(inode.lock);
  NoteTime(core, inode, times);
  if (mode == fss::AllocateMode::kPunchHole) {
    co_return co_await PunchHole(core, inode, offset_bytes, end);
  }
  co_return co_await Allocate(core, inode, mode, offset_bytes, end, times);
}

base::Task<base::Result<uint64_t>> SeekFile(VolumeCore& core, Inode& inode, fss::SeekKind kind,
                                            uint64_t offset_bytes) {
  co_await inode.lock.AcquireShared();
  base::SharedGuard guard(inode.lock);
  const uint64_t size = inode.size_bytes;
  if (offset_bytes >= size) co_return base::Code::kNoData;
  const bool want_hole = kind == fss::SeekKind::kHole;
  if (inode.map_kind == MapKind::kInline) co_return want_hole ? size : offset_bytes;
  uint32_t steps = 0;
  for (uint64_t at = offset_bytes; at < size;) {
    if (++steps % kStepsBetweenYields == 0) co_await core.executor.Yield();
    CO_TRY(const FileRun run, co_await FindRun(core, inode, at));
    if (run.is_hole == want_hole) co_return at;
    at += run.length_bytes;
  }
  if (want_hole) co_return size;
  co_return base::Code::kNoData;
}

base::Task<base::Status> MapFile(VolumeCore& core, Inode& inode, uint64_t offset_bytes,
                                 uint64_t length_bytes, std::vector<base::MapRun>& runs) {
  co_await inode.lock.AcquireShared();
  base::SharedGuard guard(inode.lock);
  const uint64_t end = offset_bytes + length_bytes;
  const size_t first_run = runs.size();
  uint32_t steps = 0;
  for (uint64_t at = offset_bytes; at < end;) {
    FileRun run;
    run.is_hole = at >= inode.size_bytes;
    run.length_bytes = end - at;
    if (++steps % kStepsBetweenYields == 0) co_await core.executor.Yield();
    if (!run.is_hole && inode.map_kind != MapKind::kInline) {
      CO_TRY(run, co_await FindRun(core, inode, at));
    }
    const uint64_t length = std::min(run.length_bytes, end - at);
    const base::MapState state = run.is_hole ? base::MapState::kHole : base::MapState::kData;
    if (runs.size() > first_run && runs.back().state == state) {
      runs.back().length_bytes += length;
    } else {
      runs.push_back({at, length, state});
    }
    at += length;
  }
  co_return base::Ok();
}

}  // namespace vmfs
