#include "fs/daemon/vdisk_tree.h"

#include <algorithm>
#include <map>
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

constexpr std::string_view kSnapshotsSuffix = ".snapshots";

class DiskCollector final : public disklib::DiskSink {
 public:
  void Add(const disklib::ListedDisk& disk) override { disks_.push_back(disk.disk); }

  std::vector<disklib::FolderDisk>& disks() { return disks_; }

 private:
  std::vector<disklib::FolderDisk> disks_;
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
  if (found->second.kind != Kind::kFolder) return base::Code::kNotDirectory;
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

std::string VdiskTree::Place::path() const {
  return disklib::JoinPath(folder_path, name);
}

base::Task<base::Result<disklib::FolderDisk>> VdiskTree::FindDisk(fss::InodeNumber folder,
                                                                  std::string_view name) {
  CO_TRY(const fss::InodeNumber volume_folder, DirectoryOf(folder));
  DiskCollector collector;
  CO_TRY_STATUS(co_await lister_.ListDisks(volume_folder, collector));
  for (disklib::FolderDisk& disk : collector.disks()) {
    if (disk.name == name) co_return std::move(disk);
  }
  co_return base::Code::kNotFound;
}

base::Task<base::Result<VdiskTree::Place>> VdiskTree::FindPlace(fss::InodeNumber inode) {
  const auto found = nodes_.find(inode);
  if (found == nodes_.end()) co_return base::Code::kStale;
  const bool is_frozen = found->second.kind == Kind::kFrozen;
  Place place;
  place.name = found->second.name;
  fss::InodeNumber folder = found->second.parent;
  std::string disk_name = place.name;
  if (is_frozen) {
    const auto snapshots = nodes_.find(folder);
    if (snapshots == nodes_.end()) co_return base::Code::kStale;
    disk_name = snapshots->second.name;
    disk_name.erase(disk_name.size() - kSnapshotsSuffix.size());
    folder = snapshots->second.parent;
  }
  CO_TRY(place.folder, DirectoryOf(folder));
  CO_TRY(place.folder_path, PathOf(folder));
  CO_TRY(const disklib::FolderDisk disk, co_await FindDisk(folder, disk_name));
  const auto& frozen = disk.frozen;
  if (is_frozen && std::find(frozen.begin(), frozen.end(), place.name) == frozen.end()) {
    co_return base::Code::kNotFound;
  }
  if (!is_frozen && disk.leaf.empty()) place.trouble = disk.trouble;
  if (!is_frozen && !disk.leaf.empty()) place.name = disk.leaf;
  co_return place;
}

base::Task<base::Result<fss::Attributes>> VdiskTree::Lookup(fss::InodeNumber parent,
                                                            std::string_view name) {
  std::string owned(name);
  base::Result<fss::Attributes> found = base::Code::kNotFound;
  const auto folder = nodes_.find(parent);
  if (folder == nodes_.end()) co_return base::Code::kStale;
  const bool is_folder = folder->second.kind == Kind::kFolder;
  if (is_folder) found = co_await LookupFolder(parent, &owned);
  if (!found && found.error().code() == base::Code::kNotFound) {
    found = co_await LookupDisk(parent, &owned);
  }
  co_return found;
}

// A folder of the volume. Error kNotFound: something else, or nothing.
base::Task<base::Result<fss::Attributes>> VdiskTree::LookupFolder(fss::InodeNumber parent,
                                                                  std::string* name) {
  CO_TRY(const fss::InodeNumber folder, DirectoryOf(parent));
  if (folder == volume_.root() && IsSystemName(*name)) co_return base::Code::kNotFound;
  CO_TRY(fss::Attributes found, co_await volume_.Lookup(folder, *name));
  if (found.type != fss::FileType::kDirectory) {
    volume_.Forget(found.inode, 1);
    co_return base::Code::kNotFound;
  }
  Node node;
  node.parent = parent;
  node.name = *name;
  node.volume_inode = found.inode;
  const fss::InodeNumber wanted = found.inode;
  const fss::InodeNumber number = NumberFor(wanted, parent, node.name);
  const bool known = nodes_.contains(number);
  found.inode = Adopt(std::move(node), number);
  // One lookup at the volume holds the directory for as long as this tree knows it.
  if (known) volume_.Forget(wanted, 1);
  co_return found;
}

// A disk, the folder of its frozen links, or one of these.
base::Task<base::Result<fss::Attributes>> VdiskTree::LookupDisk(fss::InodeNumber parent,
                                                                std::string* name) {
  Node node;
  node.parent = parent;
  node.name = *name;
  node.kind = name->ends_with(kSnapshotsSuffix) ? Kind::kSnapshots : Kind::kDisk;
  if (nodes_.at(parent).kind == Kind::kSnapshots) node.kind = Kind::kFrozen;
  if (node.is_file() && !name->ends_with(disklib::kDescriptorSuffix)) {
    co_return base::Code::kNotFound;
  }
  const fss::InodeNumber number = Adopt(std::move(node), NumberOfDisk(parent, *name));
  base::Result<fss::Attributes> attributes = co_await AttributesOf(number);
  if (!attributes) Forget(number, 1);
  co_return attributes;
}

void VdiskTree::Forget(fss::InodeNumber inode, uint64_t count) {
  const auto found = nodes_.find(inode);
  if (found == nodes_.end() || inode == root()) return;
  Node& node = found->second;
  node.lookup_count -= std::min(count, node.lookup_count);
  if (node.lookup_count > 0) return;
  if (node.kind == Kind::kFolder) volume_.Forget(node.volume_inode, 1);
  nodes_.erase(found);
}

// A disk whose current link is not known is shown with the size of its base.
base::Task<base::Result<fss::Attributes>> VdiskTree::AttributesOf(fss::InodeNumber inode) {
  const auto found = nodes_.find(inode);
  if (found == nodes_.end()) co_return base::Code::kStale;
  const Kind kind = found->second.kind;
  if (kind == Kind::kFolder) {
    CO_TRY(fss::Attributes folder, co_await volume_.GetAttributes(found->second.volume_inode));
    folder.inode = inode;
    co_return folder;
  }
  if (kind == Kind::kSnapshots) {
    const fss::InodeNumber parent = found->second.parent;
    std::string disk_name = found->second.name;
    disk_name.erase(disk_name.size() - kSnapshotsSuffix.size());
    CO_TRY(const disklib::FolderDisk disk, co_await FindDisk(parent, disk_name));
    if (disk.frozen.empty()) co_return base::Code::kNotFound;
    CO_TRY(const fss::InodeNumber folder, DirectoryOf(parent));
    CO_TRY(fss::Attributes shown, co_await volume_.GetAttributes(folder));
    shown.inode = inode;
    shown.generation = 0;
    shown.mode &= ~0222U;
    shown.link_count = 2;
    co_return shown;
  }
  CO_TRY(const Place place, co_await FindPlace(inode));
  CO_TRY(fss::Attributes shown, co_await volume_.Lookup(place.folder, place.name));
  volume_.Forget(shown.inode, 1);
  const std::string path = place.path();
  CO_TRY(const disklib::VDiskAttributes disk, co_await disks_.GetAttributes(path));
  shown.inode = inode;
  shown.generation = 0;
  shown.size_bytes = disk.size_bytes;
  shown.allocated_bytes = disk.allocated_bytes;
  shown.modified_us = disk.modified_us;
  if (kind == Kind::kFrozen) shown.mode &= ~0222U;
  co_return shown;
}

base::Task<base::Result<fss::Attributes>> VdiskTree::GetAttributes(fss::InodeNumber inode) {
  return AttributesOf(inode);
}

base::Task<base::Result<fss::Attributes>> VdiskTree::SetAttributes(fss::InodeNumber inode,
                                                                   fss::AttributeChange change) {
  const auto found = nodes_.find(inode);
  if (found == nodes_.end()) co_return base::Code::kStale;
  if (found->second.kind != Kind::kDisk || change.mode || change.uid || change.gid) {
    co_return base::Code::kNotPermitted;
  }
  if (change.size_bytes) {
    CO_TRY(const Place place, co_await FindPlace(inode));
    if (!place.trouble.empty()) co_return base::Error(base::Code::kUnsupported, place.trouble);
    const std::string path = place.path();
    CO_TRY_STATUS(co_await disks_.Resize(path, *change.size_bytes));
  }
  base::Result<fss::Attributes> attributes = co_await AttributesOf(inode);
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
  if (!found->second.is_file()) co_return base::Code::kIsDirectory;
  const bool writes = fss::Writes(mode);
  if (writes && found->second.kind == Kind::kFrozen) co_return base::Code::kReadOnly;
  CO_TRY(const Place place, co_await FindPlace(inode));
  if (!place.trouble.empty()) {
    base::LogWarn("disks", "refused to open disk {}", place.trouble);
    co_return base::Error(base::Code::kUnsupported, place.trouble);
  }
  const std::string path = place.path();
  LateClose late_close(executor_, disks_.open_disks());
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
  const auto node = nodes_.find(inode);
  if (node == nodes_.end()) co_return base::Code::kStale;
  if (node->second.kind == Kind::kSnapshots) {
    const base::Status listed = co_await ListSnapshots(inode, cursor, sink);
    co_return listed;
  }
  CO_TRY(const fss::InodeNumber folder, DirectoryOf(inode));
  if (cursor < kDiskCursor) {
    FolderSink folders(sink, {inode, nodes_.at(inode).parent, inode == root()});
    CO_TRY_STATUS(co_await volume_.ReadDirectory(folder, cursor, folders));
    if (folders.full()) co_return base::Ok();
  }
  DiskCollector collector;
  CO_TRY_STATUS(co_await lister_.ListDisks(folder, collector));
  // In the order of their numbers, which gives every disk a cursor that does not depend on others.
  std::map<fss::InodeNumber, std::pair<std::string, fss::FileType>> ordered;
  for (const disklib::FolderDisk& disk : collector.disks()) {
    ordered[NumberOfDisk(inode, disk.name)] = {disk.name, fss::FileType::kRegular};
    if (disk.frozen.empty()) continue;
    std::string snapshots = disk.name + std::string(kSnapshotsSuffix);
    const fss::InodeNumber number = NumberOfDisk(inode, snapshots);
    ordered[number] = {std::move(snapshots), fss::FileType::kDirectory};
  }
  for (const auto& [number, entry] : ordered) {
    const uint64_t behind = kDiskCursor | number;
    if (behind <= cursor) continue;
    if (!sink.Add({entry.first, number, entry.second, behind})) break;
  }
  co_return base::Ok();
}

// The frozen links of a disk, by name; the cursor counts them.
base::Task<base::Status> VdiskTree::ListSnapshots(fss::InodeNumber inode, uint64_t cursor,
                                                  fss::DirectorySink& sink) {
  const fss::InodeNumber parent = nodes_.at(inode).parent;
  std::string disk_name = nodes_.at(inode).name;
  disk_name.erase(disk_name.size() - kSnapshotsSuffix.size());
  CO_TRY(const disklib::FolderDisk disk, co_await FindDisk(parent, disk_name));
  std::vector<std::pair<std::string, fss::InodeNumber>> entries = {{".", inode}, {"..", parent}};
  for (const std::string& name : disk.frozen) entries.emplace_back(name, NumberOfDisk(inode, name));
  for (uint64_t i = cursor; i < entries.size(); ++i) {
    const fss::FileType type = i < 2 ? fss::FileType::kDirectory : fss::FileType::kRegular;
    if (!sink.Add({entries[i].first, entries[i].second, type, i + 1})) break;
  }
  co_return base::Ok();
}

// Gives the directories back that the kernel did not forget one by one.
base::Task<base::Status> VdiskTree::Unmount() {
  for (const auto& [inode, node] : nodes_) {
    if (inode != root() && node.kind == Kind::kFolder) volume_.Forget(node.volume_inode, 1);
  }
  nodes_.clear();
  co_return base::Ok();
}

}  // namespace stratad
