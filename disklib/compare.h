// Compare and hash: whether two disks hold the same, and a name for what one holds.
//
// Both look at guest content, whatever the formats: so that an import can be proven before its
// source is deleted. Ranges that the maps call zero are not read. Memory is bounded by the copy
// engine. Place: over `copy.h`. Thread rule: the executor of the devices.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "disklib/lib.h"
#include "disklib/new_extents.h"
#include "fs/base/block_device.h"
#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

struct CompareResult {
  uint64_t first_size_bytes = 0;
  uint64_t second_size_bytes = 0;
  uint64_t differing_sectors = 0;                  // of 512 bytes, up to the longer one's end
  std::optional<uint64_t> first_difference_bytes;  // offset of the first byte that differs

  // A longer disk that ends in zeros holds the same.
  bool is_same() const { return differing_sectors == 0; }
};

struct CompareOptions {
  bool stops_at_first = false;  // counts no further than the first difference found
  std::string_view user = "strata disk compare";
};

// Compares two devices; behind the end of the shorter one zeros are meant. Errors: kInterrupted,
// those of reading.
base::Task<base::Result<CompareResult>> CompareContent(base::Executor& executor,
                                                       base::BlockDevice& first,
                                                       base::BlockDevice& second,
                                                       CompareOptions options, Progress* progress);

// The same of two disks, each with its whole chain. Errors: those of Lib::Open, too.
base::Task<base::Result<CompareResult>> CompareDisks(Lib& first_lib, std::string_view first,
                                                     Lib& second_lib, std::string_view second,
                                                     CompareOptions options, Progress* progress);

struct HashResult {
  std::string sha256;  // 64 hex digits, of all bytes of the disk as a guest reads them
  uint64_t size_bytes = 0;
  uint64_t read_bytes = 0;  // the rest was known to be zeros
};

// SHA-256 (FIPS 180-4) of a device's content, as `sha256sum` of the raw image says it. Errors:
// kInterrupted, those of reading.
base::Task<base::Result<HashResult>> HashContent(base::Executor& executor,
                                                 base::BlockDevice& device, Progress* progress);

// The same of a disk with its whole chain. Errors: those of Lib::Open, too.
base::Task<base::Result<HashResult>> HashDisk(Lib& lib, std::string_view path, Progress* progress);

}  // namespace disklib
