#include "vmfs/format/name_hash.h"

#include <array>
#include <cstring>

#include "fs/base/check.h"
#include "fs/base/on_disk.h"

namespace vmfs {
namespace {

constexpr size_t kBufferBytes = 256;
constexpr size_t kFillEnd = 128;
constexpr uint64_t kFill = 0x739A75C28E61B017;
constexpr uint64_t kSeed = 42;
constexpr uint64_t kGoldenRatio = 0x9E3779B97F4A7C13;
constexpr uint32_t kFirstSystemBucket = 0x3E66;
constexpr std::string_view kSystemNames[] = {".fbb.sf", ".fdc.sf", ".pbc.sf",   ".sbc.sf",
                                             ".vh.sf",  ".pb2.sf", ".sdd.sf",   ".jbc.sf",
                                             ".unmap.sf", ".dfd.sf"};

struct State {
  uint64_t a = kSeed;
  uint64_t b = kSeed;
  uint64_t c = kGoldenRatio;

  // One sub-step: the first word loses the two others, then takes in the shifted last one.
  static void Right(uint64_t& first, uint64_t second, uint64_t third, int shift) {
    first = (first - second - third) ^ (third >> shift);
  }
  static void Left(uint64_t& first, uint64_t second, uint64_t third, int shift) {
    first = (first - second - third) ^ (third << shift);
  }
  void Mix() {
    constexpr int kShifts[4][3] = {{43, 9, 8}, {38, 23, 5}, {35, 49, 11}, {12, 18, 22}};
    for (const auto& [to_a, to_b, to_c] : kShifts) {
      Right(a, b, c, to_a);
      Left(b, c, a, to_b);
      Right(c, a, b, to_c);
    }
  }
};

std::array<uint64_t, kBufferBytes / 8> Words(std::string_view name) {
  std::array<std::byte, kBufferBytes> buffer{};
  std::memcpy(buffer.data(), name.data(), name.size());
  const base::Le64 fill = kFill;
  for (size_t at = (name.size() + 8) / 8 * 8; at < kFillEnd; at += 8) {
    base::StoreAs(std::span<std::byte>(buffer), at, fill);
  }
  std::array<uint64_t, kBufferBytes / 8> words{};
  for (size_t i = 0; i < words.size(); ++i) words[i] = base::LoadAs<base::Le64>(buffer, i * 8);
  return words;
}

}  // namespace

uint64_t HashName(std::string_view name) {
  CHECK(name.size() < kBufferBytes);
  const auto words = Words(name);
  State state;
  size_t next = 0;
  for (; next + 3 <= words.size(); next += 3) {
    state.a += words[next];
    state.b += words[next + 1];
    state.c += words[next + 2];
    state.Mix();
  }
  state.c += words.size();
  state.a += words[next];
  state.b += words[next + 1];
  state.Mix();
  return state.c;
}

uint32_t HashBucket(uint64_t hash, bool is_root) {
  return static_cast<uint32_t>(hash % (is_root ? kRootHashBucketCount : kHashBucketCount));
}

std::optional<uint32_t> SystemNameBucket(std::string_view name) {
  for (uint32_t i = 0; i < std::size(kSystemNames); ++i) {
    if (name == kSystemNames[i]) return kFirstSystemBucket + i;
  }
  return std::nullopt;
}

}  // namespace vmfs
