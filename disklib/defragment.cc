#include "disklib/defragment.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "disklib/extend_sparse.h"
#include "disklib/names.h"
#include "fs/base/aligned_buffer.h"
#include "fs/base/log.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::IoVec;
using base::Result;
using base::Status;
using base::Task;
using fds::GrainRun;
using fds::GrainState;

constexpr uint64_t kPieceBytes = uint64_t{1} << 20;
constexpr uint64_t kWindowBytes = uint64_t{16} << 20;

// One link being rewritten.
struct Rewrite {
  LoadedDescriptor loaded;
  Progress* progress = nullptr;
  uint64_t done_bytes = 0;  // of the link's address space
  uint64_t total_bytes = 0;
  uint64_t moved_bytes = 0;
};

Status CheckIsSparse(const LoadedDescriptor& loaded) {
  const auto& extents = loaded.descriptor.extents;
  const bool is_sparse = std::all_of(extents.begin(), extents.end(), [](const ExtentLine& line) {
    return SparseKindOf(line.type).has_value();
  });
  if (is_sparse) return base::Ok();
  return Error(Code::kUnsupported,
               fmt::format("defragment {}: not a link of sparse files", loaded.path));
}

Task<Status> CopyData(Extent& from, Extent& to, GrainRun run) {
  base::AlignedBuffer buffer(std::min(kPieceBytes, run.length_bytes));
  while (run.length_bytes > 0) {
    const IoVec piece{buffer.data(), std::min<uint64_t>(buffer.size(), run.length_bytes)};
    CO_TRY(const uint64_t read_bytes,
           co_await from.Read({.offset_bytes = run.offset_bytes, .buffers = {&piece, 1}}));
    CO_TRY(const uint64_t written_bytes,
           co_await to.Write({.offset_bytes = run.offset_bytes, .buffers = {&piece, 1}}));
    if (read_bytes != piece.size_bytes || written_bytes != piece.size_bytes) {
      co_return Error(Code::kNoSpace, fmt::format("copied {} of {} bytes at {}", written_bytes,
                                                  piece.size_bytes, run.offset_bytes));
    }
    run.offset_bytes += piece.size_bytes;
    run.length_bytes -= piece.size_bytes;
  }
  co_return base::Ok();
}

Task<Status> CopyRun(Rewrite& rewrite, Extent& from, Extent& to, GrainRun run) {
  if (run.state == GrainState::kData) {
    rewrite.moved_bytes += run.length_bytes;
    CO_TRY_STATUS(co_await CopyData(from, to, run));
  } else if (run.state == GrainState::kZero) {
    CO_TRY_STATUS(co_await to.WriteZeroes(run.offset_bytes, run.length_bytes, /*may_unmap=*/true));
  }
  co_return base::Ok();
}

// Puts what one extent holds into another, in the order of the disk.
Task<Status> CopyGrains(Rewrite& rewrite, Extent& from, Extent& to) {
  for (uint64_t at_bytes = 0; at_bytes < from.size_bytes(); at_bytes += kWindowBytes) {
    const uint64_t length_bytes = std::min(kWindowBytes, from.size_bytes() - at_bytes);
    std::vector<GrainRun> runs;
    CO_TRY_STATUS(co_await from.grain_map()->Lookup(at_bytes, length_bytes, runs));
    for (const GrainRun& run : runs) CO_TRY_STATUS(co_await CopyRun(rewrite, from, to, run));
    rewrite.done_bytes += length_bytes;
    if (rewrite.progress != nullptr &&
        !rewrite.progress->Advance(rewrite.done_bytes, rewrite.total_bytes)) {
      co_return Error(Code::kInterrupted, "defragment: stopped");
    }
  }
  co_return co_await to.Sync();
}

Task<Status> MakeFile(Lib& lib, std::string_view path, NewSparseExtent shape) {
  CO_TRY_STATUS(co_await RemoveIfThere(lib.backend(), path));
  CO_TRY_STATUS(co_await lib.backend().Create(path));
  CO_TRY(const std::unique_ptr<Object> object,
         co_await lib.backend().Open(path, fss::OpenMode::kWrite));
  const Status formatted = co_await FormatSparseExtent(*object, shape);
  const Status closed = co_await object->Close();
  co_return formatted ? closed : formatted;
}

Task<Result<std::unique_ptr<Extent>>> OpenFile(Lib& lib, std::string_view path, SparseKind kind,
                                               uint64_t size_bytes, bool can_write) {
  const fss::OpenMode mode = can_write ? fss::OpenMode::kWrite : fss::OpenMode::kRead;
  CO_TRY(std::unique_ptr<Object> object, co_await lib.backend().Open(path, mode));
  const SparseOpen options{
      .kind = kind, .size_bytes = size_bytes, .can_write = can_write, .path = path};
  auto opening = OpenSparseExtent(lib.executor(), std::move(object), options);
  Result<std::unique_ptr<Extent>> opened = co_await opening;
  co_return opened;
}

// Fills the new file from the old one; both are closed when this answers.
Task<Status> FillFrom(Lib& lib, Rewrite& rewrite, Extent& from, std::string_view new_path,
                      SparseKind kind) {
  const uint64_t size_bytes = from.size_bytes();
  // A file that holds its own descriptor does so again.
  const LoadedDescriptor& loaded = rewrite.loaded;
  const NewSparseExtent shape{
      .kind = kind,
      .size_bytes = size_bytes,
      .grain_bytes = from.grain_map()->grain_bytes(),
      .descriptor = loaded.embedded.room_bytes > 0 ? std::string_view(loaded.text) : ""};
  CO_TRY_STATUS(co_await MakeFile(lib, new_path, shape));
  CO_TRY(const std::unique_ptr<Extent> to,
         co_await OpenFile(lib, new_path, kind, size_bytes, /*can_write=*/true));
  const Status copied = co_await CopyGrains(rewrite, from, *to);
  const Status closed = co_await to->Close();
  co_return copied ? closed : copied;
}

Task<Status> RewriteExtent(Lib& lib, Rewrite& rewrite, size_t index) {
  const ExtentLine& line = rewrite.loaded.descriptor.extents[index];
  const std::string& path = rewrite.loaded.found_paths[index];
  const std::string new_path = UnfinishedPath(path);
  const SparseKind kind = *SparseKindOf(line.type);
  CO_TRY(const std::unique_ptr<Extent> from,
         co_await OpenFile(lib, path, kind, line.sector_count * kSectorBytes, /*can_write=*/false));
  Status status = co_await FillFrom(lib, rewrite, *from, new_path, kind);
  const Status closed = co_await from->Close();
  if (status) status = closed;
  if (status) status = co_await lib.backend().SyncNames();
  if (status) status = co_await lib.backend().Replace(new_path, path);
  if (status) co_return co_await lib.backend().SyncNames();
  const Status removed = co_await RemoveIfThere(lib.backend(), new_path);
  static_cast<void>(removed);  // the first error is the one to tell; the next run finds the file
  co_return status;
}

}  // namespace

Task<Result<DefragmentResult>> DefragmentLink(Lib& lib, std::string_view path, Progress* progress) {
  Rewrite rewrite;
  rewrite.progress = progress;
  CO_TRY(rewrite.loaded, co_await lib.Load(path, /*need_extents=*/true));
  LoadedDescriptor& loaded = rewrite.loaded;
  CO_TRY(const Lib::PathHold hold, lib.HoldPath(loaded.path));
  CO_TRY_STATUS(Lib::CheckKind(loaded.descriptor, loaded.path));
  CO_TRY_STATUS(CheckIsSparse(loaded));
  CO_TRY_STATUS(co_await lib.CheckAlone(loaded, "defragment"));
  const OpenOptions options{.writable = true, .user = "strata disk defragment"};
  CO_TRY(const OpenDisks::Claim claim, lib.ClaimDisk(loaded, options));
  rewrite.total_bytes = loaded.descriptor.capacity_sectors() * kSectorBytes;
  CO_TRY(const DiskInfo before, co_await lib.GetInfo(loaded.path));
  for (size_t i = 0; i < loaded.descriptor.extents.size(); ++i) {
    CO_TRY_STATUS(co_await RewriteExtent(lib, rewrite, i));
  }
  CO_TRY(const DiskInfo after, co_await lib.GetInfo(loaded.path));
  base::LogInfo("disklib", "defragmented disk={} moved={} allocated_before={} allocated_after={}",
                loaded.path, rewrite.moved_bytes, before.allocated_bytes, after.allocated_bytes);
  co_return DefragmentResult{.moved_bytes = rewrite.moved_bytes,
                             .allocated_before_bytes = before.allocated_bytes,
                             .allocated_after_bytes = after.allocated_bytes};
}

}  // namespace disklib
