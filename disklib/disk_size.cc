#include "disklib/disk_size.h"

#include <optional>

#include <fmt/format.h>

#include "disklib/descriptor.h"
#include "disklib/descriptor_lines.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;

// What one unit of the suffix is in bytes; nothing for an unknown suffix.
std::optional<uint64_t> UnitBytes(std::string_view suffix) {
  if (suffix.empty() || EqualsIgnoringCase(suffix, "b")) return 1;
  if (EqualsIgnoringCase(suffix, "s")) return kSectorBytes;
  constexpr std::string_view kLetters = "kmgt";
  const std::string_view tail = suffix.substr(1);
  if (!tail.empty() && !EqualsIgnoringCase(tail, "b") && !EqualsIgnoringCase(tail, "ib")) {
    return std::nullopt;
  }
  for (size_t i = 0; i < kLetters.size(); ++i) {
    if (EqualsIgnoringCase(suffix.substr(0, 1), kLetters.substr(i, 1))) {
      return uint64_t{1} << (10 * (i + 1));
    }
  }
  return std::nullopt;
}

}  // namespace

base::Result<uint64_t> CheckDiskSize(uint64_t size_bytes) {
  if (size_bytes == 0) return Error(Code::kInvalidArgument, "disk size: zero");
  if (size_bytes > kCapacityBytesMax) {
    return Error(Code::kTooLarge,
                 fmt::format("disk size: {} bytes, allowed are 62 TiB", size_bytes));
  }
  return (size_bytes + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
}

base::Result<uint64_t> ParseDiskSize(std::string_view text) {
  const size_t digits = text.find_first_not_of("0123456789");
  const std::optional<uint64_t> number = ParseNumber(text.substr(0, digits), 10);
  const std::optional<uint64_t> unit =
      UnitBytes(digits == std::string_view::npos ? std::string_view() : text.substr(digits));
  if (!number || !unit) {
    return Error(Code::kParseError,
                 fmt::format("disk size \"{}\": a number with k, m, g, t or s is needed", text));
  }
  if (*number > kCapacityBytesMax / *unit) {
    return Error(Code::kTooLarge, fmt::format("disk size {}: allowed are 62 TiB", text));
  }
  return CheckDiskSize(*number * *unit);
}

}  // namespace disklib
