// Integers as they lie on disk or on the wire: `Le<T>` little-endian, `Be<T>` big-endian.
//
// They hold bytes, have alignment 1 and convert by value, so a format is an ordinary struct of such
// members with no padding, readable at any address. Thread rule: plain values.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace base {

template <typename T, std::endian kOrder>
class DiskInteger {
  static_assert(std::is_unsigned_v<T>);

 public:
  constexpr DiskInteger() = default;
  constexpr DiskInteger(T value) : bytes_(std::bit_cast<Bytes>(Swap(value))) {}  // NOLINT
  constexpr operator T() const { return Swap(std::bit_cast<T>(bytes_)); }  // NOLINT

 private:
  using Bytes = std::array<uint8_t, sizeof(T)>;

  static constexpr T Swap(T value) {
    if constexpr (kOrder == std::endian::native || sizeof(T) == 1) return value;
    if constexpr (sizeof(T) == 2) return static_cast<T>(__builtin_bswap16(value));
    if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
    if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
  }

  Bytes bytes_{};
};

template <typename T>
using Le = DiskInteger<T, std::endian::little>;
template <typename T>
using Be = DiskInteger<T, std::endian::big>;

using Le16 = Le<uint16_t>;
using Le32 = Le<uint32_t>;
using Le64 = Le<uint64_t>;
using Be16 = Be<uint16_t>;
using Be32 = Be<uint32_t>;
using Be64 = Be<uint64_t>;

// True for structs that may be copied from and to disk bytes: no padding, no alignment.
template <typename T>
concept OnDisk = std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T> &&
                 std::has_unique_object_representations_v<T> && alignof(T) == 1;

// Copies a T out of `bytes` at `offset`. The caller has checked the range.
template <OnDisk T>
T LoadAs(std::span<const std::byte> bytes, size_t offset = 0) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

// Copies `value` into `bytes` at `offset`. The caller has checked the range.
template <OnDisk T>
void StoreAs(std::span<std::byte> bytes, size_t offset, const T& value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
}

// The bytes of `value`, for writing or hashing.
template <OnDisk T>
std::span<const std::byte> BytesOf(const T& value) {
  return std::as_bytes(std::span<const T, 1>(&value, 1));
}

}  // namespace base
