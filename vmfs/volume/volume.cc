#include "vmfs/volume/volume.h"

#include <string>
#include <utility>

#include <fmt/format.h>

#include "fs/base/log.h"
#include "vmfs/directory/directory.h"
#include "vmfs/directory/name.h"
#include "vmfs/inode/block_map.h"
#include "vmfs/inode/file_io.h"
#include "vmfs/inode/file_space.h"
#include "vmfs/inode/inode_table.h"
#include "vmfs/inode/raw_device.h"
#include "vmfs/inode/replace.h"
#include "vmfs/lock/lock_state.h"
#include "vmfs/vmfs5/reader.h"
#include "vmfs/vmfs5/volume5.h"
#include "vmfs/volume/attributes.h"
#include "vmfs/volume/mount.h"
#include "vmfs/volume/names.h"
#include "vmfs/volume/volume_file.h"

namespace vmfs {
namespace {

constexpr uint64_t kTickMicroseconds = 1'000'000;
constexpr uint64_t kRestMicroseconds = 3600'000'000;
constexpr uint64_t kDescriptorsPerFreeBlock = 128;  // what one more block of `.fdc.sf` would hold

// Passes directory entries on in the switch's form.
class SinkAdapter : public DirectoryListSink {
 public:
  explicit SinkAdapter(fss::DirectorySink& sink) : sink_(sink) {}

  bool Add(const ListedEntry& entry) override {
    fss::DirectoryEntry out;
    out.name = entry.name;
    out.inode = entry.target.address.raw();
    out.type = TypeOf(entry.target.type, entry.target.address);
    out.next_cursor = entry.next_cursor;
    return sink_.Add(out);
  }

 private:
  fss::DirectorySink& sink_;
};

class MountedVolume : public Volume {
 public:
  MountedVolume(base::Executor& executor, base::BlockDevice& device)
      : mounted_(executor, device), core_(mounted_.core()), background_(executor) {}

  base::Task<base::Status> Start(MountOptions& options) {
    CO_TRY_STATUS(co_await mounted_.Start(options));
    inodes_ = std::make_unique<InodeTable>(core_, options.idle_inodes_max);
    names_ = std::make_unique<Names>(core_, *inodes_);
    label_ = std::string(core_.superblock.label.data(),
                         strnlen(core_.superblock.label.data(), core_.superblock.label.size()));
    uuid_ = core_.superblock.uuid.ToString();
    if (core_.writable) {
      const base::Status deleted =
          co_await names_->DeleteOrphans(&mounted_.leftover_orphans(), mounted_.leftover_scan());
      // The volume is whole without it; what is left over is for the checker.
      if (!deleted) base::LogError("vmfs", "delete orphans: {}", deleted.error().message());
      background_.Add(TickLoop());
    }
    co_return base::Ok();
  }

  fss::InodeNumber root() const override { return kRootInode; }

  const std::string& label() const override { return label_; }

  const std::string& uuid() const override { return uuid_; }

  bool read_only() const override { return !core_.writable; }

  base::Task<base::Result<fss::Attributes>> Lookup(fss::InodeNumber parent,
                                                   std::string_view name) override {
    CO_TRY(const InodeRef directory, co_await inodes_->GetDirectory(Fd(parent)));
    DirectoryTarget target;
    {
      co_await directory->lock.AcquireShared();
      base::SharedGuard guard(directory->lock);
      CO_TRY(target, co_await directory->directory->Find(name));
    }
    CO_TRY(const InodeRef inode, co_await inodes_->Get(target.address));
    co_return Describe(*inode);
  }

  void Forget(fss::InodeNumber, uint64_t) override {}

  base::Task<base::Result<fss::Attributes>> GetAttributes(fss::InodeNumber number) override {
    CO_TRY(const InodeRef inode, co_await inodes_->Get(Fd(number)));
    co_return Describe(*inode);
  }

  base::Task<base::Result<fss::Attributes>> SetAttributes(fss::InodeNumber number,
                                                          fss::AttributeChange change) override {
    CO_TRY_STATUS(core_.CheckWritable());
    CO_TRY(const InodeRef inode, co_await inodes_->Get(Fd(number)));
    if (inode->type == InodeType::kSystem) co_return base::Code::kNotPermitted;
    if (change.size_bytes) {
      if (inode->type == InodeType::kDirectory) co_return base::Code::kIsDirectory;
      if (inode->type != InodeType::kFile) co_return base::Code::kInvalidArgument;
      const TimeKeeper times = change.keeps_times ? TimeKeeper::kCaller : TimeKeeper::kVolume;
      CO_TRY_STATUS(co_await Truncate(core_, *inode, *change.size_bytes, times));
    }
    CO_TRY_STATUS(co_await LockOnDisk(core_, *inode));
    CO_TRY(Transaction transaction, co_await core_.journal->Begin(1));
    const uint32_t now_s = core_.NowSeconds();
    inode->Update(transaction,
                  [&](InodeMetadata& metadata) { ApplyChange(change, now_s, metadata); });
    const bool times_alone = !change.mode && !change.uid && !change.gid && !change.size_bytes;
    (times_alone ? inode->times_sequence : inode->last_sequence) =
        core_.journal->running_sequence();
    co_return Describe(*inode);
  }

  base::Task<base::Result<fss::Attributes>> CreateFile(fss::InodeNumber parent,
                                                       std::string_view name,
                                                       fss::NewInode attributes) override {
    return Create(parent, name, {InodeType::kFile, {}, attributes, {}});
  }

  base::Task<base::Result<fss::Attributes>> MakeDirectory(fss::InodeNumber parent,
                                                          std::string_view name,
                                                          fss::NewInode attributes) override {
    return Create(parent, name, {InodeType::kDirectory, {}, attributes, {}});
  }

  base::Task<base::Result<fss::Attributes>> MakeSymlink(fss::InodeNumber parent,
                                                        std::string_view name,
                                                        std::string_view target,
                                                        fss::NewInode attributes) override {
    attributes.mode = 0777;
    return Create(parent, name, {InodeType::kSymlink, target, attributes, {}});
  }

  base::Task<base::Result<fss::Attributes>> MakeRawDeviceMap(fss::InodeNumber parent,
                                                             std::string_view name,
                                                             fss::RawDevice device,
                                                             fss::NewInode attributes) override {
    CO_TRY(const DiskId id, RawDeviceIdOf(device.id));
    const std::string_view bytes(reinterpret_cast<const char*>(&id), sizeof(id));
    const NewName what{InodeType::kRawDeviceMap, bytes, attributes, device.size_bytes};
    co_return co_await Create(parent, name, what);
  }

  base::Task<base::Result<std::string>> GetRawDeviceId(fss::InodeNumber number) override {
    CO_TRY(const InodeRef inode, co_await inodes_->Get(Fd(number)));
    if (inode->type != InodeType::kRawDeviceMap) co_return base::Code::kInvalidArgument;
    co_return RawDeviceNameOf(inode->fd, inode->block->bytes());
  }

  base::Task<base::Result<fss::LockState>> GetLockState(fss::InodeNumber number) override {
    CO_TRY(const InodeRef inode, co_await inodes_->Get(Fd(number)));
    co_return co_await ReadLockState(core_.device, inode->lock_address);
  }

  base::Task<base::Result<std::string>> ReadSymlink(fss::InodeNumber number) override {
    CO_TRY(const InodeRef inode, co_await inodes_->Get(Fd(number)));
    if (inode->type != InodeType::kSymlink) co_return base::Code::kInvalidArgument;
    if (inode->map_kind != MapKind::kInline || inode->size_bytes > kInlineBytesMax) {
      co_return base::Error(base::Code::kCorrupt, "read symlink: its target is not inline");
    }
    const auto data = InlineData(inode->block->bytes()).first(inode->size_bytes);
    co_return std::string(reinterpret_cast<const char*>(data.data()), data.size());
  }

  base::Task<base::Status> Unlink(fss::InodeNumber parent, std::string_view name) override {
    return names_->Remove(Fd(parent), name, /*directory=*/false);
  }

  base::Task<base::Status> RemoveDirectory(fss::InodeNumber parent,
                                           std::string_view name) override {
    return names_->Remove(Fd(parent), name, /*directory=*/true);
  }

  base::Task<base::Status> Rename(fss::InodeNumber from_parent, std::string_view from_name,
                                  fss::InodeNumber to_parent, std::string_view to_name,
                                  bool no_replace) override {
    return names_->Rename(Fd(from_parent), from_name, Fd(to_parent), to_name, no_replace);
  }

  base::Task<base::Result<std::unique_ptr<fss::File>>> Open(fss::InodeNumber number,
                                                            fss::OpenMode mode) override {
    CO_TRY(InodeRef inode, co_await inodes_->Get(Fd(number)));
    if (inode->type == InodeType::kDirectory) co_return base::Code::kIsDirectory;
    if (inode->type == InodeType::kRawDeviceMap) {
      co_return base::Error(base::Code::kUnsupported,
                            fmt::format("open {}: a raw device map, whose data is on another LUN",
                                        inode->fd.ToString()));
    }
    if (inode->metadata().link_count == 0 || inode->removed) co_return base::Code::kStale;
    const bool writes = fss::Writes(mode);
    if (writes) {
      CO_TRY_STATUS(core_.CheckWritable());
      if (inode->type == InodeType::kSystem) co_return base::Code::kNotPermitted;
      CO_TRY_STATUS(co_await LockOnDisk(core_, *inode));
    }
    if (mode == fss::OpenMode::kSharedDisk && core_.writable) {
      // A lock kept from earlier work becomes one that readers share, unless it is in use.
      if (inode->use_count == 1) inode->disk_lock.Reset();
      CO_TRY_STATUS(co_await core_.locks->JoinReaders(inode->lock_address));
    }
    co_return MakeVolumeFile(core_, *names_, std::move(inode), mode);
  }

  base::Task<base::Status> ReplaceContents(
      std::span<const fss::Replacement> replacements) override {
    CO_TRY_STATUS(core_.CheckWritable());
    std::vector<InodeRef> inodes;
    std::vector<FileReplacement> files;
    for (const fss::Replacement& replacement : replacements) {
      CO_TRY(const InodeRef inode, co_await inodes_->Get(Fd(replacement.inode)));
      if (inode->type == InodeType::kDirectory) co_return base::Code::kIsDirectory;
      if (inode->type == InodeType::kSystem) co_return base::Code::kNotPermitted;
      if (inode->type != InodeType::kFile) co_return base::Code::kInvalidArgument;
      inodes.push_back(inode);
      files.push_back({&*inode, replacement.contents});
    }
    co_return co_await ReplaceFiles(core_, files);
  }

  base::Task<base::Status> ReadDirectory(fss::InodeNumber number, uint64_t cursor,
                                         fss::DirectorySink& sink) override {
    CO_TRY(const InodeRef directory, co_await inodes_->GetDirectory(Fd(number)));
    co_await directory->lock.AcquireShared();
    base::SharedGuard guard(directory->lock);
    SinkAdapter adapter(sink);
    co_return co_await directory->directory->List(cursor, adapter);
  }

  base::Task<base::Result<fss::StatFs>> GetStatFs() override {
    co_await core_.loading.Join();
    const Allocator& blocks = *core_.file_blocks.allocator;
    const Allocator& descriptors = *core_.descriptors.allocator;
    fss::StatFs stat;
    stat.block_size_bytes = kFileBlockBytes;
    stat.blocks_total = blocks.resource_count();
    stat.blocks_free = blocks.free_count();
    const uint64_t used = descriptors.resource_count() - descriptors.free_count();
    stat.files_free =
        std::min((uint64_t{1} << 24) - used,
                 descriptors.free_count() + kDescriptorsPerFreeBlock * stat.blocks_free);
    stat.files_total = used + stat.files_free;
    stat.name_bytes_max = kNameBytesMax;
    co_return stat;
  }

  base::Task<base::Status> SyncAll() override {
    if (!core_.writable) co_return base::Ok();
    CO_TRY_STATUS(co_await WriteLazyTimes());
    co_return co_await core_.journal->Commit();
  }

  base::Task<base::Status> Unmount() override {
    stopping_ = true;
    core_.ticker.Ring();
    co_await background_.Join();
    base::Status status;
    if (core_.writable) {
      status = co_await WriteLazyTimes();
      // Those that could not be deleted when their last name went.
      const std::vector<Orphan> orphans = core_.journal->orphans();
      if (status) status = co_await names_->DeleteOrphans(&orphans, /*scan=*/false);
      inodes_->DropIdle();
    }
    const base::Status stopped = co_await mounted_.Stop();
    if (status) status = stopped;
    co_return status;
  }

  VolumeFigures figures() const override {
    VolumeFigures figures;
    figures.size_bytes = core_.device.size_bytes();
    figures.free_bytes = core_.file_blocks.allocator->free_count() * kFileBlockBytes;
    figures.cached_metadata_blocks = core_.cache->block_count();
    figures.inodes_in_memory = inodes_->count();
    if (core_.locks) figures.locks_cached = core_.locks->cached_count();
    if (core_.journal) figures.journal = core_.journal->figures();
    figures.writable = core_.writable;
    figures.ours = core_.ours;
    figures.stopped_reason = mounted_.stopped_reason();
    return figures;
  }

 private:
  static FdAddress Fd(fss::InodeNumber number) {
    return FdAddress(number > UINT32_MAX ? 0 : static_cast<uint32_t>(number));
  }

  fss::Attributes Describe(const Inode& inode) const {
    return AttributesOf(inode, core_.options, core_.ours);
  }

  base::Task<base::Result<fss::Attributes>> Create(fss::InodeNumber parent, std::string_view name,
                                                   NewName what) {
    CO_TRY_STATUS(core_.CheckWritable());
    CO_TRY(const InodeRef inode, co_await names_->Create(Fd(parent), name, what));
    co_return Describe(*inode);
  }

  // Times that changed without anything else, into the descriptors.
  base::Task<base::Status> WriteLazyTimes() {
    for (const InodeRef& inode : inodes_->WithLazyTimes()) {
      CO_TRY_STATUS(co_await WriteTimes(core_, *inode));
    }
    co_return base::Ok();
  }

  // Commits by age. Rests while there is nothing to commit, so that an idle volume wakes nobody.
  base::Task<void> TickLoop() {
    while (!stopping_) {
      const bool busy = core_.journal->busy() || inodes_->HasLazyTimes();
      core_.ticker_rests = !busy;
      const uint64_t sleep_us = busy ? kTickMicroseconds : kRestMicroseconds;
      co_await core_.ticker.SleepUntil(core_.executor.NowMicroseconds() + sleep_us);
      core_.ticker_rests = false;
      if (stopping_ || core_.journal->stopped()) break;
      if (!busy) continue;
      base::Status status = co_await WriteLazyTimes();
      if (status) status = co_await core_.journal->Tick(core_.options.commit_interval_us);
      if (!status) base::LogWarn("vmfs", "background commit: {}", status.error().message());
    }
  }

  MountedCore mounted_;
  VolumeCore& core_;
  std::unique_ptr<InodeTable> inodes_;
  std::unique_ptr<Names> names_;
  std::string label_, uuid_;
  base::TaskGroup background_;
  bool stopping_ = false;
};

}  // namespace

base::Task<base::Result<std::unique_ptr<Volume>>> Volume::Mount(base::Executor& executor,
                                                                base::BlockDevice& device,
                                                                MountOptions& options) {
  CO_TRY(const bool is_vmfs5, co_await vmfs5::IsVmfs5(device));
  if (is_vmfs5) co_return co_await vmfs5::Mount(device, options);
  auto volume = std::make_unique<MountedVolume>(executor, device);
  CO_TRY_STATUS(co_await volume->Start(options));
  co_return std::unique_ptr<Volume>(std::move(volume));
}

bool Volume::IsSystemName(fss::InodeNumber parent, std::string_view name) {
  return parent == kRootInode && vmfs::IsSystemName(name);
}

}  // namespace vmfs
