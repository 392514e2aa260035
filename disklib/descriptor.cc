#include "disklib/descriptor.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor_lines.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;

struct ExtentTypeName {
  ExtentType type;
  std::string_view name;
};

constexpr std::array<ExtentTypeName, 9> kExtentTypeNames = {{
    {ExtentType::kFlat, "FLAT"},
    {ExtentType::kSparse, "SPARSE"},
    {ExtentType::kZero, "ZERO"},
    {ExtentType::kVmfs, "VMFS"},
    {ExtentType::kVmfsSparse, "VMFSSPARSE"},
    {ExtentType::kSeSparse, "SESPARSE"},
    {ExtentType::kVmfsRdm, "VMFSRDM"},
    {ExtentType::kVmfsRaw, "VMFSRAW"},
    {ExtentType::kVsanSparse, "VSANSPARSE"},
}};

constexpr std::string_view kFirstLine = "# Disk DescriptorFile";

std::string_view NameOf(ExtentAccess access) {
  switch (access) {
    case ExtentAccess::kReadWrite: return "RW";
    case ExtentAccess::kReadOnly: return "RDONLY";
    case ExtentAccess::kNoAccess: return "NOACCESS";
  }
  return "RW";
}

Error LineError(std::string_view what, std::string_view line) {
  return Error(Code::kParseError,
               fmt::format("descriptor: {} in line \"{}\"", what, line.substr(0, 120)));
}

Result<ExtentType> ParseExtentType(std::string_view word, std::string_view line) {
  for (const ExtentTypeName& known : kExtentTypeNames) {
    if (EqualsIgnoringCase(word, known.name)) return known.type;
  }
  return LineError("unknown extent type", line);
}

ExtentAccess ParseAccess(std::string_view word) {
  if (EqualsIgnoringCase(word, "RW")) return ExtentAccess::kReadWrite;
  if (EqualsIgnoringCase(word, "RDONLY")) return ExtentAccess::kReadOnly;
  return ExtentAccess::kNoAccess;
}

// The part of an extent line behind its type: "FILE" OFFSET DEVICE-WORDS.
Status ParseExtentFile(std::string_view rest, std::string_view line, ExtentLine& extent) {
  rest = Trim(rest);
  if (rest.empty()) {
    if (extent.type == ExtentType::kZero) return base::Ok();
    return LineError("no file name", line);
  }
  const size_t close = rest.front() == '"' ? rest.find('"', 1) : std::string_view::npos;
  if (close == std::string_view::npos || close == 1) return LineError("no quoted file name", line);
  extent.file_name = rest.substr(1, close - 1);
  rest = Trim(rest.substr(close + 1));
  if (rest.empty()) return base::Ok();
  const std::optional<uint64_t> offset = ParseNumber(TakeWord(rest), 10);
  if (!offset || *offset > kCapacitySectorsMax) return LineError("bad offset", line);
  extent.offset_sectors = *offset;
  extent.device_words = Trim(rest);
  return base::Ok();
}

// Collects the keys of one descriptor and knows which it has seen.
class Parser {
 public:
  Status Take(const Line& line) {
    switch (line.kind) {
      case LineKind::kBlank:
      case LineKind::kComment: return base::Ok();
      case LineKind::kHeader: return TakeHeader(line);
      case LineKind::kDatabase: return TakeDatabase(line);
      case LineKind::kExtent: return TakeExtent(line);
      case LineKind::kOther: break;
    }
    // Without `version` the bytes were never a descriptor; with it, they are a damaged one.
    if (!seen_version_) return Error(Code::kNotRecognized, "descriptor: not a disk descriptor");
    return LineError("nothing known", line.text);
  }

  Result<Descriptor> Finish() && {
    if (!seen_version_) {
      return Error(Code::kNotRecognized, "descriptor: not a disk descriptor: no version");
    }
    TRY_STATUS(Require(seen_content_id_, "CID"));
    TRY_STATUS(Require(seen_parent_content_id_, "parentCID"));
    TRY_STATUS(Require(seen_create_type_, "createType"));
    if (descriptor_.extents.empty()) return Error(Code::kCorrupt, "descriptor: no extent");
    return std::move(descriptor_);
  }

 private:
  static Status Require(bool seen, std::string_view key) {
    if (seen) return base::Ok();
    return Error(Code::kCorrupt, fmt::format("descriptor: no {}", key));
  }

  static Status Once(bool& seen, std::string_view key) {
    if (std::exchange(seen, true)) {
      return Error(Code::kCorrupt, fmt::format("descriptor: {} stands twice", key));
    }
    return base::Ok();
  }

  Status TakeHeader(const Line& line) {
    if (EqualsIgnoringCase(line.key, "version")) return TakeVersion(line);
    if (EqualsIgnoringCase(line.key, "CID")) {
      TRY_STATUS(Once(seen_content_id_, "CID"));
      return TakeContentId(line, descriptor_.content_id);
    }
    if (EqualsIgnoringCase(line.key, "parentCID")) {
      TRY_STATUS(Once(seen_parent_content_id_, "parentCID"));
      return TakeContentId(line, descriptor_.parent_content_id);
    }
    if (EqualsIgnoringCase(line.key, "createType")) {
      TRY_STATUS(Once(seen_create_type_, "createType"));
      descriptor_.create_type = line.value;
      return base::Ok();
    }
    return TakeOptional(line);
  }

  Status TakeVersion(const Line& line) {
    TRY_STATUS(Once(seen_version_, "version"));
    const std::optional<uint64_t> version = ParseNumber(line.value, 10);
    if (!version) return LineError("bad number", line.text);
    if (*version < 1 || *version > 3) {
      return Error(Code::kVersionUnsupported,
                   fmt::format("descriptor: version {}, known are 1 to 3", *version));
    }
    descriptor_.version = static_cast<uint32_t>(*version);
    return base::Ok();
  }

  // Some writers leave leading zeros out: one to eight digits.
  static Status TakeContentId(const Line& line, uint32_t& content_id) {
    const std::optional<uint64_t> value = ParseNumber(line.value, 16);
    if (!value || line.value.size() > 8) return LineError("bad content id", line.text);
    content_id = static_cast<uint32_t>(*value);
    return base::Ok();
  }

  Status TakeOptional(const Line& line) {
    if (EqualsIgnoringCase(line.key, "encoding")) {
      descriptor_.encoding = line.value;
    } else if (EqualsIgnoringCase(line.key, "isNativeSnapshot")) {
      descriptor_.is_native_snapshot = EqualsIgnoringCase(line.value, "yes");
    } else if (EqualsIgnoringCase(line.key, "parentFileNameHint")) {
      descriptor_.parent_file_name_hint = line.value;
    } else if (EqualsIgnoringCase(line.key, "changeTrackPath")) {
      descriptor_.change_track_path = line.value;
    } else {
      TRY_STATUS(CountKey());
      descriptor_.other_keys.push_back({std::string(line.key), std::string(line.value)});
    }
    return base::Ok();
  }

  Status TakeDatabase(const Line& line) {
    TRY_STATUS(CountKey());
    descriptor_.disk_database.push_back({std::string(line.key), std::string(line.value)});
    return base::Ok();
  }

  Status CountKey() {
    if (++key_count_ <= kKeyCountMax) return base::Ok();
    return Error(Code::kTooLarge, fmt::format("descriptor: more than {} keys", kKeyCountMax));
  }

  Status TakeExtent(const Line& line) {
    if (descriptor_.extents.size() == kExtentCountMax) {
      return Error(Code::kTooLarge,
                   fmt::format("descriptor: more than {} extents", kExtentCountMax));
    }
    TRY(ExtentLine extent, ParseExtentLine(line.text));
    capacity_sectors_ += extent.sector_count;  // both at most 2^37: no overflow
    if (capacity_sectors_ > kCapacitySectorsMax) {
      return Error(Code::kCorrupt, "descriptor: the extents together pass 62 TiB");
    }
    descriptor_.extents.push_back(std::move(extent));
    return base::Ok();
  }

  Descriptor descriptor_;
  uint64_t capacity_sectors_ = 0;
  size_t key_count_ = 0;
  bool seen_version_ = false;
  bool seen_content_id_ = false;
  bool seen_parent_content_id_ = false;
  bool seen_create_type_ = false;
};

// Values stand between quotes and lines end at control characters: neither may be inside.
Status CheckValue(std::string_view value) {
  for (const char c : value) {
    if (c == '"' || static_cast<unsigned char>(c) < 0x20) {
      return Error(Code::kNameInvalid,
                   fmt::format("descriptor: \"{}\" has a quote or a control character", value));
    }
  }
  return base::Ok();
}

Status CheckValues(const Descriptor& descriptor) {
  TRY_STATUS(CheckValue(descriptor.encoding));
  TRY_STATUS(CheckValue(descriptor.create_type));
  TRY_STATUS(CheckValue(descriptor.parent_file_name_hint));
  TRY_STATUS(CheckValue(descriptor.change_track_path));
  for (const KeyValue& pair : descriptor.other_keys) TRY_STATUS(CheckValue(pair.value));
  for (const KeyValue& pair : descriptor.disk_database) TRY_STATUS(CheckValue(pair.value));
  for (const ExtentLine& extent : descriptor.extents) TRY_STATUS(CheckValue(extent.file_name));
  return base::Ok();
}

std::string FormatHeader(const Descriptor& descriptor) {
  std::string text = fmt::format(
      "{}\nversion={}\nencoding=\"{}\"\nCID={}\nparentCID={}\nisNativeSnapshot=\"{}\"\n"
      "createType=\"{}\"\n",
      kFirstLine, descriptor.version, descriptor.encoding, FormatContentId(descriptor.content_id),
      FormatContentId(descriptor.parent_content_id), descriptor.is_native_snapshot ? "yes" : "no",
      descriptor.create_type);
  if (!descriptor.parent_file_name_hint.empty()) {
    text += fmt::format("parentFileNameHint=\"{}\"\n", descriptor.parent_file_name_hint);
  }
  for (const KeyValue& pair : descriptor.other_keys) {
    text += fmt::format("{}=\"{}\"\n", pair.key, pair.value);
  }
  return text;
}

}  // namespace

std::string_view NameOf(ExtentType type) {
  return kExtentTypeNames[static_cast<size_t>(type)].name;
}

uint64_t Descriptor::capacity_sectors() const {
  uint64_t sum = 0;
  for (const ExtentLine& extent : extents) sum += extent.sector_count;
  return sum;
}

const std::string* Descriptor::FindDatabase(std::string_view key) const {
  for (const KeyValue& pair : disk_database) {
    if (EqualsIgnoringCase(pair.key, key)) return &pair.value;
  }
  return nullptr;
}

Result<ExtentLine> ParseExtentLine(std::string_view line) {
  std::string_view rest = line;
  ExtentLine extent;
  extent.access = ParseAccess(TakeWord(rest));
  const std::optional<uint64_t> sectors = ParseNumber(TakeWord(rest), 10);
  if (!sectors) return LineError("bad sector count", line);
  if (*sectors == 0 || *sectors > kCapacitySectorsMax) {
    return Error(Code::kCorrupt,
                 fmt::format("descriptor: extent of {} sectors, allowed are 1 to {}", *sectors,
                             kCapacitySectorsMax));
  }
  extent.sector_count = *sectors;
  TRY(extent.type, ParseExtentType(TakeWord(rest), line));
  TRY_STATUS(ParseExtentFile(rest, line, extent));
  return extent;
}

bool LooksLikeDescriptor(std::string_view bytes) {
  return StartsWithIgnoringCase(bytes, kFirstLine);
}

Result<Descriptor> ParseDescriptor(std::string_view bytes) {
  if (bytes.size() > kDescriptorReadBytesMax) {
    return Error(Code::kTooLarge, fmt::format("descriptor: {} bytes, allowed are {}", bytes.size(),
                                              kDescriptorReadBytesMax));
  }
  Parser parser;
  std::string_view rest = TextBeforePadding(bytes);
  while (const std::optional<Line> line = TakeLine(rest)) TRY_STATUS(parser.Take(*line));
  return std::move(parser).Finish();
}

std::string FormatExtentLine(const ExtentLine& extent) {
  std::string line =
      fmt::format("{} {} {}", NameOf(extent.access), extent.sector_count, NameOf(extent.type));
  if (extent.file_name.empty()) return line;
  line += fmt::format(" \"{}\"", extent.file_name);
  // Readers demand the offset of FLAT, and refuse it with every other type; one that stood there
  // stays, or the words behind it would be read as an offset.
  const bool has_offset = extent.type == ExtentType::kFlat || extent.offset_sectors != 0 ||
                          !extent.device_words.empty();
  if (has_offset) line += fmt::format(" {}", extent.offset_sectors);
  if (!extent.device_words.empty()) line += " " + extent.device_words;
  return line;
}

Result<std::string> WriteDescriptor(const Descriptor& descriptor) {
  if (descriptor.extents.empty()) return Error(Code::kInvalidArgument, "descriptor: no extent");
  TRY_STATUS(CheckValues(descriptor));
  std::string text = FormatHeader(descriptor) + "\n# Extent description\n";
  for (const ExtentLine& extent : descriptor.extents) text += FormatExtentLine(extent) + "\n";
  if (!descriptor.change_track_path.empty()) {
    text += fmt::format("\n# Change Tracking File\nchangeTrackPath=\"{}\"\n",
                        descriptor.change_track_path);
  }
  text += "\n# The Disk Data Base\n#DDB\n\n";
  for (const KeyValue& pair : descriptor.disk_database) {
    text += fmt::format("{} = \"{}\"\n", pair.key, pair.value);
  }
  if (text.size() > kDescriptorBytesMax) {
    return Error(Code::kTooLarge,
                 fmt::format("descriptor: {} bytes with {} extents, allowed are {}", text.size(),
                             descriptor.extents.size(), kDescriptorBytesMax));
  }
  return text;
}

std::string FormatContentId(uint32_t content_id) {
  return fmt::format("{:08x}", content_id);
}

uint32_t DrawContentId(base::Random& random) {
  return static_cast<uint32_t>(random.Below(kFreshContentId));
}

std::string DrawLongContentId(base::Random& random, uint32_t content_id) {
  return fmt::format("{:016x}{:08x}{:08x}", random.Next(), static_cast<uint32_t>(random.Next()),
                     content_id);
}

std::string DrawDiskUuid(base::Random& random) {
  std::string text = fmt::format("60 00 C2 9{:x}", random.Below(16));
  for (int i = 4; i < 16; ++i) {
    fmt::format_to(std::back_inserter(text), "{}{:02x}", i == 8 ? '-' : ' ', random.Below(256));
  }
  return text;
}

Geometry GeometryFor(uint64_t capacity_sectors, std::string_view adapter_type) {
  constexpr uint64_t kGibiByteSectors = (uint64_t{1} << 30) / kSectorBytes;
  Geometry geometry{.cylinders = 0, .heads = 255, .sectors = 63};
  if (EqualsIgnoringCase(adapter_type, "ide")) {
    geometry = {.cylinders = 0, .heads = 16, .sectors = 63};
  } else if (capacity_sectors < kGibiByteSectors) {
    geometry = {.cylinders = 0, .heads = 64, .sectors = 32};
  } else if (capacity_sectors < 2 * kGibiByteSectors) {
    geometry = {.cylinders = 0, .heads = 128, .sectors = 32};
  }
  const uint64_t cylinder_sectors = uint64_t{geometry.heads} * geometry.sectors;
  geometry.cylinders = std::max<uint64_t>(capacity_sectors / cylinder_sectors, 1);
  if (geometry.heads == 16) geometry.cylinders = std::min<uint64_t>(geometry.cylinders, 16'383);
  return geometry;
}

}  // namespace disklib
