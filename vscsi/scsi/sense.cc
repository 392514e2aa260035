#include "vscsi/scsi/sense.h"

#include <algorithm>

#include "fs/base/on_disk.h"

namespace scsi {
namespace {

using base::Be32;
using base::Be64;
using base::Code;

constexpr uint8_t kFixedCurrent = 0x70;
constexpr uint8_t kDescriptorCurrent = 0x72;
constexpr uint8_t kValid = 0x80;
constexpr uint8_t kInformationDescriptor = 0x00;
constexpr uint8_t kKeySpecificDescriptor = 0x02;
constexpr size_t kDescriptorHeaderBytes = 8;

struct FixedSense {
  uint8_t response_code;
  uint8_t obsolete_1;
  uint8_t key;
  Be32 information;
  uint8_t additional_bytes;
  Be32 command_specific;
  uint8_t asc, ascq, replaceable_unit;
  std::array<uint8_t, 3> key_specific;
};

static_assert(base::OnDisk<FixedSense> && sizeof(FixedSense) == 18);

struct InformationDescriptor {
  uint8_t type, additional_bytes, valid, reserved_3;
  Be64 information;
};

static_assert(base::OnDisk<InformationDescriptor> && sizeof(InformationDescriptor) == 12);

struct KeySpecificDescriptor {
  uint8_t type, additional_bytes;
  uint8_t reserved_2[2];
  std::array<uint8_t, 3> key_specific;
  uint8_t reserved_7;
};

static_assert(base::OnDisk<KeySpecificDescriptor> && sizeof(KeySpecificDescriptor) == 8);

template <base::OnDisk T>
void Append(SenseBuffer& buffer, const T& wire) {
  base::StoreAs(std::as_writable_bytes(std::span(buffer.bytes)), buffer.size_bytes, wire);
  buffer.size_bytes = static_cast<uint8_t>(buffer.size_bytes + sizeof(T));
}

SenseBuffer EncodeFixed(const Sense& sense) {
  FixedSense wire{};
  wire.response_code = static_cast<uint8_t>(kFixedCurrent + (sense.deferred ? 1 : 0));
  wire.key = static_cast<uint8_t>(sense.code.key);
  if (sense.information && *sense.information <= UINT32_MAX) {
    wire.response_code |= kValid;
    wire.information = static_cast<uint32_t>(*sense.information);
  }
  wire.additional_bytes = sizeof(FixedSense) - kDescriptorHeaderBytes;
  wire.asc = sense.code.asc;
  wire.ascq = sense.code.ascq;
  if (sense.key_specific) {
    wire.key_specific = *sense.key_specific;
    wire.key_specific[0] |= kValid;
  }
  SenseBuffer buffer;
  Append(buffer, wire);
  return buffer;
}

SenseBuffer EncodeDescriptor(const Sense& sense) {
  SenseBuffer buffer;
  buffer.bytes[0] = static_cast<uint8_t>(kDescriptorCurrent + (sense.deferred ? 1 : 0));
  buffer.bytes[1] = static_cast<uint8_t>(sense.code.key);
  buffer.bytes[2] = sense.code.asc;
  buffer.bytes[3] = sense.code.ascq;
  buffer.size_bytes = kDescriptorHeaderBytes;
  if (sense.information) {
    Append(buffer,
           InformationDescriptor{kInformationDescriptor, 10, kValid, 0, *sense.information});
  }
  if (sense.key_specific) {
    KeySpecificDescriptor wire{kKeySpecificDescriptor, 6, {}, *sense.key_specific, 0};
    wire.key_specific[0] |= kValid;
    Append(buffer, wire);
  }
  buffer.bytes[7] = static_cast<uint8_t>(buffer.size_bytes - kDescriptorHeaderBytes);
  return buffer;
}

void TakeKeySpecific(std::array<uint8_t, 3> wire, Sense& sense) {
  if ((wire[0] & kValid) == 0) return;
  wire[0] &= static_cast<uint8_t>(~kValid);
  sense.key_specific = wire;
}

Sense DecodeFixed(std::span<const uint8_t> bytes) {
  // ADDITIONAL SENSE LENGTH bounds what is there; the rest reads as zero.
  size_t size = std::min(bytes.size(), sizeof(FixedSense));
  if (bytes.size() >= kDescriptorHeaderBytes) {
    size = std::min(size, kDescriptorHeaderBytes + size_t{bytes[7]});
  }
  std::array<uint8_t, sizeof(FixedSense)> padded{};
  std::copy_n(bytes.begin(), size, padded.begin());
  const auto wire = base::LoadAs<FixedSense>(std::as_bytes(std::span(padded)));
  Sense sense;
  sense.code = {static_cast<SenseKey>(wire.key & 0xF), wire.asc, wire.ascq};
  sense.deferred = (wire.response_code & 1) != 0;
  if ((wire.response_code & kValid) != 0) sense.information = wire.information;
  TakeKeySpecific(wire.key_specific, sense);
  return sense;
}

void TakeDescriptor(std::span<const std::byte> descriptor, Sense& sense) {
  const auto type = static_cast<uint8_t>(descriptor[0]);
  if (type == kInformationDescriptor && descriptor.size() >= sizeof(InformationDescriptor)) {
    const auto wire = base::LoadAs<InformationDescriptor>(descriptor);
    if ((wire.valid & kValid) != 0) sense.information = wire.information;
  }
  if (type == kKeySpecificDescriptor && descriptor.size() >= sizeof(KeySpecificDescriptor)) {
    TakeKeySpecific(base::LoadAs<KeySpecificDescriptor>(descriptor).key_specific, sense);
  }
}

Sense DecodeDescriptor(std::span<const uint8_t> bytes) {
  Sense sense;
  sense.code = {static_cast<SenseKey>(bytes[1] & 0xF), bytes[2], bytes[3]};
  sense.deferred = (bytes[0] & 1) != 0;
  auto rest = std::as_bytes(bytes.subspan(kDescriptorHeaderBytes));
  rest = rest.first(std::min(rest.size(), size_t{bytes[7]}));
  while (rest.size() >= 2) {
    const size_t size = 2 + static_cast<size_t>(rest[1]);
    if (size > rest.size()) break;
    TakeDescriptor(rest.first(size), sense);
    rest = rest.subspan(size);
  }
  return sense;
}

// The code of a triple, most specific first. `kAny` matches every ASC or ASCQ.
constexpr int kAny = -1;

struct ReverseRow {
  SenseKey key;
  int asc, ascq;
  Code code;
};

constexpr ReverseRow kReverse[] = {
    {SenseKey::kNotReady, 0x3A, kAny, Code::kDeviceLost},
    {SenseKey::kNotReady, kAny, kAny, Code::kBusy},
    {SenseKey::kMediumError, kAny, kAny, Code::kMedium},
    {SenseKey::kHardwareError, kAny, kAny, Code::kIo},
    {SenseKey::kIllegalRequest, 0x20, kAny, Code::kUnsupported},
    {SenseKey::kIllegalRequest, 0x21, 0x04, Code::kMisaligned},
    {SenseKey::kIllegalRequest, 0x21, kAny, Code::kOutOfRange},
    {SenseKey::kIllegalRequest, 0x25, kAny, Code::kDeviceLost},
    {SenseKey::kIllegalRequest, kAny, kAny, Code::kInvalidArgument},
    {SenseKey::kUnitAttention, kAny, kAny, Code::kBusy},
    {SenseKey::kDataProtect, 0x27, 0x07, Code::kNoSpace},
    {SenseKey::kDataProtect, kAny, kAny, Code::kReadOnly},
    {SenseKey::kBlankCheck, kAny, kAny, Code::kMedium},
    {SenseKey::kAbortedCommand, 0x00, 0x00, Code::kCanceled},
    {SenseKey::kAbortedCommand, 0x2E, kAny, Code::kTimedOut},
    {SenseKey::kVolumeOverflow, kAny, kAny, Code::kNoSpace},
    {SenseKey::kMiscompare, kAny, kAny, Code::kMiscompare},
};

}  // namespace

SenseBuffer EncodeSense(const Sense& sense, SenseFormat format) {
  return format == SenseFormat::kFixed ? EncodeFixed(sense) : EncodeDescriptor(sense);
}

base::Result<Sense> DecodeSense(std::span<const uint8_t> bytes) {
  const uint8_t response_code = bytes.empty() ? uint8_t{0} : bytes[0] & 0x7F;
  const bool fixed = (response_code & ~1) == kFixedCurrent;
  const bool descriptor = (response_code & ~1) == kDescriptorCurrent;
  if (fixed && bytes.size() >= 3) return DecodeFixed(bytes);
  if (descriptor && bytes.size() >= kDescriptorHeaderBytes) return DecodeDescriptor(bytes);
  return base::Error(Code::kParseError, "decode sense data: neither fixed nor descriptor format");
}

Sense InvalidCdbField(uint16_t byte_index) {
  constexpr uint8_t kInCdb = 0x40;
  Sense sense{.code = kInvalidFieldInCdb};
  sense.key_specific = std::array<uint8_t, 3>{kInCdb, static_cast<uint8_t>(byte_index >> 8),
                                              static_cast<uint8_t>(byte_index)};
  return sense;
}

SenseCode SenseOf(Code code) {
  const base::CodeInfo& info = base::InfoOf(code);
  return {static_cast<SenseKey>(info.sense_key), info.asc, info.ascq};
}

Code CodeFromSense(const SenseCode& sense) {
  for (const ReverseRow& row : kReverse) {
    if (row.key == sense.key && (row.asc == kAny || row.asc == sense.asc) &&
        (row.ascq == kAny || row.ascq == sense.ascq)) {
      return row.code;
    }
  }
  return Code::kIo;
}

}  // namespace scsi
