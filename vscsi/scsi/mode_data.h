// Mode parameter data: header, block descriptor and pages of MODE SENSE, to and from plain values.
//
// SPC-4 7.5 and SBC-3 6.5. Nothing is changeable: there is no MODE SELECT yet to change it with, so
// current and default values are the same. Plain values, any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "fs/base/result.h"
#include "vscsi/scsi/parameter_data.h"
#include "vscsi/scsi/types.h"

namespace scsi {

// The device-specific parameter of the header (SBC-3 6.5.1).
struct ModeHeader {
  bool write_protected = false;  // WP
  bool dpo_fua = false;          // DPOFUA: the DPO and FUA bits of READ and WRITE mean something
  friend bool operator==(const ModeHeader&, const ModeHeader&) = default;
};

// What a page says: values, or a mask of the bits that MODE SELECT may change (all zero).
enum class ModeValues : uint8_t { kCurrent, kChangeable };

// The page, or every page for kAll; empty for a page that does not exist.
Bytes EncodeModePages(ModePage page, ModeValues values);

// Whole MODE SENSE data. `capacity` null leaves the block descriptor out (DBD).
Bytes EncodeModeData6(const ModeHeader& header, const Capacity* capacity,
                      std::span<const std::byte> pages);
Bytes EncodeModeData10(const ModeHeader& header, const Capacity* capacity,
                       std::span<const std::byte> pages);

// Errors: kParseError for fewer than 4 bytes.
base::Result<ModeHeader> DecodeModeHeader6(std::span<const std::byte> bytes);

}  // namespace scsi
