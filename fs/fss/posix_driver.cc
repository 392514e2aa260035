#include "fs/fss/posix_driver.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <dirent.h>
#include <fmt/format.h>
#include <unistd.h>

#include "fs/fss/host_call.h"
#include "fs/fss/posix_file.h"

namespace fss {
namespace {

constexpr size_t kRecordBufferBytes = 32 * 1024;

FileType TypeOfRecord(uint8_t type) {
  switch (type) {
    case DT_DIR: return FileType::kDirectory;
    case DT_LNK: return FileType::kSymlink;
    case DT_BLK: return FileType::kBlockDevice;
    default: return FileType::kRegular;
  }
}

bool FitsIn32Bits(uint64_t value) {
  return value != 0 && value >> 32 == 0;
}

std::string LabelOf(const PosixFileSystem::Options& options) {
  if (!options.label.empty()) return options.label;
  const std::filesystem::path path = std::filesystem::path(options.folder_path).lexically_normal();
  const std::string name = path.has_filename() ? path.filename() : path.parent_path().filename();
  return name.empty() ? "posix" : name;
}

}  // namespace

PosixFileSystem::PosixFileSystem(base::UringExecutor& executor, const Options& options)
    : executor_(executor), read_only_(options.read_only), label_(LabelOf(options)) {}

base::Result<std::unique_ptr<PosixFileSystem>> PosixFileSystem::Create(
    base::UringExecutor& executor, const Options& options) {
  TRY(const posix::Found folder, posix::OpenFolder(options.folder_path));
  std::unique_ptr<PosixFileSystem> file_system(new PosixFileSystem(executor, options));
  file_system->root_ = file_system->Adopt(folder).inode;
  file_system->uuid_ = fmt::format("posix-{:x}-{:x}", folder.status.st_dev, folder.status.st_ino);
  return file_system;
}

PosixFileSystem::~PosixFileSystem() {
  for (const auto& [inode, node] : nodes_) close(node.descriptor);
}

base::Result<int> PosixFileSystem::DescriptorOf(InodeNumber inode) const {
  const auto found = nodes_.find(inode);
  if (found == nodes_.end()) return base::Code::kStale;
  return found->second.descriptor;
}

base::Status PosixFileSystem::RefuseWriting() const {
  if (read_only_) return base::Code::kReadOnly;
  return base::Ok();
}

InodeNumber PosixFileSystem::NumberFor(uint64_t host_inode) const {
  const auto known = numbers_.find(host_inode);
  if (known != numbers_.end()) return known->second;
  InodeNumber number = FitsIn32Bits(host_inode) ? host_inode : (host_inode ^ host_inode >> 32);
  number &= 0xffffffff;
  while (number == 0 || nodes_.contains(number)) number = (number + 1) & 0xffffffff;
  return number;
}

Attributes PosixFileSystem::AttributesOf(InodeNumber inode, const struct stat& status) const {
  Attributes attributes = posix::FromStat(status);
  attributes.inode = inode;
  attributes.generation = nodes_.at(inode).generation;
  return attributes;
}

Attributes PosixFileSystem::Adopt(const posix::Found& found) {
  const uint64_t host_inode = found.status.st_ino;
  const InodeNumber inode = NumberFor(host_inode);
  Node& node = nodes_[inode];
  if (node.descriptor >= 0) {
    close(found.descriptor);
  } else {
    node.descriptor = found.descriptor;
    node.host_inode = host_inode;
    node.generation = next_generation_++;
    node.type = posix::FromStat(found.status).type;
    numbers_[host_inode] = inode;
  }
  ++node.lookup_count;
  return AttributesOf(inode, found.status);
}

void PosixFileSystem::Forget(InodeNumber inode, uint64_t count) {
  const auto found = nodes_.find(inode);
  if (found == nodes_.end() || inode == root_) return;
  Node& node = found->second;
  node.lookup_count -= std::min(count, node.lookup_count);
  if (node.lookup_count > 0) return;
  close(node.descriptor);
  numbers_.erase(node.host_inode);
  nodes_.erase(found);
}

base::Task<base::Result<Attributes>> PosixFileSystem::Lookup(InodeNumber parent,
                                                             std::string_view name) {
  CO_TRY(const int descriptor, DescriptorOf(parent));
  HostCall call([descriptor, name] { return posix::Lookup(descriptor, std::string(name)); });
  co_await executor_.RunBlocking(call);
  CO_TRY(const posix::Found found, call.TakeResult());
  co_return Adopt(found);
}

base::Task<base::Result<Attributes>> PosixFileSystem::GetAttributes(InodeNumber inode) {
  CO_TRY(const int descriptor, DescriptorOf(inode));
  HostCall call([descriptor] { return posix::Stat(descriptor); });
  co_await executor_.RunBlocking(call);
  CO_TRY(const struct stat status, call.TakeResult());
  co_return AttributesOf(inode, status);
}

base::Task<base::Result<Attributes>> PosixFileSystem::SetAttributes(InodeNumber inode,
                                                                    AttributeChange change) {
  CO_TRY_STATUS(RefuseWriting());
  CO_TRY(const int descriptor, DescriptorOf(inode));
  HostCall call([ descriptor, &change ]() -> base::Result<struct stat> {
    TRY_STATUS(posix::Change(descriptor, change));
    return posix::Stat(descriptor);
  });
  co_await executor_.RunBlocking(call);
  CO_TRY(const struct stat status, call.TakeResult());
  co_return AttributesOf(inode, status);
}

base::Task<base::Result<Attributes>> PosixFileSystem::Make(InodeNumber parent,
                                                           std::string_view name,
                                                           std::string_view target,
                                                           NewInode attributes, FileType type) {
  CO_TRY_STATUS(RefuseWriting());
  CO_TRY(const int descriptor, DescriptorOf(parent));
  HostCall call([descriptor, name, target, &attributes, type]() -> base::Result<posix::Found> {
    const std::string owned(name);
    if (type == FileType::kDirectory) return posix::MakeDirectory(descriptor, owned, attributes);
    if (type == FileType::kRegular) return posix::CreateFile(descriptor, owned, attributes);
    return posix::MakeSymlink(descriptor, owned, std::string(target), attributes);
  });
  co_await executor_.RunBlocking(call);
  CO_TRY(const posix::Found found, call.TakeResult());
  co_return Adopt(found);
}

base::Task<base::Result<Attributes>> PosixFileSystem::CreateFile(InodeNumber parent,
                                                                 std::string_view name,
                                                                 NewInode attributes) {
  return Make(parent, name, {}, attributes, FileType::kRegular);
}

base::Task<base::Result<Attributes>> PosixFileSystem::MakeDirectory(InodeNumber parent,
                                                                    std::string_view name,
                                                                    NewInode attributes) {
  return Make(parent, name, {}, attributes, FileType::kDirectory);
}

base::Task<base::Result<Attributes>> PosixFileSystem::MakeSymlink(InodeNumber parent,
                                                                  std::string_view name,
                                                                  std::string_view target,
                                                                  NewInode attributes) {
  return Make(parent, name, target, attributes, FileType::kSymlink);
}

base::Task<base::Result<std::string>> PosixFileSystem::ReadSymlink(InodeNumber inode) {
  CO_TRY(const int descriptor, DescriptorOf(inode));
  if (nodes_.at(inode).type != FileType::kSymlink) co_return base::Code::kInvalidArgument;
  HostCall call([descriptor] { return posix::ReadSymlink(descriptor); });
  co_await executor_.RunBlocking(call);
  co_return call.TakeResult();
}

base::Task<base::Status> PosixFileSystem::Remove(InodeNumber parent, std::string_view name,
                                                 bool directory) {
  CO_TRY_STATUS(RefuseWriting());
  CO_TRY(const int descriptor, DescriptorOf(parent));
  HostCall call([descriptor, name, directory] {
    return posix::Remove(descriptor, std::string(name), directory);
  });
  co_await executor_.RunBlocking(call);
  co_return call.TakeResult();
}

base::Task<base::Status> PosixFileSystem::Unlink(InodeNumber parent, std::string_view name) {
  return Remove(parent, name, /*directory=*/false);
}

base::Task<base::Status> PosixFileSystem::RemoveDirectory(InodeNumber parent,
                                                          std::string_view name) {
  return Remove(parent, name, /*directory=*/true);
}

base::Task<base::Status> PosixFileSystem::Rename(InodeNumber from_parent,
                                                 std::string_view from_name, InodeNumber to_parent,
                                                 std::string_view to_name, bool no_replace) {
  CO_TRY_STATUS(RefuseWriting());
  CO_TRY(const int from, DescriptorOf(from_parent));
  CO_TRY(const int to, DescriptorOf(to_parent));
  HostCall call([from, from_name, to, to_name, no_replace] {
    return posix::Rename(from, std::string(from_name), to, std::string(to_name), no_replace);
  });
  co_await executor_.RunBlocking(call);
  co_return call.TakeResult();
}

base::Task<base::Result<std::unique_ptr<File>>> PosixFileSystem::Open(InodeNumber inode,
                                                                      OpenMode mode) {
  const bool writable = Writes(mode);
  if (writable) CO_TRY_STATUS(RefuseWriting());
  CO_TRY(const int descriptor, DescriptorOf(inode));
  if (nodes_.at(inode).type == FileType::kDirectory) co_return base::Code::kIsDirectory;
  const uint64_t host_inode = nodes_.at(inode).host_inode;
  HostCall call([descriptor, writable] { return posix::OpenForIo(descriptor, writable); });
  co_await executor_.RunBlocking(call);
  CO_TRY(const int opened, call.TakeResult());
  auto file = std::make_unique<PosixFile>(executor_, inode, opened);
  if (mode == OpenMode::kExclusiveDisk || mode == OpenMode::kSharedDisk) {
    CO_TRY(DiskLocks::Hold lock, locks_.Acquire(host_inode, opened, writable));
    file->Keep(std::move(lock));
  }
  co_return std::unique_ptr<File>(std::move(file));
}

base::Task<base::Status> PosixFileSystem::ReadDirectory(InodeNumber inode, uint64_t cursor,
                                                        DirectorySink& sink) {
  CO_TRY(const int descriptor, DescriptorOf(inode));
  std::string records(kRecordBufferBytes, '\0');
  while (true) {
    HostCall call([descriptor, &cursor, &records] {
      return posix::ReadRecords(descriptor, cursor, records);
    });
    co_await executor_.RunBlocking(call);
    CO_TRY(const size_t size, call.TakeResult());
    if (size == 0) co_return base::Ok();
    for (size_t at = 0; at < size;) {
      const auto* record = reinterpret_cast<const dirent64*>(records.data() + at);
      at += record->d_reclen;
      cursor = static_cast<uint64_t>(record->d_off);
      const DirectoryEntry entry{record->d_name, NumberFor(record->d_ino),
                                 TypeOfRecord(record->d_type), cursor};
      if (!sink.Add(entry)) co_return base::Ok();
    }
  }
}

base::Task<base::Result<StatFs>> PosixFileSystem::GetStatFs() {
  CO_TRY(const int descriptor, DescriptorOf(root_));
  HostCall call([descriptor] { return posix::GetStatFs(descriptor); });
  co_await executor_.RunBlocking(call);
  co_return call.TakeResult();
}

base::Task<base::Status> PosixFileSystem::SyncAll() {
  CO_TRY(const int descriptor, DescriptorOf(root_));
  HostCall call([descriptor] { return posix::SyncFileSystem(descriptor); });
  co_await executor_.RunBlocking(call);
  co_return call.TakeResult();
}

base::Task<base::Status> PosixFileSystem::Unmount() {
  if (read_only_) co_return base::Ok();
  const base::Status synced = co_await SyncAll();
  co_return synced;
}

}  // namespace fss
