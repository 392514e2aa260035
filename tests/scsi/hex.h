// Bytes written as hex text, for golden comparisons.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace scsi_test {

// "88 00 00 0a": two digits a byte, a blank between.
inline std::string Hex(std::span<const uint8_t> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : bytes) {
    if (!text.empty()) text += ' ';
    text += kDigits[byte >> 4];
    text += kDigits[byte & 0xF];
  }
  return text;
}

inline std::string Hex(std::span<const std::byte> bytes) {
  return Hex(std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
}

}  // namespace scsi_test
