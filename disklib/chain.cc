#include "disklib/chain.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor_edit.h"
#include "disklib/descriptor_store.h"
#include "fs/base/log.h"

namespace disklib {

using base::Code;
using base::Error;
using base::IoRequest;
using base::Result;
using base::SharedGuard;
using base::Status;
using base::Task;

Chain::Chain(base::Executor& executor, ObjectBackend& backend, WindowBudget& budget,
             std::vector<std::unique_ptr<Link>> links, OpenDisks::Claim leaf_claim,
             OpenDisks::Claim parents_claim, ChainOptions options)
    : executor_(executor),
      backend_(backend),
      links_(std::move(links)),
      places_(executor, budget, links_),
      claim_(std::move(leaf_claim)),
      parents_claim_(std::move(parents_claim)),
      options_(options),
      drain_(executor),
      mark_lock_(executor),
      grain_turns_(executor),
      in_flight_(executor) {
  limits_.block_size_bytes = kSectorBytes;
  limits_.can_write = claim_.holder().writes;
  limits_.can_write_zeroes = limits_.can_write;
  limits_.can_map_status = true;
  NoteLinks();
}

// What follows from the links: whether the leaf holds everything, and what it can do.
void Chain::NoteLinks() {
  top_is_flat_ = top().is_flat();
  limits_.unmap_granularity_bytes = 4096;
  bool has_zero_state = true;
  for (const auto& extent : top().extents()) {
    fds::GrainMap* const map = extent->grain_map();
    if (map == nullptr) continue;
    has_zero_state = has_zero_state && map->has_zero_state();
    limits_.unmap_granularity_bytes = std::max(limits_.unmap_granularity_bytes, map->grain_bytes());
  }
  limits_.can_unmap = writable() && (top_is_flat_ ? options_.is_thin : has_zero_state);
}

void Chain::GrowTop(uint64_t last_extent_bytes, std::vector<std::unique_ptr<Extent>> added) {
  top().Grow(last_extent_bytes, std::move(added));
  NoteLinks();
  places_.NoteLinks();
}

void Chain::AddLink(std::unique_ptr<Link> link, OpenDisks::Claim claim) {
  CHECK(writable() && drain_.held_exclusively() && links_.size() < kChainLinksMax);
  links_.push_back(std::move(link));
  parents_claim_.TakeOver(std::move(claim_));
  claim_ = std::move(claim);
  content_marked_ = false;  // of the new leaf
  NoteLinks();
  places_.NoteLinks();
}

void Chain::ForbidWrites() {
  limits_.can_write = false;
  content_marked_ = false;
  NoteLinks();
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

Task<Status> Chain::RefuseRange(uint64_t offset_bytes, uint64_t length_bytes) const {
  co_return CheckRange(offset_bytes, length_bytes);
}

Error Chain::ShortRead(uint64_t offset_bytes, uint64_t length_bytes, uint64_t read_bytes) const {
  return Error(Code::kIo, fmt::format("disk {}: read {} of {} bytes at {}: an extent is too short",
                                      name(), read_bytes, length_bytes, offset_bytes));
}

Task<Status> Chain::Read(IoRequest request) {
  const uint64_t length_bytes = request.size_bytes();
  if (!CheckRange(request.offset_bytes, length_bytes)) {
    return RefuseRange(request.offset_bytes, length_bytes);
  }
  return ReadBytes(request);
}

Task<Status> Chain::Write(IoRequest request) {
  const uint64_t length_bytes = request.size_bytes();
  if (!CheckRange(request.offset_bytes, length_bytes)) {
    return RefuseRange(request.offset_bytes, length_bytes);
  }
  return WriteBytes(request);
}

Task<Status> Chain::WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes, bool may_unmap) {
  if (!CheckRange(offset_bytes, length_bytes)) return RefuseRange(offset_bytes, length_bytes);
  return ZeroBytes(offset_bytes, length_bytes, may_unmap);
}

Task<Status> Chain::Unmap(uint64_t offset_bytes, uint64_t length_bytes) {
  return WriteZeroes(offset_bytes, length_bytes, /*may_unmap=*/true);
}

Task<Status> Chain::Flush() {
  co_await drain_.AcquireShared();
  const SharedGuard held(drain_);
  if (!writable()) co_return base::Ok();
  CO_TRY_STATUS(co_await top().Sync());
  co_return base::Ok();
}

Task<Status> Chain::CompareAndWrite(uint64_t, std::span<const std::byte>,
                                    std::span<const std::byte>) {
  co_return Error(Code::kUnsupported, fmt::format("disk {}: compare and write", name()));
}

// Every link is closed, whatever the others answer; the first error is told.
Task<Status> Chain::Close() {
  claim_.BeginClosing();
  co_await drain_.AcquireExclusive();
  const base::ExclusiveGuard alone(drain_);
  Status first = base::Ok();
  for (const auto& link : links_) {
    const Status closed = co_await link->Close();
    if (first) first = closed;
  }
  claim_.Release();
  parents_claim_.Release();
  co_return first;
}

Chain::Part Chain::PartAt(uint64_t offset_bytes, uint64_t end_bytes) const {
  const uint64_t window_end = (offset_bytes / kWindowBytes + 1) * kWindowBytes;
  end_bytes = std::min(end_bytes, window_end);
  const Link::Piece piece = top().PieceAt(offset_bytes, end_bytes - offset_bytes);
  fds::GrainMap* const map = piece.extent->grain_map();
  return {.extent = piece.extent,
          .source = places_.top_source(piece.index),
          .start_bytes = piece.start_bytes,
          .offset_bytes = offset_bytes,
          .end_bytes = offset_bytes + piece.length_bytes,
          .grain_bytes = map == nullptr ? 0 : map->grain_bytes(),
          .has_zero_state = map != nullptr && map->has_zero_state()};
}

uint64_t Chain::Part::GrainStart(uint64_t at_bytes) const {
  return at_bytes - (at_bytes - start_bytes) % grain_bytes;
}

// The last grain ends with the extent.
uint64_t Chain::Part::GrainEnd(uint64_t at_bytes) const {
  const uint64_t extent_end = start_bytes + extent->size_bytes();
  return std::min(GrainStart(at_bytes + grain_bytes - 1), extent_end);
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
  CO_TRY(const DescriptorText old, co_await ReadDescriptorAt(backend_, top().path()));
  DescriptorEdit edit(old.text);
  edit.SetContentId(DrawContentId(executor_.random()), executor_.random());
  if (!top().descriptor().change_track_path.empty()) {
    base::LogWarn("disklib", "change tracking ends, its file would miss writes disk={}", name());
    edit.EndChangeTracking();
  }
  CO_TRY(const std::string text, edit.Finish());
  CO_TRY_STATUS(co_await StoreDescriptor(text));
  co_return base::Ok();
}

Task<Status> Chain::StoreDescriptor(std::string_view text) {
  CO_TRY(Descriptor descriptor, ParseDescriptor(text));
  if (top().embedded().room_bytes > 0) {
    Object* const file = top().extents().front()->grain_object();
    if (file == nullptr) co_return Error(Code::kReadOnly, fmt::format("disk {}", name()));
    CO_TRY_STATUS(co_await StoreEmbeddedDescriptor(*file, top().embedded(), text));
    top().SetDescriptor(top().object_id(), std::move(descriptor));
    co_return base::Ok();
  }
  CO_TRY(const ObjectInfo info, co_await backend_.ReplaceContents(top().path(), text));
  const uint64_t old_id = top().object_id();
  top().SetDescriptor(info.id, std::move(descriptor));
  co_return claim_.Replace(old_id, info.id);
}

Task<Status> Chain::AdoptDescriptor() {
  CO_TRY(const DescriptorText read, co_await ReadDescriptorAt(backend_, top().path()));
  CO_TRY(Descriptor descriptor, ParseDescriptorText(read, top().path()));
  CO_TRY(const ObjectInfo info, co_await backend_.GetInfo(top().path()));
  const uint64_t old_id = top().object_id();
  top().SetDescriptor(info.id, std::move(descriptor));
  content_marked_ = true;
  co_return claim_.Replace(old_id, info.id);
}

}  // namespace disklib
