#include "disklib/extent_places.h"

#include <utility>

#include <fmt/format.h>

#include "disklib/names.h"

namespace disklib {

using base::Code;
using base::Error;
using base::Result;

RenameMarkNames NamesOfMark(const RenameMark& mark) {
  return {.from = RelativeName(FolderOf(mark.to), mark.from),
          .to = RelativeName(FolderOf(mark.from), mark.to)};
}

std::optional<RenameMark> FindRenameMark(const Descriptor& descriptor, std::string_view path) {
  const std::string* const from_name = descriptor.FindDatabase(kRenamingFromKey);
  const std::string* const to_name = descriptor.FindDatabase(kRenamingToKey);
  if (from_name == nullptr || to_name == nullptr) return std::nullopt;
  // Each name leads from where the other is, and back to where the descriptor stands.
  const Result<std::string> to = ResolveName(FolderOf(path), *to_name);
  if (to && CheckDiskPath(*to)) {
    const Result<std::string> back = ResolveName(FolderOf(*to), *from_name);
    if (back && *back == path) return RenameMark{.from = std::string(path), .to = *to};
  }
  const Result<std::string> from = ResolveName(FolderOf(path), *from_name);
  if (!from || !CheckDiskPath(path)) return std::nullopt;
  const Result<std::string> back = ResolveName(FolderOf(*from), *to_name);
  if (!back || *back != path) return std::nullopt;
  return RenameMark{.from = *from, .to = std::string(path)};
}

bool NamesDeviceNode(const ExtentLine& extent) {
  return extent.type == ExtentType::kFlat && extent.file_name.starts_with("/dev/");
}

Result<std::string> ParentPathOf(ObjectBackend& backend, const Descriptor& descriptor,
                                 std::string_view path) {
  // The hint changes together with the mark, when the descriptor stands in its new folder.
  const std::optional<RenameMark> mark = FindRenameMark(descriptor, path);
  const std::string_view named_in = mark ? std::string_view(mark->from) : path;
  return ResolvePath(backend, FolderOf(named_in), descriptor.parent_file_name_hint);
}

Result<std::vector<ExtentPlace>> PlanRename(const Descriptor& descriptor,
                                            const RenameMark& rename) {
  const std::string_view from_folder = FolderOf(rename.from);
  const std::string_view to_folder = FolderOf(rename.to);
  std::vector<ExtentPlace> places;
  for (const ExtentLine& extent : descriptor.extents) {
    ExtentPlace place;
    if (NamesDeviceNode(extent)) {
      place.device_path = extent.file_name;
    } else if (!extent.file_name.empty()) {
      TRY(place.path, ResolveName(from_folder, extent.file_name));
      const bool is_beside = extent.file_name.find('/') == std::string::npos;
      if (!is_beside && from_folder != to_folder) {
        return Error(Code::kUnsupported,
                     fmt::format("rename {} to {}: its extent {} lies in another folder",
                                 rename.from, rename.to, extent.file_name));
      }
      if (is_beside) {
        place.moved_path = JoinPath(
            to_folder, RenamedExtentName(extent.file_name, NameOf(rename.from), NameOf(rename.to)));
        if (place.moved_path == place.path) place.moved_path.clear();
      }
    }
    places.push_back(std::move(place));
  }
  return places;
}

Result<std::vector<ExtentPlace>> PlacesOfExtents(const Descriptor& descriptor,
                                                 std::string_view descriptor_path) {
  const std::optional<RenameMark> mark = FindRenameMark(descriptor, descriptor_path);
  std::vector<ExtentPlace> places;
  if (mark) {
    TRY(places, PlanRename(descriptor, *mark));
    if (descriptor_path == mark->from) return places;
    // The descriptor moves last: what stands under an old name now is somebody else's.
    for (ExtentPlace& place : places) {
      if (!place.moved_path.empty()) place.path = std::exchange(place.moved_path, {});
    }
    return places;
  }
  for (const ExtentLine& extent : descriptor.extents) {
    ExtentPlace place;
    if (NamesDeviceNode(extent)) {
      place.device_path = extent.file_name;
    } else if (!extent.file_name.empty()) {
      TRY(place.path, ResolveName(FolderOf(descriptor_path), extent.file_name));
    }
    places.push_back(std::move(place));
  }
  return places;
}

}  // namespace disklib
