#include "vscsi/scsi/cdb.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "fs/base/on_disk.h"

namespace scsi {
namespace {

using base::Be16;
using base::Be32;
using base::Be64;

struct Range10 {
  uint8_t opcode, flags;
  Be32 lba;
  uint8_t group;
  Be16 block_count;
  uint8_t control;
};

static_assert(base::OnDisk<Range10> && sizeof(Range10) == 10);

struct Range12 {
  uint8_t opcode, flags;
  Be32 lba, block_count;
  uint8_t group, control;
};

static_assert(base::OnDisk<Range12> && sizeof(Range12) == 12);

// Also READ CAPACITY(16) and GET LBA STATUS, whose allocation length stands where the count is.
struct Range16 {
  uint8_t opcode, flags;
  Be64 lba;
  Be32 block_count;
  uint8_t group, control;
};

static_assert(base::OnDisk<Range16> && sizeof(Range16) == 16);

struct Inquiry6 {
  uint8_t opcode, flags, page_code;
  Be16 allocation_bytes;
  uint8_t control;
};

static_assert(base::OnDisk<Inquiry6> && sizeof(Inquiry6) == 6);

// UNMAP and MODE SENSE(10): a 16-bit length at byte 7.
struct Length10 {
  uint8_t opcode, flags, byte_2, byte_3;
  uint8_t reserved[3];
  Be16 length_bytes;
  uint8_t control;
};

static_assert(base::OnDisk<Length10> && sizeof(Length10) == 10);

struct ReportLuns12 {
  uint8_t opcode, reserved_1, select_report;
  uint8_t reserved_3[3];
  Be32 allocation_bytes;
  uint8_t reserved_10, control;
};

static_assert(base::OnDisk<ReportLuns12> && sizeof(ReportLuns12) == 12);

template <base::OnDisk T>
T Load(const Cdb& cdb) {
  static_assert(sizeof(T) <= kCdbBytesMax);
  return base::LoadAs<T>(std::as_bytes(std::span(cdb.bytes)));
}

template <base::OnDisk T>
Cdb Store(const T& wire) {
  static_assert(sizeof(T) <= kCdbBytesMax);
  Cdb cdb;
  std::memcpy(cdb.bytes.data(), &wire, sizeof(T));
  cdb.size_bytes = sizeof(T);
  return cdb;
}

uint8_t Byte(Opcode opcode) {
  return static_cast<uint8_t>(opcode);
}

uint8_t Bit(bool value, int position) {
  return static_cast<uint8_t>(value ? 1u << position : 0u);
}

// Six-byte commands: 21 bits of LBA, and a count of 0 means 256 (SBC-3 5.11).
BlockRangeCdb DecodeRange6(const Cdb& cdb) {
  BlockRangeCdb range;
  range.lba = (cdb.bytes[1] & 0x1Fu) << 16 | uint64_t{cdb.bytes[2]} << 8 | cdb.bytes[3];
  range.block_count = cdb.bytes[4] == 0 ? 256u : cdb.bytes[4];
  return range;
}

}  // namespace

Cdb CdbOf(std::span<const uint8_t> bytes) {
  Cdb cdb;
  cdb.size_bytes = static_cast<uint8_t>(std::min<size_t>(bytes.size(), kCdbBytesMax));
  std::copy_n(bytes.begin(), cdb.size_bytes, cdb.bytes.begin());
  return cdb;
}

uint8_t CdbSizeOf(uint8_t opcode) {
  constexpr uint8_t kSizes[] = {6, 10, 10, 0, 16, 12, 0, 0};
  return kSizes[opcode >> 5];
}

BlockRangeCdb DecodeBlockRange(const Cdb& cdb) {
  switch (CdbSizeOf(cdb.bytes[0])) {
    case 6: return DecodeRange6(cdb);
    case 10: {
      const auto wire = Load<Range10>(cdb);
      return {wire.lba, wire.block_count, wire.flags};
    }
    case 12: {
      const auto wire = Load<Range12>(cdb);
      return {wire.lba, wire.block_count, wire.flags};
    }
    default: break;
  }
  const auto wire = Load<Range16>(cdb);
  const uint32_t count = wire.block_count;
  const bool one_byte = cdb.opcode() == Opcode::kCompareAndWrite;
  return {wire.lba, one_byte ? count & 0xFF : count, wire.flags};
}

Cdb EncodeBlockRange16(Opcode opcode, const BlockRangeCdb& range) {
  return Store(Range16{Byte(opcode), range.flags, range.lba, range.block_count, 0, 0});
}

Cdb EncodeBlockRange10(Opcode opcode, const BlockRangeCdb& range) {
  return Store(Range10{Byte(opcode), range.flags, static_cast<uint32_t>(range.lba), 0,
                       static_cast<uint16_t>(range.block_count), 0});
}

Cdb EncodeTestUnitReady() {
  Cdb cdb;
  cdb.size_bytes = 6;
  return cdb;
}

InquiryCdb DecodeInquiry(const Cdb& cdb) {
  const auto wire = Load<Inquiry6>(cdb);
  return {(wire.flags & 1) != 0, wire.page_code, wire.allocation_bytes};
}

Cdb EncodeInquiry(const InquiryCdb& inquiry) {
  return Store(Inquiry6{Byte(Opcode::kInquiry), Bit(inquiry.vital_product_data, 0),
                        inquiry.page_code, inquiry.allocation_bytes, 0});
}

RequestSenseCdb DecodeRequestSense(const Cdb& cdb) {
  return {(cdb.bytes[1] & 1) != 0, cdb.bytes[4]};
}

Cdb EncodeRequestSense(const RequestSenseCdb& request) {
  Cdb cdb;
  cdb.bytes[0] = Byte(Opcode::kRequestSense);
  cdb.bytes[1] = Bit(request.descriptor_format, 0);
  cdb.bytes[4] = request.allocation_bytes;
  cdb.size_bytes = 6;
  return cdb;
}

ReportLunsCdb DecodeReportLuns(const Cdb& cdb) {
  const auto wire = Load<ReportLuns12>(cdb);
  return {wire.select_report, wire.allocation_bytes};
}

Cdb EncodeReportLuns(const ReportLunsCdb& report) {
  return Store(ReportLuns12{
      Byte(Opcode::kReportLuns), 0, report.select_report, {}, report.allocation_bytes, 0, 0});
}

ReadCapacity10Cdb DecodeReadCapacity10(const Cdb& cdb) {
  return {Load<Range10>(cdb).lba, (cdb.bytes[8] & 1) != 0};
}

Cdb EncodeReadCapacity10(const ReadCapacity10Cdb& read) {
  return Store(Range10{Byte(Opcode::kReadCapacity10), 0, read.lba, 0,
                       static_cast<uint16_t>(read.partial_medium ? 1 : 0), 0});
}

ServiceActionInCdb DecodeServiceActionIn(const Cdb& cdb) {
  const auto wire = Load<Range16>(cdb);
  return {static_cast<uint8_t>(wire.flags & 0x1F), wire.lba, wire.block_count, wire.group};
}

Cdb EncodeServiceActionIn(const ServiceActionInCdb& action) {
  return Store(Range16{Byte(Opcode::kServiceActionIn16), action.service_action, action.lba,
                       action.allocation_bytes, action.byte_14, 0});
}

UnmapCdb DecodeUnmap(const Cdb& cdb) {
  const auto wire = Load<Length10>(cdb);
  return {(wire.flags & 1) != 0, wire.length_bytes};
}

Cdb EncodeUnmap(const UnmapCdb& unmap) {
  return Store(Length10{
      Byte(Opcode::kUnmap), Bit(unmap.anchor, 0), 0, 0, {}, unmap.parameter_list_bytes, 0});
}

ModeSenseCdb DecodeModeSense(const Cdb& cdb) {
  ModeSenseCdb mode;
  mode.no_block_descriptors = (cdb.bytes[1] & 0x08) != 0;
  mode.page_control = static_cast<uint8_t>(cdb.bytes[2] >> 6);
  mode.page_code = cdb.bytes[2] & 0x3F;
  mode.subpage_code = cdb.bytes[3];
  if (cdb.opcode() == Opcode::kModeSense6) {
    mode.allocation_bytes = cdb.bytes[4];
  } else {
    mode.long_lba_accepted = (cdb.bytes[1] & 0x10) != 0;
    mode.allocation_bytes = Load<Length10>(cdb).length_bytes;
  }
  return mode;
}

Cdb EncodeModeSense6(const ModeSenseCdb& mode) {
  const std::array<uint8_t, 6> bytes = {
      Byte(Opcode::kModeSense6),
      Bit(mode.no_block_descriptors, 3),
      static_cast<uint8_t>(mode.page_control << 6 | mode.page_code),
      mode.subpage_code,
      static_cast<uint8_t>(std::min<uint16_t>(mode.allocation_bytes, 255)),
      0};
  return CdbOf(bytes);
}

Cdb EncodeModeSense10(const ModeSenseCdb& mode) {
  const auto flags =
      static_cast<uint8_t>(Bit(mode.no_block_descriptors, 3) | Bit(mode.long_lba_accepted, 4));
  return Store(Length10{Byte(Opcode::kModeSense10),
                        flags,
                        static_cast<uint8_t>(mode.page_control << 6 | mode.page_code),
                        mode.subpage_code,
                        {},
                        mode.allocation_bytes,
                        0});
}

StartStopCdb DecodeStartStop(const Cdb& cdb) {
  const uint8_t flags = cdb.bytes[4];
  return {static_cast<uint8_t>(flags >> 4), (flags & 0x04) != 0, (flags & 0x02) != 0,
          (flags & 0x01) != 0};
}

Cdb EncodeStartStop(const StartStopCdb& start_stop) {
  Cdb cdb;
  cdb.bytes[0] = Byte(Opcode::kStartStopUnit);
  cdb.bytes[4] =
      static_cast<uint8_t>(start_stop.power_condition << 4 | Bit(start_stop.no_flush, 2) |
                           Bit(start_stop.load_eject, 1) | Bit(start_stop.start, 0));
  cdb.size_bytes = 6;
  return cdb;
}

}  // namespace scsi
