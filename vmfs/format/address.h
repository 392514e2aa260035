// Addresses of allocatable things: `Address` for slots of a block map, `FdAddress` for descriptors.
//
// The low three bits say the kind, the others a cluster and an item in it (vmfs/FORMAT.md,
// "Addresses"). An inode number is the 32-bit value of its descriptor's `FdAddress`. Plain values,
// any thread. Nothing here knows how large a volume is: ranges are checked where it is known.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "vmfs/format/metadata_block.h"

namespace vmfs {

enum class AddressKind : uint8_t {
  kNone = 0,          // a hole when the whole address is zero, else corrupt
  kFileBlock = 1,     // 1 MiB ("small" block)
  kSubBlock = 2,      // 64 KiB; on VMFS-6 also the pointer blocks of ordinary files
  kPointerBlock = 3,  // VMFS-5 only
  kFd = 4,            // a descriptor
  kPb2 = 5,           // a pointer block of a system file
  kJournalBlock = 6,  // 2 MiB
  kLargeBlock = 7,    // 512 MiB
};

// Where a resource lies: item `item` of cluster `cluster`.
struct ResourceIndex {
  uint64_t cluster = 0;
  uint32_t item = 0;
  friend auto operator<=>(const ResourceIndex&, const ResourceIndex&) = default;
};

// A 64-bit address as it stands in a descriptor's slot or in a pointer block. Zero is a hole.
class Address {
 public:
  constexpr Address() = default;
  constexpr explicit Address(uint64_t raw) : raw_(raw) {}

  // The 1 MiB block `volume_block` (volume address / 1 MiB). At most 2^40 - 1.
  static constexpr Address MakeFileBlock(uint64_t volume_block) {
    return Address(1 | (volume_block / kSmallBlocksPerCluster) << 15 |
                   (volume_block % kSmallBlocksPerCluster) << 51);
  }
  static constexpr Address MakeLargeBlock(uint64_t number) { return Address(7 | number << 15); }
  static constexpr Address MakeSubBlock(uint64_t cluster, uint32_t item) {
    return Address(2 | cluster << 6 | uint64_t{item} << 56);
  }
  static constexpr Address MakePb2(uint64_t cluster, uint32_t item) {
    return Address(5 | cluster << 6 | uint64_t{item} << 56);
  }
  // 32 bits wide: the form of a heartbeat slot's journal field.
  static constexpr Address MakeJournalBlock(uint64_t cluster, uint32_t item) {
    return Address(6 | cluster << 3 | uint64_t{item} << 26);
  }

  constexpr uint64_t raw() const { return raw_; }
  constexpr bool is_hole() const { return raw_ == 0; }
  constexpr AddressKind kind() const { return static_cast<AddressKind>(raw_ & 7); }

  // Cluster and item by the kind's own bit fields; for a file block of 512 to a cluster, for a
  // large block the number is the cluster and the item is 0.
  constexpr ResourceIndex index() const {
    switch (kind()) {
      case AddressKind::kFileBlock:
        return {raw_ >> 15 & 0x7fffffff, static_cast<uint32_t>(raw_ >> 51)};
      case AddressKind::kLargeBlock:
        return {raw_ >> 15 & 0x7fffffff, 0};
      case AddressKind::kJournalBlock:
        return {raw_ >> 3 & 0x1fff, static_cast<uint32_t>(raw_ >> 26 & 0x3f)};
      default:
        return {raw_ >> 6 & 0xfffffffff, static_cast<uint32_t>(raw_ >> 56)};
    }
  }

  // For file blocks and large blocks: the (first) 1 MiB block of the volume.
  constexpr uint64_t volume_block() const {
    const ResourceIndex where = index();
    return where.cluster * kSmallBlocksPerCluster + where.item;
  }

  // Copy-on-write bit and the eighths still to be zeroed; only ESXi sets them. A block with any
  // bit in `to_be_zeroed()` reads as zeros. Meaningful for file and large blocks.
  constexpr bool copy_on_write() const { return (raw_ >> 5 & 1) != 0; }
  constexpr uint8_t to_be_zeroed() const {
    const bool has_bitmap =
        kind() == AddressKind::kFileBlock || kind() == AddressKind::kLargeBlock;
    return has_bitmap ? static_cast<uint8_t>(raw_ >> 7 & 0xff) : uint8_t{0};
  }

  // True when no bit outside the kind's fields is set: what we write ourselves always is.
  // False for kinds that do not occur in VMFS-6 block maps (none, kPointerBlock, kFd).
  constexpr bool is_canonical() const {
    const ResourceIndex where = index();
    switch (kind()) {
      case AddressKind::kFileBlock:
        return where.item < kSmallBlocksPerCluster && *this == MakeFileBlock(volume_block());
      case AddressKind::kLargeBlock: return *this == MakeLargeBlock(where.cluster);
      case AddressKind::kSubBlock: return *this == MakeSubBlock(where.cluster, where.item);
      case AddressKind::kPb2: return *this == MakePb2(where.cluster, where.item);
      case AddressKind::kJournalBlock: return *this == MakeJournalBlock(where.cluster, where.item);
      default: return false;
    }
  }

  // "file block 1234", "sub-block 3/17", "hole"; for messages.
  std::string ToString() const;

  friend constexpr auto operator<=>(const Address&, const Address&) = default;

 private:
  uint64_t raw_ = 0;
};

// The 32-bit address of a descriptor (an inode's number). Zero: none.
class FdAddress {
 public:
  constexpr FdAddress() = default;
  constexpr explicit FdAddress(uint32_t raw) : raw_(raw) {}
  // `cluster` under 65,536, `item` under 1,024 (256 to a cluster on VMFS-6).
  static constexpr FdAddress Make(uint32_t cluster, uint32_t item) {
    return FdAddress(4 | cluster << 6 | item << 22);
  }

  constexpr uint32_t raw() const { return raw_; }
  constexpr bool is_none() const { return raw_ == 0; }
  // Whether the bits are those of a descriptor address; whether it exists is not said.
  constexpr bool is_valid() const { return (raw_ & 0x3f) == 4; }
  constexpr uint32_t cluster() const { return raw_ >> 6 & 0xffff; }
  constexpr uint32_t item() const { return raw_ >> 22; }

  // "fd 0x02400004"; for messages.
  std::string ToString() const;

  friend constexpr auto operator<=>(const FdAddress&, const FdAddress&) = default;

 private:
  uint32_t raw_ = 0;
};

// Descriptors with a fixed place: items 0 to 8 of descriptor cluster 0.
inline constexpr FdAddress kRootFd = FdAddress::Make(0, 0);
inline constexpr FdAddress kFbbFd = FdAddress::Make(0, 1);   // `.fbb.sf`: file-block bitmaps
inline constexpr FdAddress kFdcFd = FdAddress::Make(0, 2);   // `.fdc.sf`: descriptors
inline constexpr FdAddress kPbcFd = FdAddress::Make(0, 3);   // `.pbc.sf`: empty on VMFS-6
inline constexpr FdAddress kSbcFd = FdAddress::Make(0, 4);   // `.sbc.sf`: sub-blocks
inline constexpr FdAddress kVhFd = FdAddress::Make(0, 5);    // `.vh.sf`: the header area
inline constexpr FdAddress kPb2Fd = FdAddress::Make(0, 6);   // `.pb2.sf`: system pointer blocks
inline constexpr FdAddress kSddFd = FdAddress::Make(0, 7);   // `.sdd.sf`: device descriptions
inline constexpr FdAddress kJbcFd = FdAddress::Make(0, 8);   // `.jbc.sf`: journal blocks
inline constexpr uint32_t kSystemFdCount = 9;                // the root included

}  // namespace vmfs
