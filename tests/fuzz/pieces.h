// `Pieces`: takes an input apart into the parts a target wants, zero-filled where it is too short.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "fs/base/on_disk.h"
#include "tests/fuzz/targets.h"

namespace fuzz {

class Pieces {
 public:
  explicit Pieces(Input input) : rest_(input) {}

  bool empty() const { return rest_.empty(); }

  Input rest() const { return rest_; }

  // The next bytes, at most `size_bytes`.
  Input Next(size_t size_bytes) {
    const Input piece = rest_.first(std::min(size_bytes, rest_.size()));
    rest_ = rest_.subspan(piece.size());
    return piece;
  }

  // The next bytes over the begin of `target`, which keeps the others.
  void Fill(std::span<std::byte> target) {
    const Input piece = Next(target.size());
    if (!piece.empty()) std::memcpy(target.data(), piece.data(), piece.size());
  }

  template <base::OnDisk T>
  T Take() {
    std::array<std::byte, sizeof(T)> bytes{};
    Fill(bytes);
    return base::LoadAs<T>(std::span<const std::byte>(bytes));
  }

  uint8_t Byte() { return static_cast<uint8_t>(Take<base::Le<uint8_t>>()); }

  uint32_t Word() { return Take<base::Le32>(); }

 private:
  Input rest_;
};

// A range of the volume's own bytes with a copy of the input over its begin.
inline std::vector<std::byte> Padded(Input input, size_t size_bytes) {
  std::vector<std::byte> bytes(input.begin(),
                               input.begin() + static_cast<std::ptrdiff_t>(
                                                   std::min(input.size(), size_bytes)));
  bytes.resize(size_bytes);
  return bytes;
}

}  // namespace fuzz
