#include "disklib/exchange/proof_device.h"

#include <algorithm>

#include <fmt/format.h>

namespace disklib {

using base::Code;
using base::Error;
using base::IoRequest;
using base::MapRun;
using base::Result;
using base::Status;
using base::Task;

Task<Status> ProofDevice::Read(IoRequest request) {
  const Status read = co_await child().Read(request);
  if (!read) {
    has_failed_ = true;
    changed_.NotifyAll();
    co_return read;
  }
  if (request.offset_bytes < hashed_bytes_) co_return base::Ok();  // read once more
  while (!has_failed_ && !HashZerosUpTo(request.offset_bytes)) co_await changed_.Wait();
  if (has_failed_) co_return base::Ok();  // the proof is lost; whoever failed says why
  for (const base::IoVec& piece : request.buffers) digest_.Add({piece.data, piece.size_bytes});
  hashed_bytes_ = request.offset_bytes + request.size_bytes();
  changed_.NotifyAll();
  co_return base::Ok();
}

Task<Status> ProofDevice::MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                    std::vector<MapRun>& runs) {
  const size_t first = runs.size();
  CO_TRY_STATUS(co_await child().MapStatus(offset_bytes, length_bytes, runs));
  std::erase_if(zeros_, [this](const Range& zeros) { return zeros.end_bytes <= hashed_bytes_; });
  for (size_t i = first; i < runs.size(); ++i) {
    if (runs[i].state == base::MapState::kData) continue;
    const Range zeros{runs[i].offset_bytes, runs[i].offset_bytes + runs[i].length_bytes};
    if (!zeros_.empty() && zeros_.back().end_bytes == zeros.start_bytes) {
      zeros_.back().end_bytes = zeros.end_bytes;
    } else {
      zeros_.push_back(zeros);
    }
  }
  changed_.NotifyAll();
  co_return base::Ok();
}

bool ProofDevice::HashZerosUpTo(uint64_t end_bytes) {
  if (hashed_bytes_ >= end_bytes) return true;
  const auto behind = std::upper_bound(
      zeros_.begin(), zeros_.end(), hashed_bytes_,
      [](uint64_t at_bytes, const Range& zeros) { return at_bytes < zeros.start_bytes; });
  if (behind == zeros_.begin() || (behind - 1)->end_bytes < end_bytes) return false;
  digest_.AddZeros(end_bytes - hashed_bytes_);
  hashed_bytes_ = end_bytes;
  return true;
}

Result<std::string> ProofDevice::Finish() {
  if (!HashZerosUpTo(size_bytes())) {
    return Error(Code::kInternal,
                 fmt::format("prove {}: bytes from {} on were not read", name(), hashed_bytes_));
  }
  return digest_.Finish();
}

}  // namespace disklib
