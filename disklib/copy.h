// `CopyContent`: walks over a disk's content with many reads and writes in flight. The engine under
// clone, hash, compare and punch.
//
// The source's map says what need not be read; the rest goes in pieces of 1 MiB, sixteen at a time,
// through the target's Store. Memory is bounded by those pieces and by the map of one window.
// Place: over base::BlockDevice, under the operations. Thread rule: the executor of both devices.
#pragma once

#include <cstdint>
#include <span>

#include "disklib/extent.h"
#include "disklib/new_extents.h"
#include "fs/base/block_device.h"
#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

// Takes content piece by piece. Pieces do not overlap; with `in_order` they come one at a time and
// ascending, else several at a time.
class CopyTarget {
 public:
  virtual ~CopyTarget() = default;

  // Data comes in whole granules, or up to the end of the disk. A power of two, at most 1 MiB.
  virtual uint64_t granule_bytes() const { return 512; }

  // Pieces of this size that hold only zeros come as zeros; 0: data is not looked at.
  virtual uint64_t zero_unit_bytes() const { return 0; }

  virtual bool in_order() const { return false; }

  // Whether ranges of zeros are handed over at all.
  virtual bool wants_zeros() const { return false; }

  virtual base::Task<base::Status> Store(base::IoRequest request) = 0;

  // A range that reads as zeros; any length.
  virtual base::Task<base::Status> StoreZeros(uint64_t offset_bytes, uint64_t length_bytes);

  // Takes a piece straight from the file it lies in. Answers the bytes taken; 0: read it.
  virtual base::Task<base::Result<uint64_t>> TakeFrom(FlatRange source, uint64_t offset_bytes,
                                                      uint64_t length_bytes);
};

// Answers where a range of the source lies in a file, for targets that take it from there.
class DirectSource {
 public:
  virtual ~DirectSource() = default;
  virtual FlatRange DirectRange(uint64_t offset_bytes, uint64_t length_bytes) const = 0;
};

struct CopyOptions {
  const DirectSource* direct = nullptr;  // null: everything is read
  Progress* progress = nullptr;          // told of the bytes of the disk that were passed
};

struct CopyCounts {
  uint64_t data_bytes = 0;  // stored as data
  uint64_t zero_bytes = 0;  // left out, or stored as zeros
};

// Hands the whole content of `source` to `target`. Errors: kInterrupted, and those of both sides;
// the first one ends it.
base::Task<base::Result<CopyCounts>> CopyContent(base::Executor& executor,
                                                 base::BlockDevice& source, CopyTarget& target,
                                                 CopyOptions options);

// Whether all bytes are zero.
bool IsZero(std::span<const std::byte> bytes);

}  // namespace disklib
