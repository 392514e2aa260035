// CDB codecs: each command descriptor block to and from plain values.
//
// Layouts: SPC-4 clause 6 and SBC-3 clause 5, cited per structure. Decoders take a `Cdb` that is at
// least as long as its opcode says (`CdbSizeOf`); they never fail, since every bit pattern has a
// meaning: what a field may hold is the command's business (`target.h`). Plain values, any thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "vscsi/scsi/types.h"

namespace scsi {

inline constexpr uint8_t kCdbBytesMax = 32;

// A command descriptor block with its length: 6, 10, 12, 16 or 32 bytes.
struct Cdb {
  std::array<uint8_t, kCdbBytesMax> bytes{};
  uint8_t size_bytes = 0;

  Opcode opcode() const { return static_cast<Opcode>(bytes[0]); }

  uint8_t service_action() const { return bytes[1] & 0x1F; }

  // The CONTROL byte is the last one (SAM-5 5.2).
  uint8_t control() const { return size_bytes == 0 ? uint8_t{0} : bytes[size_bytes - 1u]; }

  friend bool operator==(const Cdb&, const Cdb&) = default;
};

// A CDB of the given bytes; more than 32 are cut off.
Cdb CdbOf(std::span<const uint8_t> bytes);

// Length that the group code of an opcode fixes (SPC-4 4.2.5.1): 6, 10, 12 or 16, or 0 for groups
// of variable or vendor-specific length.
uint8_t CdbSizeOf(uint8_t opcode);

// READ, WRITE, VERIFY, WRITE AND VERIFY, PRE-FETCH, SYNCHRONIZE CACHE, WRITE SAME and COMPARE AND
// WRITE of every length share the places of their LBA and block count (SBC-3 5.7 to 5.45).
// `flags` is byte 1: its bits mean different things from command to command, see below.
struct BlockRangeCdb {
  uint64_t lba = 0;
  uint32_t block_count = 0;
  uint8_t flags = 0;

  uint8_t protect() const { return static_cast<uint8_t>(flags >> 5); }

  friend bool operator==(const BlockRangeCdb&, const BlockRangeCdb&) = default;
};

inline constexpr uint8_t kFlagDpo = 0x10;        // READ, WRITE: disable page out
inline constexpr uint8_t kFlagFua = 0x08;        // READ, WRITE: force unit access
inline constexpr uint8_t kFlagImmediate = 0x02;  // SYNCHRONIZE CACHE, PRE-FETCH
inline constexpr uint8_t kFlagAnchor = 0x10;     // WRITE SAME
inline constexpr uint8_t kFlagUnmap = 0x08;      // WRITE SAME
inline constexpr uint8_t kFlagNoDataOut = 0x01;  // WRITE SAME(16): NDOB

// BYTCHK of VERIFY and WRITE AND VERIFY: 0 no comparison, 1 all blocks, 3 one block.
inline uint8_t ByteCheckOf(uint8_t flags) {
  return (flags >> 1) & 0x3;
}

// Reads LBA and count by the length of the CDB. READ(6) and WRITE(6): 0 means 256 blocks.
// COMPARE AND WRITE: one byte of count.
BlockRangeCdb DecodeBlockRange(const Cdb& cdb);

// The 16-byte form; `opcode` is one of those named above. COMPARE AND WRITE: count below 256.
Cdb EncodeBlockRange16(Opcode opcode, const BlockRangeCdb& range);

// The 10-byte form. `range.lba` fits in 32 bits and the count in 16.
Cdb EncodeBlockRange10(Opcode opcode, const BlockRangeCdb& range);

// TEST UNIT READY, SPC-4 6.47.
Cdb EncodeTestUnitReady();

// INQUIRY, SPC-4 6.6.
struct InquiryCdb {
  bool vital_product_data = false;  // EVPD
  uint8_t page_code = 0;
  uint16_t allocation_bytes = 0;
  friend bool operator==(const InquiryCdb&, const InquiryCdb&) = default;
};

InquiryCdb DecodeInquiry(const Cdb& cdb);
Cdb EncodeInquiry(const InquiryCdb& inquiry);

// REQUEST SENSE, SPC-4 6.39.
struct RequestSenseCdb {
  bool descriptor_format = false;  // DESC
  uint8_t allocation_bytes = 0;
  friend bool operator==(const RequestSenseCdb&, const RequestSenseCdb&) = default;
};

RequestSenseCdb DecodeRequestSense(const Cdb& cdb);
Cdb EncodeRequestSense(const RequestSenseCdb& request);

// REPORT LUNS, SPC-4 6.33.
struct ReportLunsCdb {
  uint8_t select_report = 0;
  uint32_t allocation_bytes = 0;
  friend bool operator==(const ReportLunsCdb&, const ReportLunsCdb&) = default;
};

ReportLunsCdb DecodeReportLuns(const Cdb& cdb);
Cdb EncodeReportLuns(const ReportLunsCdb& report);

// READ CAPACITY(10), SBC-3 5.15.
struct ReadCapacity10Cdb {
  uint32_t lba = 0;
  bool partial_medium = false;  // PMI
  friend bool operator==(const ReadCapacity10Cdb&, const ReadCapacity10Cdb&) = default;
};

ReadCapacity10Cdb DecodeReadCapacity10(const Cdb& cdb);
Cdb EncodeReadCapacity10(const ReadCapacity10Cdb& read);

// SERVICE ACTION IN(16): READ CAPACITY(16) and GET LBA STATUS, SBC-3 5.10, 5.16.
struct ServiceActionInCdb {
  uint8_t service_action = 0;
  uint64_t lba = 0;
  uint32_t allocation_bytes = 0;
  uint8_t byte_14 = 0;  // READ CAPACITY(16): bit 0 PMI
  friend bool operator==(const ServiceActionInCdb&, const ServiceActionInCdb&) = default;
};

ServiceActionInCdb DecodeServiceActionIn(const Cdb& cdb);
Cdb EncodeServiceActionIn(const ServiceActionInCdb& action);

// UNMAP, SBC-3 5.28.
struct UnmapCdb {
  bool anchor = false;
  uint16_t parameter_list_bytes = 0;
  friend bool operator==(const UnmapCdb&, const UnmapCdb&) = default;
};

UnmapCdb DecodeUnmap(const Cdb& cdb);
Cdb EncodeUnmap(const UnmapCdb& unmap);

// MODE SENSE(6) and (10), SPC-4 6.11, 6.12.
struct ModeSenseCdb {
  bool no_block_descriptors = false;  // DBD
  bool long_lba_accepted = false;     // LLBAA, (10) only
  uint8_t page_control = 0;           // 0 current, 1 changeable, 2 default, 3 saved
  uint8_t page_code = 0;
  uint8_t subpage_code = 0;
  uint16_t allocation_bytes = 0;
  friend bool operator==(const ModeSenseCdb&, const ModeSenseCdb&) = default;
};

ModeSenseCdb DecodeModeSense(const Cdb& cdb);
Cdb EncodeModeSense6(const ModeSenseCdb& mode);
Cdb EncodeModeSense10(const ModeSenseCdb& mode);

// START STOP UNIT, SBC-3 5.25.
struct StartStopCdb {
  uint8_t power_condition = 0;
  bool no_flush = false;
  bool load_eject = false;
  bool start = false;
  friend bool operator==(const StartStopCdb&, const StartStopCdb&) = default;
};

StartStopCdb DecodeStartStop(const Cdb& cdb);
Cdb EncodeStartStop(const StartStopCdb& start_stop);

}  // namespace scsi
