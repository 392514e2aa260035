// `Inode`: a descriptor in memory, its locks, and what is known about its bytes.
//
// Exists while it is open, in use by an operation, or among the last few used. Thread rule: the
// volume's executor. Order of locks: directories by address, then files, then `link_lock`; all of
// them before a transaction is begun.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <set>

#include "fs/base/executor.h"
#include "fs/base/sync.h"
#include "vmfs/directory/block_file.h"
#include "vmfs/format/address.h"
#include "vmfs/format/inode.h"
#include "vmfs/inode/page_latches.h"
#include "vmfs/journal/metadata_cache.h"
#include "vmfs/journal/transaction.h"
#include "vmfs/lock/lock_manager.h"

namespace vmfs {

class Directory;

struct Inode {
  Inode(base::Executor& executor, FdAddress the_fd, uint64_t the_lock_address, BlockRef the_block);
  ~Inode();

  const FdAddress fd;
  const uint64_t lock_address;  // volume address of the lock block
  BlockRef block;               // the metadata block
  HeldLock disk_lock;           // taken at the first modification, kept while in memory

  base::AsyncSharedLock lock;    // files: map and length; directories: entries
  base::AsyncLock link_lock;     // one change of the block map at a time
  base::AsyncCondition changed;  // a block was linked, a page was let go

  uint32_t use_count = 0;
  uint32_t open_count = 0;
  bool idle = false;
  std::list<Inode*>::iterator idle_position;

  // Mirrors of the descriptor, for the data path.
  InodeType type = InodeType::kFile;
  MapKind map_kind = MapKind::kInline;
  uint64_t size_bytes = 0;
  uint64_t unit_bytes = kSubBlockBytes;  // what one slot or pointer maps
  uint32_t generation = 0;

  bool tail_is_zero = false;       // allocated bytes behind the end are known to be zero
  std::set<uint64_t> allocating;   // file blocks that a writer is allocating right now
  PageLatches pages;               // 4 KiB pages of the volume that are being written
  uint64_t last_cluster_hint = 0;  // where the last block came from
  uint32_t last_item_hint = 0;

  std::optional<uint32_t> lazy_modified_s, lazy_accessed_s;  // not yet in the descriptor
  uint64_t last_sequence = 0;   // of the transaction that modified it last, but for times alone
  uint64_t times_sequence = 0;  // of the one that set its times last; fdatasync does not ask
  bool removed = false;        // the descriptor has been freed

  // Directories: the entry code and the file below it.
  std::unique_ptr<BlockFile> directory_file;
  std::unique_ptr<Directory> directory;

  InodeMetadata metadata() const { return base::LoadAs<InodeMetadata>(block->bytes()); }

  // Takes the mirrors from the descriptor's bytes.
  void Refresh() {
    const InodeMetadata now = metadata();
    type = now.type();
    map_kind = now.map_kind();
    size_bytes = now.length_bytes;
    unit_bytes = now.block_bytes;
    generation = now.generation;
  }

  // Modifies the descriptor's fixed part: `change` gets an `InodeMetadata&`. Pending times go
  // along.
  template <typename Change>
  void Update(Transaction& transaction, Change change) {
    const MetadataSpan bytes = transaction.Modify(*block, lock_address);
    auto now = base::LoadAs<InodeMetadata>(bytes);
    if (lazy_modified_s) now.modified_s = *lazy_modified_s;
    if (lazy_accessed_s) now.accessed_s = *lazy_accessed_s;
    lazy_modified_s.reset();
    lazy_accessed_s.reset();
    change(now);
    base::StoreAs(std::span<std::byte>(bytes), 0, now);
    size_bytes = now.length_bytes;
    map_kind = now.map_kind();
    unit_bytes = now.block_bytes;
  }
};

}  // namespace vmfs
