#include "disklib/names.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <span>
#include <vector>

#include <fmt/format.h>

#include "disklib/descriptor_lines.h"
#include "fs/base/crc32c.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;

// The longest ending that is put on a disk's name: "-sesparse.vmdk" or ".strata-unfinished".
constexpr size_t kLongestEndingBytes = std::string_view("-flat.vmdk.strata-unfinished").size();

std::string_view StemOf(std::string_view descriptor_name) {
  if (EndsWithIgnoringCase(descriptor_name, kDescriptorSuffix)) {
    descriptor_name.remove_suffix(kDescriptorSuffix.size());
  }
  return descriptor_name;
}

// "-s001" or "-f0001": a letter and at least three digits.
bool IsSplitEnding(std::string_view ending) {
  if (ending.size() < 5 || ending[0] != '-' || (ending[1] != 's' && ending[1] != 'f')) return false;
  return std::all_of(ending.begin() + 2, ending.end(),
                     [](unsigned char c) { return std::isdigit(c) != 0; });
}

bool IsExtentEnding(std::string_view ending) {
  constexpr std::array<std::string_view, 5> kEndings = {"-flat", "-delta", "-sesparse", "-rdm",
                                                        "-rdmp"};
  return std::find(kEndings.begin(), kEndings.end(), ending) != kEndings.end() ||
         IsSplitEnding(ending);
}

Error NameError(Code code, std::string_view name, std::string_view what) {
  return Error(code, fmt::format("name \"{}\": {}", name.substr(0, 200), what));
}

std::string WithEnding(std::string_view path, std::string_view ending) {
  const std::string_view name = NameOf(path);
  if (name.size() + ending.size() <= kNameBytesMax) return fmt::format("{}{}", path, ending);
  // Too long to carry the ending: a short name that still belongs to this one.
  const auto bytes = std::as_bytes(std::span<const char>(name));
  return JoinPath(FolderOf(path), fmt::format("disk-{:08x}{}", base::Crc32c(bytes), ending));
}

// The same inside one datastore.
Result<std::string> ResolveInside(std::string_view folder, std::string_view name) {
  const std::string joined = JoinPath(folder, name);
  if (joined.size() > kPathBytesMax) return NameError(Code::kNameTooLong, name, "is too long");
  std::vector<std::string_view> parts;
  std::string_view last;
  for (std::string_view rest = joined; !rest.empty();) {
    last = rest.substr(0, rest.find('/'));
    rest.remove_prefix(std::min(last.size() + 1, rest.size()));
    if (last.empty() || last == ".") continue;
    if (last != "..") {
      parts.push_back(last);
    } else if (parts.empty()) {
      return NameError(Code::kNotPermitted, name, "leaves the datastore");
    } else {
      parts.pop_back();
    }
  }
  if (last.empty() || last == "." || last == ".." || parts.empty() || name.ends_with('/')) {
    return NameError(Code::kNameInvalid, name, "names a folder");
  }
  return fmt::format("{}", fmt::join(parts, "/"));
}

}  // namespace

std::string_view FolderOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

std::string_view NameOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

std::string JoinPath(std::string_view folder, std::string_view name) {
  return folder.empty() ? std::string(name) : fmt::format("{}/{}", folder, name);
}

std::optional<VolumePath> SplitVolumePath(std::string_view path) {
  if (!path.starts_with(kVolumesPrefix)) return std::nullopt;
  path.remove_prefix(kVolumesPrefix.size());
  const std::string_view volume = path.substr(0, path.find('/'));
  path.remove_prefix(std::min(volume.size() + 1, path.size()));
  return VolumePath{.volume = volume, .path = path};
}

std::string_view VolumeOf(std::string_view path) {
  const std::optional<VolumePath> place = SplitVolumePath(path);
  return place ? place->volume : std::string_view();
}

std::string JoinVolumePath(VolumePath place) {
  std::string path = fmt::format("{}{}", kVolumesPrefix, place.volume);
  return place.path.empty() ? path : JoinPath(path, place.path);
}

Result<std::string> ResolveName(std::string_view folder, std::string_view name) {
  if (name.empty()) return NameError(Code::kNameInvalid, name, "is empty");
  if (name.find('\0') != std::string_view::npos || name.find('\\') != std::string_view::npos) {
    return NameError(Code::kNameInvalid, name, "has a NUL or a backslash");
  }
  const bool is_absolute = name.front() == '/';
  std::optional<VolumePath> place = SplitVolumePath(is_absolute ? name : folder);
  if (is_absolute && !place) return NameError(Code::kNameInvalid, name, "is absolute");
  if (!place) return ResolveInside(folder, name);
  if (place->volume.empty() || place->volume == "." || place->volume == "..") {
    return NameError(Code::kNameInvalid, name, "names no datastore");
  }
  TRY(const std::string inside,
      is_absolute ? ResolveInside("", place->path) : ResolveInside(place->path, name));
  place->path = inside;
  return JoinVolumePath(*place);
}
std::string RelativeName(std::string_view folder, std::string_view path) {
  if (SplitVolumePath(path)) return std::string(path);
  const std::string_view own_folder = FolderOf(path);
  const bool is_below = folder.empty() || own_folder == folder ||
                        (own_folder.starts_with(folder) && own_folder[folder.size()] == '/');
  if (is_below) return std::string(path.substr(folder.empty() ? 0 : folder.size() + 1));
  return fmt::format("../{}", RelativeName(FolderOf(folder), path));
}

Status CheckDiskPath(std::string_view path) {
  TRY(const std::string normalised, ResolveName("", path));
  const std::string_view name = NameOf(normalised);
  if (normalised != path) return NameError(Code::kNameInvalid, path, "is not in its plain form");
  if (SplitVolumePath(path)) {
    return NameError(Code::kNotPermitted, path, "lies on another datastore");
  }
  if (StemOf(name).empty() || !name.ends_with(kDescriptorSuffix)) {
    return NameError(Code::kNameInvalid, path, "a disk's name ends in .vmdk");
  }
  const size_t stem_bytes_max = kNameBytesMax - kLongestEndingBytes;
  if (StemOf(name).size() > stem_bytes_max) {
    return NameError(Code::kNameTooLong, path,
                     fmt::format("a disk's name has at most {} bytes before .vmdk, for its files' "
                                 "names are longer",
                                 stem_bytes_max));
  }
  for (const char c : name) {
    if (c == '"' || static_cast<unsigned char>(c) < 0x20) {
      return NameError(Code::kNameInvalid, path, "has a quote or a control character");
    }
  }
  return base::Ok();
}

std::string FlatExtentName(std::string_view descriptor_name) {
  return fmt::format("{}-flat.vmdk", StemOf(descriptor_name));
}

std::string SplitFlatExtentName(std::string_view descriptor_name, uint32_t number) {
  return fmt::format("{}-f{:03}.vmdk", StemOf(descriptor_name), number);
}

std::string DeltaExtentName(std::string_view descriptor_name) {
  return fmt::format("{}-delta.vmdk", StemOf(descriptor_name));
}

std::string SeSparseExtentName(std::string_view descriptor_name) {
  return fmt::format("{}-sesparse.vmdk", StemOf(descriptor_name));
}

std::string SplitSparseExtentName(std::string_view descriptor_name, uint32_t number) {
  return fmt::format("{}-s{:03}.vmdk", StemOf(descriptor_name), number);
}

std::string RenamedExtentName(std::string_view extent_name, std::string_view old_descriptor_name,
                              std::string_view new_descriptor_name) {
  const std::string_view old_stem = StemOf(old_descriptor_name);
  if (!extent_name.starts_with(old_stem)) return std::string(extent_name);
  const std::string_view ending = extent_name.substr(old_stem.size());
  if (!EndsWithIgnoringCase(ending, kDescriptorSuffix) || !IsExtentEnding(StemOf(ending))) {
    return std::string(extent_name);
  }
  return fmt::format("{}{}", StemOf(new_descriptor_name), ending);
}

std::string UnfinishedPath(std::string_view path) {
  return WithEnding(path, ".strata-unfinished");
}

std::string DeletedPath(std::string_view path) {
  return WithEnding(path, ".strata-deleted");
}

std::string ReplacementPath(std::string_view path) {
  return WithEnding(path, ".strata-new");
}

}  // namespace disklib
