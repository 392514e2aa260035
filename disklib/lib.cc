#include "disklib/lib.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "disklib/children.h"
#include "disklib/descriptor_lines.h"
#include "disklib/descriptor_store.h"
#include "disklib/extent_places.h"
#include "disklib/names.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

bool IsFlat(ExtentType type) {
  return type == ExtentType::kFlat || type == ExtentType::kVmfs;
}

Status CheckExtentKind(const ExtentLine& extent, std::string_view path) {
  const auto refuse = [&](std::string_view what) {
    return Error(Code::kUnsupported, fmt::format("open {}: its {} extent {} {}", path,
                                                 NameOf(extent.type), extent.file_name, what));
  };
  switch (extent.type) {
    case ExtentType::kFlat:
    case ExtentType::kZero:
    case ExtentType::kVmfs:
    case ExtentType::kSparse:
    case ExtentType::kVmfsSparse:
    case ExtentType::kSeSparse:
    case ExtentType::kVmfsRdm: return base::Ok();
    case ExtentType::kVmfsRaw: return refuse("is a raw device of another host");
    case ExtentType::kVsanSparse: return refuse("is an object of a vSAN, whose form is not public");
  }
  return refuse("is of no known kind");
}

bool IsEncrypted(const Descriptor& descriptor) {
  return std::any_of(descriptor.other_keys.begin(), descriptor.other_keys.end(),
                     [](const KeyValue& pair) {
                       return EqualsIgnoringCase(pair.key, "encryptionKeys") ||
                              EqualsIgnoringCase(pair.key, "keyID");
                     });
}

uint64_t EndBytes(const ExtentLine& extent) {
  return (extent.offset_sectors + extent.sector_count) * kSectorBytes;
}

class NameCollector : public ObjectSink {
 public:
  void Add(const ObjectEntry& entry) override {
    if (EndsWithIgnoringCase(entry.name, kDescriptorSuffix)) names.emplace_back(entry.name);
  }

  std::vector<std::string> names;
};

// What another descriptor of the folder has to do with a disk; empty if nothing.
std::string RelationTo(ObjectBackend& backend, const LoadedDescriptor& disk,
                       std::string_view other_path, const Descriptor& other) {
  if (other.has_parent()) {
    const Result<std::string> parent = ParentPathOf(backend, other, other_path);
    if (parent && *parent == disk.path) return "is its child";
  }
  const Result<std::vector<ExtentPlace>> places = PlacesOfExtents(other, other_path);
  if (!places) return {};
  for (const ExtentPlace& place : *places) {
    const auto& ours = disk.found_paths;
    if (!place.path.empty() && std::find(ours.begin(), ours.end(), place.path) != ours.end()) {
      return fmt::format("has its extent {}, too", place.path);
    }
  }
  return {};
}

// Whether a file that could not be read may still be a child.
bool MayBeChild(Code code) {
  return code != Code::kNotFound && code != Code::kNotRecognized && code != Code::kCorrupt &&
         code != Code::kVersionUnsupported;
}

ExtentInfo DescribeExtent(const LoadedDescriptor& loaded, size_t index) {
  const ExtentLine& line = loaded.descriptor.extents[index];
  const ObjectInfo& object = loaded.extent_infos[index];
  constexpr std::array<std::string_view, 3> kAccessNames = {"RW", "RDONLY", "NOACCESS"};
  const std::string& device_path = loaded.places[index].device_path;
  return {.path = device_path.empty() ? loaded.found_paths[index] : device_path,
          .type = std::string(NameOf(line.type)),
          .access = std::string(kAccessNames[static_cast<size_t>(line.access)]),
          .size_bytes = line.sector_count * kSectorBytes,
          .offset_bytes = line.offset_sectors * kSectorBytes,
          .object_id = object.id,
          .object_bytes = object.size_bytes,
          .allocated_bytes = object.allocated_bytes};
}

std::string DatabaseValue(const Descriptor& descriptor, std::string_view key) {
  const std::string* const value = descriptor.FindDatabase(key);
  return value == nullptr ? std::string() : *value;
}

uint64_t DatabaseNumber(const Descriptor& descriptor, std::string_view key) {
  return ParseNumber(DatabaseValue(descriptor, key), 10).value_or(0);
}

void DescribeDescriptor(const LoadedDescriptor& loaded, DiskInfo& info) {
  const Descriptor& descriptor = loaded.descriptor;
  info.path = loaded.path;
  info.descriptor_id = loaded.info.id;
  info.create_type = descriptor.create_type;
  info.is_thin = loaded.is_thin();
  info.capacity_bytes = descriptor.capacity_sectors() * kSectorBytes;
  info.content_id = FormatContentId(descriptor.content_id);
  if (descriptor.has_parent()) {
    info.parent_content_id = FormatContentId(descriptor.parent_content_id);
    info.parent = descriptor.parent_file_name_hint;
  }
  info.adapter_type = DatabaseValue(descriptor, "ddb.adapterType");
  info.uuid = DatabaseValue(descriptor, "ddb.uuid");
  info.geometry = {
      .cylinders = DatabaseNumber(descriptor, "ddb.geometry.cylinders"),
      .heads = static_cast<uint32_t>(DatabaseNumber(descriptor, "ddb.geometry.heads")),
      .sectors = static_cast<uint32_t>(DatabaseNumber(descriptor, "ddb.geometry.sectors"))};
  const std::optional<RenameMark> mark = FindRenameMark(descriptor, loaded.path);
  if (mark) info.unfinished_rename = mark->to;
}

}  // namespace

std::string_view NameOf(Provisioning provisioning) {
  switch (provisioning) {
    case Provisioning::kThin: return "thin";
    case Provisioning::kZeroedThick: return "zeroedthick";
    case Provisioning::kEagerZeroedThick: return "eagerzeroedthick";
  }
  return "thin";
}

std::optional<Provisioning> ParseProvisioning(std::string_view word) {
  for (const Provisioning provisioning :
       {Provisioning::kThin, Provisioning::kZeroedThick, Provisioning::kEagerZeroedThick}) {
    if (EqualsIgnoringCase(word, NameOf(provisioning))) return provisioning;
  }
  return std::nullopt;
}

bool LoadedDescriptor::is_thin() const {
  if (const std::string* const thin = descriptor.FindDatabase("ddb.thinProvisioned")) {
    return *thin == "1";
  }
  if (EqualsIgnoringCase(descriptor.create_type, "vmfsThin")) return true;
  if (EqualsIgnoringCase(descriptor.create_type.substr(0, 4), "vmfs")) return false;
  // Hosted flat disks have no such key: a file with holes is meant to have them.
  for (size_t i = 0; i < descriptor.extents.size(); ++i) {
    if (extent_infos[i].allocated_bytes < extent_infos[i].size_bytes) return true;
  }
  return false;
}

std::vector<uint64_t> LoadedDescriptor::object_ids() const {
  std::vector<uint64_t> ids = {info.id};
  for (const ObjectInfo& extent : extent_infos) {
    if (extent.id != 0) ids.push_back(extent.id);
  }
  return ids;
}

Status Lib::CheckKind(const Descriptor& descriptor, std::string_view path) {
  if (IsEncrypted(descriptor)) {
    return Error(Code::kUnsupported, fmt::format("open {}: the disk is encrypted", path));
  }
  for (const ExtentLine& extent : descriptor.extents) TRY_STATUS(CheckExtentKind(extent, path));
  return base::Ok();
}

Task<Result<LoadedDescriptor>> Lib::Load(std::string_view path, bool need_extents) {
  LoadedDescriptor loaded;
  CO_TRY(loaded.path, ResolvePath(backend_, "", path));
  CO_TRY(const std::unique_ptr<Object> object,
         co_await backend_.Open(loaded.path, fss::OpenMode::kRead));
  loaded.info.id = object->inode();
  Result<DescriptorText> read = co_await ReadDescriptorText(*object);
  const Status closed = co_await object->Close();
  if (!read) co_return read.error().Within(fmt::format("open {}", path));
  if (!closed) co_return closed.error().Within(path);
  loaded.embedded = read->embedded;
  Result<Descriptor> parsed = ParseDescriptorText(*read, loaded.path);
  if (!parsed && parsed.error().code() == Code::kNotRecognized) {
    parsed = ExplainNoDescriptor(read->text);
  }
  if (!parsed) co_return parsed.error().Within(fmt::format("open {}", path));
  loaded.text = std::move(read->text);
  loaded.descriptor = *std::move(parsed);
  CO_TRY_STATUS(co_await FindExtents(loaded, need_extents));
  co_return loaded;
}

Task<Status> Lib::FindExtents(LoadedDescriptor& loaded, bool need_extents) {
  CO_TRY(loaded.places, PlacesOfExtents(loaded.descriptor, loaded.path));
  for (ExtentPlace& place : loaded.places) {
    place.path = backend_.PlainPath(place.path);
    if (VolumeOf(place.path) == VolumeOf(loaded.path) || place.path.empty()) continue;
    co_return Error(
        Code::kUnsupported,
        fmt::format("open {}: its extent {} is on another datastore", loaded.path, place.path));
  }
  loaded.found_paths.resize(loaded.places.size());
  loaded.extent_infos.resize(loaded.places.size());
  for (size_t i = 0; i < loaded.places.size(); ++i) {
    CO_TRY_STATUS(co_await FindExtent(loaded, i, need_extents));
  }
  co_return base::Ok();
}

Task<Status> Lib::FindExtent(LoadedDescriptor& loaded, size_t index, bool need_extents) {
  const ExtentPlace& place = loaded.places[index];
  if (place.path.empty()) co_return base::Ok();
  std::string_view found_path = place.path;
  Result<ObjectInfo> found = co_await backend_.GetInfo(found_path);
  if (!found && found.error().code() == Code::kNotFound && !place.moved_path.empty()) {
    found_path = place.moved_path;
    found = co_await backend_.GetInfo(found_path);
  }
  if (!found && !need_extents && found.error().code() == Code::kNotFound) {
    loaded.found_paths[index] = place.path;
    co_return base::Ok();
  }
  if (!found) co_return found.error().Within(fmt::format("open {}: extent", loaded.path));
  loaded.found_paths[index] = found_path;
  loaded.extent_infos[index] = *found;
  const ExtentLine& line = loaded.descriptor.extents[index];
  if (!need_extents || !IsFlat(line.type) || found->size_bytes >= EndBytes(line)) {
    co_return base::Ok();
  }
  co_return Error(Code::kCorrupt,
                  fmt::format("open {}: extent {} has {} bytes, its line needs {}", loaded.path,
                              found_path, found->size_bytes, EndBytes(line)));
}

// What OpenDisks checks by number, in words for people.
Status Lib::CheckNoPlainWriter(const LoadedDescriptor& loaded) {
  const OpenDisks& open_disks = OpenDisksOf(loaded.path);
  std::string written;
  if (open_disks.IsPlainlyWritten(loaded.info.id)) written = loaded.path;
  for (size_t i = 0; i < loaded.extent_infos.size(); ++i) {
    if (open_disks.IsPlainlyWritten(loaded.extent_infos[i].id)) written = loaded.found_paths[i];
  }
  if (written.empty()) return base::Ok();
  return Error(Code::kBusy, fmt::format("open {}: {} is open for writing as a plain file",
                                        loaded.path, written));
}

Result<OpenDisks::Claim> Lib::ClaimDisk(const LoadedDescriptor& loaded, OpenOptions options) {
  TRY_STATUS(CheckNoPlainWriter(loaded));
  return OpenDisksOf(loaded.path)
      .ClaimFiles(
          loaded.object_ids(),
          {.disk = loaded.path, .user = std::string(options.user), .writes = options.writable});
}

Result<OpenDisks::Claim> Lib::ClaimParents(std::span<const LoadedDescriptor> parents,
                                           std::string_view disk, std::string_view user) {
  const DiskHolder holder{.disk = std::string(disk), .user = std::string(user), .is_parent = true};
  std::map<OpenDisks*, std::vector<uint64_t>> ids;
  for (const LoadedDescriptor& parent : parents) {
    TRY_STATUS(CheckNoPlainWriter(parent));
    std::vector<uint64_t>& known = ids[&OpenDisksOf(parent.path)];
    const std::vector<uint64_t> own = parent.object_ids();
    known.insert(known.end(), own.begin(), own.end());
  }
  TRY(OpenDisks::Claim claim, open_disks_.ClaimFiles(ids[&open_disks_], holder));
  for (const auto& [open_disks, files] : ids) {
    if (open_disks == &open_disks_) continue;
    DiskHolder guest = holder;
    guest.disk = backend_.PathForOthers(disk);
    guest.is_elsewhere = true;
    TRY(OpenDisks::Claim elsewhere, open_disks->ClaimFiles(files, guest));
    claim.Keep(std::move(elsewhere));
  }
  return claim;
}

Task<Status> Lib::CheckAlone(LoadedDescriptor& loaded, std::string_view verb,
                             std::string_view except_child) {
  // Linked clones may stand in any folder; they are registered beside the disk.
  CO_TRY_STATUS(co_await CheckNoLivingChildren(backend_, loaded.path, verb));
  const std::string_view folder = FolderOf(loaded.path);
  NameCollector collector;
  CO_TRY_STATUS(co_await backend_.List(folder, collector));
  for (const std::string& name : collector.names) {
    const std::string other = JoinPath(folder, name);
    if (other == loaded.path || other == except_child) continue;
    const Result<DescriptorText> read = co_await ReadDescriptorAt(backend_, other);
    if (!read && MayBeChild(read.error().code())) {
      // The pointer file of a raw device map holds no text.
      const Result<std::string> device = co_await backend_.GetDeviceId(other);
      if (!device) co_return read.error();
    }
    if (!read) continue;
    const Result<Descriptor> descriptor = ParseDescriptorText(*read, other);
    if (!descriptor) continue;
    const std::string relation = RelationTo(backend_, loaded, other, *descriptor);
    if (relation.empty()) continue;
    co_return Error(Code::kUnsupported,
                    fmt::format("{} {}: {} {}", verb, loaded.path, other, relation));
  }
  co_return base::Ok();
}

Result<Lib::PathHold> Lib::HoldPath(std::string_view path) {
  if (!held_paths_.emplace(path).second) {
    return Error(Code::kBusy, fmt::format("{}: another operation on this disk is under way", path));
  }
  return PathHold(*this, std::string(path));
}

Task<Result<DiskInfo>> Lib::GetInfo(std::string_view path) {
  CO_TRY(const LoadedDescriptor loaded, co_await Load(path, /*need_extents=*/false));
  CO_TRY(const ObjectInfo own, co_await backend_.GetInfo(loaded.path));
  DiskInfo info;
  DescribeDescriptor(loaded, info);
  info.modified_us = own.modified_us;
  for (size_t i = 0; i < loaded.extent_infos.size(); ++i) {
    info.extents.push_back(DescribeExtent(loaded, i));
    info.allocated_bytes += loaded.extent_infos[i].allocated_bytes;
    info.modified_us = std::max(info.modified_us, loaded.extent_infos[i].modified_us);
  }
  for (const uint64_t id : loaded.object_ids()) {
    const DiskHolder* const holder = OpenDisksOf(loaded.path).HolderOf(id);
    if (holder != nullptr && (info.holder.empty() || holder->writes)) {
      info.holder = holder->Describe();
    }
  }
  co_return info;
}

}  // namespace disklib
