#include "tests/support/memory_file_system.h"

#include <utility>

#include <fmt/format.h>

#include "fs/base/check.h"

// The model's operations on names; the rest stands in memory_file_system.cc.

namespace fss {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

Task<Result<Attributes>> MemoryFileSystem::CreateFile(InodeNumber parent, std::string_view name,
                                                      NewInode attributes) {
  co_return Make(parent, name, attributes, FileType::kRegular, "");
}

Task<Result<Attributes>> MemoryFileSystem::MakeDirectory(InodeNumber parent, std::string_view name,
                                                         NewInode attributes) {
  co_return Make(parent, name, attributes, FileType::kDirectory, "");
}

Task<Result<Attributes>> MemoryFileSystem::MakeSymlink(InodeNumber parent, std::string_view name,
                                                       std::string_view target,
                                                       NewInode attributes) {
  co_return Make(parent, name, attributes, FileType::kSymlink, target);
}

Task<Result<std::string>> MemoryFileSystem::ReadSymlink(InodeNumber inode) {
  CO_TRY_STATUS(Count());
  const Node* const node = Find(inode);
  if (node == nullptr) co_return Error(Code::kStale);
  if (node->attributes.type != FileType::kSymlink) co_return Error(Code::kInvalidArgument);
  co_return node->target;
}

Task<Status> MemoryFileSystem::Unlink(InodeNumber parent, std::string_view name) {
  co_return Remove(parent, name, /*is_directory=*/false);
}

Task<Status> MemoryFileSystem::RemoveDirectory(InodeNumber parent, std::string_view name) {
  co_return Remove(parent, name, /*is_directory=*/true);
}

// Whether `source` may take the place of `target` (rename, POSIX.1-2017).
Status MemoryFileSystem::CheckReplace(const Node& source, const Node& target) const {
  const bool source_is_folder = source.attributes.type == FileType::kDirectory;
  const bool target_is_folder = target.attributes.type == FileType::kDirectory;
  if (source_is_folder && !target_is_folder) return Error(Code::kNotDirectory);
  if (!source_is_folder && target_is_folder) return Error(Code::kIsDirectory);
  if (!target.entries.empty()) return Error(Code::kNotEmpty);
  return base::Ok();
}

bool MemoryFileSystem::IsInside(InodeNumber folder, InodeNumber inode) {
  while (folder != inode && folder != kRoot) folder = nodes_.at(folder).parent;
  return folder == inode;
}

Task<Status> MemoryFileSystem::Rename(InodeNumber from_parent, std::string_view from_name,
                                      InodeNumber to_parent, std::string_view to_name,
                                      bool no_replace) {
  CO_TRY_STATUS(CountChange());
  CO_TRY(Node* const source_folder, FindDirectory(from_parent));
  CO_TRY(Node* const target_folder, FindDirectory(to_parent));
  if (to_name.size() > kNameBytesMax) co_return Error(Code::kNameTooLong);
  const auto source = source_folder->entries.find(from_name);
  if (source == source_folder->entries.end()) co_return Error(Code::kNotFound);
  const InodeNumber inode = source->second.inode;
  Node& node = nodes_.at(inode);
  const bool is_folder = node.attributes.type == FileType::kDirectory;
  const auto target = target_folder->entries.find(to_name);
  if (target != target_folder->entries.end()) {
    if (no_replace) co_return Error(Code::kExists);
    if (target->second.inode == inode) co_return base::Ok();
    CO_TRY_STATUS(CheckReplace(node, nodes_.at(target->second.inode)));
  }
  if (is_folder && IsInside(to_parent, inode)) co_return Error(Code::kInvalidArgument);
  if (target != target_folder->entries.end()) Detach(*target_folder, to_name);
  source_folder->entries.erase(source);
  target_folder->entries.emplace(to_name, Entry{.inode = inode, .cursor = next_cursor_++});
  if (is_folder) {
    --source_folder->attributes.link_count;
    ++target_folder->attributes.link_count;
    node.parent = to_parent;
  }
  Touch(*source_folder, true);
  Touch(*target_folder, true);
  Touch(node, false);
  co_return base::Ok();
}
}  // namespace fss
