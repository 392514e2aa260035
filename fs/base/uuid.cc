#include "fs/base/uuid.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <charconv>
#include <cstring>

#include "fs/base/check.h"
#include "fs/base/on_disk.h"

namespace base {
namespace {

struct UuidFields {
  Le32 time;
  Le32 time_part;
  Le16 random;
  std::array<uint8_t, 6> node;
};
static_assert(OnDisk<UuidFields> && sizeof(UuidFields) == 16);

template <typename T>
Result<T> ParseHex(std::string_view digits) {
  T value{};
  const auto [end, error] = std::from_chars(digits.begin(), digits.end(), value, 16);
  if (error != std::errc() || end != digits.end()) return Code::kParseError;
  return value;
}

}  // namespace

std::string Uuid::ToString() const {
  const auto fields = LoadAs<UuidFields>(std::as_bytes(std::span(bytes)));
  const auto& node = fields.node;
  return fmt::format("{:08x}-{:08x}-{:04x}-{:02x}{:02x}{:02x}{:02x}{:02x}{:02x}",
                     uint32_t{fields.time}, uint32_t{fields.time_part}, uint16_t{fields.random},
                     node[0], node[1], node[2], node[3], node[4], node[5]);
}

Result<Uuid> ParseUuid(std::string_view text) {
  if (text.size() != 35 || text[8] != '-' || text[17] != '-' || text[22] != '-') {
    return Error(Code::kParseError, fmt::format("'{}' is not a VMFS UUID", text));
  }
  UuidFields fields;
  TRY(fields.time, ParseHex<uint32_t>(text.substr(0, 8)));
  TRY(fields.time_part, ParseHex<uint32_t>(text.substr(9, 8)));
  TRY(fields.random, ParseHex<uint16_t>(text.substr(18, 4)));
  for (size_t i = 0; i < 6; ++i) {
    TRY(fields.node[i], ParseHex<uint8_t>(text.substr(23 + 2 * i, 2)));
  }
  Uuid uuid;
  std::memcpy(uuid.bytes.data(), &fields, sizeof(fields));
  return uuid;
}

Uuid NewUuid(uint64_t wall_microseconds) {
  UuidFields fields;
  CHECK(getrandom(&fields, sizeof(fields), 0) == sizeof(fields));
  fields.time = static_cast<uint32_t>(wall_microseconds / 1'000'000);
  Uuid uuid;
  std::memcpy(uuid.bytes.data(), &fields, sizeof(fields));
  return uuid;
}

}  // namespace base
