// What a new disk, or a longer one, looks like: descriptors and extent lines. Pure.
//
// Place in the stack: used by `operations.h`. Thread rule: pure, but for the generator given.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/descriptor.h"
#include "disklib/disk_info.h"
#include "fs/base/random.h"
#include "fs/base/result.h"

namespace disklib {

// The layouts a flat disk can have (disklib/FORMAT.md, "Create types").
enum class DiskLayout : uint8_t {
  kVmfs,                // createType vmfs, one VMFS extent
  kMonolithicFlat,      // one FLAT extent
  kTwoGbMaxExtentFlat,  // FLAT extents of at most 2047 MiB
};

// The createType of a layout, and back (any case, with the older "2Gb" spelling).
std::string_view NameOf(DiskLayout layout);
std::optional<DiskLayout> ParseDiskLayout(std::string_view create_type);

// Whether `word` is an adapter type a descriptor may name: ide, buslogic, lsilogic, legacyESX,
// lsisas, pvscsi.
bool IsAdapterType(std::string_view word);

// Sectors of a full extent of kTwoGbMaxExtentFlat: 2047 MiB, as the format's owner writes it.
inline constexpr uint64_t kSplitSectors = 4'192'256;

struct NewDisk {
  uint64_t size_bytes = 0;  // whole sectors
  DiskLayout layout = DiskLayout::kVmfs;
  Provisioning provisioning = Provisioning::kThin;
  std::string_view adapter_type = "lsilogic";
};

// The descriptor of a fresh disk named `descriptor_name`. Its ids come from `random`.
Descriptor MakeDescriptor(std::string_view descriptor_name, const NewDisk& disk,
                          base::Random& random);

// The extent lines of a disk grown to `sector_count`: the last extent longer, and for split disks
// further ones behind it. Errors: kInvalidArgument (smaller), kTooLarge (62 TiB), kUnsupported (the
// last extent is not a flat one that can be written, or shares its file with another).
base::Result<std::vector<ExtentLine>> PlanExtend(const Descriptor& descriptor,
                                                 std::string_view descriptor_name,
                                                 uint64_t sector_count);

}  // namespace disklib
