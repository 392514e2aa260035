#include "disklib/new_disk.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor_lines.h"
#include "disklib/names.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;

// ESX 7 and later; any newer product reads it.
constexpr std::string_view kVirtualHardwareVersion = "14";

void AppendSplitExtents(std::string_view descriptor_name, uint64_t sector_count,
                        std::vector<ExtentLine>& extents) {
  while (sector_count > 0) {
    const uint64_t taken = std::min(sector_count, kSplitSectors);
    const auto number = static_cast<uint32_t>(extents.size() + 1);
    extents.push_back({.access = ExtentAccess::kReadWrite,
                       .sector_count = taken,
                       .type = ExtentType::kFlat,
                       .file_name = SplitFlatExtentName(descriptor_name, number),
                       .offset_sectors = 0,
                       .device_words = {}});
    sector_count -= taken;
  }
}

std::vector<ExtentLine> MakeExtents(std::string_view descriptor_name, const NewDisk& disk) {
  const uint64_t sector_count = disk.size_bytes / kSectorBytes;
  std::vector<ExtentLine> extents;
  if (disk.layout == DiskLayout::kTwoGbMaxExtentFlat) {
    AppendSplitExtents(descriptor_name, sector_count, extents);
    return extents;
  }
  extents.push_back(
      {.access = ExtentAccess::kReadWrite,
       .sector_count = sector_count,
       .type = disk.layout == DiskLayout::kVmfs ? ExtentType::kVmfs : ExtentType::kFlat,
       .file_name = FlatExtentName(descriptor_name),
       .offset_sectors = 0,
       .device_words = {}});
  return extents;
}

// The last extent of a disk must be one that can grow.
Status CheckCanGrow(const Descriptor& descriptor) {
  const ExtentLine& last = descriptor.extents.back();
  const bool is_flat = last.type == ExtentType::kFlat || last.type == ExtentType::kVmfs;
  if (!is_flat || last.access != ExtentAccess::kReadWrite || !last.device_words.empty()) {
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
  }
  return "vmfs";
}

std::optional<DiskLayout> ParseDiskLayout(std::string_view create_type) {
  for (const DiskLayout layout :
       {DiskLayout::kVmfs, DiskLayout::kMonolithicFlat, DiskLayout::kTwoGbMaxExtentFlat}) {
    if (EqualsIgnoringCase(create_type, NameOf(layout))) return layout;
  }
  if (EqualsIgnoringCase(create_type, "2GbMaxExtentFlat")) return DiskLayout::kTwoGbMaxExtentFlat;
  return std::nullopt;
}

bool IsAdapterType(std::string_view word) {
  constexpr std::array<std::string_view, 6> kAdapterTypes = {"ide",       "buslogic", "lsilogic",
                                                             "legacyESX", "lsisas",   "pvscsi"};
  return std::find(kAdapterTypes.begin(), kAdapterTypes.end(), word) != kAdapterTypes.end();
}

Descriptor MakeDescriptor(std::string_view descriptor_name, const NewDisk& disk,
                          base::Random& random) {
  Descriptor descriptor;
  descriptor.create_type = NameOf(disk.layout);
  descriptor.extents = MakeExtents(descriptor_name, disk);
  const Geometry geometry = GeometryFor(disk.size_bytes / kSectorBytes, disk.adapter_type);
  auto& database = descriptor.disk_database;
  database.push_back({"ddb.adapterType", std::string(disk.adapter_type)});
  database.push_back({"ddb.geometry.cylinders", fmt::format("{}", geometry.cylinders)});
  database.push_back({"ddb.geometry.heads", fmt::format("{}", geometry.heads)});
  database.push_back({"ddb.geometry.sectors", fmt::format("{}", geometry.sectors)});
  database.push_back({"ddb.longContentID", DrawLongContentId(random, descriptor.content_id)});
  if (disk.provisioning == Provisioning::kThin) database.push_back({"ddb.thinProvisioned", "1"});
  database.push_back({"ddb.uuid", DrawDiskUuid(random)});
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
  if (ParseDiskLayout(descriptor.create_type) != DiskLayout::kTwoGbMaxExtentFlat) {
    last.sector_count += added;
    return extents;
  }
  // Other writers make chunks up to 2048 MiB; theirs are full, too.
  const uint64_t room = last.sector_count < kSplitSectors ? kSplitSectors - last.sector_count : 0;
  const uint64_t filled = std::min(room, added);
  last.sector_count += filled;
  AppendSplitExtents(descriptor_name, added - filled, extents);
  return extents;
}

}  // namespace disklib
