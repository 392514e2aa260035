#include "fs/base/checked.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "fs/base/check.h"
#include "fs/base/device_filter.h"

namespace base {
namespace {

void CheckLimits(const Limits& limits, uint64_t size_bytes) {
  CHECK(std::has_single_bit(limits.block_size_bytes) && limits.block_size_bytes >= 512);
  CHECK(std::has_single_bit(limits.physical_block_bytes));
  CHECK(limits.physical_block_bytes >= limits.block_size_bytes);
  CHECK(std::has_single_bit(limits.memory_alignment_bytes));
  CHECK(limits.transfer_bytes_max >= limits.block_size_bytes);
  CHECK(limits.unmap_granularity_bytes > 0);
  CHECK(size_bytes % limits.block_size_bytes == 0);
}

// Adjacent runs of different states that fill the range exactly.
void CheckRuns(std::span<const MapRun> runs, uint64_t offset_bytes, uint64_t length_bytes) {
  uint64_t at = offset_bytes;
  for (size_t i = 0; i < runs.size(); ++i) {
    CHECK(runs[i].offset_bytes == at);
    CHECK(runs[i].length_bytes > 0);
    CHECK(i == 0 || runs[i].state != runs[i - 1].state);
    at += runs[i].length_bytes;
  }
  CHECK(at == offset_bytes + length_bytes);
}

class CheckedDevice final : public DeviceFilter {
 public:
  explicit CheckedDevice(std::unique_ptr<BlockDevice> device) : DeviceFilter(std::move(device)) {
    CheckLimits(limits(), size_bytes());
  }

  explicit CheckedDevice(BlockDevice& device) : DeviceFilter(device) {
    CheckLimits(limits(), size_bytes());
  }

  ~CheckedDevice() override { CHECK(in_flight_ == 0); }

  Task<Status> Read(IoRequest request) override;
  Task<Status> Write(IoRequest request) override;
  Task<Status> Flush() override;
  Task<Status> Unmap(uint64_t offset_bytes, uint64_t length_bytes) override;
  Task<Status> WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes, bool may_unmap) override;
  Task<Status> CompareAndWrite(uint64_t offset_bytes, std::span<const std::byte> expected,
                               std::span<const std::byte> replacement) override;
  Task<Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                         std::vector<MapRun>& runs) override;
  Task<Status> Close() override;

 private:
  // What every call must keep to; counts it while it runs.
  class Call {
   public:
    explicit Call(CheckedDevice& device) : device_(device) {
      CHECK(!device_.closed_);
      ++device_.in_flight_;
    }

    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    ~Call() {
      CHECK(!device_.closed_);
      --device_.in_flight_;
    }

   private:
    CheckedDevice& device_;
  };

  void CheckRange(uint64_t offset_bytes, uint64_t length_bytes) const {
    CHECK((offset_bytes | length_bytes) % limits().block_size_bytes == 0);
  }

  bool Within(uint64_t offset_bytes, uint64_t length_bytes) const {
    return offset_bytes <= size_bytes() && length_bytes <= size_bytes() - offset_bytes;
  }

  void CheckTransfer(const IoRequest& request) const;
  void CheckAnswer(const Status& status, bool within_before, bool within_after) const;
  void CheckSize();

  uint64_t in_flight_ = 0;
  uint64_t size_seen_bytes_ = 0;
  bool closed_ = false;
};

void CheckedDevice::CheckTransfer(const IoRequest& request) const {
  const uint64_t size = request.size_bytes();
  CheckRange(request.offset_bytes, size);
  CHECK(size > 0 && size <= limits().transfer_bytes_max);
  const uintptr_t mask = limits().memory_alignment_bytes - 1;
  for (const IoVec& piece : request.buffers) {
    CHECK(piece.data != nullptr && piece.size_bytes > 0);
    CHECK(((reinterpret_cast<uintptr_t>(piece.data) | piece.size_bytes) & mask) == 0);
  }
}

// The device may have grown meanwhile: then either answer is right.
void CheckedDevice::CheckAnswer(const Status& status, bool within_before, bool within_after) const {
  if (status.has_value()) {
    CHECK(within_after);
  } else {
    CHECK(!within_before || status.error().code() != Code::kOutOfRange);
  }
}

void CheckedDevice::CheckSize() {
  CHECK(size_bytes() >= size_seen_bytes_);
  CHECK(size_bytes() % limits().block_size_bytes == 0);
  size_seen_bytes_ = size_bytes();
}

Task<Status> CheckedDevice::Read(IoRequest request) {
  const Call call(*this);
  CheckSize();
  CheckTransfer(request);
  CHECK(!request.fua);
  const bool within = Within(request.offset_bytes, request.size_bytes());
  const Status status = co_await child().Read(request);
  CheckAnswer(status, within, Within(request.offset_bytes, request.size_bytes()));
  co_return status;
}

Task<Status> CheckedDevice::Write(IoRequest request) {
  const Call call(*this);
  CheckSize();
  CheckTransfer(request);
  CHECK(limits().can_write);
  const bool within = Within(request.offset_bytes, request.size_bytes());
  const Status status = co_await child().Write(request);
  CheckAnswer(status, within, Within(request.offset_bytes, request.size_bytes()));
  co_return status;
}

Task<Status> CheckedDevice::Flush() {
  const Call call(*this);
  const Status status = co_await child().Flush();
  CheckAnswer(status, /*within_before=*/true, /*within_after=*/true);
  co_return status;
}

Task<Status> CheckedDevice::Unmap(uint64_t offset_bytes, uint64_t length_bytes) {
  const Call call(*this);
  CheckRange(offset_bytes, length_bytes);
  CHECK(limits().can_write && limits().can_unmap);
  const bool within = Within(offset_bytes, length_bytes);
  const Status status = co_await child().Unmap(offset_bytes, length_bytes);
  CheckAnswer(status, within, Within(offset_bytes, length_bytes));
  co_return status;
}

Task<Status> CheckedDevice::WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes,
                                        bool may_unmap) {
  const Call call(*this);
  CheckRange(offset_bytes, length_bytes);
  CHECK(limits().can_write);
  const bool within = Within(offset_bytes, length_bytes);
  const Status status = co_await child().WriteZeroes(offset_bytes, length_bytes, may_unmap);
  CheckAnswer(status, within, Within(offset_bytes, length_bytes));
  co_return status;
}

Task<Status> CheckedDevice::CompareAndWrite(uint64_t offset_bytes,
                                            std::span<const std::byte> expected,
                                            std::span<const std::byte> replacement) {
  const Call call(*this);
  const uint64_t size = expected.size();
  const uint64_t physical = limits().physical_block_bytes;
  CheckRange(offset_bytes, size);
  CHECK(limits().can_write && limits().can_compare_and_write);
  CHECK(size > 0 && size == replacement.size());
  CHECK(offset_bytes % physical + size <= physical);
  const bool within = Within(offset_bytes, size);
  const Status status = co_await child().CompareAndWrite(offset_bytes, expected, replacement);
  CheckAnswer(status, within, Within(offset_bytes, size));
  co_return status;
}

Task<Status> CheckedDevice::MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                      std::vector<MapRun>& runs) {
  const Call call(*this);
  CheckRange(offset_bytes, length_bytes);
  const size_t before = runs.size();
  const bool within = Within(offset_bytes, length_bytes);
  const Status status = co_await child().MapStatus(offset_bytes, length_bytes, runs);
  CheckAnswer(status, within, Within(offset_bytes, length_bytes));
  CHECK(runs.size() >= before);
  if (status.has_value()) CheckRuns(std::span(runs).subspan(before), offset_bytes, length_bytes);
  co_return status;
}

Task<Status> CheckedDevice::Close() {
  CHECK(!closed_);
  const Status status = co_await child().Close();
  CHECK(in_flight_ == 0);  // it has waited for everything
  closed_ = true;
  co_return status;
}

}  // namespace

std::unique_ptr<BlockDevice> Checked(std::unique_ptr<BlockDevice> device) {
  return std::make_unique<CheckedDevice>(std::move(device));
}

std::unique_ptr<BlockDevice> CheckedView(BlockDevice& device) {
  return std::make_unique<CheckedDevice>(device);
}

}  // namespace base
