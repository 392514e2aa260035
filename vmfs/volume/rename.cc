#include <optional>

#include "vmfs/directory/name.h"
#include "vmfs/inode/block_map.h"
#include "vmfs/inode/directory_file.h"
#include "vmfs/volume/names.h"

namespace vmfs {
namespace {

constexpr uint32_t kRenameBlocksMax =
    Directory::kInsertBlocksMax + Directory::kInsertPiecesMax + DirectoryFile::kExtendBlocksMax +
    Directory::kRemoveBlocksMax + Directory::kSetParentBlocksMax + 6;
constexpr int kDepthMax = 4096;  // of directories, against a cycle on disk

}  // namespace

struct Names::Move {
  DirectoryTarget source;
  std::optional<DirectoryTarget> existing;  // what the new name stood for
  InodeRef moved, replaced;
  std::optional<base::ExclusiveGuard> moved_guard, replaced_guard;
  PreparedInsert insert;
  PreparedRemove removal;
  PreparedReplace replacement;
  PreparedSetParent set_parent;
  bool moves_directory = false;
  bool crosses = false;
};

// A directory may not move below itself.
base::Task<base::Status> Names::CheckNotBelow(FdAddress directory, FdAddress moved) {
  for (int depth = 0; depth < kDepthMax; ++depth) {
    if (directory == moved) co_return base::Code::kInvalidArgument;
    if (directory == kRootFd || directory.is_none()) co_return base::Ok();
    CO_TRY(const InodeRef inode, co_await inodes_.Get(directory));
    directory = inode->metadata().parent();
  }
  co_return base::Error(base::Code::kCorrupt, "rename: directories are their own ancestors");
}

base::Task<base::Status> Names::PrepareReplaced(Inode& from, Move& move, bool no_replace) {
  const DirectoryTarget& existing = *move.existing;
  if (no_replace) co_return base::Code::kExists;
  const bool is_directory = existing.type == InodeType::kDirectory;
  if (is_directory && !move.moves_directory) co_return base::Code::kIsDirectory;
  if (!is_directory && move.moves_directory) co_return base::Code::kNotDirectory;
  if (is_directory) {
    if (existing.address == from.fd) co_return base::Code::kNotEmpty;
    CO_TRY(move.replaced, co_await inodes_.GetDirectory(existing.address));
    co_await move.replaced->lock.AcquireExclusive();
    move.replaced_guard.emplace(move.replaced->lock);
    CO_TRY(const bool empty, co_await move.replaced->directory->IsEmpty());
    if (!empty) co_return base::Code::kNotEmpty;
  } else {
    CO_TRY(move.replaced, co_await inodes_.Get(existing.address));
  }
  co_return co_await LockOnDisk(core_, *move.replaced);
}

base::Task<base::Status> Names::RenameLocked(Inode& from, std::string_view from_name, Inode& to,
                                             std::string_view to_name, bool no_replace,
                                             InodeRef& replaced) {
  CO_TRY_STATUS(co_await CheckParent(from));
  CO_TRY_STATUS(co_await CheckParent(to));
  Move move;
  CO_TRY(move.source, co_await from.directory->Find(from_name));
  move.moves_directory = move.source.type == InodeType::kDirectory;
  move.crosses = &from != &to;
  if (move.moves_directory && move.crosses) {
    CO_TRY_STATUS(co_await CheckNotBelow(to.fd, move.source.address));
  }
  const base::Result<DirectoryTarget> existing = co_await to.directory->Find(to_name);
  if (!existing && existing.error().code() != base::Code::kNotFound) co_return existing.error();
  if (existing) {
    if (existing->address == move.source.address) co_return base::Ok();
    move.existing = *existing;
    CO_TRY_STATUS(co_await PrepareReplaced(from, move, no_replace));
  }
  if (move.moves_directory) {
    CO_TRY(move.moved, co_await inodes_.GetDirectory(move.source.address));
  } else {
    CO_TRY(move.moved, co_await inodes_.Get(move.source.address));
  }
  CO_TRY_STATUS(co_await LockOnDisk(core_, *move.moved));
  // At most one insert, and it is prepared and applied before the rest (see directory.h).
  if (move.existing) {
    CO_TRY(move.replacement, co_await to.directory->PrepareReplace(to_name));
  } else {
    CO_TRY(move.insert, co_await to.directory->PrepareInsert(to_name));
  }
  CO_TRY(move.removal, co_await from.directory->PrepareRemove(from_name));
  if (move.moves_directory && move.crosses) {
    co_await move.moved->lock.AcquireExclusive();
    move.moved_guard.emplace(move.moved->lock);
    CO_TRY(move.set_parent, co_await move.moved->directory->PrepareSetParent());
  }
  CO_TRY_STATUS(co_await ApplyMove(from, to, move));
  replaced = move.replaced;
  co_return base::Ok();
}

base::Task<base::Status> Names::ApplyMove(Inode& from, Inode& to, Move& move) {
  CO_TRY(Transaction transaction, co_await core_.journal->Begin(kRenameBlocksMax));
  if (move.existing) {
    to.directory->Apply(transaction, move.replacement, move.source);
  } else {
    to.directory->Apply(transaction, move.insert, move.source);
  }
  from.directory->Apply(transaction, move.removal);
  const bool directory_crosses = move.moves_directory && move.crosses;
  if (directory_crosses) {
    move.moved->directory->Apply(transaction, move.set_parent, to.fd, to.generation);
  }
  const uint32_t now_s = core_.NowSeconds();
  const bool drops_directory = move.existing && move.existing->type == InodeType::kDirectory;
  const auto touch = [now_s](InodeMetadata& metadata, int link_change) {
    metadata.modified_s = now_s;
    metadata.changed_s = now_s;
    metadata.link_count =
        static_cast<uint32_t>(static_cast<int>(metadata.link_count) + link_change);
  };
  from.Update(transaction,
              [&](InodeMetadata& metadata) { touch(metadata, directory_crosses ? -1 : 0); });
  to.Update(transaction, [&](InodeMetadata& metadata) {
    touch(metadata, (directory_crosses ? 1 : 0) - (drops_directory ? 1 : 0));
  });
  move.moved->Update(transaction, [&](InodeMetadata& metadata) {
    metadata.changed_s = now_s;
    metadata.parent_fd = to.fd.raw();
  });
  const uint64_t sequence = core_.journal->running_sequence();
  from.last_sequence = to.last_sequence = move.moved->last_sequence = sequence;
  if (move.replaced) DropLink(transaction, *move.replaced);
  co_return base::Ok();
}

base::Task<base::Status> Names::Rename(FdAddress from_parent, std::string_view from_name,
                                       FdAddress to_parent, std::string_view to_name,
                                       bool no_replace) {
  CO_TRY_STATUS(ValidateName(from_name));
  CO_TRY_STATUS(ValidateName(to_name));
  CO_TRY(const InodeRef from, co_await inodes_.GetDirectory(from_parent));
  CO_TRY(const InodeRef to, co_await inodes_.GetDirectory(to_parent));
  InodeRef replaced;
  {
    co_await many_directories_.Acquire();
    base::LockGuard many(many_directories_);
    co_await from->lock.AcquireExclusive();
    base::ExclusiveGuard from_guard(from->lock);
    if (&*to != &*from) co_await to->lock.AcquireExclusive();
    const base::Status status =
        co_await RenameLocked(*from, from_name, *to, to_name, no_replace, replaced);
    if (&*to != &*from) to->lock.ReleaseExclusive();
    if (!status) co_return status;
  }
  if (replaced) co_return co_await DeleteUnlessOpen(*replaced);
  co_return base::Ok();
}

}  // namespace vmfs
