#include "disklib/children.h"

#include <algorithm>

#include <fmt/format.h>

#include "disklib/descriptor.h"
#include "disklib/descriptor_text.h"
#include "disklib/extent_places.h"
#include "disklib/names.h"
#include "disklib/new_extents.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

constexpr std::string_view kHeading = "# Strata: disks that stand on this one, from this folder";

std::string RegistryText(const std::vector<std::string>& entries) {
  return fmt::format("{}\n{}\n", kHeading, fmt::join(entries, "\n"));
}

std::string EntryOf(std::string_view parent_path, std::string_view child_path) {
  return RelativeName(FolderOf(parent_path), child_path);
}

// From the root, where the entry stays inside.
std::string PathOf(std::string_view parent_path, const std::string& entry) {
  Result<std::string> path = ResolveName(FolderOf(parent_path), entry);
  return path ? *std::move(path) : entry;
}

Task<Result<std::vector<std::string>>> ReadEntries(ObjectBackend& backend,
                                                   std::string_view parent_path) {
  const std::string path = ChildrenPath(parent_path);
  const Result<std::string> text = co_await ReadObject(backend, path, kDescriptorReadBytesMax);
  // A foreign name may be so long that no registry can stand beside it.
  const bool is_absent = !text && (text.error().code() == Code::kNotFound ||
                                   text.error().code() == Code::kNameTooLong);
  if (is_absent) co_return std::vector<std::string>();
  if (!text) co_return text.error();
  co_return ParseChildren(*text);
}

Task<bool> IsLiving(ObjectBackend& backend, std::string_view parent_path, std::string_view entry) {
  const Result<std::string> resolved = ResolveName(FolderOf(parent_path), entry);
  if (!resolved) co_return resolved.error().code() == Code::kNotPermitted;
  const std::string& child_path = *resolved;
  const Result<DescriptorText> read = co_await ReadDescriptorAt(backend, child_path);
  if (!read) {
    const Code code = read.error().code();
    const bool is_other = code == Code::kNotFound || code == Code::kNotRecognized;
    co_return !is_other;
  }
  const Result<Descriptor> child = ParseDescriptor(read->text);
  if (!child) co_return child.error().code() != Code::kNotRecognized;
  if (!child->has_parent()) co_return false;
  const Result<std::string> named = ParentPathOf(backend, *child, child_path);
  co_return named&&* named == parent_path;
}

Task<Result<std::vector<std::string>>> LivingEntries(ObjectBackend& backend,
                                                     std::string_view parent_path) {
  CO_TRY(const std::vector<std::string> entries, co_await ReadEntries(backend, parent_path));
  std::vector<std::string> living;
  for (const std::string& entry : entries) {
    const bool is_living = co_await IsLiving(backend, parent_path, entry);
    if (is_living) living.push_back(entry);
  }
  co_return living;
}

Task<Status> StoreRegistry(ObjectBackend& backend, std::string_view parent_path,
                           std::vector<std::string>& entries) {
  const std::string registry_path = ChildrenPath(parent_path);
  if (entries.empty()) {
    CO_TRY_STATUS(co_await RemoveIfThere(backend, registry_path));
    CO_TRY_STATUS(co_await backend.SyncNames());
    co_return base::Ok();
  }
  const std::string text = RegistryText(entries);
  CO_TRY_STATUS(co_await backend.ReplaceContents(registry_path, text));
  co_return base::Ok();
}

}  // namespace

std::string ChildrenPath(std::string_view parent_path) {
  return fmt::format("{}.children", parent_path);
}

std::vector<std::string> ParseChildren(std::string_view text) {
  std::vector<std::string> entries;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    if (!line.empty() && line.front() != '#') entries.emplace_back(line);
  }
  return entries;
}

Task<Result<std::vector<std::string>>> RegisteredChildren(ObjectBackend& backend,
                                                          std::string_view parent_path) {
  CO_TRY(std::vector<std::string> paths, co_await ReadEntries(backend, parent_path));
  for (std::string& path : paths) path = PathOf(parent_path, path);
  co_return paths;
}

Task<Result<std::vector<std::string>>> LivingChildren(ObjectBackend& backend,
                                                      std::string_view parent_path) {
  CO_TRY(std::vector<std::string> paths, co_await LivingEntries(backend, parent_path));
  for (std::string& path : paths) path = PathOf(parent_path, path);
  co_return paths;
}

Task<Status> CheckNoLivingChildren(ObjectBackend& backend, std::string_view parent_path,
                                   std::string_view verb) {
  CO_TRY(const std::vector<std::string> living, co_await LivingChildren(backend, parent_path));
  if (living.empty()) co_return base::Ok();
  co_return Error(Code::kUnsupported,
                  fmt::format("{} {}: the linked clone {} stands on it{}", verb, parent_path,
                              living.front(), living.size() > 1 ? ", and others" : ""));
}

Task<Status> RegisterChild(ObjectBackend& backend, std::string_view parent_path,
                           std::string_view child_path) {
  const std::string entry = EntryOf(parent_path, child_path);
  CO_TRY(const std::vector<std::string> registered, co_await ReadEntries(backend, parent_path));
  if (std::find(registered.begin(), registered.end(), entry) != registered.end()) {
    co_return base::Ok();
  }
  CO_TRY(std::vector<std::string> entries, co_await LivingEntries(backend, parent_path));
  entries.push_back(entry);
  CO_TRY_STATUS(co_await StoreRegistry(backend, parent_path, entries));
  co_return base::Ok();
}

Task<Status> UnregisterChild(ObjectBackend& backend, std::string_view parent_path,
                             std::string_view child_path) {
  CO_TRY(std::vector<std::string> entries, co_await ReadEntries(backend, parent_path));
  const auto gone = std::remove(entries.begin(), entries.end(), EntryOf(parent_path, child_path));
  if (gone == entries.end()) co_return base::Ok();
  entries.erase(gone, entries.end());
  CO_TRY_STATUS(co_await StoreRegistry(backend, parent_path, entries));
  co_return base::Ok();
}

Task<Status> DropStaleChildren(ObjectBackend& backend, std::string_view parent_path) {
  CO_TRY(const std::vector<std::string> registered, co_await ReadEntries(backend, parent_path));
  CO_TRY(std::vector<std::string> living, co_await LivingEntries(backend, parent_path));
  if (living.size() == registered.size()) co_return base::Ok();
  CO_TRY_STATUS(co_await StoreRegistry(backend, parent_path, living));
  co_return base::Ok();
}

}  // namespace disklib
