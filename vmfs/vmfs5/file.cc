#include "vmfs/vmfs5/file.h"

#include <algorithm>

namespace vmfs::vmfs5 {
namespace {

using base::Code;
using base::Result;
using base::Status;
using base::Task;

class File5 final : public fss::File {
 public:
  File5(Reader& reader, const Descriptor& descriptor)
      : reader_(reader), descriptor_(descriptor) {}

  fss::InodeNumber inode() const override { return descriptor_.fd().raw(); }
  uint64_t size_bytes() const override { return descriptor_.length_bytes(); }

  Task<Result<uint64_t>> Read(base::IoRequest request) override {
    return reader_.ReadFile(&descriptor_, request);
  }
  Task<Result<uint64_t>> Write(base::IoRequest) override { co_return Code::kReadOnly; }
  Task<Status> Sync(bool) override { co_return base::Ok(); }
  Task<Status> Allocate(fss::AllocateMode, uint64_t, uint64_t) override {
    co_return Code::kReadOnly;
  }
  Task<Result<uint64_t>> Seek(fss::SeekKind kind, uint64_t offset_bytes) override;
  Task<Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                         std::vector<base::MapRun>& runs) override;
  Task<Status> Close() override { co_return base::Ok(); }

 private:
  // The run at a byte of the file, cut at `end_bytes`. Inline data is one run.
  Task<Result<Run>> RunAt(uint64_t offset_bytes, uint64_t end_bytes);

  Reader& reader_;
  const Descriptor descriptor_;
};

Task<Result<Run>> File5::RunAt(uint64_t offset_bytes, uint64_t end_bytes) {
  if (descriptor_.metadata.map_kind() == MapKind::kInline) {
    co_return Run{base::MapState::kData, 0, end_bytes - offset_bytes};
  }
  CO_TRY(Run run, co_await reader_.FindRun(&descriptor_, offset_bytes));
  run.length_bytes = std::min(run.length_bytes, end_bytes - offset_bytes);
  co_return run;
}

Task<Result<uint64_t>> File5::Seek(fss::SeekKind kind, uint64_t offset_bytes) {
  const uint64_t end = size_bytes();
  const bool want_data = kind == fss::SeekKind::kData;
  if (offset_bytes >= end) co_return Code::kNoData;
  for (uint64_t at = offset_bytes; at < end;) {
    CO_TRY(const Run run, co_await RunAt(at, end));
    if ((run.state == base::MapState::kData) == want_data) co_return at;
    at += run.length_bytes;
  }
  if (want_data) co_return Code::kNoData;
  co_return end;  // the hole behind every file
}

Task<Status> File5::MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                              std::vector<base::MapRun>& runs) {
  const uint64_t end = offset_bytes + length_bytes;
  const size_t first_new = runs.size();
  for (uint64_t at = offset_bytes; at < end;) {
    Run run;
    run.length_bytes = end - at;  // behind the end of the file: a hole
    if (at < size_bytes()) {
      CO_TRY(run, co_await RunAt(at, std::min(end, size_bytes())));
    }
    if (runs.size() > first_new && runs.back().state == run.state) {
      runs.back().length_bytes += run.length_bytes;
    } else {
      runs.push_back({at, run.length_bytes, run.state});
    }
    at += run.length_bytes;
  }
  co_return base::Ok();
}

}  // namespace

std::unique_ptr<fss::File> MakeFile(Reader& reader, const Descriptor& descriptor) {
  return std::make_unique<File5>(reader, descriptor);
}

}  // namespace vmfs::vmfs5
