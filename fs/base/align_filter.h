// `AlignFilter`: lets callers use any memory, and 512-byte blocks on a device with larger ones.
//
// Requests that suit the device below are forwarded untouched. Others go through an aligned copy;
// where the device's blocks are larger than 512 bytes, the edges of a write are read, changed and
// written back, one writer at a time on each block of the device. Thread rule: as the device below.
// Place in the stack: over direct files and LUNs; the only alignment code of the project.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fs/base/call_counter.h"
#include "fs/base/device_filter.h"
#include "fs/base/executor.h"
#include "fs/base/range_lock.h"

namespace base {

class AlignFilter final : public DeviceFilter {
 public:
  // Takes over `child`. Atomicity of edges holds between users of this filter: nobody writes to
  // the child past it.
  AlignFilter(Executor& executor, std::unique_ptr<BlockDevice> child);
  // The same over a device that outlives the filter.
  AlignFilter(Executor& executor, BlockDevice& child);

  const Limits& limits() const override { return limits_; }

  Task<Status> Read(IoRequest request) override;
  Task<Status> Write(IoRequest request) override;
  Task<Status> Unmap(uint64_t offset_bytes, uint64_t length_bytes) override;
  Task<Status> WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes, bool may_unmap) override;
  Task<Status> CompareAndWrite(uint64_t offset_bytes, std::span<const std::byte> expected,
                               std::span<const std::byte> replacement) override;
  Task<Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                         std::vector<MapRun>& runs) override;
  Task<Status> Close() override;

 private:
  enum class Clearing : uint8_t { kUnmap, kZero, kZeroMayUnmap };

  bool FitsRange(uint64_t offset_bytes, uint64_t length_bytes) const;
  bool FitsMemory(std::span<const IoVec> buffers) const;
  Task<Status> ReadBounced(IoRequest request);
  Task<Status> WriteLocked(IoRequest request);
  Task<Status> WriteBounced(IoRequest request);
  Task<Status> ReadEdge(uint64_t offset_bytes, std::byte* target);
  Task<Status> Clear(uint64_t offset_bytes, uint64_t length_bytes, Clearing how);
  Task<Status> ClearEdge(uint64_t offset_bytes, uint64_t length_bytes);
  Task<Status> CompareInBlock(uint64_t offset_bytes, std::span<const std::byte> expected,
                              std::span<const std::byte> replacement);
  Task<Status> MapRounded(uint64_t offset_bytes, uint64_t length_bytes, std::vector<MapRun>& runs);

  const uint32_t block_bytes_;  // of the device below
  const bool coarse_;           // its blocks are larger than ours
  Limits limits_;
  RangeLock writers_;  // used where edges can meet
  CallCounter calls_;  // that were not just forwarded
};

}  // namespace base
