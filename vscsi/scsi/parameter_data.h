// Parameter data: what commands return or take as data, to and from plain values.
//
// INQUIRY and its VPD pages (SPC-4 6.6, 7.8; SBC-3 6.6), READ CAPACITY (SBC-3 5.15, 5.16), GET LBA
// STATUS (SBC-3 5.10), UNMAP (SBC-3 5.28). Encoders return whole pages; the allocation length of a
// CDB cuts them when they are sent. Decoders take bytes from a device and check every length. Plain
// values, any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "vscsi/scsi/types.h"

namespace scsi {

using Bytes = std::vector<std::byte>;

// Standard INQUIRY data of a direct access block device.
struct InquiryData {
  uint8_t device_type = 0;  // 0: direct access block device
  bool removable = false;
  uint8_t version = 6;   // SPC-4
  std::string vendor;    // up to 8 characters, blank padded on the wire
  std::string product;   // up to 16
  std::string revision;  // up to 4
  friend bool operator==(const InquiryData&, const InquiryData&) = default;
};

Bytes EncodeInquiryData(const InquiryData& inquiry);
// Errors: kParseError for fewer than 36 bytes.
base::Result<InquiryData> DecodeInquiryData(std::span<const std::byte> bytes);

// One VPD page: its code and what follows the four bytes of header.
struct VpdHeader {
  VpdPage page;
  std::span<const std::byte> payload;
};

// Errors: kParseError for a short page, or one that says it is longer than `bytes`.
base::Result<VpdHeader> DecodeVpdHeader(std::span<const std::byte> bytes);

Bytes EncodeSupportedPages(std::span<const VpdPage> pages);  // ascending order
Bytes EncodeSerialNumber(const std::string& serial);

// The 16 bytes of an NAA 6 name; their hex digits after "naa." are the device's name.
using NaaName = std::array<uint8_t, 16>;

// One entry of the Device Identification page.
struct Designator {
  uint8_t code_set = 1;     // 1 binary, 2 ASCII, 3 UTF-8
  uint8_t type = 0;         // 1 T10 vendor id, 2 EUI-64, 3 NAA, 4 relative port, 8 SCSI name
  uint8_t association = 0;  // 0 logical unit, 1 target port, 2 target device
  std::vector<uint8_t> identifier;
  friend bool operator==(const Designator&, const Designator&) = default;
};

inline constexpr uint8_t kDesignatorT10VendorId = 1;
inline constexpr uint8_t kDesignatorEui64 = 2;
inline constexpr uint8_t kDesignatorNaa = 3;

Bytes EncodeDeviceIdentification(std::span<const Designator> designators);
// Errors: kParseError for a wrong page or an entry that ends behind the page.
base::Result<std::vector<Designator>> DecodeDeviceIdentification(std::span<const std::byte> bytes);

// Block Limits, in blocks where not said otherwise; 0 means "not reported" in all but
// `compare_and_write_max`, where it means "not supported".
struct BlockLimits {
  bool write_same_nonzero = false;  // WSNZ: a count of 0 is refused
  uint8_t compare_and_write_max = 0;
  uint16_t transfer_granularity = 0;
  uint32_t transfer_max = 0;
  uint32_t transfer_optimal = 0;
  uint32_t unmap_max = 0;
  uint32_t unmap_descriptors_max = 0;
  uint32_t unmap_granularity = 0;
  uint64_t write_same_max = 0;
  friend bool operator==(const BlockLimits&, const BlockLimits&) = default;
};

Bytes EncodeBlockLimits(const BlockLimits& limits);
// Errors: kParseError for a wrong page or one shorter than SBC-2's 12 bytes of limits; fields that
// an older and shorter page does not have read as 0.
base::Result<BlockLimits> DecodeBlockLimits(std::span<const std::byte> bytes);

Bytes EncodeBlockDeviceCharacteristics();  // a non-rotating medium

struct Provisioning {
  bool unmap = false;             // LBPU: the UNMAP command
  bool write_same_unmap = false;  // LBPWS: WRITE SAME(16) with its UNMAP bit
  bool reads_zeros = false;       // LBPRZ: unmapped blocks read as zeros
  uint8_t type = 0;               // 0 not reported or full, 1 resource, 2 thin
  friend bool operator==(const Provisioning&, const Provisioning&) = default;
};

Bytes EncodeProvisioning(const Provisioning& provisioning);
base::Result<Provisioning> DecodeProvisioning(std::span<const std::byte> bytes);

// READ CAPACITY(16) data.
struct Capacity {
  uint64_t block_count = 0;  // one more than the last LBA on the wire
  uint32_t block_size_bytes = 512;
  uint8_t physical_block_exponent = 0;  // 2^n logical blocks in a physical one
  bool provisioning = false;            // LBPME
  bool reads_zeros = false;             // LBPRZ
  friend bool operator==(const Capacity&, const Capacity&) = default;
};

// `block_count` is at least 1.
Bytes EncodeCapacity10(const Capacity& capacity);
Bytes EncodeCapacity16(const Capacity& capacity);
// Errors: kParseError for fewer than 14 bytes, a block size of 0, or 2^64 blocks.
base::Result<Capacity> DecodeCapacity16(std::span<const std::byte> bytes);

enum class LbaState : uint8_t { kMapped = 0, kDeallocated = 1, kAnchored = 2 };

struct LbaRun {
  uint64_t lba = 0;
  uint32_t block_count = 0;
  LbaState state = LbaState::kMapped;
  friend bool operator==(const LbaRun&, const LbaRun&) = default;
};

inline constexpr size_t kLbaStatusHeaderBytes = 8;
inline constexpr size_t kLbaStatusDescriptorBytes = 16;
Bytes EncodeLbaStatus(std::span<const LbaRun> runs);
// Takes the descriptors that are wholly there; unknown states read as mapped.
// Errors: kParseError for a missing header.
base::Result<std::vector<LbaRun>> DecodeLbaStatus(std::span<const std::byte> bytes);

struct UnmapRange {
  uint64_t lba = 0;
  uint32_t block_count = 0;
  friend bool operator==(const UnmapRange&, const UnmapRange&) = default;
};

inline constexpr size_t kUnmapHeaderBytes = 8;
inline constexpr size_t kUnmapDescriptorBytes = 16;
// A parameter list of one range: what a device without heap allocation sends.
using UnmapListOfOne = std::array<std::byte, kUnmapHeaderBytes + kUnmapDescriptorBytes>;
UnmapListOfOne EncodeUnmapList(const UnmapRange& range);
// Errors: kParseError for a list shorter than its own header says.
base::Result<std::vector<UnmapRange>> DecodeUnmapList(std::span<const std::byte> bytes);

}  // namespace scsi
