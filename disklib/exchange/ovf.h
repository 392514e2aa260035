// OVF: the XML text that says what machine a package holds, and on which of its files. Pure.
//
// Read are OVF 1.0, 1.1 and 2.0 envelopes (DSP0243) as VMware, VirtualBox and others write them;
// written is 1.0 as VMware's importers take it: one VirtualSystem, an LSI Logic controller, disks
// in the streamOptimized format. Place in the stack: used by import and export, which turn it into
// a `.vmx` and back (`machine.h`). Thread rule: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/exchange/machine.h"
#include "fs/base/result.h"

namespace disklib {

inline constexpr size_t kOvfBytesMax = size_t{4} << 20;
inline constexpr size_t kOvfDisksMax = 256;

// The format of a disk's file, as the envelope names it.
inline constexpr std::string_view kStreamOptimizedUri =
    "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";

struct OvfDisk {
  std::string id;         // "vmdisk1"
  std::string file_name;  // in the package; empty: the disk is blank
  std::string format_uri;
  uint64_t capacity_bytes = 0;  // 0: the envelope does not say
  std::optional<uint64_t> file_bytes;

  friend bool operator==(const OvfDisk&, const OvfDisk&) = default;
};

struct OvfPackage {
  Machine machine;             // its drives name `disks` by their place in that list
  std::vector<OvfDisk> disks;  // those the machine uses first, in the order of its drives

  friend bool operator==(const OvfPackage&, const OvfPackage&) = default;
};

// Reads an envelope. Errors: kNotRecognized (no XML, or no Envelope), kTooLarge (4 MiB, 256 disks),
// kParseError naming the element, kCorrupt (a reference to nothing, an id given twice),
// kNameInvalid
// (`CheckMemberName` of a file), kUnsupported (several machines, a file that is compressed or in
// chunks, a disk with a parent: each by name).
base::Result<OvfPackage> ParseOvf(std::string_view text);

// The envelope of a package whose disks are streamOptimized files. Disks without file_bytes get no
// size. Errors: kNameInvalid (bytes that XML cannot hold), kInvalidArgument (a drive without disk).
base::Result<std::string> WriteOvf(const OvfPackage& package);

// Bytes of "byte * 2^30", "GigaBytes", "MB" and their kin; nothing for other units.
std::optional<uint64_t> ParseAllocationUnits(std::string_view units);

}  // namespace disklib
