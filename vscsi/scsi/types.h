// The numbers of SCSI that several files share: opcodes, status codes, sense keys.
//
// Values: SPC-4 table "operation codes", SAM-5 5.3.1 (status), SPC-4 4.5.6 (sense keys). Plain
// values, any thread. Place in the stack: the lowest header of `vscsi/scsi`.
#pragma once

#include <cstdint>

namespace scsi {

enum class Opcode : uint8_t {
  kTestUnitReady = 0x00,
  kRequestSense = 0x03,
  kRead6 = 0x08,
  kWrite6 = 0x0A,
  kInquiry = 0x12,
  kModeSense6 = 0x1A,
  kStartStopUnit = 0x1B,
  kReadCapacity10 = 0x25,
  kRead10 = 0x28,
  kWrite10 = 0x2A,
  kWriteAndVerify10 = 0x2E,
  kVerify10 = 0x2F,
  kPreFetch10 = 0x34,
  kSynchronizeCache10 = 0x35,
  kWriteSame10 = 0x41,
  kUnmap = 0x42,
  kModeSense10 = 0x5A,
  kRead16 = 0x88,
  kCompareAndWrite = 0x89,
  kWrite16 = 0x8A,
  kWriteAndVerify16 = 0x8E,
  kVerify16 = 0x8F,
  kPreFetch16 = 0x90,
  kSynchronizeCache16 = 0x91,
  kWriteSame16 = 0x93,
  kServiceActionIn16 = 0x9E,
  kReportLuns = 0xA0,
  kRead12 = 0xA8,
  kWrite12 = 0xAA,
  kWriteAndVerify12 = 0xAE,
  kVerify12 = 0xAF,
};

// Service actions of SERVICE ACTION IN(16): SBC-3 5.10, 5.16.
inline constexpr uint8_t kServiceActionReadCapacity16 = 0x10;
inline constexpr uint8_t kServiceActionGetLbaStatus = 0x12;

enum class StatusCode : uint8_t {
  kGood = 0x00,
  kCheckCondition = 0x02,
  kConditionMet = 0x04,
  kBusy = 0x08,
  kReservationConflict = 0x18,
  kTaskSetFull = 0x28,
  kAcaActive = 0x30,
  kTaskAborted = 0x40,
};

enum class SenseKey : uint8_t {
  kNoSense = 0x0,
  kRecoveredError = 0x1,
  kNotReady = 0x2,
  kMediumError = 0x3,
  kHardwareError = 0x4,
  kIllegalRequest = 0x5,
  kUnitAttention = 0x6,
  kDataProtect = 0x7,
  kBlankCheck = 0x8,
  kVendorSpecific = 0x9,
  kCopyAborted = 0xA,
  kAbortedCommand = 0xB,
  kVolumeOverflow = 0xD,
  kMiscompare = 0xE,
  kCompleted = 0xF,
};

// Vital product data pages: SPC-4 7.8, SBC-3 6.6.
enum class VpdPage : uint8_t {
  kSupportedPages = 0x00,
  kUnitSerialNumber = 0x80,
  kDeviceIdentification = 0x83,
  kBlockLimits = 0xB0,
  kBlockDeviceCharacteristics = 0xB1,
  kLogicalBlockProvisioning = 0xB2,
};

// Mode pages: SPC-4 7.5, SBC-3 6.5.
enum class ModePage : uint8_t {
  kCaching = 0x08,
  kControl = 0x0A,
  kAll = 0x3F,
};

}  // namespace scsi
