// `BlockDevice`: the one contract of everything that holds blocks.
//
// Files, block nodes, PSA devices, VMDK chains, filters and remote LUNs are all block devices, so
// that every one passes the same conformance suite and any can stand on any.
//
// Thread rule: all calls on the executor that opened the device. Many requests may be in flight;
// overlapping requests in flight have no order among each other, completed ones do. `Checked()`
// (`checked.h`) asserts this contract between layers in tests and debug builds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/task.h"

namespace base {

// One piece of caller-owned memory. Same layout as the kernel's iovec.
struct IoVec {
  std::byte* data;
  size_t size_bytes;
};

// Sum of the pieces' sizes.
inline uint64_t TotalBytes(std::span<const IoVec> buffers) {
  uint64_t total = 0;
  for (const IoVec& piece : buffers) total += piece.size_bytes;
  return total;
}

// One transfer. The memory named by `buffers`, and the array of pieces itself, belong to the
// caller and stay valid until the call has returned. Trivially destructible by design.
struct IoRequest {
  uint64_t offset_bytes = 0;
  std::span<const IoVec> buffers;
  bool fua = false;          // the write is durable when it is answered ("force unit access")
  bool keeps_times = false;  // files: the writer, who delayed the write, sets the times itself

  uint64_t size_bytes() const { return TotalBytes(buffers); }
};

// What a range of a device holds. `kHole`: unallocated, reads as zeros. `kZero`: allocated or not,
// known to read as zeros. `kData`: anything.
enum class MapState : uint8_t { kData, kZero, kHole };

struct MapRun {
  uint64_t offset_bytes;
  uint64_t length_bytes;
  MapState state;
  friend bool operator==(const MapRun&, const MapRun&) = default;
};

// What a device can do. Callers ask here and do not try and see.
struct Limits {
  uint32_t block_size_bytes = 512;        // offsets and lengths are multiples of this
  uint32_t physical_block_bytes = 4096;   // writes smaller than this may be torn or slow
  uint32_t memory_alignment_bytes = 1;    // of every buffer piece
  uint32_t transfer_bytes_max = 1 << 20;  // of one Read or Write
  uint64_t unmap_granularity_bytes = 4096;
  bool can_write = true;
  bool can_unmap = false;              // Unmap leaves holes that read as zeros
  bool can_write_zeroes = false;       // WriteZeroes is cheaper than writing zeros
  bool can_compare_and_write = false;  // atomic against every other writer of the device
  bool can_map_status = false;         // MapStatus tells holes from data
};

class BlockDevice {
 public:
  virtual ~BlockDevice() = default;

  virtual const Limits& limits() const = 0;

  // Size in bytes, a multiple of the block size. May grow while open, never shrinks.
  virtual uint64_t size_bytes() const = 0;

  // A name for messages: "naa.6000…", "datastore.img". Valid as long as the device.
  virtual const std::string& name() const = 0;

  // Fills the buffers from `offset_bytes`. The whole range lies within the device.
  // Errors: kOutOfRange, kMisaligned, kIo, kMedium, kPathDead, kDeviceLost, kTimedOut, kCanceled.
  virtual Task<Status> Read(IoRequest request) = 0;

  // Stores the buffers. Durable after the next Flush that *started* after this call returned, or at
  // once with `fua`. Errors: as Read, and kReadOnly, kNoSpace, kFenced.
  virtual Task<Status> Write(IoRequest request) = 0;

  // Makes every write that was answered before this call durable. Errors: as Write.
  virtual Task<Status> Flush() = 0;

  // Gives the range back; it reads as zeros afterwards when `can_unmap`. Parts that do not fill
  // whole granules may stay allocated, but read as zeros all the same. Errors: as Write,
  // kUnsupported.
  virtual Task<Status> Unmap(uint64_t offset_bytes, uint64_t length_bytes) = 0;

  // Makes the range read as zeros. `may_unmap` allows holes. Every device does this; where
  // `can_write_zeroes` is false it costs as much as writing. Errors: as Write.
  virtual Task<Status> WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes,
                                   bool may_unmap) = 0;

  // ATS: replaces one range by `replacement` if it holds exactly `expected` (both the same size, a
  // whole number of blocks, within one physical block), atomically against every other
  // CompareAndWrite on the device, from any process that shares it. Durable when answered.
  // Errors: kMiscompare (nothing was written), kUnsupported, and as Write.
  virtual Task<Status> CompareAndWrite(uint64_t offset_bytes, std::span<const std::byte> expected,
                                       std::span<const std::byte> replacement) = 0;

  // Appends to `runs` the states of the range, in order, without gaps, adjacent runs of different
  // state. Without `can_map_status`: one kData run. Errors: as Read.
  virtual Task<Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                 std::vector<MapRun>& runs) = 0;

  // Ends use: waits for what is in flight. No call may follow. Does not flush.
  virtual Task<Status> Close() = 0;

 protected:
  BlockDevice() = default;
};

}  // namespace base
