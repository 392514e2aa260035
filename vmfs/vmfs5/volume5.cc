#include "vmfs/vmfs5/volume5.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "fs/base/aligned_buffer.h"
#include "fs/base/check.h"
#include "fs/base/log.h"
#include "vmfs/vmfs5/directory.h"
#include "vmfs/vmfs5/file.h"
#include "vmfs/vmfs5/reader.h"

namespace vmfs::vmfs5 {
namespace {

using base::Code;
using base::Result;
using base::Status;
using base::Task;

constexpr uint64_t kSecond = 1'000'000;
constexpr uint64_t kLinkTargetBytesMax = 4095;

FdAddress Fd(fss::InodeNumber number) {
  return FdAddress(number > UINT32_MAX ? 0 : static_cast<uint32_t>(number));
}

fss::FileType TypeOf(InodeType type, FdAddress fd) {
  if (type == InodeType::kDirectory || fd == kSddFd) return fss::FileType::kDirectory;
  if (type == InodeType::kSymlink) return fss::FileType::kSymlink;
  return fss::FileType::kRegular;
}

class Volume5 final : public Volume {
 public:
  Volume5(base::BlockDevice& device, std::unique_ptr<Reader> reader, const MountOptions& options)
      : device_(device),
        reader_(std::move(reader)),
        directories_(*reader_),
        foreign_uid_(options.foreign_uid),
        foreign_gid_(options.foreign_gid),
        label_(TextOf(reader_->superblock().label)),
        uuid_(reader_->superblock().uuid.ToString()) {}

  // What is only told, so that damage to it keeps no file from being read.
  Task<void> LoadFigures();

  fss::InodeNumber root() const override { return kRootInode; }
  const std::string& label() const override { return label_; }
  const std::string& uuid() const override { return uuid_; }
  bool read_only() const override { return true; }
  VolumeFigures figures() const override;

  Task<Result<fss::Attributes>> Lookup(fss::InodeNumber parent, std::string_view name) override;
  void Forget(fss::InodeNumber, uint64_t) override {}
  Task<Result<fss::Attributes>> GetAttributes(fss::InodeNumber number) override;
  Task<Result<std::string>> ReadSymlink(fss::InodeNumber number) override;
  Task<Result<std::unique_ptr<fss::File>>> Open(fss::InodeNumber number,
                                                fss::OpenMode mode) override;
  Task<Status> ReadDirectory(fss::InodeNumber number, uint64_t cursor,
                             fss::DirectorySink& sink) override;
  Task<Result<fss::StatFs>> GetStatFs() override;

  Task<Result<fss::Attributes>> SetAttributes(fss::InodeNumber, fss::AttributeChange) override {
    return RefuseNew();
  }
  Task<Result<fss::Attributes>> CreateFile(fss::InodeNumber, std::string_view,
                                           fss::NewInode) override {
    return RefuseNew();
  }
  Task<Result<fss::Attributes>> MakeDirectory(fss::InodeNumber, std::string_view,
                                              fss::NewInode) override {
    return RefuseNew();
  }
  Task<Result<fss::Attributes>> MakeSymlink(fss::InodeNumber, std::string_view, std::string_view,
                                            fss::NewInode) override {
    return RefuseNew();
  }
  Task<Status> Unlink(fss::InodeNumber, std::string_view) override { return Refuse(); }
  Task<Status> RemoveDirectory(fss::InodeNumber, std::string_view) override { return Refuse(); }
  Task<Status> Rename(fss::InodeNumber, std::string_view, fss::InodeNumber, std::string_view,
                      bool) override {
    return Refuse();
  }
  Task<Status> SyncAll() override { co_return base::Ok(); }
  Task<Status> Unmount() override { co_return base::Ok(); }

 private:
  static Task<Status> Refuse() { co_return Code::kReadOnly; }
  static Task<Result<fss::Attributes>> RefuseNew() { co_return Code::kReadOnly; }

  fss::Attributes Describe(const Descriptor& descriptor) const;
  Task<uint64_t> CountFree(const ResourceFile* file);

  base::BlockDevice& device_;
  std::unique_ptr<Reader> reader_;
  DirectoryTable directories_;
  const std::optional<uint32_t> foreign_uid_, foreign_gid_;
  const std::string label_, uuid_;
  uint64_t free_blocks_ = 0, free_descriptors_ = 0;
};

// 0 where the headers of the clusters are damaged.
Task<uint64_t> Volume5::CountFree(const ResourceFile* file) {
  const Result<uint64_t> count = co_await reader_->CountFreeItems(file);
  if (count) co_return *count;
  base::LogWarn("vmfs", "free space of {}: {}", label_, count.error().message());
  co_return 0;
}

Task<void> Volume5::LoadFigures() {
  free_blocks_ = co_await CountFree(&reader_->file_blocks());
  free_descriptors_ = co_await CountFree(&reader_->descriptors());
  const Result<std::vector<HeartbeatSlot>> used = co_await reader_->ReadHeartbeats();
  if (used && !used->empty()) {
    base::LogWarn("vmfs", "{}: in use by {} ({}), or not unmounted: last changes may be missing",
                  label_, used->front().owner.ToString(), TextOf(used->front().host_name));
  }
}

VolumeFigures Volume5::figures() const {
  VolumeFigures figures;
  figures.size_bytes = device_.size_bytes();
  figures.free_bytes = free_blocks_ * reader_->superblock().file_block_bytes;
  figures.cached_metadata_blocks = reader_->cached_block_count();
  return figures;
}

fss::Attributes Volume5::Describe(const Descriptor& descriptor) const {
  const InodeMetadata& metadata = descriptor.metadata;
  fss::Attributes attributes;
  attributes.inode = descriptor.fd().raw();
  attributes.generation = metadata.generation;
  attributes.type = TypeOf(metadata.type(), descriptor.fd());
  attributes.mode = metadata.mode & 07777;
  attributes.link_count = metadata.link_count;
  attributes.uid = foreign_uid_.value_or(metadata.uid);
  attributes.gid = foreign_gid_.value_or(metadata.gid);
  attributes.size_bytes = metadata.length_bytes;
  attributes.allocated_bytes = metadata.block_count * metadata.block_bytes;
  attributes.modified_us = metadata.modified_s * kSecond;
  attributes.changed_us = metadata.changed_s * kSecond;
  attributes.accessed_us = metadata.accessed_s * kSecond;
  return attributes;
}

Task<Result<fss::Attributes>> Volume5::Lookup(fss::InodeNumber parent, std::string_view name) {
  CO_TRY(const std::shared_ptr<const Directory> directory, co_await directories_.Get(Fd(parent)));
  const DirectoryName* entry = directory->Find(name);
  if (entry == nullptr) co_return Code::kNotFound;
  co_return co_await GetAttributes(entry->target.raw());
}

Task<Result<fss::Attributes>> Volume5::GetAttributes(fss::InodeNumber number) {
  CO_TRY(const Descriptor descriptor, co_await reader_->ReadDescriptor(Fd(number)));
  co_return Describe(descriptor);
}

// ESXi puts targets into sub-blocks; other maps are read alike.
Task<Result<std::string>> Volume5::ReadSymlink(fss::InodeNumber number) {
  CO_TRY(const Descriptor descriptor, co_await reader_->ReadDescriptor(Fd(number)));
  if (descriptor.metadata.type() != InodeType::kSymlink) co_return Code::kInvalidArgument;
  if (descriptor.length_bytes() > kLinkTargetBytesMax) {
    co_return base::Error(Code::kCorrupt, fmt::format("symlink {}: a target of {:#x} bytes",
                                                      descriptor.fd().ToString(),
                                                      descriptor.length_bytes()));
  }
  base::AlignedBuffer buffer(kLinkTargetBytesMax);
  const auto target = buffer.span().first(descriptor.length_bytes());
  CO_TRY_STATUS(co_await reader_->ReadExactly(&descriptor, 0, target));
  const std::string text(reinterpret_cast<const char*>(target.data()), target.size());
  co_return text.substr(0, text.find('\0'));
}

Task<Result<std::unique_ptr<fss::File>>> Volume5::Open(fss::InodeNumber number,
                                                       fss::OpenMode mode) {
  CO_TRY(const Descriptor descriptor, co_await reader_->ReadDescriptor(Fd(number)));
  if (descriptor.is_directory()) co_return Code::kIsDirectory;
  if (descriptor.metadata.type() == InodeType::kRawDeviceMap) co_return Code::kUnsupported;
  if (fss::Writes(mode)) co_return Code::kReadOnly;
  co_return MakeFile(*reader_, descriptor);
}

Task<Status> Volume5::ReadDirectory(fss::InodeNumber number, uint64_t cursor,
                                    fss::DirectorySink& sink) {
  CO_TRY(const std::shared_ptr<const Directory> directory, co_await directories_.Get(Fd(number)));
  const std::vector<DirectoryName>& names = directory->names();
  for (uint64_t i = cursor; i < names.size(); ++i) {
    fss::DirectoryEntry entry;
    entry.name = names[i].name;
    entry.inode = names[i].target.raw();
    entry.type = TypeOf(names[i].type, names[i].target);
    entry.next_cursor = i + 1;
    if (!sink.Add(entry)) break;
  }
  co_return base::Ok();
}

Task<Result<fss::StatFs>> Volume5::GetStatFs() {
  fss::StatFs stat;
  stat.block_size_bytes = reader_->superblock().file_block_bytes;
  stat.blocks_total = reader_->file_blocks().geometry.resource_count;
  stat.blocks_free = free_blocks_;
  stat.files_total = reader_->descriptors().geometry.resource_count;
  stat.files_free = free_descriptors_;
  stat.name_bytes_max = kNameBytesMax;
  co_return stat;
}

}  // namespace

Task<Result<std::unique_ptr<Volume>>> Mount(base::BlockDevice& device, MountOptions& options) {
  if (!options.read_only) {
    co_return base::Error(
        Code::kReadOnly,
        fmt::format("mount {}: VMFS-5, not written by Strata; mount it read-only", device.name()));
  }
  CO_TRY(std::unique_ptr<Reader> reader,
         co_await Reader::Open(device, options.cache_blocks_max));
  auto volume = std::make_unique<Volume5>(device, std::move(reader), options);
  co_await volume->LoadFigures();
  co_return std::unique_ptr<Volume>(std::move(volume));
}

}  // namespace vmfs::vmfs5
