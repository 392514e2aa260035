// `Directory`: the names in one VMFS-6 directory: find, list, insert, remove, replace.
//
// It works on a `BlockFile`: a 64 KiB header with a hash table of 16,001 locations, then blocks of
// 14 records, blocks of 48 link groups (names that share a bucket), and the allocation map in block
// 0 (vmfs/FORMAT.md, Directories). Place in the stack: the volume keeps one `Directory` per open
// directory inode and holds its lock around every call. Thread rule: the volume's executor.
//
// Every change is two steps. `Prepare...` reads what the change needs, says every error, and
// modifies nothing; `Apply` cannot fail and does not suspend. So an operation prepares all its
// parts, in any number of directories and elsewhere, and modifies nothing until all are prepared.
// Between the two the caller keeps the directory's lock. Two changes to one directory in one
// operation (a rename within it) compose under one rule: at most one insert, and it is both
// prepared and applied before the others. Applying derives positions anew from the blocks that the
// prepared change holds in memory, so what an earlier `Apply` moved is seen.
//
// What comes from disk is never trusted: a location out of range, a block or slot that contradicts
// the map or itself, a cycle of link groups answer kCorrupt after bounded work.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/directory/block_file.h"
#include "vmfs/directory/name.h"
#include "vmfs/format/directory.h"
#include "vmfs/journal/transaction.h"

namespace vmfs {

// What a name stands for.
struct DirectoryTarget {
  InodeType type = InodeType::kFile;
  FdAddress address;
  uint32_t generation = 0;
  friend bool operator==(const DirectoryTarget&, const DirectoryTarget&) = default;
};

// One entry of a listing.
struct ListedEntry {
  std::string_view name;  // valid during the call that hands it out
  DirectoryTarget target;
  uint64_t next_cursor = 0;  // pass to go on behind this entry
};

// Takes entries one by one. Answers false when it is full: the entry was not taken.
class DirectoryListSink {
 public:
  virtual ~DirectoryListSink() = default;
  virtual bool Add(const ListedEntry& entry) = 0;
};

// Blocks of a directory in memory, by piece, for as long as a prepared change needs them.
class PinnedPieces {
 public:
  void Add(uint64_t piece_index, BlockRef block) {
    indexes_.push_back(piece_index);
    blocks_.push_back(std::move(block));
  }

  void Add(PinnedPieces&& others) {
    for (size_t i = 0; i < others.indexes_.size(); ++i) {
      Add(others.indexes_[i], std::move(others.blocks_[i]));
    }
  }

  const std::vector<uint64_t>& indexes() const { return indexes_; }

 private:
  std::vector<uint64_t> indexes_;
  std::vector<BlockRef> blocks_;
};

// A prepared change, made by `Directory::Prepare...`; good for one `Apply`.
class PreparedInsert {
 private:
  friend class Directory;
  PinnedPieces pieces_;
  std::string name_;
  NameKey key_;
  uint32_t record_block_ = 0;     // takes the record
  uint32_t link_block_ = 0;       // takes a new link group; 0: none is needed
  uint32_t new_block_count_ = 0;  // pieces to add to the file
  uint64_t change_count_ = 0;     // of the directory, when this was prepared
};

class PreparedRemove {
 public:
  // What the name stands for.
  const DirectoryTarget& target() const { return target_; }

 private:
  friend class Directory;
  PinnedPieces pieces_;
  uint32_t bucket_ = 0;
  Location location_;
  DirectoryTarget target_;
};

class PreparedReplace {
 public:
  // What the name stands for before.
  const DirectoryTarget& target() const { return target_; }

 private:
  friend class Directory;
  PinnedPieces pieces_;
  Location location_;
  DirectoryTarget target_;
};

class PreparedSetParent {
 private:
  friend class Directory;
  PinnedPieces pieces_;
};

class Directory {
 public:
  // How many blocks of the directory file one change modifies at most; what the file itself does to
  // grow comes on top.
  static constexpr uint32_t kInsertBlocksMax = 6;     // header, table, map, record, two link blocks
  static constexpr uint32_t kRemoveBlocksMax = 6;     // the same
  static constexpr uint32_t kReplaceBlocksMax = 1;    // record
  static constexpr uint32_t kSetParentBlocksMax = 1;  // header
  // How many pieces an insert adds to the file at most.
  static constexpr uint32_t kInsertPiecesMax = 2;

  // `file` must outlive the directory. `is_root`: system names have buckets of their own.
  Directory(BlockFile& file, bool is_root) : file_(file), is_root_(is_root) {}

  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  // What `name` stands for. Errors: kNotFound; those of ValidateName; kCorrupt, kIo.
  base::Task<base::Result<DirectoryTarget>> Find(std::string_view name);

  // The directory itself and its parent, as "." and ".." say. Errors: kCorrupt, kIo.
  base::Task<base::Result<DirectoryTarget>> Self();
  base::Task<base::Result<DirectoryTarget>> Parent();

  // Number of names, without "." and "..". Errors: kCorrupt, kIo.
  base::Task<base::Result<uint32_t>> EntryCount();

  // Whether a directory could be removed: it holds no names. Errors: kCorrupt, kIo.
  base::Task<base::Result<bool>> IsEmpty();

  // Hands out the entries from `cursor` on (0: the start), "." and ".." first, then in the order of
  // their places, which never change while they stand: entries that stand during a whole walk come
  // exactly once. Ends when the sink is full or nothing is left. Errors: kCorrupt, kIo.
  base::Task<base::Status> List(uint64_t cursor, DirectoryListSink& sink);

  // Prepares a new name. Errors: kExists; those of ValidateName; kNotPermitted for a system name in
  // the root; kNoSpace where the volume or the directory is full (8,063 blocks, about 107,000
  // names); kUnsupported for a directory kept with checksums or several maps; kCorrupt, kIo.
  base::Task<base::Result<PreparedInsert>> PrepareInsert(std::string_view name);
  void Apply(Transaction& transaction, const PreparedInsert& insert, DirectoryTarget target);

  // Prepares to remove a name. Errors: kNotFound, else as PrepareInsert but for space.
  base::Task<base::Result<PreparedRemove>> PrepareRemove(std::string_view name);
  void Apply(Transaction& transaction, const PreparedRemove& removal);

  // Prepares to let a name stand for something else. Errors: as PrepareRemove.
  base::Task<base::Result<PreparedReplace>> PrepareReplace(std::string_view name);
  void Apply(Transaction& transaction, const PreparedReplace& replacement, DirectoryTarget target);

  // Prepares to change "..", for a directory that moves. Errors: kUnsupported, kCorrupt, kIo.
  base::Task<base::Result<PreparedSetParent>> PrepareSetParent();
  void Apply(Transaction& transaction, const PreparedSetParent& change, FdAddress parent,
             uint32_t parent_generation);

  // Both steps in one, for operations that change nothing else. On an error nothing was modified.
  base::Task<base::Status> Insert(Transaction& transaction, std::string_view name,
                                  DirectoryTarget target);
  base::Task<base::Status> Remove(Transaction& transaction, std::string_view name);
  base::Task<base::Status> Replace(Transaction& transaction, std::string_view name,
                                   DirectoryTarget target);

  // Forgets where free slots were last seen. To be called when the directory's lock was given back:
  // another host may have removed names.
  void ForgetHints() { hints_.fill(1); }

 private:
  // The chain of one bucket: what a walk over it found.
  struct Chain {
    Location match;          // of the name looked for; none if it is not there
    DirectoryTarget target;  // what it stands for
    bool is_empty = true;    // the bucket holds no name at all
    bool has_free_link = false;
  };
  enum class WalkScope { kUntilMatch, kWhole };

  // directory.cc: reading
  uint32_t BlockCount() const;
  base::Task<base::Result<BlockRef>> Pin(uint64_t piece_index, PinnedPieces& pieces);
  base::Task<base::Result<DirectoryHeader>> PinHeader(PinnedPieces& pieces);
  base::Task<base::Result<BlockRef>> PinSlotBlock(Location location, PinnedPieces& pieces);
  base::Task<base::Status> Walk(std::string_view name, NameKey key, WalkScope scope,
                                PinnedPieces& pieces, Chain& chain);
  base::Task<base::Status> MatchRecord(std::string_view name, Location location,
                                       PinnedPieces& pieces, Chain& chain);
  base::Task<base::Status> MatchGroup(std::string_view name, NameKey key, const LinkGroup* group,
                                      PinnedPieces& pieces, Chain& chain);
  base::Task<base::Result<bool>> ListDots(uint64_t cursor, DirectoryListSink& sink);
  base::Task<base::Result<bool>> ListBlock(uint32_t number, uint32_t first_slot,
                                           DirectoryListSink& sink);
  base::Task<base::Result<BlockRef>> MapOf(const DirectoryHeader* header, uint32_t number);

  // directory_edit.cc: changing
  base::Task<base::Result<DirectoryHeader>> PinForChange(PinnedPieces& pieces);
  base::Task<base::Status> PinChain(std::string_view name, PinnedPieces& pieces, Chain& chain);
  base::Task<base::Status> ChooseBlocks(bool needs_group, PreparedInsert& insert);
  base::Task<base::Result<uint32_t>> ChooseBlock(DirectoryBlockKind kind, PreparedInsert& insert);
  base::Task<base::Status> CheckUnused(uint32_t number, PinnedPieces& pieces);

  BlockRef LoadedBlock(uint32_t number) {
    return file_.LoadedPiece(kDirectoryHeaderPieces + number);
  }

  MetadataSpan Modify(Transaction& transaction, uint64_t piece_index);

  MetadataSpan ModifyBlock(Transaction& transaction, uint32_t number) {
    return Modify(transaction, kDirectoryHeaderPieces + number);
  }

  LinkGroup LoadGroup(Location location);
  void StoreGroup(Transaction& transaction, Location location, const LinkGroup& group);
  Location LoadBucket(uint32_t bucket);
  void StoreBucket(Transaction& transaction, uint32_t bucket, Location location);
  Location Allocate(Transaction& transaction, DirectoryBlockKind kind, uint32_t number);
  void Release(Transaction& transaction, Location location);
  void StoreNibble(Transaction& transaction, uint32_t number, MapNibble nibble);
  void AddLink(Transaction& transaction, const PreparedInsert& insert, Location record);
  void AddSecondLink(Transaction& transaction, const PreparedInsert& insert, Location first,
                     Location second);
  void DropLink(Transaction& transaction, uint32_t bucket, Location record);
  void CollapseChain(Transaction& transaction, uint32_t bucket);
  void AddToEntryCount(Transaction& transaction, int difference);

  static constexpr uint32_t kDotEntries = 2;  // "." and "..", which the header counts

  // The lowest block that may have a free slot of a kind; for kNone, that may be unused. Only ever
  // a lower bound, so that a search begins there and not at block 1.
  uint32_t& HintOf(DirectoryBlockKind kind) { return hints_[static_cast<size_t>(kind)]; }

  BlockFile& file_;
  const bool is_root_;
  bool header_checked_ = false;
  uint64_t change_count_ = 0;
  std::array<uint32_t, 3> hints_ = {1, 1, 1};  // by DirectoryBlockKind; block 0 is the map
};

}  // namespace vmfs
