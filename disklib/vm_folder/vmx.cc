#include "disklib/vm_folder/vmx.h"

#include <algorithm>
#include <array>
#include <cctype>
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

constexpr std::string_view kFileNameEnding = ".fileName";

bool IsNumber(std::string_view text) {
  return !text.empty() && text.size() <= 3 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); });
}

// "scsi0:15", "ide1:0": a bus, its number, a unit.
bool IsDiskNode(std::string_view node) {
  constexpr std::array<std::string_view, 4> kBuses = {"scsi", "sata", "ide", "nvme"};
  for (const std::string_view bus : kBuses) {
    if (!StartsWithIgnoringCase(node, bus)) continue;
    const std::string_view address = node.substr(bus.size());
    const size_t colon = address.find(':');
    if (colon == std::string_view::npos) return false;
    return IsNumber(address.substr(0, colon)) && IsNumber(address.substr(colon + 1));
  }
  return false;
}

std::string ValueOr(const Dictionary& dictionary, std::string_view key, std::string_view other) {
  const std::string* const value = dictionary.Find(key);
  return value == nullptr ? std::string(other) : *value;
}

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// Optical drives have a file name, too, and so do devices that are switched off.
bool IsPresentDisk(const Dictionary& dictionary, std::string_view node,
                   std::string_view file_name) {
  if (EqualsIgnoringCase(ValueOr(dictionary, fmt::format("{}.present", node), "TRUE"), "FALSE")) {
    return false;
  }
  const std::string type = ValueOr(dictionary, fmt::format("{}.deviceType", node), "");
  if (StartsWithIgnoringCase(type, "cdrom") || StartsWithIgnoringCase(type, "atapi")) return false;
  return EndsWithIgnoringCase(file_name, kDescriptorSuffix);
}

}  // namespace

bool VmxDisk::is_independent() const {
  return StartsWithIgnoringCase(mode, "independent");
}

Result<Vmx> Vmx::Parse(std::string_view text) {
  Vmx vmx;
  TRY(vmx.dictionary_, Dictionary::Parse(text));
  const std::string encoding = ValueOr(vmx.dictionary_, ".encoding", "UTF-8");
  for (const KeyValue& entry : vmx.dictionary_.Entries()) {
    if (!EndsWithIgnoringCase(entry.key, kFileNameEnding)) continue;
    const std::string node = entry.key.substr(0, entry.key.size() - kFileNameEnding.size());
    if (!IsDiskNode(node) || !IsPresentDisk(vmx.dictionary_, node, entry.value)) continue;
    if (!IsAscii(entry.value) && !EqualsIgnoringCase(encoding, "UTF-8")) {
      return Error(Code::kUnsupported, fmt::format("{}: its name is written in {}, only UTF-8 is "
                                                   "read",
                                                   entry.key, encoding));
    }
    vmx.disks_.push_back({.node = node,
                          .file_name = entry.value,
                          .mode = ValueOr(vmx.dictionary_, fmt::format("{}.mode", node), "")});
  }
  return vmx;
}

const VmxDisk* Vmx::FindDisk(std::string_view node) const {
  for (const VmxDisk& disk : disks_) {
    if (EqualsIgnoringCase(disk.node, node)) return &disk;
  }
  return nullptr;
}

Status Vmx::SetFileName(std::string_view node, std::string_view file_name) {
  for (VmxDisk& disk : disks_) {
    if (!EqualsIgnoringCase(disk.node, node)) continue;
    disk.file_name = file_name;
    dictionary_.Set(fmt::format("{}{}", disk.node, kFileNameEnding), file_name);
    return base::Ok();
  }
  return Error(Code::kNotFound, fmt::format("no disk at {}", node));
}

}  // namespace disklib
