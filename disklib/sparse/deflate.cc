#include "disklib/sparse/deflate.h"

#include <fmt/format.h>
#include <zlib.h>

#include "fs/base/check.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;

const Bytef* Input(std::span<const std::byte> bytes) {
  return reinterpret_cast<const Bytef*>(bytes.data());
}

Bytef* Output(std::span<std::byte> bytes) {
  return reinterpret_cast<Bytef*>(bytes.data());
}

}  // namespace

void Deflate(std::span<const std::byte> bytes, int level, std::vector<std::byte>& compressed) {
  uLongf size_bytes = compressBound(bytes.size());
  compressed.resize(size_bytes);
  // With room for the bound and a legal level it can fail for want of memory only.
  CHECK(compress2(Output(compressed), &size_bytes, Input(bytes), bytes.size(), level) == Z_OK);
  compressed.resize(size_bytes);
}

Result<size_t> Inflate(std::span<const std::byte> compressed, std::span<std::byte> bytes) {
  uLongf size_bytes = bytes.size();
  uLong used_bytes = compressed.size();
  const int answer = uncompress2(Output(bytes), &size_bytes, Input(compressed), &used_bytes);
  CHECK(answer != Z_MEM_ERROR);
  if (answer == Z_OK) return size_t{size_bytes};
  return Error(Code::kCorrupt, fmt::format("expand {} compressed bytes to {}: {}",
                                           compressed.size(), bytes.size(), zError(answer)));
}

}  // namespace disklib
