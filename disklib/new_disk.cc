#include "disklib/new_disk.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor_lines.h"
#include "disklib/disk_size.h"
#include "disklib/extent_places.h"
#include "disklib/names.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;

// ESX 7 and later; any newer product reads it.
constexpr std::string_view kVirtualHardwareVersion = "14";

bool IsSplit(DiskLayout layout) {
  return layout == DiskLayout::kTwoGbMaxExtentFlat || layout == DiskLayout::kTwoGbMaxExtentSparse;
}

ExtentType TypeOf(DiskLayout layout) {
  switch (layout) {
    case DiskLayout::kVmfs: return ExtentType::kVmfs;
    case DiskLayout::kMonolithicFlat:
    case DiskLayout::kTwoGbMaxExtentFlat: return ExtentType::kFlat;
    case DiskLayout::kMonolithicSparse:
    case DiskLayout::kTwoGbMaxExtentSparse:
    case DiskLayout::kStreamOptimized: return ExtentType::kSparse;
    case DiskLayout::kVmfsSparse: return ExtentType::kVmfsSparse;
    case DiskLayout::kSeSparse: return ExtentType::kSeSparse;
  }
  return ExtentType::kVmfs;
}

void AppendSplitExtents(std::string_view descriptor_name, ExtentType type, uint64_t sector_count,
                        std::vector<ExtentLine>& extents) {
  while (sector_count > 0) {
    const uint64_t taken = std::min(sector_count, kSplitSectors);
    const auto number = static_cast<uint32_t>(extents.size() + 1);
    extents.push_back({.access = ExtentAccess::kReadWrite,
                       .sector_count = taken,
                       .type = type,
                       .file_name = type == ExtentType::kSparse
                                        ? SplitSparseExtentName(descriptor_name, number)
                                        : SplitFlatExtentName(descriptor_name, number),
                       .offset_sectors = 0,
                       .device_words = {}});
    sector_count -= taken;
  }
}

// The file of a layout that has one.
std::string SingleExtentName(std::string_view descriptor_name, DiskLayout layout) {
  switch (layout) {
    case DiskLayout::kMonolithicSparse:
    case DiskLayout::kStreamOptimized: return std::string(descriptor_name);
    case DiskLayout::kVmfsSparse: return DeltaExtentName(descriptor_name);
    case DiskLayout::kSeSparse: return SeSparseExtentName(descriptor_name);
    default: return FlatExtentName(descriptor_name);
  }
}

std::vector<ExtentLine> MakeExtentLines(std::string_view descriptor_name, const NewLink& link) {
  const uint64_t sector_count = link.size_bytes / kSectorBytes;
  std::vector<ExtentLine> extents;
  if (IsSplit(link.layout)) {
    AppendSplitExtents(descriptor_name, TypeOf(link.layout), sector_count, extents);
    return extents;
  }
  extents.push_back({.access = ExtentAccess::kReadWrite,
                     .sector_count = sector_count,
                     .type = TypeOf(link.layout),
                     .file_name = SingleExtentName(descriptor_name, link.layout),
                     .offset_sectors = 0,
                     .device_words = {}});
  return extents;
}

// Formats that count 32-bit sectors end below 2 TiB.
Status CheckSparse32(std::string_view path, ExtentType type, uint64_t size_bytes) {
  const bool is_narrow = type == ExtentType::kSparse || type == ExtentType::kVmfsSparse;
  if (!is_narrow || size_bytes <= kSparse32BytesMax) return base::Ok();
  return Error(Code::kTooLarge,
               fmt::format("{}: {} bytes are more than the 2,032 GiB of a {} extent; use seSparse, "
                           "which holds 62 TiB",
                           path, size_bytes, NameOf(type)));
}

constexpr uint64_t kSeSparseGrainBytes = 4096;

// What is asked for and would do nothing is refused.
Status CheckGrains(std::string_view path, const NewLink& link) {
  if (link.all_tables && link.layout != DiskLayout::kVmfsSparse) {
    return Error(Code::kInvalidArgument,
                 fmt::format("create {}: tables are made beforehand for vmfsSparse, not for {}",
                             path, NameOf(link.layout)));
  }
  if (link.grain_bytes == 0) return base::Ok();
  if (IsFlat(link.layout)) {
    return Error(Code::kInvalidArgument, fmt::format("create {}: a disk of layout {} has no grains",
                                                     path, NameOf(link.layout)));
  }
  const bool is_fixed = link.layout == DiskLayout::kSeSparse;
  if (!is_fixed || link.grain_bytes == kSeSparseGrainBytes) return base::Ok();
  return Error(Code::kInvalidArgument,
               fmt::format("create {}: grains of seSparse are of {} bytes, not of {}", path,
                           kSeSparseGrainBytes, link.grain_bytes));
}

// The last extent of a disk must be one that can grow.
Status CheckCanGrow(const Descriptor& descriptor) {
  const ExtentLine& last = descriptor.extents.back();
  if (last.type == ExtentType::kVmfsRdm || NamesDeviceNode(last)) {
    return Error(Code::kUnsupported,
                 fmt::format("extend: {} is a device, which has the size it has", last.file_name));
  }
  const bool has_kind = last.type == ExtentType::kFlat || last.type == ExtentType::kVmfs ||
                        last.type == ExtentType::kSparse || last.type == ExtentType::kVmfsSparse ||
                        last.type == ExtentType::kSeSparse;
  if (!has_kind || last.access != ExtentAccess::kReadWrite || !last.device_words.empty()) {
    return Error(Code::kUnsupported,
                 fmt::format("extend: the last extent cannot grow: {}", FormatExtentLine(last)));
  }
  const auto users = std::count_if(
      descriptor.extents.begin(), descriptor.extents.end(),
      [&last](const ExtentLine& extent) { return extent.file_name == last.file_name; });
  if (users == 1) return base::Ok();
  return Error(Code::kUnsupported, fmt::format("extend: {} holds several extents", last.file_name));
}

}  // namespace

std::string_view NameOf(DiskLayout layout) {
  switch (layout) {
    case DiskLayout::kVmfs: return "vmfs";
    case DiskLayout::kMonolithicFlat: return "monolithicFlat";
    case DiskLayout::kTwoGbMaxExtentFlat: return "twoGbMaxExtentFlat";
    case DiskLayout::kMonolithicSparse: return "monolithicSparse";
    case DiskLayout::kTwoGbMaxExtentSparse: return "twoGbMaxExtentSparse";
    case DiskLayout::kVmfsSparse: return "vmfsSparse";
    case DiskLayout::kSeSparse: return "seSparse";
    case DiskLayout::kStreamOptimized: return "streamOptimized";
  }
  return "vmfs";
}

std::optional<DiskLayout> ParseDiskLayout(std::string_view create_type) {
  for (const DiskLayout layout :
       {DiskLayout::kVmfs, DiskLayout::kMonolithicFlat, DiskLayout::kTwoGbMaxExtentFlat,
        DiskLayout::kMonolithicSparse, DiskLayout::kTwoGbMaxExtentSparse, DiskLayout::kVmfsSparse,
        DiskLayout::kSeSparse, DiskLayout::kStreamOptimized}) {
    if (EqualsIgnoringCase(create_type, NameOf(layout))) return layout;
  }
  if (EqualsIgnoringCase(create_type, "2GbMaxExtentFlat")) return DiskLayout::kTwoGbMaxExtentFlat;
  if (EqualsIgnoringCase(create_type, "2GbMaxExtentSparse")) {
    return DiskLayout::kTwoGbMaxExtentSparse;
  }
  return std::nullopt;
}

bool IsAdapterType(std::string_view word) {
  constexpr std::array<std::string_view, 6> kAdapterTypes = {"ide",       "buslogic", "lsilogic",
                                                             "legacyESX", "lsisas",   "pvscsi"};
  return std::find(kAdapterTypes.begin(), kAdapterTypes.end(), word) != kAdapterTypes.end();
}

Status CheckNewLink(std::string_view path, const NewLink& link) {
  TRY_STATUS(CheckDiskPath(path));
  TRY(const uint64_t size_bytes, CheckDiskSize(link.size_bytes));
  if (!IsAdapterType(link.adapter_type)) {
    return Error(Code::kInvalidArgument,
                 fmt::format("create {}: unknown adapter type {}", path, link.adapter_type));
  }
  TRY_STATUS(CheckGrains(path, link));
  const bool can_be_child = !IsFlat(link.layout) && link.layout != DiskLayout::kStreamOptimized;
  if (!link.parent_path.empty() && !can_be_child) {
    return Error(Code::kInvalidArgument,
                 fmt::format("create {}: a child of {} is seSparse, vmfsSparse or hosted "
                             "sparse, {} is not",
                             path, link.parent_path, NameOf(link.layout)));
  }
  if (IsSplit(link.layout)) return base::Ok();
  return CheckSparse32(fmt::format("create {}", path), TypeOf(link.layout), size_bytes);
}

Descriptor MakeDescriptor(std::string_view path, const NewLink& link, base::Random& random) {
  const bool is_child = !link.parent_path.empty();
  Descriptor descriptor;
  descriptor.create_type = NameOf(link.layout);
  descriptor.extents = MakeExtentLines(NameOf(path), link);
  if (is_child) {
    descriptor.parent_content_id = link.parent_content_id;
    descriptor.parent_file_name_hint = RelativeName(FolderOf(path), link.parent_path);
  }
  descriptor.content_id =
      link.content_id.value_or(is_child ? link.parent_content_id : kFreshContentId);
  auto& database = descriptor.disk_database;
  const std::string long_content_id = DrawLongContentId(random, descriptor.content_id);
  if (is_child && !IsHostedSparse(link.layout)) {
    database.push_back({"ddb.longContentID", long_content_id});
    return descriptor;
  }
  const Geometry geometry = GeometryFor(link.size_bytes / kSectorBytes, link.adapter_type);
  database.push_back({"ddb.adapterType", std::string(link.adapter_type)});
  database.push_back({"ddb.geometry.cylinders", fmt::format("{}", geometry.cylinders)});
  database.push_back({"ddb.geometry.heads", fmt::format("{}", geometry.heads)});
  database.push_back({"ddb.geometry.sectors", fmt::format("{}", geometry.sectors)});
  database.push_back({"ddb.longContentID", long_content_id});
  if (IsFlat(link.layout) && link.provisioning == Provisioning::kThin) {
    database.push_back({"ddb.thinProvisioned", "1"});
  }
  if (!is_child) database.push_back({"ddb.uuid", DrawDiskUuid(random)});
  database.push_back({"ddb.virtualHWVersion", std::string(kVirtualHardwareVersion)});
  return descriptor;
}

Result<std::vector<ExtentLine>> PlanExtend(const Descriptor& descriptor,
                                           std::string_view descriptor_name,
                                           uint64_t sector_count) {
  const uint64_t old_count = descriptor.capacity_sectors();
  if (sector_count < old_count) {
    return Error(
        Code::kInvalidArgument,
        fmt::format("extend: {} sectors are fewer than the disk's {}", sector_count, old_count));
  }
  if (sector_count > kCapacitySectorsMax) {
    return Error(Code::kTooLarge, fmt::format("extend: {} sectors pass 62 TiB", sector_count));
  }
  std::vector<ExtentLine> extents = descriptor.extents;
  uint64_t added = sector_count - old_count;
  if (added == 0) return extents;
  TRY_STATUS(CheckCanGrow(descriptor));
  ExtentLine& last = extents.back();
  const std::optional<DiskLayout> layout = ParseDiskLayout(descriptor.create_type);
  if (!layout || !IsSplit(*layout)) {
    last.sector_count += added;
    TRY_STATUS(CheckSparse32(fmt::format("extend {}", descriptor_name), last.type,
                             last.sector_count * kSectorBytes));
    return extents;
  }
  // Other writers make chunks up to 2048 MiB; theirs are full, too.
  const uint64_t room = last.sector_count < kSplitSectors ? kSplitSectors - last.sector_count : 0;
  const uint64_t filled = std::min(room, added);
  last.sector_count += filled;
  const ExtentType last_type = last.type;
  AppendSplitExtents(descriptor_name, last_type, added - filled, extents);
  return extents;
}

}  // namespace disklib
