#include "vmfs/inode/replace.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "fs/fss/file_system.h"
#include "vmfs/inode/block_map.h"
#include "vmfs/inode/free_units.h"
#include "vmfs/inode/layout.h"

namespace vmfs {
namespace {

// The exclusive locks of several inodes, given back together.
class ExclusiveLocks {
 public:
  ExclusiveLocks() = default;
  ExclusiveLocks(const ExclusiveLocks&) = delete;
  ExclusiveLocks& operator=(const ExclusiveLocks&) = delete;

  ~ExclusiveLocks() {
    for (base::AsyncSharedLock* lock : locks_) lock->ReleaseExclusive();
  }

  void Add(base::AsyncSharedLock& lock) { locks_.push_back(&lock); }

 private:
  std::vector<base::AsyncSharedLock*> locks_;
};

// What one file becomes; prepared before anything is modified.
struct NewContent {
  Inode* inode = nullptr;
  std::string_view bytes;
  MapKind kind = MapKind::kInline;
  Reservation unit;  // holds the bytes already; none: they go into the descriptor
  Address address;
  std::vector<Address> old_units;
};

// The clusters of all old units, one handle to each.
using OldClusters = std::map<std::pair<AddressKind, uint64_t>, ClusterHandle>;

base::Error Refuse(const Inode& inode, base::Code code, std::string_view why) {
  return base::Error(code, fmt::format("replace contents of {}: {}", inode.fd.ToString(), why));
}

// The units the file has now, into `old_units`, with their clusters.
base::Task<base::Status> GatherOldUnits(VolumeCore& core, NewContent& file,
                                        OldClusters& clusters) {
  const Inode& inode = *file.inode;
  if (inode.map_kind == MapKind::kInline) co_return base::Ok();
  if (inode.map_kind != MapKind::kSubBlocks && inode.map_kind != MapKind::kFileBlocks) {
    co_return Refuse(inode, base::Code::kTooLarge, "its map has pointer blocks");
  }
  for (uint32_t slot = 0; slot < kSlotCount; ++slot) {
    const Address address = GetSlot(inode.block->bytes(), slot);
    if (address.is_hole()) continue;
    Allocator* allocator = AllocatorOf(core, address);
    if (allocator == nullptr) {
      co_return Refuse(inode, base::Code::kUnsupported, address.ToString());
    }
    ClusterHandle& cluster = clusters[{address.kind(), address.index().cluster}];
    if (!cluster.header) {
      CO_TRY(cluster, co_await allocator->Open(address.index().cluster));
    }
    CO_TRY_STATUS(allocator->CheckUsed(cluster, address.index()));
    file.old_units.push_back(address);
  }
  co_return base::Ok();
}

// Puts the new bytes, and zeros behind them, into a unit of their own.
base::Task<base::Status> WriteNewUnit(VolumeCore& core, NewContent& file) {
  if (file.bytes.size() <= kInlineBytesMax) co_return base::Ok();
  file.kind = FirstMapKind(core, file.bytes.size());
  const bool is_sub_block = file.kind == MapKind::kSubBlocks;
  Resource& resource = is_sub_block ? core.sub_blocks : core.file_blocks;
  const ResourceIndex hint{file.inode->last_cluster_hint, file.inode->last_item_hint};
  CO_TRY(file.unit,
         co_await ReserveZeroed(core, resource, hint, /*skip_zeroing=*/is_sub_block));
  const ResourceIndex index = file.unit.index();
  CO_TRY(const uint64_t volume_address, resource.allocator->AddressOf(index));
  file.address = is_sub_block ? Address::MakeSubBlock(index.cluster, index.item)
                              : Address::MakeFileBlock(volume_address / kFileBlockBytes);
  std::vector<std::byte> padded(kSubBlockBytes);
  std::memcpy(padded.data(), file.bytes.data(), file.bytes.size());
  const base::IoVec piece{padded.data(), padded.size()};
  const base::IoRequest request{volume_address, std::span(&piece, 1)};
  const base::Status written = co_await core.device.Write(request);
  core.journal->NoteDataWrite();
  co_return written;
}

void FreeOldUnits(VolumeCore& core, Transaction& transaction, const NewContent& file,
                  const OldClusters& clusters) {
  for (const Address& address : file.old_units) {
    const ResourceIndex index = address.index();
    const ClusterHandle& cluster = clusters.at({address.kind(), index.cluster});
    AllocatorOf(core, address)->Free(transaction, cluster, index, file.inode->fd);
  }
}

// Makes the descriptor name the new content. The transaction has room for all of it.
void SwitchContent(VolumeCore& core, Transaction& transaction, NewContent& file, uint32_t now_s) {
  Inode& inode = *file.inode;
  const bool has_unit = static_cast<bool>(file.unit);
  if (has_unit) {
    const Resource& resource =
        file.kind == MapKind::kSubBlocks ? core.sub_blocks : core.file_blocks;
    resource.allocator->Apply(transaction, file.unit, inode.fd, now_s);
  }
  const MetadataSpan block = transaction.Modify(*inode.block, inode.lock_address);
  std::fill(block.begin() + kInlineOffset, block.end(), std::byte{0});
  inode.Update(transaction, [&](InodeMetadata& metadata) {
    metadata.SetMapKind(file.kind);
    metadata.SetBlockCount(has_unit ? 1 : 0);
    metadata.length_bytes = file.bytes.size();
    metadata.flags = has_unit ? metadata.flags | kInodeOutgrewInline
                              : metadata.flags & ~kInodeOutgrewInline;
    metadata.modified_s = now_s;
    metadata.changed_s = now_s;
  });
  if (has_unit) {
    SetSlot(block, 0, file.address);
  } else {
    std::memcpy(InlineData(block).data(), file.bytes.data(), file.bytes.size());
  }
  inode.tail_is_zero = true;
  inode.last_sequence = core.journal->running_sequence();
}

base::Task<base::Status> PrepareAll(VolumeCore& core, std::vector<NewContent>& contents,
                                    OldClusters& clusters) {
  for (NewContent& file : contents) {
    if (file.inode->removed || file.inode->metadata().link_count == 0) {
      co_return base::Code::kStale;
    }
    CO_TRY_STATUS(co_await LockOnDisk(core, *file.inode));
    CO_TRY_STATUS(co_await GatherOldUnits(core, file, clusters));
  }
  // To each file its descriptor and the cluster of its new unit.
  if (contents.size() * 2 + clusters.size() > kTransactionImagesMax) {
    co_return Refuse(*contents.front().inode, base::Code::kTooLarge,
                     fmt::format("{} files with blocks of {} clusters are too much at once",
                                 contents.size(), clusters.size()));
  }
  for (NewContent& file : contents) CO_TRY_STATUS(co_await WriteNewUnit(core, file));
  co_return base::Ok();
}

base::Status CheckRequest(const std::vector<FileReplacement>& files) {
  uint64_t total_bytes = 0;
  for (size_t i = 0; i < files.size(); ++i) {
    total_bytes += files[i].contents.size();
    if (i > 0 && files[i].inode == files[i - 1].inode) {
      return Refuse(*files[i].inode, base::Code::kInvalidArgument, "named twice");
    }
  }
  if (total_bytes <= fss::kReplacementBytesMax) return base::Ok();
  return base::Error(base::Code::kTooLarge,
                     fmt::format("replace contents of {} files: {} bytes, at most {} are possible",
                                 files.size(), total_bytes, fss::kReplacementBytesMax));
}

// One transaction for all of `files`, which are in the order of their locks.
base::Task<base::Status> ReplaceInOneTransaction(VolumeCore& core,
                                                 const std::vector<FileReplacement>* files) {
  ExclusiveLocks locks;
  std::vector<NewContent> contents(files->size());
  for (size_t i = 0; i < files->size(); ++i) {
    const FileReplacement& file = (*files)[i];
    contents[i].inode = file.inode;
    contents[i].bytes = file.contents;
    co_await file.inode->lock.AcquireExclusive();
    locks.Add(file.inode->lock);
  }
  OldClusters clusters;
  CO_TRY_STATUS(co_await PrepareAll(core, contents, clusters));
  const size_t blocks_max = contents.size() * 2 + clusters.size();
  CO_TRY(Transaction transaction,
         co_await core.journal->Begin(static_cast<uint32_t>(blocks_max)));
  const uint32_t now_s = core.NowSeconds();
  for (NewContent& file : contents) {
    FreeOldUnits(core, transaction, file, clusters);
    SwitchContent(core, transaction, file, now_s);
  }
  co_return base::Ok();
}

}  // namespace

base::Task<base::Status> ReplaceFiles(VolumeCore& core, std::vector<FileReplacement>& files) {
  std::sort(files.begin(), files.end(), [](const FileReplacement& a, const FileReplacement& b) {
    return a.inode->fd.raw() < b.inode->fd.raw();
  });
  CO_TRY_STATUS(CheckRequest(files));
  if (files.empty()) co_return base::Ok();
  if (core.options.journal_faults.replace_one_by_one) {
    for (const FileReplacement& file : files) {
      const std::vector<FileReplacement> alone{file};
      CO_TRY_STATUS(co_await ReplaceInOneTransaction(core, &alone));
      CO_TRY_STATUS(co_await core.journal->Commit());
    }
    co_return base::Ok();
  }
  CO_TRY_STATUS(co_await ReplaceInOneTransaction(core, &files));
  co_return co_await core.journal->Commit();
}

}  // namespace vmfs
