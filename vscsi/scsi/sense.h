// Sense data: why a command ended in CHECK CONDITION, to and from bytes and `base::Code`.
//
// Both formats of SPC-4 4.5: fixed (70h, 71h) and descriptor (72h, 73h). The sense of a code stands
// in the one table of `fs/base/error_table.cc`; this header holds the way back. Plain values, any
// thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "fs/base/result.h"
#include "vscsi/scsi/types.h"

namespace scsi {

// Key, additional sense code and qualifier: what the field writes as 05/24/00.
struct SenseCode {
  SenseKey key = SenseKey::kNoSense;
  uint8_t asc = 0, ascq = 0;
  friend bool operator==(const SenseCode&, const SenseCode&) = default;
};

// SPC-4 tables "ASC and ASCQ assignments". Those that stand for a `base::Code` come from its row.
inline constexpr SenseCode kPowerOnOccurred{SenseKey::kUnitAttention, 0x29, 0x00};
inline constexpr SenseCode kCapacityChanged{SenseKey::kUnitAttention, 0x2A, 0x09};
inline constexpr SenseCode kInvalidOpcode{SenseKey::kIllegalRequest, 0x20, 0x00};
inline constexpr SenseCode kLbaOutOfRange{SenseKey::kIllegalRequest, 0x21, 0x00};
inline constexpr SenseCode kInvalidFieldInCdb{SenseKey::kIllegalRequest, 0x24, 0x00};
inline constexpr SenseCode kInvalidFieldInList{SenseKey::kIllegalRequest, 0x26, 0x00};
inline constexpr SenseCode kListLengthError{SenseKey::kIllegalRequest, 0x1A, 0x00};
inline constexpr SenseCode kSavingNotSupported{SenseKey::kIllegalRequest, 0x39, 0x00};
inline constexpr SenseCode kWriteProtected{SenseKey::kDataProtect, 0x27, 0x00};
inline constexpr SenseCode kMiscompareDuringVerify{SenseKey::kMiscompare, 0x1D, 0x00};

// Decoded sense data.
struct Sense {
  SenseCode code;
  bool deferred = false;                     // of an earlier command: 71h or 73h
  std::optional<uint64_t> information = {};  // an LBA, or the offset of a miscompare
  // SENSE KEY SPECIFIC with its SKSV bit: field pointer of an illegal request, or progress.
  std::optional<std::array<uint8_t, 3>> key_specific = {};
  friend bool operator==(const Sense&, const Sense&) = default;
};

enum class SenseFormat : uint8_t { kFixed, kDescriptor };

// Sense bytes as they travel. Longer ones, which only vendors send, are cut off.
struct SenseBuffer {
  static constexpr size_t kBytesMax = 96;
  uint8_t size_bytes = 0;
  std::array<uint8_t, kBytesMax> bytes{};

  std::span<const uint8_t> view() const { return std::span(bytes).first(size_bytes); }
};

// Fixed format: 18 bytes; an INFORMATION above 32 bits is left out, as SPC-4 4.5.3 requires.
// Descriptor format: 8 bytes and one descriptor each for information and key-specific bytes.
SenseBuffer EncodeSense(const Sense& sense, SenseFormat format);

// Errors: kParseError for fewer than 8 bytes (descriptor) or 3 (fixed), or another response code.
// Fixed sense cut short reads as zeros from there on; unknown descriptors are passed over.
base::Result<Sense> DecodeSense(std::span<const uint8_t> bytes);

// The sense that names the CDB byte at fault (SPC-4 4.5.2.4.2, field pointer): 05/24/00.
Sense InvalidCdbField(uint16_t byte_index);

// The sense of `code` by the one error table. kReservationConflict has none: it is a status.
SenseCode SenseOf(base::Code code);

// The best code for a sense triple; exact inverse of `SenseOf` for what a block device answers.
base::Code CodeFromSense(const SenseCode& sense);

}  // namespace scsi
