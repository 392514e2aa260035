#include "vscsi/scsi/parameter_data.h"

#include <algorithm>
#include <string_view>

#include "fs/base/on_disk.h"

namespace scsi {
namespace {

using base::Be16;
using base::Be32;
using base::Be64;
using base::Code;
using base::Error;

struct InquiryWire {
  uint8_t device_type, removable, version, response_format, additional_bytes;
  uint8_t byte_5, byte_6, byte_7;
  std::array<char, 8> vendor;
  std::array<char, 16> product;
  std::array<char, 4> revision;
  uint8_t vendor_specific[20];
  uint8_t reserved_56[2];
  std::array<Be16, 8> version_descriptors;
  uint8_t reserved_74[22];
};

static_assert(base::OnDisk<InquiryWire> && sizeof(InquiryWire) == 96);
constexpr size_t kInquiryBytesMin = 36;

struct VpdWire {
  uint8_t device_type, page;
  Be16 payload_bytes;
};

static_assert(base::OnDisk<VpdWire> && sizeof(VpdWire) == 4);

struct DesignatorWire {
  uint8_t code_set, type, reserved, identifier_bytes;
};

static_assert(base::OnDisk<DesignatorWire> && sizeof(DesignatorWire) == 4);

struct BlockLimitsWire {
  uint8_t flags, compare_and_write_max;
  Be16 transfer_granularity;
  Be32 transfer_max, transfer_optimal, prefetch_max;
  Be32 unmap_max, unmap_descriptors_max, unmap_granularity, unmap_alignment;
  Be64 write_same_max;
  uint8_t reserved_40[20];
};

static_assert(base::OnDisk<BlockLimitsWire> && sizeof(BlockLimitsWire) == 0x3C);
constexpr size_t kBlockLimitsBytesMin = 12;

struct ProvisioningWire {
  uint8_t threshold_exponent, flags, type, reserved;
};

static_assert(base::OnDisk<ProvisioningWire> && sizeof(ProvisioningWire) == 4);

struct Capacity16Wire {
  Be64 last_lba;
  Be32 block_size_bytes;
  uint8_t protection, exponents;
  Be16 provisioning_and_alignment;
  uint8_t reserved_16[16];
};

static_assert(base::OnDisk<Capacity16Wire> && sizeof(Capacity16Wire) == 32);
constexpr size_t kCapacity16BytesMin = 16;

struct LbaStatusWire {
  Be64 lba;
  Be32 block_count;
  uint8_t state, reserved[3];
};

static_assert(base::OnDisk<LbaStatusWire> && sizeof(LbaStatusWire) == kLbaStatusDescriptorBytes);

struct UnmapHeaderWire {
  Be16 data_bytes, descriptors_bytes;
  Be32 reserved;
};

static_assert(base::OnDisk<UnmapHeaderWire> && sizeof(UnmapHeaderWire) == kUnmapHeaderBytes);

struct UnmapWire {
  Be64 lba;
  Be32 block_count, reserved;
};

static_assert(base::OnDisk<UnmapWire> && sizeof(UnmapWire) == kUnmapDescriptorBytes);

template <base::OnDisk T>
void Append(Bytes& bytes, const T& wire) {
  const auto added = base::BytesOf(wire);
  bytes.insert(bytes.end(), added.begin(), added.end());
}

// A T of which only the first bytes may be there; the rest reads as zero.
template <base::OnDisk T>
T LoadPrefix(std::span<const std::byte> bytes) {
  std::array<std::byte, sizeof(T)> padded{};
  std::copy_n(bytes.begin(), std::min(bytes.size(), sizeof(T)), padded.begin());
  return base::LoadAs<T>(padded);
}

template <size_t kSize>
std::array<char, kSize> Padded(std::string_view text) {
  std::array<char, kSize> field;
  field.fill(' ');
  std::copy_n(text.begin(), std::min(text.size(), kSize), field.begin());
  return field;
}

template <size_t kSize>
std::string Trimmed(const std::array<char, kSize>& field) {
  const std::string_view text(field.data(), kSize);
  const size_t last = text.find_last_not_of(std::string_view(" \0", 2));
  return std::string(text.substr(0, last == std::string_view::npos ? 0 : last + 1));
}

Bytes VpdPageOf(VpdPage page, std::span<const std::byte> payload) {
  Bytes bytes;
  Append(bytes, VpdWire{0, static_cast<uint8_t>(page), static_cast<uint16_t>(payload.size())});
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

base::Result<std::span<const std::byte>> PayloadOf(std::span<const std::byte> bytes, VpdPage page) {
  TRY(const VpdHeader header, DecodeVpdHeader(bytes));
  if (header.page == page) return header.payload;
  return Error(Code::kParseError, "decode VPD page: another page than the one asked for");
}

uint8_t Flag(bool value, int bit) {
  return static_cast<uint8_t>(value ? 1u << bit : 0u);
}

}  // namespace

Bytes EncodeInquiryData(const InquiryData& inquiry) {
  InquiryWire wire{};
  wire.device_type = inquiry.device_type;
  wire.removable = Flag(inquiry.removable, 7);
  wire.version = inquiry.version;
  wire.response_format = 0x12;  // RESPONSE DATA FORMAT 2, HISUP
  wire.additional_bytes = sizeof(InquiryWire) - 5;
  wire.byte_7 = 0x02;  // CMDQUE
  wire.vendor = Padded<8>(inquiry.vendor);
  wire.product = Padded<16>(inquiry.product);
  wire.revision = Padded<4>(inquiry.revision);
  // SAM-5, SPC-4, SBC-3: SPC-4 annex D, version descriptor values.
  wire.version_descriptors[0] = uint16_t{0x00A0};
  wire.version_descriptors[1] = uint16_t{0x0460};
  wire.version_descriptors[2] = uint16_t{0x04C0};
  Bytes bytes;
  Append(bytes, wire);
  return bytes;
}

base::Result<InquiryData> DecodeInquiryData(std::span<const std::byte> bytes) {
  if (bytes.size() < kInquiryBytesMin) {
    return Error(Code::kParseError, "decode INQUIRY data: fewer than 36 bytes");
  }
  const auto wire = LoadPrefix<InquiryWire>(bytes);
  InquiryData inquiry;
  inquiry.device_type = wire.device_type & 0x1F;
  inquiry.removable = (wire.removable & 0x80) != 0;
  inquiry.version = wire.version;
  inquiry.vendor = Trimmed(wire.vendor);
  inquiry.product = Trimmed(wire.product);
  inquiry.revision = Trimmed(wire.revision);
  return inquiry;
}

base::Result<VpdHeader> DecodeVpdHeader(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(VpdWire)) {
    return Error(Code::kParseError, "decode VPD page: shorter than its header");
  }
  const auto wire = base::LoadAs<VpdWire>(bytes);
  const auto rest = bytes.subspan(sizeof(VpdWire));
  if (rest.size() < wire.payload_bytes) {
    return Error(Code::kParseError, "decode VPD page: ends before its length says");
  }
  return VpdHeader{static_cast<VpdPage>(wire.page), rest.first(wire.payload_bytes)};
}

Bytes EncodeSupportedPages(std::span<const VpdPage> pages) {
  return VpdPageOf(VpdPage::kSupportedPages, std::as_bytes(pages));
}

Bytes EncodeSerialNumber(const std::string& serial) {
  return VpdPageOf(VpdPage::kUnitSerialNumber, std::as_bytes(std::span(serial)));
}

Bytes EncodeDeviceIdentification(std::span<const Designator> designators) {
  Bytes payload;
  for (const Designator& designator : designators) {
    const std::vector<uint8_t>& identifier = designator.identifier;
    Append(payload,
           DesignatorWire{designator.code_set,
                          static_cast<uint8_t>(designator.association << 4 | designator.type), 0,
                          static_cast<uint8_t>(identifier.size())});
    const auto added = std::as_bytes(std::span(identifier));
    payload.insert(payload.end(), added.begin(), added.end());
  }
  return VpdPageOf(VpdPage::kDeviceIdentification, payload);
}

base::Result<std::vector<Designator>> DecodeDeviceIdentification(std::span<const std::byte> bytes) {
  TRY(std::span<const std::byte> rest, PayloadOf(bytes, VpdPage::kDeviceIdentification));
  std::vector<Designator> designators;
  while (rest.size() >= sizeof(DesignatorWire)) {
    const auto wire = base::LoadAs<DesignatorWire>(rest);
    rest = rest.subspan(sizeof(DesignatorWire));
    if (rest.size() < wire.identifier_bytes) {
      return Error(Code::kParseError, "decode VPD page 83h: a designator ends behind the page");
    }
    Designator designator;
    designator.code_set = wire.code_set & 0xF;
    designator.type = wire.type & 0xF;
    designator.association = (wire.type >> 4) & 0x3;
    for (const std::byte byte : rest.first(wire.identifier_bytes)) {
      designator.identifier.push_back(static_cast<uint8_t>(byte));
    }
    designators.push_back(std::move(designator));
    rest = rest.subspan(wire.identifier_bytes);
  }
  return designators;
}

Bytes EncodeBlockLimits(const BlockLimits& limits) {
  BlockLimitsWire wire{};
  wire.flags = Flag(limits.write_same_nonzero, 0);
  wire.compare_and_write_max = limits.compare_and_write_max;
  wire.transfer_granularity = limits.transfer_granularity;
  wire.transfer_max = limits.transfer_max;
  wire.transfer_optimal = limits.transfer_optimal;
  wire.unmap_max = limits.unmap_max;
  wire.unmap_descriptors_max = limits.unmap_descriptors_max;
  wire.unmap_granularity = limits.unmap_granularity;
  wire.write_same_max = limits.write_same_max;
  return VpdPageOf(VpdPage::kBlockLimits, base::BytesOf(wire));
}

base::Result<BlockLimits> DecodeBlockLimits(std::span<const std::byte> bytes) {
  TRY(const std::span<const std::byte> payload, PayloadOf(bytes, VpdPage::kBlockLimits));
  if (payload.size() < kBlockLimitsBytesMin) {
    return Error(Code::kParseError, "decode VPD page B0h: shorter than any standard's");
  }
  const auto wire = LoadPrefix<BlockLimitsWire>(payload);
  BlockLimits limits;
  limits.write_same_nonzero = (wire.flags & 1) != 0;
  limits.compare_and_write_max = wire.compare_and_write_max;
  limits.transfer_granularity = wire.transfer_granularity;
  limits.transfer_max = wire.transfer_max;
  limits.transfer_optimal = wire.transfer_optimal;
  limits.unmap_max = wire.unmap_max;
  limits.unmap_descriptors_max = wire.unmap_descriptors_max;
  limits.unmap_granularity = wire.unmap_granularity;
  limits.write_same_max = wire.write_same_max;
  return limits;
}

Bytes EncodeBlockDeviceCharacteristics() {
  std::array<std::byte, 0x3C> payload{};
  payload[1] = std::byte{1};  // MEDIUM ROTATION RATE 0001h: non-rotating
  return VpdPageOf(VpdPage::kBlockDeviceCharacteristics, payload);
}

Bytes EncodeProvisioning(const Provisioning& provisioning) {
  ProvisioningWire wire{};
  wire.flags =
      static_cast<uint8_t>(Flag(provisioning.unmap, 7) | Flag(provisioning.write_same_unmap, 6) |
                           Flag(provisioning.reads_zeros, 2));
  wire.type = provisioning.type;
  return VpdPageOf(VpdPage::kLogicalBlockProvisioning, base::BytesOf(wire));
}

base::Result<Provisioning> DecodeProvisioning(std::span<const std::byte> bytes) {
  TRY(const auto payload, PayloadOf(bytes, VpdPage::kLogicalBlockProvisioning));
  if (payload.size() < sizeof(ProvisioningWire)) {
    return Error(Code::kParseError, "decode VPD page B2h: too short");
  }
  const auto wire = base::LoadAs<ProvisioningWire>(payload);
  Provisioning provisioning;
  provisioning.unmap = (wire.flags & 0x80) != 0;
  provisioning.write_same_unmap = (wire.flags & 0x40) != 0;
  // LBPRZ is three bits since SBC-4; its lowest, xx1b, says "zeros".
  provisioning.reads_zeros = (wire.flags & 0x04) != 0;
  provisioning.type = wire.type & 0x7;
  return provisioning;
}

Bytes EncodeCapacity10(const Capacity& capacity) {
  const uint64_t last_lba = capacity.block_count - 1;
  Bytes bytes;
  Append(bytes, Be32(static_cast<uint32_t>(std::min<uint64_t>(last_lba, UINT32_MAX))));
  Append(bytes, Be32(capacity.block_size_bytes));
  return bytes;
}

Bytes EncodeCapacity16(const Capacity& capacity) {
  Capacity16Wire wire{};
  wire.last_lba = capacity.block_count - 1;
  wire.block_size_bytes = capacity.block_size_bytes;
  wire.exponents = capacity.physical_block_exponent & 0xF;
  wire.provisioning_and_alignment = static_cast<uint16_t>((capacity.provisioning ? 0x8000u : 0u) |
                                                          (capacity.reads_zeros ? 0x4000u : 0u));
  Bytes bytes;
  Append(bytes, wire);
  return bytes;
}

base::Result<Capacity> DecodeCapacity16(std::span<const std::byte> bytes) {
  if (bytes.size() < kCapacity16BytesMin) {
    return Error(Code::kParseError, "decode READ CAPACITY(16) data: fewer than 16 bytes");
  }
  const auto wire = LoadPrefix<Capacity16Wire>(bytes);
  if (wire.block_size_bytes == 0 || wire.last_lba == UINT64_MAX) {
    return Error(Code::kParseError, "decode READ CAPACITY(16) data: impossible size");
  }
  Capacity capacity;
  capacity.block_count = wire.last_lba + 1;
  capacity.block_size_bytes = wire.block_size_bytes;
  capacity.physical_block_exponent = wire.exponents & 0xF;
  capacity.provisioning = (wire.provisioning_and_alignment & 0x8000) != 0;
  capacity.reads_zeros = (wire.provisioning_and_alignment & 0x4000) != 0;
  return capacity;
}

Bytes EncodeLbaStatus(std::span<const LbaRun> runs) {
  Bytes bytes;
  // PARAMETER DATA LENGTH counts what follows it: the reserved word and the descriptors.
  Append(bytes, Be32(static_cast<uint32_t>(4 + runs.size() * kLbaStatusDescriptorBytes)));
  Append(bytes, Be32(0));
  for (const LbaRun& run : runs) {
    Append(bytes, LbaStatusWire{run.lba, run.block_count, static_cast<uint8_t>(run.state), {}});
  }
  return bytes;
}

base::Result<std::vector<LbaRun>> DecodeLbaStatus(std::span<const std::byte> bytes) {
  if (bytes.size() < kLbaStatusHeaderBytes) {
    return Error(Code::kParseError, "decode GET LBA STATUS data: shorter than its header");
  }
  const uint64_t size = uint64_t{base::LoadAs<Be32>(bytes)} + 4;
  auto rest = bytes.first(static_cast<size_t>(std::min<uint64_t>(bytes.size(), size)));
  rest = rest.subspan(std::min(rest.size(), kLbaStatusHeaderBytes));
  std::vector<LbaRun> runs;
  for (; rest.size() >= sizeof(LbaStatusWire); rest = rest.subspan(sizeof(LbaStatusWire))) {
    const auto wire = base::LoadAs<LbaStatusWire>(rest);
    const auto state = static_cast<uint8_t>(wire.state & 0xF);
    runs.push_back({wire.lba, wire.block_count,
                    state <= 2 ? static_cast<LbaState>(state) : LbaState::kMapped});
  }
  return runs;
}

UnmapListOfOne EncodeUnmapList(const UnmapRange& range) {
  UnmapListOfOne list{};
  base::StoreAs(
      std::span(list), 0,
      UnmapHeaderWire{static_cast<uint16_t>(list.size() - 2), uint16_t{kUnmapDescriptorBytes}, 0u});
  base::StoreAs(std::span(list), kUnmapHeaderBytes, UnmapWire{range.lba, range.block_count, 0u});
  return list;
}

base::Result<std::vector<UnmapRange>> DecodeUnmapList(std::span<const std::byte> bytes) {
  if (bytes.size() < kUnmapHeaderBytes) {
    return Error(Code::kParseError, "decode UNMAP list: shorter than its header");
  }
  const auto header = base::LoadAs<UnmapHeaderWire>(bytes);
  auto rest = bytes.subspan(kUnmapHeaderBytes);
  if (rest.size() < header.descriptors_bytes ||
      header.data_bytes + 2u < header.descriptors_bytes + kUnmapHeaderBytes) {
    return Error(Code::kParseError, "decode UNMAP list: ends before its length says");
  }
  rest = rest.first(header.descriptors_bytes);
  std::vector<UnmapRange> ranges;
  for (; rest.size() >= sizeof(UnmapWire); rest = rest.subspan(sizeof(UnmapWire))) {
    const auto wire = base::LoadAs<UnmapWire>(rest);
    ranges.push_back({wire.lba, wire.block_count});
  }
  return ranges;
}

}  // namespace scsi
