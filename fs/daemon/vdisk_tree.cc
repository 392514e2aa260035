#include "fs/daemon/vdisk_tree.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "disklib/names.h"
#include "fs/base/log.h"
#include "fs/daemon/late_close.h"

namespace stratad {
namespace {

constexpr fss::InodeNumber kNumberMask = 0xffffffff;

// Disks are listed behind all directories of the volume.
constexpr uint64_t kDiskCursor = uint64_t{1} << 62;

struct FoundDisk {
  std::string name;
  fss::InodeNumber descriptor = 0;
};

class DiskCollector final : public disklib::DiskSink {
 public:
  void Add(const disklib::ListedDisk& disk) override {
    disks_.push_back({std::string(disk.name), disk.inode});
  }

  std::vector<FoundDisk>& disks() { return disks_; }

 private:
  std::vector<FoundDisk> disks_;
};

// The volume's own files in its root: ".sdd.sf" is a directory.
bool IsSystemName(std::string_view name) {
  return name.starts_with('.') && name.ends_with(".sf");
}

// Lets the volume's directories pass.
class FolderSink final : public fss::DirectorySink {
 public:
  struct View {
    fss::InodeNumber inode;  // of the listed directory, as the tree numbers it
    fss::InodeNumber parent;
    bool is_root;
  };

  FolderSink(fss::DirectorySink& sink, View view) : sink_(sink), view_(view) {}

  bool Add(const fss::DirectoryEntry& entry) override {
    if (entry.type != fss::FileType::kDirectory) return true;
    if (view_.is_root && IsSystemName(entry.name)) return true;
    fss::DirectoryEntry shown = entry;
    if (entry.name == ".") shown.inode = view_.inode;
    if (entry.name == "..") shown.inode = view_.parent;
    full_ = !sink_.Add(shown);
    return !full_;
  }

  bool full() const { return full_; }

 private:
  fss::DirectorySink& sink_;
  const View view_;
  bool full_ = false;
};

}  // namespace

VdiskTree::VdiskTree(base::Executor& executor, fss::FileSystem& volume, disklib::VDisks& disks)
    : executor_(executor), volume_(volume), disks_(disks), lister_(volume) {
  Node top;
  top.parent = top.volume_inode = volume.root();
  nodes_.emplace(volume.root(), std::move(top));
}

fss::InodeNumber VdiskTree::NumberFor(fss::InodeNumber wanted, fss::InodeNumber parent,
                                      std::string_view name) const {
  fss::InodeNumber number = wanted & kNumberMask;
  while (true) {
    const auto taken = nodes_.find(number);
    if (number != 0 && taken == nodes_.end()) return number;
    if (number != 0 && taken->second.parent == parent && taken->second.name == name) return number;
    number = (number + 1) & kNumberMask;
  }
}

fss::InodeNumber VdiskTree::NumberOfDisk(fss::InodeNumber parent, std::string_view name) const {
  uint64_t hash = 0xcbf29ce484222325 ^ parent;  // FNV-1a, 64 bits
  for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return NumberFor(hash >> 32 ^ hash, parent, name);
}

fss::InodeNumber VdiskTree::Adopt(Node node, fss::InodeNumber number) {
  const auto [place, is_new] = nodes_.try_emplace(number, std::move(node));
  if (!is_new) place->second.volume_inode = node.volume_inode;
  ++place->second.lookup_count;
  return number;
}

base::Result<fss::InodeNumber> VdiskTree::DirectoryOf(fss::InodeNumber inode) const {
  const auto found = nodes_.find(inode);
  if (found == nodes_.end()) return base::Code::kStale;
  if (found->second.is_disk) return base::Code::kNotDirectory;
  return found->second.volume_inode;
}

base::Result<std::string> VdiskTree::PathOf(fss::InodeNumber inode) const {
  std::string path;
  while (inode != root()) {
    const auto found = nodes_.find(inode);
    if (found == nodes_.end()) return base::Code::kStale;
    path = path.empty() ? found->second.name : found->second.name + "/" + path;
    inode = found->second.parent;
  }
  return path;
}

base::Task<base::Result<fss::Attributes>> VdiskTree::Lookup(fss::InodeNumber parent,
                                                            std::string_view name) {
  CO_TRY(const fss::InodeNumber folder, DirectoryOf(parent));
  if (folder == volume_.root() && IsSystemName(name)) co_return base::Code::kNotFound;
  CO_TRY(fss::Attributes found, co_await volume_.Lookup(folder, name));
  std::string owned(name);
  if (found.type != fss::FileType::kDirectory) {
    volume_.Forget(found.inode, 1);
    base::Result<fss::Attributes> disk = co_await LookupDisk(parent, &owned, found);
    co_return disk;
  }
  Node node;
  node.parent = parent;
  node.name = std::move(owned);
  node.volume_inode = found.inode;
  const fss::InodeNumber wanted = found.inode;
  const fss::InodeNumber number = NumberFor(wanted, parent, node.name);
  const bool known = nodes_.contains(number);
  found.inode = Adopt(std::move(node), number);
  // One lookup at the volume holds the directory for as long as this tree knows it.
  if (known) volume_.Forget(wanted, 1);
  co_return found;
}

base::Task<base::Result<fss::Attributes>> VdiskTree::LookupDisk(fss::InodeNumber parent,
                                                                std::string* name,
                                                                fss::Attributes descriptor) {
  if (!name->ends_with(disklib::kDescriptorSuffix)) co_return base::Code::kNotFound;
  CO_TRY(const fss::InodeNumber folder, DirectoryOf(parent));
  DiskCollector collector;
  CO_TRY_STATUS(co_await lister_.ListDisks(folder, collector));
  const auto listed = std::find_if(collector.disks().begin(), collector.disks().end(),
                                   [name](const FoundDisk& disk) { return disk.name == *name; });
  if (listed == collector.disks().end()) co_return base::Code::kNotFound;
  Node node;
  node.parent = parent;
  node.name = *name;
  node.volume_inode = descriptor.inode;
  node.is_disk = true;
  const fss::InodeNumber number = Adopt(std::move(node), NumberOfDisk(parent, *name));
  base::Result<fss::Attributes> attributes = co_await DiskAttributes(number);
  if (!attributes) Forget(number, 1);
  co_return attributes;
}

void VdiskTree::Forget(fss::InodeNumber inode, uint64_t count) {
  const auto found = nodes_.find(inode);
  if (found == nodes_.end() || inode == root()) return;
  Node& node = found->second;
  node.lookup_count -= std::min(count, node.lookup_count);
  if (node.lookup_count > 0) return;
  if (!node.is_disk) volume_.Forget(node.volume_inode, 1);
  nodes_.erase(found);
}

base::Task<base::Result<fss::Attributes>> VdiskTree::DiskAttributes(fss::InodeNumber inode) {
  CO_TRY(const std::string path, PathOf(inode));
  CO_TRY(const fss::InodeNumber folder, DirectoryOf(nodes_.at(inode).parent));
  const std::string name = nodes_.at(inode).name;
  CO_TRY(fss::Attributes attributes, co_await volume_.Lookup(folder, name));
  volume_.Forget(attributes.inode, 1);
  CO_TRY(const disklib::VDiskAttributes disk, co_await disks_.GetAttributes(path));
  attributes.inode = inode;
  attributes.generation = 0;
  attributes.size_bytes = disk.size_bytes;
  attributes.allocated_bytes = disk.allocated_bytes;
  attributes.modified_us = disk.modified_us;
  co_return attributes;
}

base::Task<base::Result<fss::Attributes>> VdiskTree::GetAttributes(fss::InodeNumber inode) {
  const auto found = nodes_.find(inode);
  if (found == nodes_.end()) co_return base::Code::kStale;
  base::Result<fss::Attributes> attributes = base::Code::kStale;
  if (found->second.is_disk) {
    attributes = co_await DiskAttributes(inode);
  } else {
    attributes = co_await volume_.GetAttributes(found->second.volume_inode);
    if (attributes) attributes->inode = inode;
  }
  co_return attributes;
}

base::Task<base::Result<fss::Attributes>> VdiskTree::SetAttributes(fss::InodeNumber inode,
                                                                   fss::AttributeChange change) {
  const auto found = nodes_.find(inode);
  if (found == nodes_.end()) co_return base::Code::kStale;
  if (!found->second.is_disk || change.mode || change.uid || change.gid) {
    co_return base::Code::kNotPermitted;
  }
  if (change.size_bytes) {
    CO_TRY(const std::string path, PathOf(inode));
    CO_TRY_STATUS(co_await disks_.Resize(path, *change.size_bytes));
  }
  base::Result<fss::Attributes> attributes = co_await DiskAttributes(inode);
  co_return attributes;
}

base::Task<base::Result<fss::Attributes>> VdiskTree::CreateFile(fss::InodeNumber, std::string_view,
                                                                fss::NewInode) {
  co_return base::Code::kNotPermitted;
}

base::Task<base::Result<fss::Attributes>> VdiskTree::MakeDirectory(fss::InodeNumber,
                                                                   std::string_view,
                                                                   fss::NewInode) {
  co_return base::Code::kNotPermitted;
}

base::Task<base::Result<fss::Attributes>> VdiskTree::MakeSymlink(fss::InodeNumber, std::string_view,
                                                                 std::string_view, fss::NewInode) {
  co_return base::Code::kNotPermitted;
}

base::Task<base::Result<std::string>> VdiskTree::ReadSymlink(fss::InodeNumber) {
  co_return base::Code::kInvalidArgument;
}

base::Task<base::Status> VdiskTree::Unlink(fss::InodeNumber, std::string_view) {
  co_return base::Code::kNotPermitted;
}

base::Task<base::Status> VdiskTree::RemoveDirectory(fss::InodeNumber, std::string_view) {
  co_return base::Code::kNotPermitted;
}

base::Task<base::Status> VdiskTree::Rename(fss::InodeNumber, std::string_view, fss::InodeNumber,
                                           std::string_view, bool) {
  co_return base::Code::kNotPermitted;
}

base::Task<base::Result<std::unique_ptr<fss::File>>> VdiskTree::Open(fss::InodeNumber inode,
                                                                     fss::OpenMode mode) {
  const auto found = nodes_.find(inode);
  if (found == nodes_.end()) co_return base::Code::kStale;
  if (!found->second.is_disk) co_return base::Code::kIsDirectory;
  CO_TRY(const std::string path, PathOf(inode));
  const bool writes = fss::Writes(mode);
  LateClose late_close(executor_);
  base::Result<std::unique_ptr<disklib::VDisk>> disk = co_await disks_.Open(path, writes);
  while (!disk && disk.error().code() == base::Code::kBusy && late_close.may_wait()) {
    co_await late_close.Wait();
    disk = co_await disks_.Open(path, writes);
  }
  if (!disk) {
    base::LogWarn("disks", "refused to open disk {}: {}", path, disk.error().message());
    co_return disk.error();
  }
  co_return std::unique_ptr<fss::File>(*std::move(disk));
}

base::Task<base::Status> VdiskTree::ReadDirectory(fss::InodeNumber inode, uint64_t cursor,
                                                  fss::DirectorySink& sink) {
  CO_TRY(const fss::InodeNumber folder, DirectoryOf(inode));
  if (cursor < kDiskCursor) {
    FolderSink folders(sink, {inode, nodes_.at(inode).parent, inode == root()});
    CO_TRY_STATUS(co_await volume_.ReadDirectory(folder, cursor, folders));
    if (folders.full()) co_return base::Ok();
  }
  DiskCollector collector;
  CO_TRY_STATUS(co_await lister_.ListDisks(folder, collector));
  // In the order of their numbers, which gives every disk a cursor that does not depend on others.
  std::vector<std::pair<fss::InodeNumber, const FoundDisk*>> ordered;
  for (const FoundDisk& disk : collector.disks()) {
    ordered.emplace_back(NumberOfDisk(inode, disk.name), &disk);
  }
  std::sort(ordered.begin(), ordered.end());
  for (const auto& [number, disk] : ordered) {
    const uint64_t behind = kDiskCursor | number;
    if (behind <= cursor) continue;
    if (!sink.Add({disk->name, number, fss::FileType::kRegular, behind})) break;
  }
  co_return base::Ok();
}

// Gives the directories back that the kernel did not forget one by one.
base::Task<base::Status> VdiskTree::Unmount() {
  for (const auto& [inode, node] : nodes_) {
    if (inode != root() && !node.is_disk) volume_.Forget(node.volume_inode, 1);
  }
  nodes_.clear();
  co_return base::Ok();
}

}  // namespace stratad
