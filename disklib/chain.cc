#include "disklib/chain.h"

#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor_edit.h"
#include "fs/base/log.h"

namespace disklib {

using base::Code;
using base::Error;
using base::IoRequest;
using base::MapRun;
using base::Result;
using base::SharedGuard;
using base::Status;
using base::Task;

Chain::Chain(base::Executor& executor, ObjectBackend& backend, std::unique_ptr<Link> link,
             OpenDisks::Claim claim, bool is_thin)
    : executor_(executor),
      backend_(backend),
      link_(std::move(link)),
      claim_(std::move(claim)),
      drain_(executor),
      mark_lock_(executor) {
  limits_.block_size_bytes = kSectorBytes;
  limits_.can_write = claim_.holder().writes;
  limits_.can_unmap = limits_.can_write && is_thin;
  limits_.can_write_zeroes = limits_.can_write;
  limits_.can_map_status = true;
}

Status Chain::CheckRange(uint64_t offset_bytes, uint64_t length_bytes) const {
  if (offset_bytes % kSectorBytes != 0 || length_bytes % kSectorBytes != 0) {
    return Error(Code::kMisaligned, fmt::format("disk {}: {} bytes at {}: not whole sectors",
                                                name(), length_bytes, offset_bytes));
  }
  if (length_bytes != 0 && !Covers(offset_bytes, length_bytes)) {
    return Error(Code::kOutOfRange, fmt::format("disk {}: {} bytes at {}: the disk has {}", name(),
                                                length_bytes, offset_bytes, size_bytes()));
  }
  return base::Ok();
}

Task<Status> Chain::Read(IoRequest request) {
  const uint64_t length_bytes = request.size_bytes();
  CO_TRY_STATUS(CheckRange(request.offset_bytes, length_bytes));
  if (length_bytes == 0) co_return base::Ok();
  co_await drain_.AcquireShared();
  const SharedGuard held(drain_);
  CO_TRY(const uint64_t read_bytes, co_await link_->Read(request));
  if (read_bytes == length_bytes) co_return base::Ok();
  co_return Error(Code::kIo, fmt::format("disk {}: read {} of {} bytes at {}: an extent is too "
                                         "short",
                                         name(), read_bytes, length_bytes, request.offset_bytes));
}

Task<Status> Chain::Write(IoRequest request) {
  const uint64_t length_bytes = request.size_bytes();
  CO_TRY_STATUS(CheckRange(request.offset_bytes, length_bytes));
  if (length_bytes == 0) co_return base::Ok();
  co_await drain_.AcquireShared();
  const SharedGuard held(drain_);
  CO_TRY_STATUS(co_await MarkContent());
  CO_TRY(const uint64_t written_bytes, co_await link_->Write(request));
  if (written_bytes == length_bytes) co_return base::Ok();
  co_return Error(Code::kNoSpace, fmt::format("disk {}: wrote {} of {} bytes at {}", name(),
                                              written_bytes, length_bytes, request.offset_bytes));
}

Task<Status> Chain::Flush() {
  co_await drain_.AcquireShared();
  const SharedGuard held(drain_);
  if (!writable()) co_return base::Ok();
  CO_TRY_STATUS(co_await link_->Sync());
  co_return base::Ok();
}

Task<Status> Chain::Unmap(uint64_t offset_bytes, uint64_t length_bytes) {
  return WriteZeroes(offset_bytes, length_bytes, /*may_unmap=*/true);
}

Task<Status> Chain::WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes, bool may_unmap) {
  CO_TRY_STATUS(CheckRange(offset_bytes, length_bytes));
  if (length_bytes == 0) co_return base::Ok();
  co_await drain_.AcquireShared();
  const SharedGuard held(drain_);
  CO_TRY_STATUS(co_await MarkContent());
  CO_TRY_STATUS(co_await link_->WriteZeroes(offset_bytes, length_bytes, may_unmap));
  co_return base::Ok();
}

Task<Status> Chain::CompareAndWrite(uint64_t, std::span<const std::byte>,
                                    std::span<const std::byte>) {
  co_return Error(Code::kUnsupported, fmt::format("disk {}: compare and write", name()));
}

Task<Status> Chain::MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                              std::vector<MapRun>& runs) {
  CO_TRY_STATUS(CheckRange(offset_bytes, length_bytes));
  co_await drain_.AcquireShared();
  const SharedGuard held(drain_);
  CO_TRY_STATUS(co_await link_->MapStatus(offset_bytes, length_bytes, runs));
  co_return base::Ok();
}

Task<Status> Chain::Close() {
  co_await drain_.AcquireExclusive();
  const base::ExclusiveGuard alone(drain_);
  const Status closed = co_await link_->Close();
  claim_.Release();
  co_return closed;
}

Task<Result<uint64_t>> Chain::Seek(fss::SeekKind kind, uint64_t offset_bytes) {
  if (offset_bytes >= size_bytes()) co_return Error(Code::kNoData);
  co_await drain_.AcquireShared();
  const SharedGuard held(drain_);
  CO_TRY(const uint64_t found_bytes, co_await link_->Seek(kind, offset_bytes));
  if (kind == fss::SeekKind::kData && found_bytes >= size_bytes()) co_return Error(Code::kNoData);
  co_return found_bytes;
}

Task<Status> Chain::MarkContent() {
  if (content_marked_) co_return base::Ok();
  if (!writable()) {
    co_return Error(Code::kReadOnly, fmt::format("disk {}: opened for reading", name()));
  }
  co_await mark_lock_.Acquire();
  const base::LockGuard guard(mark_lock_);
  if (content_marked_) co_return base::Ok();  // somebody else did while we waited
  CO_TRY_STATUS(co_await ChangeContentId());
  content_marked_ = true;
  co_return base::Ok();
}

Task<Status> Chain::ChangeContentId() {
  CO_TRY(const std::string old_text,
         co_await ReadObject(backend_, link_->path(), kDescriptorReadBytesMax));
  DescriptorEdit edit(old_text);
  edit.SetContentId(DrawContentId(executor_.random()), executor_.random());
  if (!link_->descriptor().change_track_path.empty()) {
    base::LogWarn("disklib", "change tracking ends, its file would miss writes disk={}", name());
    edit.EndChangeTracking();
  }
  CO_TRY(const std::string text, edit.Finish());
  CO_TRY_STATUS(co_await StoreDescriptor(text));
  co_return base::Ok();
}

Task<Status> Chain::StoreDescriptor(std::string_view text) {
  CO_TRY(Descriptor descriptor, ParseDescriptor(text));
  CO_TRY(const ObjectInfo info, co_await backend_.ReplaceContents(link_->path(), text));
  const uint64_t old_id = link_->object_id();
  link_->SetDescriptor(info.id, std::move(descriptor));
  co_return claim_.Replace(old_id, info.id);
}

}  // namespace disklib
