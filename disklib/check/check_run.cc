#include "disklib/check/check_run.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace disklib::check {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

Status CheckRun::Advance(uint64_t bytes) {
  done_bytes_ += bytes;
  report().bytes_checked += bytes;
  total_bytes_ = std::max(total_bytes_, done_bytes_);
  if (progress_ == nullptr || progress_->Advance(done_bytes_, total_bytes_)) return base::Ok();
  return Error(Code::kInterrupted, "check: interrupted");
}

Task<bool> CheckRun::Read(Object& object, uint64_t offset_bytes, std::span<std::byte> target) {
  size_t done = 0;
  while (done < target.size()) {
    const base::IoVec piece{target.data() + done, target.size() - done};
    const Result<uint64_t> count = co_await object.Read(
        base::IoRequest{.offset_bytes = offset_bytes + done, .buffers = {&piece, 1}});
    if (!count) {
      Found found{.id = Invariant::kR1, .text = count.error().message()};
      found.place.file_offset_bytes = offset_bytes + done;
      findings_.Add(std::move(found));
      findings_.NoteUnchecked();
      co_return false;
    }
    if (*count == 0) break;
    done += *count;
  }
  std::ranges::fill(target.subspan(done), std::byte{0});
  co_return true;
}

Task<Status> WriteAt(Object& object, uint64_t offset_bytes, std::span<const std::byte> bytes) {
  return WriteWhole(object, offset_bytes,
                    std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

Task<uint64_t> NextData(Object& object, uint64_t offset_bytes, uint64_t end_bytes) {
  if (offset_bytes >= std::min(end_bytes, object.size_bytes())) co_return end_bytes;
  const Result<uint64_t> next = co_await object.Seek(fss::SeekKind::kData, offset_bytes);
  if (next) co_return std::min(*next, end_bytes);
  co_return next.error().code() == Code::kNoData ? end_bytes : offset_bytes;
}

}  // namespace disklib::check
