#include "tests/support/volume_damage.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <vector>

#include <fmt/format.h>

#include "vmfs/format/lvm.h"

namespace vmfs {
namespace {

constexpr uint32_t kSectorBytes = 512;
// The fields of most structures stand within these first bytes of a block.
constexpr uint64_t kFieldBytes = 160;
constexpr uint64_t kDamagesMax = 6;
// Where further fields and lists begin: bitmaps, directory blocks, descriptors' slots, lists.
constexpr uint64_t kOtherBegins[] = {0x200, 0x5f8, 0x600, 0x940};

}  // namespace

std::string VolumeDamage::Apply() {
  // Most truncated devices are refused at once: rarely, and alone.
  if (random_.OneIn(40)) {
    Do(Kind::kTruncate);
    return words_;
  }
  const uint64_t count = 1 + random_.Below(kDamagesMax);
  for (uint64_t i = 0; i < count; ++i) {
    Do(static_cast<Kind>(random_.Below(static_cast<uint64_t>(Kind::kTruncate))));
  }
  return words_;
}

// First a megabyte, then a block in it: else most damage would meet the thousand heartbeats.
uint64_t VolumeDamage::PickBlock() {
  const std::vector<uint64_t>& blocks = volume_.metadata_blocks();
  const uint64_t place = kLvmHeaderOffset + random_.Below(blocks.back() - kLvmHeaderOffset + 1);
  const uint64_t begin = place / kMebibyte * kMebibyte;
  const auto first = std::ranges::lower_bound(blocks, begin);
  const auto last = std::ranges::lower_bound(blocks, begin + kMebibyte);
  if (first == last) return *first;
  return first[static_cast<std::ptrdiff_t>(random_.Below(static_cast<uint64_t>(last - first)))];
}

uint64_t VolumeDamage::PickOffset() {
  if (random_.OneIn(3)) return random_.Below(kMetadataBlockBytes - 8);
  const uint64_t other = kOtherBegins[random_.Below(std::size(kOtherBegins))];
  const uint64_t begin = random_.OneIn(4) ? other : 0;
  return begin + random_.Below(kFieldBytes);
}

MetadataBytes VolumeDamage::ReadBlock(uint64_t offset) const {
  MetadataBytes block;
  disk_.Peek(offset, block);
  return block;
}

// A field of one, two, four or eight bytes gets a value that is at the edge of something, or close
// to the one it had.
void VolumeDamage::ChangeField(bool to_an_edge) {
  constexpr uint64_t kEdges[] = {0,          1,          2,          0x7f,       0xff,
                                 0x7fff,     0xffff,     0x10000,    0x7fffffff, 0x80000000,
                                 0xffffffff, 0x1'0000'0000, ~uint64_t{0}, uint64_t{1} << 63};
  const uint64_t block = PickBlock();
  const size_t size = size_t{1} << random_.Below(4);
  const uint64_t offset = PickOffset() / 2 * 2;
  MetadataBytes bytes = ReadBlock(block);
  uint64_t value = 0;
  std::memcpy(&value, bytes.data() + offset, size);
  value = to_an_edge ? kEdges[random_.Below(std::size(kEdges))] : value + random_.Below(9) - 4;
  std::memcpy(bytes.data() + offset, &value, size);
  disk_.Poke(block + offset, std::span<const std::byte>(bytes).subspan(offset, size));
  words_ += fmt::format("{} bytes at {:#x} are {:#x}; ", size, block + offset, value);
}

void VolumeDamage::ZeroMany() {
  const uint64_t block = PickBlock();
  const std::vector<std::byte> zeros(kMetadataBlockBytes << random_.Below(7));
  const uint64_t length =
      std::min<uint64_t>(zeros.size(), disk_.size_bytes() - std::min(disk_.size_bytes(), block));
  disk_.Poke(block, std::span<const std::byte>(zeros).first(length));
  words_ += fmt::format("{:#x} bytes at {:#x} are zero; ", length, block);
}

void VolumeDamage::Do(Kind kind) {
  const uint64_t block = PickBlock();
  const uint64_t other = PickBlock();
  MetadataBytes bytes = ReadBlock(block);
  switch (kind) {
    case Kind::kFlipBit: {
      const uint64_t at = PickOffset();
      bytes[at] ^= std::byte{1} << static_cast<int>(random_.Below(8));
      words_ += fmt::format("a bit at {:#x} flipped; ", block + at);
      break;
    }
    case Kind::kRandomBytes: {
      const uint64_t at = PickOffset();
      const uint64_t end = std::min<uint64_t>(at + 1 + random_.Below(64), bytes.size());
      for (uint64_t i = at; i < end; ++i) bytes[i] = static_cast<std::byte>(random_.Below(256));
      words_ += fmt::format("{} random bytes at {:#x}; ", end - at, block + at);
      break;
    }
    case Kind::kEdgeValue: return ChangeField(/*to_an_edge=*/true);
    case Kind::kNearValue: return ChangeField(/*to_an_edge=*/false);
    case Kind::kZeroSector:
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(random_.Below(8) * kSectorBytes),
                  kSectorBytes, std::byte{0});
      words_ += fmt::format("a sector of {:#x} zeroed; ", block);
      break;
    case Kind::kZeroBlock:
      bytes.fill(std::byte{0});
      words_ += fmt::format("block {:#x} zeroed; ", block);
      break;
    case Kind::kZeroMany: return ZeroMany();
    case Kind::kSwapBlocks:
      disk_.Poke(block, ReadBlock(other));
      disk_.Poke(other, bytes);
      words_ += fmt::format("blocks {:#x} and {:#x} swapped; ", block, other);
      return;
    case Kind::kCopyBlock:
      bytes = ReadBlock(other);
      words_ += fmt::format("block {:#x} over {:#x}; ", other, block);
      break;
    case Kind::kStaleBlock: {
      const TemplateVolume::OldBlock& old =
          volume_.old_blocks()[random_.Below(volume_.old_blocks().size())];
      disk_.Poke(old.offset, old.bytes);
      words_ += fmt::format("block {:#x} is an old one; ", old.offset);
      return;
    }
    case Kind::kTruncate:
      disk_.Truncate((kLvmHeaderOffset + random_.Below(disk_.size_bytes() - kLvmHeaderOffset)) /
                   kSectorBytes * kSectorBytes);
      words_ += fmt::format("the device ends at {:#x}; ", disk_.size_bytes());
      return;
  }
  disk_.Poke(block, bytes);
}

}  // namespace vmfs
