// Helpers over lists of buffer pieces: cut, gather, scatter.
//
// The slow side of the data path: commands whose buffers are not exactly what the CDB asks for, and
// parameter data. Thread rule: plain functions on the caller's memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "fs/base/block_device.h"

namespace scsi {

// The pieces of `buffers` between two byte positions; what lies behind their end is left out.
std::vector<base::IoVec> Slice(std::span<const base::IoVec> buffers, uint64_t offset_bytes,
                               uint64_t size_bytes);

// Copies from `buffers`, from `offset_bytes` on, into `target`; returns how much was there.
size_t Gather(std::span<const base::IoVec> buffers, uint64_t offset_bytes,
              std::span<std::byte> target);

// Copies `source` into `buffers` from `offset_bytes` on; returns how much fitted.
size_t Scatter(std::span<const std::byte> source, std::span<const base::IoVec> buffers,
               uint64_t offset_bytes);

}  // namespace scsi
