#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "disklib/check/chain_state.h"
#include "disklib/descriptor_edit.h"
#include "disklib/descriptor_lines.h"
#include "disklib/names.h"

namespace disklib::check {
namespace {

using base::Result;
using base::Status;
using base::Task;

// The problems of the text; mended as one, and only if every one of them may be.
void CheckText(Findings& findings, ChainLink& link) {
  const LooseDescriptor& loose = link.file->descriptor;
  bool mends_all = loose.is_usable;
  for (const DescriptorProblem& problem : loose.problems) {
    Found found{.id = problem.id, .text = problem.text};
    if (loose.is_usable && !problem.repair_text.empty()) {
      found.repair = RepairClass::kOnRequest;
      found.repair_text = problem.repair_text;
    }
    mends_all = findings.Add(std::move(found)) && mends_all;
  }
  if (mends_all && !loose.problems.empty()) link.wanted = loose.mended;
  if (loose.is_usable) return;
  link.is_whole = false;
  findings.NoteUnchecked();
}

bool IsForeignEncryption(const KeyValue& pair) {
  return EqualsIgnoringCase(pair.key, "encryptionKeys") || EqualsIgnoringCase(pair.key, "keyID");
}

// Kinds of disks whose bytes are somewhere else, or cannot be understood.
void CheckHandled(Findings& findings, ChainLink& link) {
  const Descriptor& descriptor = link.descriptor();
  std::string what;
  if (std::ranges::any_of(descriptor.other_keys, IsForeignEncryption)) {
    what = "the disk is encrypted by another product";
  }
  for (const ExtentLine& line : descriptor.extents) {
    if (line.type == ExtentType::kVmfsRaw) {
      what = fmt::format("{} is a raw device of another host", line.file_name);
    } else if (line.type == ExtentType::kVsanSparse) {
      what = fmt::format("{} is an object of a vSAN, whose layout is not public", line.file_name);
    }
  }
  if (what.empty()) return;
  findings.Add({.id = Invariant::kD9, .text = what});
  link.is_whole = false;
}

void CheckLongContentId(Findings& findings, ChainLink& link) {
  const Descriptor& descriptor = link.descriptor();
  const std::string* const value = descriptor.FindDatabase("ddb.longContentID");
  if (value == nullptr) return;
  const std::string id = FormatContentId(descriptor.content_id);
  if (value->size() == 32 && EqualsIgnoringCase(value->substr(24), id)) return;
  const bool repairs = findings.Add(
      {.id = Invariant::kD6,
       .text = fmt::format("ddb.longContentID is {}, CID is {}", value->substr(0, 80), id),
       .repair = RepairClass::kAutomatic,
       .repair_text = fmt::format("ddb.longContentID ends in {}", id)});
  if (!repairs) return;
  std::string front = value->substr(0, 24);
  const bool is_hex = std::ranges::all_of(
      front, [](char c) { return ParseNumber(std::string_view(&c, 1), 16).has_value(); });
  if (front.size() != 24 || !is_hex) front = std::string(16, '0') + id;
  DescriptorEdit edit(link.wanted);
  edit.SetDatabase("ddb.longContentID", front + id);
  link.wanted = edit.text();
}

// "60 00 C2 9a 11 22 33 44-55 66 77 88 99 aa bb cc"
bool IsWellFormedUuid(std::string_view text) {
  constexpr size_t kUuidChars = 47;
  if (text.size() != kUuidChars) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool is_gap = i % 3 == 2;
    if (is_gap ? text[i] != (i == 23 ? '-' : ' ')
               : !ParseNumber(text.substr(i, 1), 16).has_value()) {
      return false;
    }
  }
  return true;
}

void CheckUuid(CheckRun& run, ChainLink& link) {
  const std::string* const uuid = link.descriptor().FindDatabase("ddb.uuid");
  if (uuid == nullptr || IsWellFormedUuid(*uuid)) return;
  const bool repairs = run.findings().Add(
      {.id = Invariant::kD7,
       .text = fmt::format("ddb.uuid is \"{}\", which cannot be", uuid->substr(0, 80)),
       .repair = RepairClass::kOnRequest,
       .repair_text = "a new uuid is drawn"});
  if (!repairs) return;
  DescriptorEdit edit(link.wanted);
  edit.SetDatabase("ddb.uuid", DrawDiskUuid(run.lib().executor().random()));
  link.wanted = edit.text();
}

// What is there of the geometry has to be numbers, none zero, and not more than the disk has.
void CheckGeometry(Findings& findings, ChainLink& link) {
  const Descriptor& descriptor = link.descriptor();
  uint64_t product = 1;
  size_t count = 0;
  std::string bad;
  for (const char* const key : {"ddb.geometry.cylinders", "ddb.geometry.heads",
                                "ddb.geometry.sectors"}) {
    const std::string* const value = descriptor.FindDatabase(key);
    if (value == nullptr) continue;
    ++count;
    const std::optional<uint64_t> number = ParseNumber(*value, 10);
    if (!number || *number == 0 || *number > uint64_t{1} << 32) {
      bad = fmt::format("{} is \"{}\"", key, value->substr(0, 80));
      break;
    }
    product = product > (uint64_t{1} << 48) / *number ? uint64_t{1} << 48 : product * *number;
  }
  const std::string* const adapter = descriptor.FindDatabase("ddb.adapterType");
  const uint64_t capacity_sectors = descriptor.capacity_sectors();
  const Geometry wanted =
      GeometryFor(capacity_sectors, adapter == nullptr ? std::string_view() : *adapter);
  // Some writers round cylinders up: a cylinder too many is no fault.
  const uint64_t cylinder_sectors = uint64_t{255} * 63;
  if (bad.empty() && count == 3 && product > capacity_sectors + cylinder_sectors) {
    bad = fmt::format("the geometry has {} sectors, the disk {}", product, capacity_sectors);
  }
  if (bad.empty()) return;
  const bool repairs = findings.Add(
      {.id = Invariant::kD7,
       .text = bad,
       .repair = RepairClass::kOnRequest,
       .repair_text = fmt::format("the geometry becomes {}/{}/{}", wanted.cylinders, wanted.heads,
                                  wanted.sectors)});
  if (!repairs) return;
  DescriptorEdit edit(link.wanted);
  edit.SetDatabase("ddb.geometry.cylinders", fmt::format("{}", wanted.cylinders));
  edit.SetDatabase("ddb.geometry.heads", fmt::format("{}", wanted.heads));
  edit.SetDatabase("ddb.geometry.sectors", fmt::format("{}", wanted.sectors));
  link.wanted = edit.text();
}

void EndTracking(ChainLink& link) {
  DescriptorEdit edit(link.wanted);
  edit.SetHeader("version", "1");
  edit.EndChangeTracking();
  link.wanted = edit.text();
}

// Change tracking is on as a whole, off as a whole, and its file is there.
Task<Status> CheckTracking(CheckRun& run, ChainLink& link) {
  const Descriptor& descriptor = link.descriptor();
  const bool has_path = !descriptor.change_track_path.empty();
  std::string what;
  if (has_path && descriptor.version != 3) {
    what = fmt::format("changeTrackPath is there, but version is {}", descriptor.version);
  } else if (!has_path && descriptor.version == 3) {
    what = "version is 3, but there is no changeTrackPath";
  } else if (!has_path) {
    co_return base::Ok();
  } else {
    const Result<std::string> path =
        ResolveName(FolderOf(link.file->path), descriptor.change_track_path);
    Result<ObjectInfo> info = base::Code::kNotFound;
    if (path) info = co_await run.lib().backend().GetInfo(*path);
    if (!info) what = fmt::format("{} is not there", descriptor.change_track_path);
  }
  if (what.empty()) {
    run.findings().Add({.id = Invariant::kT1,
                        .text = fmt::format("{} was not written by this program",
                                            descriptor.change_track_path)});
    co_return base::Ok();
  }
  const bool repairs = run.findings().Add({.id = Invariant::kD8,
                                           .text = what,
                                           .repair = RepairClass::kAutomatic,
                                           .repair_text = "change tracking is turned off"});
  if (repairs) EndTracking(link);
  co_return base::Ok();
}

}  // namespace

Task<Status> CheckDescriptor(CheckRun& run, ChainLink& link) {
  run.findings().BeginFile(link.file->path);
  link.wanted = link.file->descriptor.text;
  CheckText(run.findings(), link);
  if (!link.is_usable()) co_return base::Ok();
  CheckHandled(run.findings(), link);
  CheckLongContentId(run.findings(), link);
  CheckUuid(run, link);
  CheckGeometry(run.findings(), link);
  CO_TRY_STATUS(co_await CheckTracking(run, link));
  co_return base::Ok();
}

}  // namespace disklib::check
