// Compression of one grain at a time, in zlib's format (RFC 1950). Pure; the one place that knows
// zlib.
//
// Thread rule: plain functions; any thread.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "fs/base/result.h"

namespace disklib {

// 1 is the fastest, 9 the smallest.
inline constexpr int kDeflateLevelDefault = 6;

// Replaces `compressed` by the compressed form of `bytes`.
void Deflate(std::span<const std::byte> bytes, int level, std::vector<std::byte>& compressed);

// Expands one zlib stream into `bytes`; answers how many there were. What follows the stream is
// ignored. Errors: kCorrupt (not zlib's format, cut off, a wrong checksum, more than `bytes`
// holds).
base::Result<size_t> Inflate(std::span<const std::byte> compressed, std::span<std::byte> bytes);

}  // namespace disklib
