#include "fs/fss/devfs.h"

#include <utility>

#include "fs/base/check.h"

namespace fss {
namespace {

constexpr uint32_t kNameBytesMax = 255;

// Cursors: 1 is behind ".", 2 behind "..", n + 2 behind the child with inode n.
constexpr uint64_t kCursorBehindDots = 2;

}  // namespace

DevFs::DevFs(const Options& options) : options_(options) {
  nodes_.emplace_back();
  nodes_.back().parent = root();
}

InodeNumber DevFs::Add(InodeNumber parent, std::string_view name, Node node) {
  CHECK(parent >= 1 && parent <= nodes_.size());
  const InodeNumber inode = nodes_.size() + 1;
  node.parent = parent;
  node.name = name;
  nodes_.push_back(std::move(node));
  Node& directory = nodes_[parent - 1];
  CHECK(directory.type == FileType::kDirectory);
  CHECK(directory.by_name.emplace(name, inode).second);
  directory.in_order.insert(inode);
  return inode;
}

InodeNumber DevFs::AddDirectory(InodeNumber parent, std::string_view name) {
  return Add(parent, name, Node{});
}

InodeNumber DevFs::AddSymlink(InodeNumber parent, std::string_view name, std::string_view target) {
  Node node;
  node.type = FileType::kSymlink;
  node.target = target;
  return Add(parent, name, std::move(node));
}

InodeNumber DevFs::AddDevice(InodeNumber parent, std::string_view name,
                             std::unique_ptr<DeviceNode> device) {
  Node node;
  node.type = FileType::kRegular;
  node.device = std::move(device);
  return Add(parent, name, std::move(node));
}

bool DevFs::Has(InodeNumber parent, std::string_view name) const {
  const Node* directory = Find(parent);
  return directory && directory->by_name.contains(name);
}

InodeNumber DevFs::ParentOf(InodeNumber inode) const {
  const Node* node = Find(inode);
  return node ? node->parent : root();
}

const DevFs::Node* DevFs::Find(InodeNumber inode) const {
  return inode >= 1 && inode <= nodes_.size() ? &nodes_[inode - 1] : nullptr;
}

Attributes DevFs::AttributesOf(InodeNumber inode) const {
  const Node& node = nodes_[inode - 1];
  Attributes attributes;
  attributes.inode = inode;
  attributes.type = node.type;
  attributes.uid = options_.uid;
  attributes.gid = options_.gid;
  attributes.modified_us = attributes.changed_us = attributes.accessed_us = options_.created_us;
  if (node.type == FileType::kDirectory) {
    attributes.mode = 0755;
    attributes.link_count = 2;
    for (const InodeNumber child : node.in_order) {
      if (nodes_[child - 1].type == FileType::kDirectory) ++attributes.link_count;
    }
  } else if (node.type == FileType::kSymlink) {
    attributes.mode = 0777;
    attributes.size_bytes = node.target.size();
  } else {
    attributes.mode = node.device->read_only() ? 0400 : 0600;
    attributes.size_bytes = attributes.allocated_bytes = node.device->size_bytes();
  }
  return attributes;
}

base::Task<base::Result<Attributes>> DevFs::Lookup(InodeNumber parent, std::string_view name) {
  const Node* directory = Find(parent);
  if (!directory) co_return base::Code::kStale;
  if (directory->type != FileType::kDirectory) co_return base::Code::kNotDirectory;
  if (name.size() > kNameBytesMax) co_return base::Code::kNameTooLong;
  const auto found = directory->by_name.find(name);
  if (found == directory->by_name.end()) co_return base::Code::kNotFound;
  co_return AttributesOf(found->second);
}

base::Task<base::Result<Attributes>> DevFs::GetAttributes(InodeNumber inode) {
  if (!Find(inode)) co_return base::Code::kStale;
  co_return AttributesOf(inode);
}

base::Task<base::Result<Attributes>> DevFs::SetAttributes(InodeNumber, AttributeChange) {
  co_return base::Code::kNotPermitted;
}

base::Task<base::Result<Attributes>> DevFs::CreateFile(InodeNumber, std::string_view, NewInode) {
  co_return base::Code::kNotPermitted;
}

base::Task<base::Result<Attributes>> DevFs::MakeDirectory(InodeNumber, std::string_view, NewInode) {
  co_return base::Code::kNotPermitted;
}

base::Task<base::Result<Attributes>> DevFs::MakeSymlink(InodeNumber, std::string_view,
                                                        std::string_view, NewInode) {
  co_return base::Code::kNotPermitted;
}

base::Task<base::Result<std::string>> DevFs::ReadSymlink(InodeNumber inode) {
  const Node* node = Find(inode);
  if (!node) co_return base::Code::kStale;
  if (node->type != FileType::kSymlink) co_return base::Code::kInvalidArgument;
  co_return node->target;
}

base::Task<base::Status> DevFs::Unlink(InodeNumber, std::string_view) {
  co_return base::Code::kNotPermitted;
}

base::Task<base::Status> DevFs::RemoveDirectory(InodeNumber, std::string_view) {
  co_return base::Code::kNotPermitted;
}

base::Task<base::Status> DevFs::Rename(InodeNumber, std::string_view, InodeNumber, std::string_view,
                                       bool) {
  co_return base::Code::kNotPermitted;
}

base::Task<base::Result<std::unique_ptr<File>>> DevFs::Open(InodeNumber inode, OpenMode mode) {
  const Node* node = Find(inode);
  if (!node) co_return base::Code::kStale;
  if (node->type == FileType::kDirectory) co_return base::Code::kIsDirectory;
  if (!node->device) co_return base::Code::kInvalidArgument;
  if (Writes(mode) && node->device->read_only()) co_return base::Code::kReadOnly;
  base::Result<std::unique_ptr<File>> opened = co_await node->device->Open(inode, mode);
  co_return opened;
}

base::Task<base::Status> DevFs::ReadDirectory(InodeNumber inode, uint64_t cursor,
                                              DirectorySink& sink) {
  const Node* node = Find(inode);
  if (!node) co_return base::Code::kStale;
  if (node->type != FileType::kDirectory) co_return base::Code::kNotDirectory;
  if (cursor < 1 && !sink.Add({".", inode, FileType::kDirectory, 1})) co_return base::Ok();
  if (cursor < 2 && !sink.Add({"..", node->parent, FileType::kDirectory, 2})) co_return base::Ok();
  const InodeNumber last = cursor > kCursorBehindDots ? cursor - kCursorBehindDots : 0;
  for (auto at = node->in_order.upper_bound(last); at != node->in_order.end(); ++at) {
    const Node& child = nodes_[*at - 1];
    if (!sink.Add({child.name, *at, child.type, *at + kCursorBehindDots})) break;
  }
  co_return base::Ok();
}

base::Task<base::Result<StatFs>> DevFs::GetStatFs() {
  StatFs figures;
  figures.block_size_bytes = 4096;
  figures.files_total = nodes_.size();
  figures.name_bytes_max = kNameBytesMax;
  co_return figures;
}

base::Task<base::Status> DevFs::SyncAll() {
  co_return base::Ok();
}

base::Task<base::Status> DevFs::Unmount() {
  co_return base::Ok();
}

}  // namespace fss
