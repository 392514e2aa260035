// Helpers for tests on raw structures: read and break fields by offset.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fs/base/on_disk.h"
#include "fs/base/result.h"
#include "vmfs/format/metadata_block.h"

namespace testing_support {

// A copy of `bytes` with the little-endian integer at `offset` replaced.
template <typename T>
std::vector<std::byte> With(std::span<const std::byte> bytes, size_t offset, T value) {
  std::vector<std::byte> copy(bytes.begin(), bytes.end());
  base::StoreAs(std::span<std::byte>(copy), offset, base::Le<T>(value));
  return copy;
}

inline std::span<const std::byte, vmfs::kMetadataBlockBytes> AsBlock(
    const std::vector<std::byte>& bytes) {
  return std::span<const std::byte>(bytes).first<vmfs::kMetadataBlockBytes>();
}

// Expects a failed Result with this code whose message contains `text`.
template <typename T>
void ExpectError(const base::Result<T>& result, base::Code code, const std::string& text) {
  ASSERT_FALSE(result.has_value()) << "expected an error about " << text;
  EXPECT_EQ(base::InfoOf(result.error().code()).name, base::InfoOf(code).name)
      << result.error().message();
  EXPECT_NE(result.error().message().find(text), std::string::npos) << result.error().message();
}

// A volume block read whole: the struct taken from `bytes` and stored back must change nothing.
template <typename T>
void ExpectSameBytes(const T& value, std::span<const std::byte> bytes) {
  const auto encoded = base::BytesOf(value);
  ASSERT_GE(bytes.size(), encoded.size());
  for (size_t i = 0; i < encoded.size(); ++i) {
    ASSERT_EQ(encoded[i], bytes[i]) << "offset " << i;
  }
}

}  // namespace testing_support
