#include <algorithm>
#include <cstddef>

#include <fmt/format.h>

#include "fs/base/check.h"
#include "fs/base/on_disk.h"
#include "vmfs/directory/directory.h"
#include "vmfs/directory/slots.h"

namespace vmfs {
namespace {

void AddToCounter(MetadataSpan header, size_t offset, int difference) {
  const uint32_t count = base::LoadAs<Le32>(header, offset);
  base::StoreAs(header, offset, Le32(count + static_cast<uint32_t>(difference)));
}

}  // namespace

// --- Preparing: all reading and every error

// The header and the map, both pinned, of a directory that we know how to change.
base::Task<base::Result<DirectoryHeader>> Directory::PinForChange(PinnedPieces& pieces) {
  CO_TRY(const DirectoryHeader header, co_await PinHeader(pieces));
  if (header.version != kDirectoryVersion || header.checksum != 0 || header.map_block_count != 1 ||
      header.map_blocks[0] != 0 || BlockCount() > kDirectoryBlocksMax) {
    co_return base::Error(
        base::Code::kUnsupported,
        fmt::format("change directory: version {:#010x}, checksum {:#x}, {} maps, {} blocks",
                    uint32_t{header.version}, uint64_t{header.checksum},
                    uint32_t{header.map_block_count}, BlockCount()));
  }
  CO_TRY(const BlockRef map, co_await Pin(kDirectoryHeaderPieces, pieces));
  CO_TRY(const DirectoryBlockHeader checked,
         DecodeBlockHeader(map->bytes(), DirectoryBlockKind::kMap));
  static_cast<void>(checked);
  co_return header;
}

// What every change of a name needs: that it may change, and the whole chain of its bucket.
base::Task<base::Status> Directory::PinChain(std::string_view name, PinnedPieces& pieces,
                                             Chain& chain) {
  CO_TRY_STATUS(ValidateName(name));
  if (is_root_ && IsSystemName(name)) {
    co_return base::Error(base::Code::kNotPermitted,
                          fmt::format("change {}: a system file's name", name));
  }
  CO_TRY(const DirectoryHeader header, co_await PinForChange(pieces));
  static_cast<void>(header);
  CO_TRY_STATUS(co_await Walk(name, KeyOfName(name, is_root_), WalkScope::kWhole, pieces, chain));
  co_return base::Ok();
}

base::Task<base::Result<PreparedInsert>> Directory::PrepareInsert(std::string_view name) {
  PreparedInsert insert;
  Chain chain;
  CO_TRY_STATUS(co_await PinChain(name, insert.pieces_, chain));
  if (!chain.match.is_none()) co_return base::Code::kExists;
  insert.name_ = name;
  insert.key_ = KeyOfName(name, is_root_);
  insert.change_count_ = change_count_;
  CO_TRY_STATUS(co_await ChooseBlocks(!chain.is_empty && !chain.has_free_link, insert));
  co_return insert;
}

base::Task<base::Status> Directory::ChooseBlocks(bool needs_group, PreparedInsert& insert) {
  CO_TRY(insert.record_block_, co_await ChooseBlock(DirectoryBlockKind::kRecords, insert));
  if (needs_group) {
    CO_TRY(insert.link_block_, co_await ChooseBlock(DirectoryBlockKind::kLinks, insert));
  }
  if (insert.new_block_count_ == 0) co_return base::Ok();
  CO_TRY_STATUS(co_await file_.PrepareToExtend(insert.new_block_count_));
  // Room may have been made by moving the file: what was pinned by then may stand elsewhere now.
  PinnedPieces pieces;
  for (const uint64_t piece_index : insert.pieces_.indexes()) {
    CO_TRY(const BlockRef block, co_await Pin(piece_index, pieces));
    static_cast<void>(block);
  }
  insert.pieces_ = std::move(pieces);
  co_return base::Ok();
}

// A block that will have a free slot of `kind`: one that has, else an unused one, else a new one at
// the end of the file.
base::Task<base::Result<uint32_t>> Directory::ChooseBlock(DirectoryBlockKind kind,
                                                          PreparedInsert& insert) {
  const uint32_t count = BlockCount();
  const BlockRef map = LoadedBlock(0);
  const uint32_t number = FindBlock(map->bytes(), kind, HintOf(kind), count);
  HintOf(kind) = number;
  if (number < count) {
    const Location location{kind, number, 0};
    CO_TRY(const BlockRef block, co_await PinSlotBlock(location, insert.pieces_));
    if (HasFreeSlot(block->bytes())) co_return number;
    co_return base::Error(base::Code::kCorrupt,
                          fmt::format("insert into directory: the map says that block {} has free "
                                      "slots, but it is full",
                                      number));
  }
  uint32_t unused =
      FindBlock(map->bytes(), DirectoryBlockKind::kNone, HintOf(DirectoryBlockKind::kNone), count);
  HintOf(DirectoryBlockKind::kNone) = unused;
  if (unused < count && unused == insert.record_block_) {
    unused = FindBlock(map->bytes(), DirectoryBlockKind::kNone, unused + 1, count);
  }
  if (unused < count) {
    CO_TRY_STATUS(co_await CheckUnused(unused, insert.pieces_));
    co_return unused;
  }
  const uint32_t added = count + insert.new_block_count_;
  if (added >= kDirectoryBlocksMax) {
    co_return base::Error(base::Code::kNoSpace,
                          fmt::format("insert into directory: all of its {} blocks are full",
                                      kDirectoryBlocksMax - 1));
  }
  if (GetMapNibble(map->bytes(), added).kind != DirectoryBlockKind::kNone) {
    co_return base::Error(base::Code::kCorrupt,
                          fmt::format("insert into directory: the map says that block {} is in "
                                      "use, but the file ends before it",
                                      added));
  }
  ++insert.new_block_count_;
  co_return added;
}

// Pins a block that the map calls unused, unless the block itself says that it is not.
base::Task<base::Status> Directory::CheckUnused(uint32_t number, PinnedPieces& pieces) {
  CO_TRY(const BlockRef block, co_await Pin(kDirectoryHeaderPieces + number, pieces));
  const auto header = base::LoadAs<DirectoryBlockHeader>(block->bytes());
  const bool holds_slots = header.version == 1 && header.free_count < header.slot_count &&
                           (header.kind() == DirectoryBlockKind::kRecords ||
                            header.kind() == DirectoryBlockKind::kLinks);
  if (!holds_slots) co_return base::Ok();
  co_return base::Error(base::Code::kCorrupt,
                        fmt::format("insert into directory: the map says that block {} is unused, "
                                    "but {} of its slots are used",
                                    number, header.slot_count - header.free_count));
}

base::Task<base::Result<PreparedRemove>> Directory::PrepareRemove(std::string_view name) {
  PreparedRemove removal;
  Chain chain;
  CO_TRY_STATUS(co_await PinChain(name, removal.pieces_, chain));
  if (chain.match.is_none()) co_return base::Code::kNotFound;
  removal.bucket_ = KeyOfName(name, is_root_).bucket;
  removal.location_ = chain.match;
  removal.target_ = chain.target;
  co_return removal;
}

base::Task<base::Result<PreparedReplace>> Directory::PrepareReplace(std::string_view name) {
  PreparedReplace replacement;
  Chain chain;
  CO_TRY_STATUS(co_await PinChain(name, replacement.pieces_, chain));
  if (chain.match.is_none()) co_return base::Code::kNotFound;
  replacement.location_ = chain.match;
  replacement.target_ = chain.target;
  co_return replacement;
}

base::Task<base::Result<PreparedSetParent>> Directory::PrepareSetParent() {
  PreparedSetParent change;
  CO_TRY(const DirectoryHeader header, co_await PinForChange(change.pieces_));
  static_cast<void>(header);
  co_return change;
}

// --- Applying: no reading, no errors. Blocks are asked for by number each time, since growing the
// file may give a piece another place.

void Directory::Apply(Transaction& transaction, const PreparedInsert& insert,
                      DirectoryTarget target) {
  CHECK(insert.change_count_ == change_count_);
  ++change_count_;
  if (insert.new_block_count_ > 0) file_.Extend(transaction, insert.new_block_count_);
  const Location location =
      Allocate(transaction, DirectoryBlockKind::kRecords, insert.record_block_);
  const DirectoryRecord record =
      MakeRecord(target.type, target.address, target.generation, insert.key_.record_hash,
                 RecordFileOffset(location.block, location.slot), insert.name_);
  base::StoreAs(ModifyBlock(transaction, location.block), RecordOffsetInBlock(location.slot),
                record);
  AddLink(transaction, insert, location);
  AddToEntryCount(transaction, 1);
}

void Directory::Apply(Transaction& transaction, const PreparedRemove& removal) {
  ++change_count_;
  DropLink(transaction, removal.bucket_, removal.location_);
  Release(transaction, removal.location_);
  AddToEntryCount(transaction, -1);
}

void Directory::Apply(Transaction& transaction, const PreparedReplace& replacement,
                      DirectoryTarget target) {
  const MetadataSpan block = ModifyBlock(transaction, replacement.location_.block);
  const uint32_t offset = RecordOffsetInBlock(replacement.location_.slot);
  auto record = base::LoadAs<DirectoryRecord>(block, offset);
  record.type_value = static_cast<uint32_t>(target.type);
  record.fd = target.address.raw();
  record.generation = target.generation;
  base::StoreAs(block, offset, record);
}

void Directory::Apply(Transaction& transaction, const PreparedSetParent&, FdAddress parent,
                      uint32_t parent_generation) {
  const MetadataSpan header = Modify(transaction, 0);
  auto record = base::LoadAs<DirectoryRecord>(header, offsetof(DirectoryHeader, dot_dot));
  record.fd = parent.raw();
  record.generation = parent_generation;
  base::StoreAs(header, offsetof(DirectoryHeader, dot_dot), record);
}

MetadataSpan Directory::Modify(Transaction& transaction, uint64_t piece_index) {
  const BlockRef block = file_.LoadedPiece(piece_index);
  return file_.Modify(transaction, *block);
}

void Directory::AddToEntryCount(Transaction& transaction, int difference) {
  const MetadataSpan header = Modify(transaction, 0);
  AddToCounter(header, offsetof(DirectoryHeader, entry_count), difference);
  AddToCounter(header, offsetof(DirectoryHeader, allocated_count), difference);
}

void Directory::StoreNibble(Transaction& transaction, uint32_t number, MapNibble nibble) {
  const BlockRef map = LoadedBlock(0);
  if (GetMapNibble(map->bytes(), number) == nibble) return;
  SetMapNibble(ModifyBlock(transaction, 0), number, nibble);
}

// Takes a slot of the block, which becomes one of `kind` if it was unused.
Location Directory::Allocate(Transaction& transaction, DirectoryBlockKind kind, uint32_t number) {
  const BlockRef map = LoadedBlock(0);
  const MetadataSpan block = ModifyBlock(transaction, number);
  if (GetMapNibble(map->bytes(), number).kind != kind) EncodeEmptyBlock(kind, block);
  const uint32_t slot = TakeSlot(block);
  StoreNibble(transaction, number, {.kind = kind, .has_free = HasFreeSlot(block)});
  uint32_t& hint = HintOf(kind);
  hint = std::min(hint, number);
  return {kind, number, slot};
}

void Directory::Release(Transaction& transaction, Location location) {
  ReleaseSlot(ModifyBlock(transaction, location.block), location.kind, location.slot);
  StoreNibble(transaction, location.block, {.kind = location.kind, .has_free = true});
  uint32_t& hint = HintOf(location.kind);
  hint = std::min(hint, location.block);
}

LinkGroup Directory::LoadGroup(Location location) {
  const BlockRef block = LoadedBlock(location.block);
  return base::LoadAs<LinkGroup>(block->bytes(), LinkGroupOffsetInBlock(location.slot));
}

void Directory::StoreGroup(Transaction& transaction, Location location, const LinkGroup& group) {
  base::StoreAs(ModifyBlock(transaction, location.block), LinkGroupOffsetInBlock(location.slot),
                group);
}

Location Directory::LoadBucket(uint32_t bucket) {
  const BlockRef table = file_.LoadedPiece(HashSlotPiece(bucket));
  return GetHashSlot(table->bytes(), bucket);
}

void Directory::StoreBucket(Transaction& transaction, uint32_t bucket, Location location) {
  SetHashSlot(Modify(transaction, HashSlotPiece(bucket)), bucket, location);
}

void Directory::AddLink(Transaction& transaction, const PreparedInsert& insert, Location record) {
  const uint32_t bucket = insert.key_.bucket;
  const Location head = LoadBucket(bucket);
  if (head.is_none()) return StoreBucket(transaction, bucket, record);
  if (head.kind == DirectoryBlockKind::kRecords) {
    return AddSecondLink(transaction, insert, head, record);
  }
  Location at = head;
  LinkGroup group = LoadGroup(at);
  while (group.free_count == 0 && group.next_group != 0) {
    at = Location::Decode(group.next_group);
    group = LoadGroup(at);
  }
  if (group.free_count > 0) {
    AppendLink(group, record, insert.key_.link_hash);
    return StoreGroup(transaction, at, group);
  }
  const Location added = Allocate(transaction, DirectoryBlockKind::kLinks, insert.link_block_);
  LinkGroup tail = MakeLinkGroup(bucket);
  AppendLink(tail, record, insert.key_.link_hash);
  StoreGroup(transaction, added, tail);
  group.next_group = added.Encode();
  StoreGroup(transaction, at, group);
}

// A bucket that pointed straight at its only record gets a link group for two.
void Directory::AddSecondLink(Transaction& transaction, const PreparedInsert& insert,
                              Location first, Location second) {
  const BlockRef block = LoadedBlock(first.block);
  const auto record =
      base::LoadAs<DirectoryRecord>(block->bytes(), RecordOffsetInBlock(first.slot));
  LinkGroup group = MakeLinkGroup(insert.key_.bucket);
  AppendLink(group, first, KeyOfName(record.name(), is_root_).link_hash);
  AppendLink(group, second, insert.key_.link_hash);
  const Location location = Allocate(transaction, DirectoryBlockKind::kLinks, insert.link_block_);
  StoreGroup(transaction, location, group);
  StoreBucket(transaction, insert.key_.bucket, location);
}

// Takes the link to `record` out of its chain, and out goes a group that has no other.
void Directory::DropLink(Transaction& transaction, uint32_t bucket, Location record) {
  Location at = LoadBucket(bucket);
  if (at == record) return StoreBucket(transaction, bucket, Location());
  Location previous;
  LinkGroup group = LoadGroup(at);
  uint32_t position = FindLink(group, record);
  while (position == UsedLinks(group)) {
    CHECK(group.next_group != 0);
    previous = at;
    at = Location::Decode(group.next_group);
    group = LoadGroup(at);
    position = FindLink(group, record);
  }
  RemoveLink(group, position);
  if (UsedLinks(group) > 0) {
    StoreGroup(transaction, at, group);
  } else {
    const Location next = Location::Decode(group.next_group);
    if (previous.is_none()) {
      StoreBucket(transaction, bucket, next);
    } else {
      LinkGroup before = LoadGroup(previous);
      before.next_group = next.Encode();
      StoreGroup(transaction, previous, before);
    }
    Release(transaction, at);
  }
  CollapseChain(transaction, bucket);
}

// A bucket left with one name points straight at its record again.
void Directory::CollapseChain(Transaction& transaction, uint32_t bucket) {
  const Location head = LoadBucket(bucket);
  if (head.kind != DirectoryBlockKind::kLinks) return;
  const LinkGroup group = LoadGroup(head);
  if (group.next_group != 0 || UsedLinks(group) != 1) return;
  StoreBucket(transaction, bucket, Location::Decode(group.links[0].location));
  Release(transaction, head);
}

// --- Both steps in one

base::Task<base::Status> Directory::Insert(Transaction& transaction, std::string_view name,
                                           DirectoryTarget target) {
  CO_TRY(const PreparedInsert insert, co_await PrepareInsert(name));
  Apply(transaction, insert, target);
  co_return base::Ok();
}

base::Task<base::Status> Directory::Remove(Transaction& transaction, std::string_view name) {
  CO_TRY(const PreparedRemove removal, co_await PrepareRemove(name));
  Apply(transaction, removal);
  co_return base::Ok();
}

base::Task<base::Status> Directory::Replace(Transaction& transaction, std::string_view name,
                                            DirectoryTarget target) {
  CO_TRY(const PreparedReplace replacement, co_await PrepareReplace(name));
  Apply(transaction, replacement, target);
  co_return base::Ok();
}

}  // namespace vmfs
