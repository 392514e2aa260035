#include "vmfs/volume/names.h"

#include <algorithm>
#include <optional>

#include "fs/base/log.h"
#include "vmfs/directory/name.h"
#include "vmfs/directory/new_directory.h"
#include "vmfs/inode/block_map.h"
#include "vmfs/inode/directory_file.h"
#include "vmfs/inode/free_units.h"
#include "vmfs/inode/layout.h"
#include "vmfs/resource/grow.h"

namespace vmfs {
namespace {

constexpr uint32_t kNameBlocksMax =
    Directory::kInsertBlocksMax + Directory::kInsertPiecesMax + DirectoryFile::kExtendBlocksMax;
constexpr uint32_t kCreateBlocksMax = kNameBlocksMax + 9;
constexpr uint32_t kRemoveBlocksMax = Directory::kRemoveBlocksMax + 4;
constexpr uint32_t kNewDirectoryUnits = 2;
constexpr uint32_t kPreparedLocksMax = 32;

void Touch(InodeMetadata& metadata, uint32_t now_s) {
  metadata.modified_s = now_s;
  metadata.changed_s = now_s;
}

}  // namespace

struct Names::Created {
  Reservation descriptor;
  FdAddress fd;
  uint64_t lock_address = 0;
  HeldLock lock;
  std::vector<Reservation> units;  // of a new directory
};

base::Task<base::Status> Names::CheckParent(Inode& parent) {
  CO_TRY_STATUS(core_.CheckWritable());
  if (parent.removed || parent.metadata().link_count == 0) co_return base::Code::kNotFound;
  if (parent.type != InodeType::kDirectory) co_return base::Code::kNotPermitted;
  co_return co_await LockOnDisk(core_, parent);
}

base::Task<base::Status> Names::PrepareDescriptor(Inode& parent, Created& created) {
  Allocator& descriptors = *core_.descriptors.allocator;
  CO_TRY(created.descriptor,
         co_await ReserveItem(core_, core_.descriptors, {parent.fd.cluster(), 0}));
  const ResourceIndex index = created.descriptor.index();
  created.fd = FdAddress::Make(static_cast<uint32_t>(index.cluster), index.item);
  CO_TRY(created.lock_address, descriptors.AddressOf(index));
  co_await PrepareLocks(created.descriptor);
  CO_TRY(created.lock, co_await core_.locks->CreateLocked(created.lock_address, LockType::kFd));
  core_.journal->NoteDataWrite();  // the lock block is on its way home: flush it before the commit
  co_return base::Ok();
}

// Whoever makes one file after the other finds the lock blocks of the next descriptors made: many
// at once cost the time of one. The more follow each other, the more are made in advance.
base::Task<void> Names::PrepareLocks(Reservation& descriptor) {
  const ResourceIndex index = descriptor.index();
  const bool follows = index == ResourceIndex{last_created_.cluster, last_created_.item + 1};
  last_created_ = index;
  if (!follows) prepared_run_ = 1;
  if (!follows || prepared_left_ > 0) {
    prepared_left_ = follows ? prepared_left_ - 1 : 0;
    co_return;
  }
  prepared_run_ = std::min(2 * prepared_run_, kPreparedLocksMax);
  const Allocator& descriptors = *core_.descriptors.allocator;
  std::vector<uint64_t> addresses;
  for (const ResourceIndex next : descriptors.FreeFrom(descriptor, prepared_run_)) {
    const base::Result<uint64_t> address = descriptors.AddressOf(next);
    if (address) addresses.push_back(*address);
  }
  prepared_left_ = static_cast<uint32_t>(addresses.size()) - 1;
  co_await core_.locks->PrepareLocked(addresses, LockType::kFd);
}

// The sub-blocks of a new directory; their bytes become part of the transaction.
base::Task<base::Status> Names::PrepareDirectory(Created& created) {
  const uint64_t cluster_count = core_.sub_blocks.allocator->geometry().cluster_count();
  for (uint32_t i = 0; i < kNewDirectoryUnits; ++i) {
    const ResourceIndex hint{created.fd.cluster() % cluster_count, 0};
    CO_TRY(Reservation unit, co_await ReserveZeroed(core_, core_.sub_blocks, hint, false));
    created.units.push_back(std::move(unit));
  }
  co_return base::Ok();
}

uint32_t Names::MakeDescriptor(Transaction& transaction, Inode& parent, const NewName& what,
                               Created& created) {
  const uint32_t now_s = core_.NowSeconds();
  const uint32_t generation =
      core_.descriptors.allocator->NextGeneration(transaction, created.descriptor);
  core_.descriptors.allocator->Apply(transaction, created.descriptor, parent.fd, now_s);
  const bool is_directory = what.type == InodeType::kDirectory;
  InodeMetadata metadata = MakeInode(created.fd, generation, what.type);
  metadata.link_count = is_directory ? 2 : 1;
  metadata.uid = what.attributes.uid;
  metadata.gid = what.attributes.gid;
  metadata.mode = what.attributes.mode & 07777;
  metadata.modified_s = metadata.changed_s = metadata.accessed_s = now_s;
  metadata.affinity_fd = is_directory ? created.fd.raw() : parent.fd.raw();
  metadata.parent_fd = parent.fd.raw();
  metadata.length_bytes = what.length_bytes.value_or(what.inline_data.size());
  if (is_directory) {
    metadata.SetMapKind(MapKind::kSubBlocks);
    metadata.SetBlockCount(kNewDirectoryUnits);
    metadata.length_bytes = kDirectoryBirthBytes;
  }
  const BlockRef block = core_.cache->Fresh(created.lock_address + kMetadataBlockBytes);
  const MetadataSpan bytes = transaction.Modify(*block, created.lock_address);
  base::StoreAs(std::span<std::byte>(bytes), 0, metadata);
  std::copy(what.inline_data.begin(), what.inline_data.end(),
            reinterpret_cast<char*>(InlineData(bytes).data()));
  for (uint32_t i = 0; i < created.units.size(); ++i) {
    const ResourceIndex index = created.units[i].index();
    core_.sub_blocks.allocator->Apply(transaction, created.units[i], created.fd, now_s);
    SetSlot(bytes, i, Address::MakeSubBlock(index.cluster, index.item));
  }
  return generation;
}

base::Task<base::Result<InodeRef>> Names::Create(FdAddress parent_fd, std::string_view name,
                                                 NewName what) {
  CO_TRY_STATUS(ValidateName(name));
  if (what.inline_data.size() >= kInlineBytesMax) co_return base::Code::kNameTooLong;
  CO_TRY(const InodeRef parent, co_await inodes_.GetDirectory(parent_fd));
  co_await parent->lock.AcquireExclusive();
  base::ExclusiveGuard guard(parent->lock);
  CO_TRY_STATUS(co_await CheckParent(*parent));
  CO_TRY(const PreparedInsert insert, co_await parent->directory->PrepareInsert(name));
  Created created;
  CO_TRY_STATUS(co_await PrepareDescriptor(*parent, created));
  const bool is_directory = what.type == InodeType::kDirectory;
  if (is_directory) CO_TRY_STATUS(co_await PrepareDirectory(created));
  std::vector<uint64_t> unit_addresses;
  for (const Reservation& unit : created.units) {
    CO_TRY(const uint64_t address, core_.sub_blocks.allocator->AddressOf(unit.index()));
    unit_addresses.push_back(address);
  }

  CO_TRY(Transaction transaction, co_await core_.journal->Begin(kCreateBlocksMax));
  const uint32_t generation = MakeDescriptor(transaction, *parent, what, created);
  if (is_directory) {
    const NewDirectory directory{NewDirectoryKind::kOrdinary, created.fd, parent_fd, generation,
                                 parent->generation};
    for (uint32_t piece = 0; piece < NewDirectoryPieceCount(directory.kind); ++piece) {
      if (NewDirectoryPieceIsZero(directory.kind, piece)) continue;
      const uint64_t offset = uint64_t{piece} * kMetadataBlockBytes;
      const BlockRef block =
          core_.cache->Fresh(unit_addresses[offset / kSubBlockBytes] + offset % kSubBlockBytes);
      FillNewDirectoryPiece(directory, piece, transaction.Modify(*block, created.lock_address));
    }
  }
  parent->directory->Apply(transaction, insert, {what.type, created.fd, generation});
  const uint32_t now_s = core_.NowSeconds();
  parent->Update(transaction, [&](InodeMetadata& metadata) {
    Touch(metadata, now_s);
    if (is_directory) metadata.link_count = metadata.link_count + 1;
  });
  const uint64_t sequence = core_.journal->running_sequence();
  parent->last_sequence = sequence;
  const BlockRef block = core_.cache->Peek(created.lock_address + kMetadataBlockBytes);
  InodeRef inode = inodes_.Add(created.fd, created.lock_address, block);
  inode->disk_lock = std::move(created.lock);
  inode->tail_is_zero = true;
  inode->last_sequence = sequence;
  co_return inode;
}

// The last name is gone: the inode is an orphan until it has been deleted.
void Names::DropLink(Transaction& transaction, Inode& inode) {
  const uint32_t now_s = core_.NowSeconds();
  inode.Update(transaction, [&](InodeMetadata& metadata) {
    metadata.link_count = 0;
    metadata.changed_s = now_s;
  });
  inode.last_sequence = core_.journal->running_sequence();
  core_.journal->AddOrphan({inode.fd.raw(), inode.generation});
}

base::Task<base::Status> Names::RemoveLocked(Inode& parent, std::string_view name, bool directory,
                                             InodeRef& removed) {
  CO_TRY_STATUS(co_await CheckParent(parent));
  CO_TRY(const PreparedRemove removal, co_await parent.directory->PrepareRemove(name));
  const DirectoryTarget target = removal.target();
  const bool is_directory = target.type == InodeType::kDirectory;
  if (is_directory && !directory) co_return base::Code::kIsDirectory;
  if (!is_directory && directory) co_return base::Code::kNotDirectory;
  std::optional<base::ExclusiveGuard> removed_guard;  // nobody adds a name before it is gone
  if (is_directory) {
    CO_TRY(removed, co_await inodes_.GetDirectory(target.address));
    co_await removed->lock.AcquireExclusive();
    removed_guard.emplace(removed->lock);
    CO_TRY(const bool empty, co_await removed->directory->IsEmpty());
    if (!empty) co_return base::Code::kNotEmpty;
  } else {
    CO_TRY(removed, co_await inodes_.Get(target.address));
  }
  CO_TRY_STATUS(co_await LockOnDisk(core_, *removed));
  CO_TRY(Transaction transaction, co_await core_.journal->Begin(kRemoveBlocksMax));
  parent.directory->Apply(transaction, removal);
  const uint32_t now_s = core_.NowSeconds();
  parent.Update(transaction, [&](InodeMetadata& metadata) {
    Touch(metadata, now_s);
    if (is_directory) metadata.link_count = metadata.link_count - 1;
  });
  parent.last_sequence = core_.journal->running_sequence();
  DropLink(transaction, *removed);
  co_return base::Ok();
}

base::Task<base::Status> Names::Remove(FdAddress parent_fd, std::string_view name, bool directory) {
  CO_TRY_STATUS(ValidateName(name));
  CO_TRY(const InodeRef parent, co_await inodes_.GetDirectory(parent_fd));
  if (directory) co_await many_directories_.Acquire();
  base::Status status;
  InodeRef removed;
  {
    co_await parent->lock.AcquireExclusive();
    base::ExclusiveGuard guard(parent->lock);
    status = co_await RemoveLocked(*parent, name, directory, removed);
  }
  if (directory) many_directories_.Release();
  if (!status) co_return status;
  co_return co_await DeleteUnlessOpen(*removed);
}

base::Task<base::Status> Names::DeleteUnlessOpen(Inode& inode) {
  if (inode.open_count > 0) co_return base::Ok();
  const base::Status status = co_await Delete(inode);
  // The name is gone all the same; the orphan is on record and the next mount tries again.
  if (!status)
    base::LogWarn("vmfs", "delete {}: {}", inode.fd.ToString(), status.error().message());
  co_return base::Ok();
}

base::Task<base::Status> Names::Delete(Inode& inode) {
  co_await inode.lock.AcquireExclusive();
  base::ExclusiveGuard guard(inode.lock);
  if (inode.removed) co_return base::Ok();
  if (inode.map_kind != MapKind::kInline) CO_TRY_STATUS(co_await ShrinkTo(core_, inode, 0));
  CO_TRY_STATUS(co_await LockOnDisk(core_, inode));
  Allocator& descriptors = *core_.descriptors.allocator;
  const ResourceIndex index{inode.fd.cluster(), inode.fd.item()};
  CO_TRY(const ClusterHandle cluster, co_await descriptors.Open(index.cluster));
  CO_TRY_STATUS(descriptors.CheckUsed(cluster, index));
  CO_TRY(Transaction transaction, co_await core_.journal->Begin(2));
  const MetadataSpan bytes = transaction.Modify(*inode.block, inode.lock_address);
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  descriptors.Free(transaction, cluster, index, inode.fd);
  core_.journal->RemoveOrphan(inode.fd.raw());
  inode.lazy_modified_s.reset();
  inode.lazy_accessed_s.reset();
  inode.removed = true;
  co_return base::Ok();
}

base::Task<base::Status> Names::DeleteOrphans(const std::vector<Orphan>* orphans, bool scan) {
  std::vector<Orphan> found = *orphans;
  if (scan) {
    const ResourceGeometry& geometry = core_.descriptors.allocator->geometry();
    for (uint64_t cluster = 0; cluster < geometry.cluster_count(); ++cluster) {
      CO_TRY(const ClusterHandle handle, co_await core_.descriptors.allocator->Open(cluster));
      for (uint32_t item = 0; item < geometry.ResourcesIn(cluster); ++item) {
        if (IsFree(handle.header->bytes(), 1, item)) continue;
        const FdAddress fd = FdAddress::Make(static_cast<uint32_t>(cluster), item);
        const base::Result<InodeRef> inode = co_await inodes_.Get(fd);
        if (inode && (*inode)->metadata().link_count == 0) {
          found.push_back({fd.raw(), (*inode)->generation});
        }
      }
    }
  }
  for (const Orphan& orphan : found) {
    const base::Result<InodeRef> inode = co_await inodes_.Get(FdAddress(orphan.fd));
    if (!inode || (*inode)->generation != orphan.generation ||
        (*inode)->metadata().link_count != 0) {
      core_.journal->RemoveOrphan(orphan.fd);
      continue;
    }
    core_.journal->AddOrphan(orphan);
    if ((*inode)->open_count > 0) continue;
    CO_TRY_STATUS(co_await Delete(**inode));
  }
  co_return base::Ok();
}

}  // namespace vmfs
