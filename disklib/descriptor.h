// `Descriptor`: the text file that makes extents a virtual disk. Parser and writer, pure functions.
//
// Reading is tolerant (any key case, CRLF, NUL padding, blanks round '='), writing is canonical, so
// that every known reader takes it; both are disklib/FORMAT.md, "Descriptor". To change a
// descriptor that exists, use `DescriptorEdit` (`descriptor_edit.h`): it leaves foreign lines
// alone. Thread rule: plain values. Place in the stack: bottom of disklib, includes only the
// ground.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/random.h"
#include "fs/base/result.h"

namespace disklib {

inline constexpr uint64_t kSectorBytes = 512;
inline constexpr uint64_t kCapacityBytesMax = uint64_t{62} << 40;
inline constexpr uint64_t kCapacitySectorsMax = kCapacityBytesMax / kSectorBytes;

// What is written stays within 20 sectors: some readers look no further for the content ids.
inline constexpr size_t kDescriptorBytesMax = 20 * kSectorBytes;
// What is read may be longer, within reason.
inline constexpr size_t kDescriptorReadBytesMax = size_t{1} << 20;
inline constexpr size_t kExtentCountMax = 16'384;
inline constexpr size_t kKeyCountMax = 4'096;

// Content ids that are never drawn: no parent, and a disk that was never written.
inline constexpr uint32_t kNoParentContentId = 0xffffffff;
inline constexpr uint32_t kFreshContentId = 0xfffffffe;

enum class ExtentAccess : uint8_t { kReadWrite, kReadOnly, kNoAccess };

enum class ExtentType : uint8_t {
  kFlat,        // raw bytes from a sector of a file
  kSparse,      // hosted sparse
  kZero,        // no file, reads as zeros
  kVmfs,        // raw bytes of a file on a datastore
  kVmfsSparse,  // redo log
  kSeSparse,    // space-efficient delta
  kVmfsRdm,     // raw device map
  kVmfsRaw,     // raw device
  kVsanSparse,  // delta object of an object store
};

// The word of the format for a type: "VMFSSPARSE".
std::string_view NameOf(ExtentType type);

// One extent line: `RW 83886080 VMFS "vm-flat.vmdk"`.
struct ExtentLine {
  ExtentAccess access = ExtentAccess::kReadWrite;
  uint64_t sector_count = 0;
  ExtentType type = ExtentType::kVmfs;
  std::string file_name = {};     // empty for ZERO
  uint64_t offset_sectors = 0;    // FLAT; elsewhere only where it was read
  std::string device_words = {};  // what stands behind the offset: partition and device ids

  friend bool operator==(const ExtentLine&, const ExtentLine&) = default;
};

struct KeyValue {
  std::string key;
  std::string value;

  friend bool operator==(const KeyValue&, const KeyValue&) = default;
};

struct Descriptor {
  uint32_t version = 1;
  std::string encoding = "UTF-8";
  uint32_t content_id = kFreshContentId;
  uint32_t parent_content_id = kNoParentContentId;
  bool is_native_snapshot = false;
  std::string create_type;
  std::string parent_file_name_hint;    // empty: none
  std::string change_track_path;        // empty: none
  std::vector<KeyValue> other_keys;     // header keys this program does not know
  std::vector<ExtentLine> extents;      // at least one
  std::vector<KeyValue> disk_database;  // keys with their "ddb." in front

  bool has_parent() const { return parent_content_id != kNoParentContentId; }

  // Sum of the extents; at most kCapacitySectorsMax in a parsed descriptor.
  uint64_t capacity_sectors() const;

  // The value of a disk database key ("ddb.uuid", any case), or null.
  const std::string* FindDatabase(std::string_view key) const;

  friend bool operator==(const Descriptor&, const Descriptor&) = default;
};

// Whether the bytes start like a descriptor: the customary first line, in any case.
bool LooksLikeDescriptor(std::string_view bytes);

// Parses a descriptor; the text ends at the first NUL.
// Errors: kNotRecognized (no descriptor at all: no `version` key), kVersionUnsupported, kTooLarge
// (more bytes, extents or keys than the limits above), kParseError (a line that cannot be read),
// kCorrupt (a required key missing or given twice, capacity zero or above 62 TiB).
base::Result<Descriptor> ParseDescriptor(std::string_view bytes);

// One extent line, as ParseDescriptor reads it. Errors: kParseError, kCorrupt.
base::Result<ExtentLine> ParseExtentLine(std::string_view line);

// The canonical text, ESX key order. Errors: kNameInvalid (a value with a quote or a control
// character), kInvalidArgument (no extent), kTooLarge (more than kDescriptorBytesMax).
base::Result<std::string> WriteDescriptor(const Descriptor& descriptor);

// One extent line without its line end, as WriteDescriptor prints it.
std::string FormatExtentLine(const ExtentLine& extent);

// Eight lower-case hex digits.
std::string FormatContentId(uint32_t content_id);

// A content id for changed content: random, never one of the two reserved values.
uint32_t DrawContentId(base::Random& random);

// 32 hex digits whose last eight are `content_id` (disklib/FORMAT.md, "Content ids").
std::string DrawLongContentId(base::Random& random, uint32_t content_id);

// `60 00 C2 9x .. ..-..`: 16 bytes with the registered prefix, for ddb.uuid.
std::string DrawDiskUuid(base::Random& random);

struct Geometry {
  uint64_t cylinders = 0;
  uint32_t heads = 0;
  uint32_t sectors = 0;

  friend bool operator==(const Geometry&, const Geometry&) = default;
};

// The geometry ESX writes for a capacity; "ide" has its own. Capacity never follows from geometry.
Geometry GeometryFor(uint64_t capacity_sectors, std::string_view adapter_type);

}  // namespace disklib
