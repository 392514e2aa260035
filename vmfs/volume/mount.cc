#include "vmfs/volume/mount.h"

#include <algorithm>

#include <fmt/format.h>

#include "fs/base/log.h"
#include "vmfs/format/heartbeat_slot.h"
#include "vmfs/format/repair_record.h"
#include "vmfs/lock/sector.h"
#include "vmfs/lock/slot_state.h"

namespace vmfs {
namespace {

// Caches that only live while the mount finds its way: what they read may change by a replay.
constexpr size_t kBootBlocksMax = 16;

// A volume of up to 1 TiB counts its free blocks while it is mounted, a larger one afterwards.
constexpr uint64_t kClustersLoadedAtMountMax = 2048;

// On a volume of another machine a free guard byte proves nothing: whoever holds a slot is watched.
class CautiousGuard final : public ProcessGuard {
 public:
  explicit CautiousGuard(ProcessGuard& guard) : guard_(guard) {}

  base::Result<bool> TryLock(uint64_t byte_offset) override { return guard_.TryLock(byte_offset); }

  void Unlock(uint64_t byte_offset) override { guard_.Unlock(byte_offset); }

  bool covers_every_writer() const override { return false; }

 private:
  ProcessGuard& guard_;
};

base::Task<base::Result<ResourceGeometry>> LoadGeometry(MetadataCache& cache,
                                                        uint64_t header_address,
                                                        ResourceKind kind) {
  CO_TRY(const BlockRef block, co_await cache.Get(header_address));
  CO_TRY(const ResourceHeader header, DecodeResourceHeader(block->bytes(), kind));
  co_return GeometryOf(header, kind);
}

// Volume address of a system file's metadata block: all of them lie in the first block of
// `.fdc.sf`, which has a fixed place.
uint64_t SystemInodeAddress(const ResourceGeometry& fdc, FdAddress fd) {
  return kFdcBaseOffset + fdc.ItemOffset(fd.cluster(), fd.item()) + kMetadataBlockBytes;
}

}  // namespace

base::Task<base::Status> MountedCore::ReadSuperblock() {
  MetadataCache cache(core_.executor, core_.device, kBootBlocksMax);
  CO_TRY(const BlockRef block, co_await cache.Get(kSuperblockOffset));
  CO_TRY(core_.superblock, DecodeSuperblock(block->bytes()));
  if (!core_.superblock.is_vmfs6()) {
    co_return base::Error(base::Code::kVersionUnsupported,
                          fmt::format("mount {}: VMFS-5 (version {})", core_.device.name(),
                                      uint32_t{core_.superblock.major}));
  }
  for (const std::string& reason : ReadOnlyReasons(core_.superblock)) {
    base::LogWarn("vmfs", "{}: {}", core_.device.name(), reason);
  }
  const base::Result<StrataMark> mark = DecodeMark(block->bytes(), core_.superblock.uuid);
  core_.ours = mark.has_value();
  if (mark) mark_ = *mark;
  if (!mark && mark.error().code() != base::Code::kNotRecognized) {
    if (!core_.options.read_only || mark.error().code() == base::Code::kVersionUnsupported) {
      co_return mark.error();
    }
  }
  CO_TRY(const BlockRef repair, co_await cache.Get(kRepairRecordOffset));
  if (DecodeRepairRecord(repair->bytes(), core_.device.size_bytes())) {
    co_return base::Error(
        base::Code::kCorrupt,
        fmt::format("mount {}: a repair was interrupted; run strata fsck --repair",
                    core_.device.name()));
  }
  if (mark && !mark->may_write() && !core_.options.read_only) {
    co_return base::Error(
        base::Code::kReadOnly,
        fmt::format("mount {}: has features that allow reading only", core_.device.name()));
  }
  co_return base::Ok();
}

base::Status MountedCore::CheckWritable() const {
  if (!core_.ours) {
    return base::Error(
        base::Code::kReadOnly,
        fmt::format("mount {}: not written by Strata; mount it read-only", core_.device.name()));
  }
  for (const std::string& reason : ReadOnlyReasons(core_.superblock)) {
    return base::Error(
        base::Code::kReadOnly,
        fmt::format("mount {}: {}; mount it read-only", core_.device.name(), reason));
  }
  if (!core_.device.limits().can_write) {
    return base::Error(base::Code::kReadOnly,
                       fmt::format("mount {}: the device is read-only", core_.device.name()));
  }
  if (!core_.device.limits().can_compare_and_write) {
    return base::Error(
        base::Code::kUnsupported,
        fmt::format("mount {}: the device has no compare-and-write", core_.device.name()));
  }
  return base::Ok();
}

bool MountedCore::BelongsToAnotherMachine() const {
  return !core_.options.machine.is_zero() && !mark_.machine.is_zero() &&
         mark_.machine != core_.options.machine;
}

base::Status MountedCore::CheckMachine() const {
  if (!BelongsToAnotherMachine() || core_.options.adopt) return base::Ok();
  return base::Error(
      base::Code::kNotPermitted,
      fmt::format("mount {}: the volume belongs to another machine ({}). If it was moved or copied "
                  "to this one, and no other machine uses it, --adopt makes it this one's; "
                  "--read-only shows it without a change",
                  core_.device.name(), mark_.machine.ToString()));
}

// One exchange of the mark's sector, which holds nothing else.
base::Task<base::Status> MountedCore::RecordMachine() {
  const base::Uuid& machine = core_.options.machine;
  if (machine.is_zero() || mark_.machine == machine) co_return base::Ok();
  if (!mark_.machine.is_zero()) {
    base::LogWarn("vmfs", "volume {} adopted from machine {}", core_.device.name(),
                  mark_.machine.ToString());
  }
  std::vector<std::byte> before;
  CO_TRY_STATUS(
      co_await ReadRange(core_.device, kSuperblockOffset, kMetadataBlockBytes, before));
  std::vector<std::byte> after = before;
  mark_.machine = machine;
  EncodeMark(mark_, after);
  const size_t sector_bytes = core_.device.limits().block_size_bytes;
  const size_t begin = kMarkOffset / sector_bytes * sector_bytes;
  co_return co_await core_.device.CompareAndWrite(
      kSuperblockOffset + begin, std::span(before).subspan(begin, sector_bytes),
      std::span(after).subspan(begin, sector_bytes));
}

base::Task<base::Status> MountedCore::LoadResource(Resource& resource, ResourceKind kind,
                                                   FdAddress fd, uint64_t inode_address) {
  const bool has_pb2 = core_.pb2_blocks.allocator != nullptr;
  CO_TRY(resource.file,
         co_await SystemFile::Load(*core_.cache, fd, inode_address,
                                   has_pb2 ? &core_.pb2_blocks.file : nullptr,
                                   has_pb2 ? &core_.pb2_blocks.allocator->geometry() : nullptr));
  const uint64_t header_offset = kind == ResourceKind::kSmallBlock ? kChildHeaderOffset : 0;
  CO_TRY(const uint64_t header_address, resource.file.AddressOf(header_offset));
  CO_TRY(const ResourceGeometry geometry,
         co_await LoadGeometry(*core_.cache, header_address, kind));
  resource.allocator =
      std::make_unique<Allocator>(core_.executor, geometry, resource.file, *core_.cache,
                                  core_.locks.get(), core_.journal.get());
  co_return base::Ok();
}

// `.pb2.sf` first: the maps of the others may go through it, that of `.fdc.sf` too.
base::Task<base::Status> MountedCore::LoadResources() {
  CO_TRY(const ResourceGeometry fdc,
         co_await LoadGeometry(*core_.cache, kFdcBaseOffset, ResourceKind::kFd));

  const struct {
    Resource& resource;
    ResourceKind kind;
    FdAddress fd;
  } files[] = {{core_.pb2_blocks, ResourceKind::kPb2, kPb2Fd},
               {core_.descriptors, ResourceKind::kFd, kFdcFd},
               {core_.sub_blocks, ResourceKind::kSubBlock, kSbcFd},
               {core_.file_blocks, ResourceKind::kSmallBlock, kFbbFd},
               {core_.journal_blocks, ResourceKind::kJournal, kJbcFd}};

  for (const auto& [resource, kind, fd] : files) {
    CO_TRY_STATUS(co_await LoadResource(resource, kind, fd, SystemInodeAddress(fdc, fd)));
  }
  co_return base::Ok();
}

base::Task<base::Status> MountedCore::Start(MountOptions& options) {
  core_.options = options;
  CO_TRY_STATUS(co_await ReadSuperblock());
  core_.cache =
      std::make_unique<MetadataCache>(core_.executor, core_.device, options.cache_blocks_max);
  if (options.read_only) {
    CO_TRY_STATUS(co_await OverlayDirtyJournals());
  } else {
    CO_TRY_STATUS(CheckWritable());
    CO_TRY_STATUS(CheckMachine());
    const base::Status started = co_await StartWriting();
    if (!started) {
      base::Error error = started.error();
      co_await LetGo(error);
      co_return error;
    }
  }
  base::Status loaded = co_await LoadResources();
  if (loaded) loaded = co_await LoadCounts();
  if (!loaded && core_.writable) {
    base::Error error = loaded.error();
    co_await LetGo(error);
  } else if (!loaded) {
    co_await StopLoading();
  }
  co_return loaded;
}

base::Task<base::Status> MountedCore::LoadCounts() {
  CO_TRY_STATUS(co_await core_.descriptors.allocator->LoadCounts());
  CO_TRY_STATUS(co_await core_.sub_blocks.allocator->LoadCounts());
  CO_TRY_STATUS(co_await core_.pb2_blocks.allocator->LoadCounts());
  if (core_.file_blocks.allocator->geometry().cluster_count() > kClustersLoadedAtMountMax) {
    core_.loading.Add(LoadBlockCounts());
    co_return base::Ok();
  }
  co_return co_await core_.file_blocks.allocator->LoadCounts();
}

base::Task<void> MountedCore::LoadBlockCounts() {
  const base::Status loaded = co_await core_.file_blocks.allocator->LoadCounts();
  // Whoever needs space from the rest finds out by itself; only the total stays too low.
  if (!loaded) base::LogError("vmfs", "count free blocks: {}", loaded.error().message());
}

base::Task<void> MountedCore::StopLoading() {
  if (core_.file_blocks.allocator) core_.file_blocks.allocator->StopLoading();
  return core_.loading.Join();
}

// Ends all use of the volume without writing, as a crash would.
base::Task<void> MountedCore::LetGo(base::Error& error) {
  core_.writable = false;
  co_await StopLoading();
  if (core_.journal) {
    core_.journal->Stop(error);
    co_await core_.journal->Drain();
  }
  co_await core_.unmapping.Join();
  if (core_.locks) co_await core_.locks->Abandon();
  if (core_.heartbeat) co_await core_.heartbeat->Stop();
}

// Heartbeat, locks, what the dead left behind, our journal: in this order. Nothing else of the
// volume is read before, because a replay may change it.
base::Task<base::Status> MountedCore::StartWriting() {
  HeartbeatOptions heartbeat_options;
  heartbeat_options.identity = core_.options.identity;
  heartbeat_options.times = core_.options.lease;
  heartbeat_options.guard = core_.options.guard;
  if (core_.options.guard && BelongsToAnotherMachine()) {
    cautious_guard_ = std::make_unique<CautiousGuard>(*core_.options.guard);
    heartbeat_options.guard = cautious_guard_.get();
  }
  core_.heartbeat = std::make_unique<Heartbeat>(core_.executor, raw_device_, heartbeat_options);
  CO_TRY_STATUS(co_await core_.heartbeat->Acquire());
  device_.SetHeartbeat(core_.heartbeat.get());
  core_.locks = std::make_unique<LockManager>(core_.executor, core_.device, *core_.heartbeat,
                                              static_cast<ReleaseBarrier&>(*this),
                                              core_.options.lock_options);
  core_.writable = true;
  CO_TRY_STATUS(co_await RecordMachine());
  CO_TRY_STATUS(co_await core_.heartbeat->TakeOverDead(*this));
  if (!core_.journal) CO_TRY_STATUS(co_await StartJournal());
  co_return base::Ok();
}

// Where journal blocks lie, read without leaving anything in the volume's cache. Touches nothing
// that a journal still to be replayed may hold: `.jbc.sf` never changes its map, and the rest of
// `.fdc.sf` is not needed.
base::Task<base::Status> MountedCore::LoadJournalFile(SystemFile& file,
                                                      ResourceGeometry& geometry) {
  MetadataCache cache(core_.executor, core_.device, kBootBlocksMax);
  CO_TRY(const ResourceGeometry fdc,
         co_await LoadGeometry(cache, kFdcBaseOffset, ResourceKind::kFd));
  CO_TRY(file, co_await SystemFile::Load(cache, kJbcFd, SystemInodeAddress(fdc, kJbcFd), nullptr,
                                         nullptr));
  CO_TRY(const uint64_t header_address, file.AddressOf(0));
  CO_TRY(geometry, co_await LoadGeometry(cache, header_address, ResourceKind::kJournal));
  co_return base::Ok();
}

base::Task<base::Status> MountedCore::StartJournal() {
  SystemFile file;
  ResourceGeometry geometry;
  CO_TRY_STATUS(co_await LoadJournalFile(file, geometry));
  FreeJournalBlock found;
  CO_TRY_STATUS(co_await FindJournalBlock(core_.device, *core_.locks, file, geometry, found));
  journal_block_ = found.block;
  JournalOptions journal_options;
  journal_options.ring_address = journal_block_.volume_address;
  journal_options.fs_uuid = core_.superblock.uuid;
  journal_options.owner_uuid = core_.options.identity.owner;
  journal_options.heartbeat_address = core_.heartbeat->slot_address();
  journal_options.heartbeat_generation = core_.heartbeat->generation();
  journal_options.faults = core_.options.journal_faults;
  core_.journal = std::make_unique<Journal>(core_.executor, *core_.cache,
                                            static_cast<JournalClient&>(*this), journal_options);
  CO_TRY_STATUS(co_await core_.journal->Initialize());
  co_return co_await TakeJournalBlock(core_.device, *core_.heartbeat, found);
}

// The dead host's metadata come home; its orphans are in our journal before its slot is given free.
base::Task<base::Status> MountedCore::Replay(const DeadSlot* dead) {
  if (dead->journal_volume_address == 0) co_return base::Ok();
  SystemFile file;
  ResourceGeometry geometry;
  CO_TRY_STATUS(co_await LoadJournalFile(file, geometry));
  JournalBlock block;
  block.index = Address(dead->journal_block_address).index();
  block.volume_address = dead->journal_volume_address;
  CO_TRY(const bool used,
         co_await IsJournalBlockUsed(core_.device, *core_.locks, file, geometry, block));
  if (!used) co_return base::Ok();
  JournalOwner owner{core_.superblock.uuid, dead->journal_volume_address, dead->address,
                     dead->generation, core_.options.ignore_journal_checksums};
  CO_TRY(JournalContents contents, co_await ReadJournal(core_.device, &owner));
  CO_TRY_STATUS(co_await WriteImagesHome(core_.device, contents));
  base::LogInfo("vmfs", "replayed journal of {}: transactions={} blocks={} orphans={}",
                dead->owner.ToString(), contents.transaction_count, contents.images.size(),
                contents.orphans.size());
  if (!core_.journal) CO_TRY_STATUS(co_await StartJournal());
  for (const Orphan& orphan : contents.orphans) {
    leftover_orphans_.push_back(orphan);
    core_.journal->AddOrphan(orphan);
  }
  leftover_scan_ = leftover_scan_ || contents.scan_descriptors;
  CO_TRY_STATUS(co_await core_.journal->CommitOrphans());
  const JournalKey key{dead->address, dead->generation};
  co_return co_await GiveBackJournalBlock(core_.device, *core_.locks, file, geometry, block, key);
}

}  // namespace vmfs
