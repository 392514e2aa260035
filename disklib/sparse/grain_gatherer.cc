#include "disklib/sparse/grain_gatherer.h"

namespace disklib {

using base::Code;
using base::Error;
using base::IoRequest;
using base::IoVec;
using base::Status;
using base::Task;

bool GrainGatherer::CanJoin(SectorRun run, size_t buffer_count) const {
  return open_ != nullptr && open_->run.end_sector() == run.first_sector &&
         open_->run.count + run.count <= kSectorCountMax &&
         open_->buffers.size() + buffer_count <= kBufferCountMax;
}

Task<Status> GrainGatherer::Write(SectorRun run, std::span<const IoVec> buffers) {
  if (!CanJoin(run, buffers.size())) {
    co_return co_await Lead(run, buffers);
  }
  const std::shared_ptr<Batch> batch = open_;
  batch->run.count += run.count;
  batch->buffers.insert(batch->buffers.end(), buffers.begin(), buffers.end());
  ++batch->writer_count;
  while (!batch->has_ended) co_await batch->ended.Wait();
  if (batch->outcome) co_return base::Ok();
  co_return co_await WriteAlone(run, buffers);
}

Task<Status> GrainGatherer::Lead(SectorRun run, std::span<const IoVec> buffers) {
  const auto batch = std::make_shared<Batch>(executor_);
  batch->run = run;
  batch->buffers.assign(buffers.begin(), buffers.end());
  open_ = batch;
  co_await executor_.Yield();
  if (open_ == batch) open_ = nullptr;
  batch->outcome = co_await WriteAlone(batch->run, batch->buffers);
  batch->has_ended = true;
  batch->ended.NotifyAll();
  if (batch->outcome || batch->writer_count == 1) co_return batch->outcome;
  co_return co_await WriteAlone(run, buffers);
}

Task<Status> GrainGatherer::WriteAlone(SectorRun run, std::span<const IoVec> buffers) {
  const IoRequest request{.offset_bytes = run.first_sector * kSectorBytes, .buffers = buffers};
  CO_TRY(const uint64_t written_bytes, co_await object_.Write(request));
  if (written_bytes == run.count * kSectorBytes) co_return base::Ok();
  co_return Error(Code::kNoSpace, "no space");
}

}  // namespace disklib
