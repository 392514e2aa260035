#include "disklib/check/folder_scan.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor_lines.h"
#include "disklib/extent_places.h"
#include "disklib/names.h"
#include "fs/base/on_disk.h"

namespace disklib::check {
namespace {

using base::Result;
using base::Status;
using base::Task;

constexpr size_t kHeadBytes = 512;
constexpr uint32_t kHostedMagic = 0x564d444b;
constexpr uint32_t kVmfsSparseMagic = 0x44574f43;
constexpr uint64_t kSeSparseMagic = 0xcafebabe;
constexpr uint32_t kTrackingMagic = 0xf61972a2;
// Where a hosted extent's header says that its descriptor is.
constexpr size_t kDescriptorOffsetAt = 28;
constexpr size_t kDescriptorSizeAt = 36;

constexpr std::array<std::string_view, 3> kEndings = {".vmdk", ".vmx", ".vmsd"};

class ScanSink : public ObjectSink {
 public:
  void Add(const ObjectEntry& entry) override {
    for (const std::string_view ending : kEndings) {
      if (EndsWithIgnoringCase(entry.name, ending)) names.emplace_back(entry.name);
    }
  }

  std::vector<std::string> names;
};

FileKind KindOf(std::span<const std::byte> head) {
  const uint32_t magic = base::LoadAs<base::Le32>(head);
  if (magic == kHostedMagic) return FileKind::kHosted;
  if (magic == kVmfsSparseMagic) return FileKind::kVmfsSparse;
  if (magic == kTrackingMagic) return FileKind::kTracking;
  if (base::LoadAs<base::Le64>(head) == kSeSparseMagic) return FileKind::kSeSparse;
  return FileKind::kOther;
}

void ReadSettings(FolderFile& file, std::string_view text) {
  if (file.kind == FileKind::kVmConfiguration) {
    const Result<Vmx> vmx = Vmx::Parse(text);
    if (vmx) file.vm_disks = vmx->disks();
    if (!vmx) file.settings_error = vmx.error().message();
  } else {
    Result<SnapshotList> list = ParseSnapshotList(text);
    if (!list) file.settings_error = list.error().message();
    if (list) file.snapshots = *std::move(list);
  }
}

// What the rest of the folder knows of a descriptor that lost a key.
DescriptorHints HintsFor(Folder& folder, const FolderFile& file) {
  DescriptorHints hints;
  const auto children = folder.ChildrenOf(file.path);
  if (!children.empty()) {
    hints.content_id = children.front()->descriptor.descriptor.parent_content_id;
  }
  const FolderFile* const parent = folder.Find(file.parent_path);
  if (parent != nullptr && parent->descriptor.is_usable) {
    hints.parent_content_id = parent->descriptor.descriptor.content_id;
  }
  return hints;
}

// Reads damaged descriptors again with what the others know.
void ApplyHints(ObjectBackend& backend, Folder& folder) {
  for (auto& [path, file] : folder.files) {
    if (file.descriptor.problems.empty()) continue;
    file.descriptor = ReadLoosely(file.descriptor.text, HintsFor(folder, file));
    FollowNames(backend, file);
  }
}

// The same for one line when the descriptor as a whole cannot be placed.
void FollowExtent(FolderFile& file, const ExtentLine& line) {
  file.extent_paths.emplace_back();
  file.extent_errors.emplace_back();
  if (line.file_name.empty() || NamesDeviceNode(line)) return;
  const Result<std::string> path = ResolveName(FolderOf(file.path), line.file_name);
  if (path) {
    file.extent_paths.back() = *path;
  } else {
    file.extent_errors.back() = path.error().message();
  }
}

}  // namespace

FolderFile* Folder::Find(std::string_view file_path) {
  const auto found = files.find(file_path);
  return found == files.end() ? nullptr : &found->second;
}

std::vector<const FolderFile*> Folder::ChildrenOf(std::string_view file_path) const {
  std::vector<const FolderFile*> children;
  for (const auto& [name, file] : files) {
    if (!file_path.empty() && file.parent_path == file_path) children.push_back(&file);
  }
  return children;
}

std::vector<const FolderFile*> Folder::UsersOf(std::string_view file_path) const {
  std::vector<const FolderFile*> users;
  for (const auto& [name, file] : files) {
    if (std::ranges::find(file.extent_paths, file_path) != file.extent_paths.end()) {
      users.push_back(&file);
    }
  }
  return users;
}

void FollowNames(ObjectBackend& backend, FolderFile& file) {
  file.extent_paths.clear();
  file.extent_errors.clear();
  file.moved_paths.clear();
  file.parent_path.clear();
  file.parent_error.clear();
  const Descriptor& descriptor = file.descriptor.descriptor;
  if (!file.descriptor.is_usable) return;
  for (const ExtentLine& line : descriptor.extents) FollowExtent(file, line);
  file.moved_paths.resize(file.extent_paths.size());
  const Result<std::vector<ExtentPlace>> places = PlacesOfExtents(descriptor, file.path);
  for (size_t i = 0; places && i < places->size(); ++i) {
    file.extent_paths[i] = (*places)[i].path;
    file.moved_paths[i] = (*places)[i].moved_path;
  }
  // An embedded descriptor describes the file it lies in, whatever it is called now.
  if (file.embedded_offset_bytes != 0 && file.extent_paths.size() == 1) {
    file.extent_paths.front() = file.path;
  }
  if (descriptor.parent_file_name_hint.empty()) return;
  const Result<std::string> parent = ParentPathOf(backend, descriptor, file.path);
  if (parent) {
    file.parent_path = *parent;
  } else {
    file.parent_error = parent.error().message();
  }
}

Task<bool> Folders::ReadEmbedded(FolderFile& file, Object& object, std::span<std::byte> head) {
  const uint64_t offset_sectors = base::LoadAs<base::Le64>(head, kDescriptorOffsetAt);
  const uint64_t size_sectors = base::LoadAs<base::Le64>(head, kDescriptorSizeAt);
  const uint64_t file_sectors = object.size_bytes() / kSectorBytes;
  if (offset_sectors == 0 || size_sectors == 0 || offset_sectors >= file_sectors ||
      size_sectors > kDescriptorReadBytesMax / kSectorBytes) {
    co_return true;
  }
  std::string text;
  text.resize(size_sectors * kSectorBytes);
  const std::span<char> chars(text);
  const bool was_read =
      co_await run_.Read(object, offset_sectors * kSectorBytes, std::as_writable_bytes(chars));
  if (!was_read) co_return false;
  file.descriptor = ReadLoosely(text, {});
  if (!file.descriptor.is_descriptor) co_return true;
  file.embedded_offset_bytes = offset_sectors * kSectorBytes;
  file.embedded_bytes = size_sectors * kSectorBytes;
  co_return true;
}

Task<Status> Folders::ExamineObject(FolderFile& file, Object& object) {
  std::array<std::byte, kHeadBytes> head{};
  const bool was_read = co_await run_.Read(object, 0, head);
  if (!was_read) co_return base::Ok();
  if (EndsWithIgnoringCase(file.path, ".vmx")) {
    file.kind = FileKind::kVmConfiguration;
  } else if (EndsWithIgnoringCase(file.path, ".vmsd")) {
    file.kind = FileKind::kVmSnapshots;
  } else {
    file.kind = KindOf(head);
  }
  if (file.kind == FileKind::kHosted) {
    const bool embedded_was_read = co_await ReadEmbedded(file, object, head);
    static_cast<void>(embedded_was_read);  // the read that failed is a finding
  }
  const bool is_text = file.kind == FileKind::kOther || file.kind == FileKind::kVmConfiguration ||
                       file.kind == FileKind::kVmSnapshots;
  if (!is_text || object.size_bytes() > kDescriptorReadBytesMax) co_return base::Ok();
  std::string text(object.size_bytes(), '\0');
  const std::span<char> chars(text);
  const bool text_was_read = co_await run_.Read(object, 0, std::as_writable_bytes(chars));
  if (!text_was_read) co_return base::Ok();
  if (file.kind != FileKind::kOther) {
    ReadSettings(file, TextBeforePadding(text));
    co_return base::Ok();
  }
  file.descriptor = ReadLoosely(text, {});
  if (file.descriptor.is_descriptor) file.kind = FileKind::kDescriptor;
  co_return base::Ok();
}

Task<Status> Folders::Examine(FolderFile& file) {
  run_.findings().BeginFile(file.path);
  ObjectBackend& backend = run_.lib().backend();
  const Result<ObjectInfo> info = co_await backend.GetInfo(file.path);
  if (!info) {
    // A dangling link, or gone meanwhile: whoever names it will say so.
    co_return base::Ok();
  }
  file.info = *info;
  Result<std::unique_ptr<Object>> object = co_await backend.Open(file.path, fss::OpenMode::kRead);
  if (!object) {
    file.open_error = object.error().message();
    co_return base::Ok();
  }
  const Status examined = co_await ExamineObject(file, **object);
  const Status closed = co_await (*object)->Close();
  static_cast<void>(closed);  // nothing was written
  CO_TRY_STATUS(examined);
  FollowNames(backend, file);
  co_return base::Ok();
}

Task<Result<Folder*>> Folders::Get(std::string_view path) {
  const auto known = folders_.find(path);
  if (known != folders_.end()) co_return known->second.get();
  ScanSink sink;
  CO_TRY_STATUS(co_await run_.lib().backend().List(path, sink));
  auto folder = std::make_unique<Folder>();
  folder->path = path;
  for (const std::string& name : sink.names) {
    FolderFile file;
    file.path = JoinPath(path, name);
    CO_TRY_STATUS(co_await Examine(file));
    CO_TRY_STATUS(run_.Advance(kHeadBytes));
    std::string key = file.path;
    folder->files.emplace(std::move(key), std::move(file));
  }
  ApplyHints(run_.lib().backend(), *folder);
  Folder* const result = folder.get();
  folders_.emplace(std::string(path), std::move(folder));
  co_return result;
}

}  // namespace disklib::check
