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

// The layouts a link can have (disklib/FORMAT.md, "Create types").
enum class DiskLayout : uint8_t {
  kVmfs,                  // createType vmfs, one VMFS extent
  kMonolithicFlat,        // one FLAT extent
  kTwoGbMaxExtentFlat,    // FLAT extents of at most 2047 MiB
  kMonolithicSparse,      // one hosted sparse file with the descriptor inside
  kTwoGbMaxExtentSparse,  // hosted sparse extents of at most 2047 MiB
  kVmfsSparse,            // one redo log
  kSeSparse,              // one space-efficient delta
  kStreamOptimized,       // one compressed file with the descriptor inside, written once
};

// Whether a layout's extents are raw bytes.
constexpr bool IsFlat(DiskLayout layout) {
  return layout <= DiskLayout::kTwoGbMaxExtentFlat;
}

// Whether a layout's extents are hosted sparse files.
constexpr bool IsHostedSparse(DiskLayout layout) {
  return layout == DiskLayout::kMonolithicSparse || layout == DiskLayout::kTwoGbMaxExtentSparse;
}

// The createType of a layout, and back (any case, with the older "2Gb" spelling).
std::string_view NameOf(DiskLayout layout);
std::optional<DiskLayout> ParseDiskLayout(std::string_view create_type);

// Whether `word` is an adapter type a descriptor may name: ide, buslogic, lsilogic, legacyESX,
// lsisas, pvscsi.
bool IsAdapterType(std::string_view word);

// Sectors of a full extent of the split layouts: 2047 MiB, as the format's owner writes it.
inline constexpr uint64_t kSplitSectors = 4'192'256;

// The largest extent of formats that count 32-bit sectors, with room for their tables.
inline constexpr uint64_t kSparse32BytesMax = uint64_t{2'032} << 30;

// A new link: a base, or with `parent_path` a child that reads as its parent. Views live with the
// caller.
struct NewLink {
  uint64_t size_bytes = 0;  // whole sectors
  DiskLayout layout = DiskLayout::kVmfs;
  Provisioning provisioning = Provisioning::kThin;  // of flat layouts
  std::string_view adapter_type = "lsilogic";
  uint64_t grain_bytes = 0;           // of sparse layouts; 0: the format's default
  bool all_tables = false;            // vmfsSparse: every grain table is made at creation
  std::string_view parent_path = {};  // descriptor path of the parent; empty: a base
  uint32_t parent_content_id = kNoParentContentId;
  // Unset: a base is fresh, and a child has its parent's id, for it has its parent's content.
  std::optional<uint32_t> content_id = std::nullopt;
};

using NewDisk = NewLink;

// Whether the format can hold it and the words make sense. Errors: kInvalidArgument (size zero, an
// unknown adapter type, a flat child, grains or tables that the layout has not), kTooLarge naming
// the link (62 TiB; 2,032 GiB for a single hosted sparse file and vmfsSparse: the message offers
// seSparse).
base::Status CheckNewLink(std::string_view path, const NewLink& link);

// The descriptor of a new link at `path`. Its ids come from `random`. Children have what their
// format's owners write: deltas only the long content id, hosted ones adapter and geometry, too.
Descriptor MakeDescriptor(std::string_view path, const NewLink& link, base::Random& random);

// The extent lines of a disk grown to `sector_count`: the last extent longer, and for split disks
// further ones behind it. Errors: kInvalidArgument (smaller), kTooLarge (62 TiB; 2,032 GiB as in
// CheckNewLink), kUnsupported (the last extent is not one that can be written, or shares its file
// with another).
base::Result<std::vector<ExtentLine>> PlanExtend(const Descriptor& descriptor,
                                                 std::string_view descriptor_name,
                                                 uint64_t sector_count);

}  // namespace disklib
