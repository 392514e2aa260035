#include "vmfs/directory/directory.h"

#include <algorithm>
#include <cstddef>

#include <fmt/format.h>

#include "fs/base/on_disk.h"
#include "vmfs/directory/slots.h"

namespace vmfs {
namespace {

DirectoryTarget TargetOf(const DirectoryRecord& record) {
  return {static_cast<InodeType>(uint32_t{record.type_value}), record.address(), record.generation};
}

base::Error Corrupt(std::string message) {
  return base::Error(base::Code::kCorrupt, std::move(message));
}

// Finds a cycle in a chain after at most three times its length: it compares each place with one
// that was remembered earlier, ever more seldom (Brent's method).
class CycleDetector {
 public:
  // Whether `location` was met before.
  bool Met(Location location) {
    if (location == remembered_) return true;
    if (++steps_ == next_power_) {
      remembered_ = location;
      next_power_ *= 2;
    }
    return false;
  }

 private:
  Location remembered_;
  uint64_t steps_ = 0;
  uint64_t next_power_ = 1;
};

// "." has place 0 and ".." place 1; a record of block b, slot s has place b x 14 + s.
constexpr uint64_t kParentPlace = 1;
constexpr uint64_t kFirstRecordPlace = kRecordsPerBlock;

uint64_t PlaceInListing(Location location) {
  return uint64_t{location.block} * kRecordsPerBlock + location.slot;
}

// Decodes the record or link group at `location` of a block whose header was checked.
base::Result<DirectoryRecord> ReadRecord(ConstMetadataSpan block, Location location) {
  if (base::LoadAs<DirectoryBlockHeader>(block).is_free(location.slot)) {
    return Corrupt(fmt::format("read directory record in block {}, slot {}: the slot is free",
                               location.block, location.slot));
  }
  TRY(const DirectoryRecord record,
      DecodeRecord(block.subspan(RecordOffsetInBlock(location.slot), sizeof(DirectoryRecord)),
                   RecordFileOffset(location.block, location.slot)));
  const std::string_view name = record.name();
  if (name == "." || name == ".." || name.find('/') != name.npos) {
    return Corrupt(fmt::format("read directory record in block {}, slot {}: \"{}\" is no name",
                               location.block, location.slot, name));
  }
  return record;
}

base::Result<LinkGroup> ReadLinkGroup(ConstMetadataSpan block, Location location, uint32_t bucket) {
  if (base::LoadAs<DirectoryBlockHeader>(block).is_free(location.slot)) {
    return Corrupt(fmt::format("read link group in directory block {}, slot {}: the slot is free",
                               location.block, location.slot));
  }
  return DecodeLinkGroup(block.subspan(LinkGroupOffsetInBlock(location.slot), sizeof(LinkGroup)),
                         bucket);
}

}  // namespace

uint32_t Directory::BlockCount() const {
  // Block numbers have 22 bits; what lies behind cannot be referred to.
  constexpr uint64_t kBlockNumbers = uint64_t{1} << 22;
  const uint64_t pieces = file_.size_bytes() / kMetadataBlockBytes;
  return static_cast<uint32_t>(
      std::min(pieces - std::min<uint64_t>(pieces, kDirectoryHeaderPieces), kBlockNumbers));
}

base::Task<base::Result<BlockRef>> Directory::Pin(uint64_t piece_index, PinnedPieces& pieces) {
  CO_TRY(const BlockRef block, co_await file_.Piece(piece_index));
  pieces.Add(piece_index, block);
  co_return block;
}

base::Task<base::Result<DirectoryHeader>> Directory::PinHeader(PinnedPieces& pieces) {
  if (BlockCount() == 0) {
    co_return Corrupt(fmt::format("read directory: {} bytes, too short for a header and a map",
                                  file_.size_bytes()));
  }
  CO_TRY(const BlockRef block, co_await Pin(0, pieces));
  CO_TRY(const DirectoryHeader header, DecodeDirectoryHeader(block->bytes()));
  header_checked_ = true;
  co_return header;
}

base::Task<base::Result<BlockRef>> Directory::PinSlotBlock(Location location,
                                                           PinnedPieces& pieces) {
  if (location.block == 0 || location.block >= BlockCount() ||
      location.slot >= SlotCount(location.kind)) {
    co_return Corrupt(fmt::format("follow directory location: kind {}, block {} of {}, slot {}",
                                  static_cast<int>(location.kind), location.block, BlockCount(),
                                  location.slot));
  }
  CO_TRY(const BlockRef block, co_await Pin(kDirectoryHeaderPieces + location.block, pieces));
  CO_TRY(const DirectoryBlockHeader header, DecodeBlockHeader(block->bytes(), location.kind));
  static_cast<void>(header);
  co_return block;
}

base::Task<base::Status> Directory::MatchRecord(std::string_view name, Location location,
                                                PinnedPieces& pieces, Chain& chain) {
  if (location.kind != DirectoryBlockKind::kRecords) {
    co_return Corrupt(fmt::format("follow directory link: kind {}, expected a record",
                                  static_cast<int>(location.kind)));
  }
  CO_TRY(const BlockRef block, co_await PinSlotBlock(location, pieces));
  CO_TRY(const DirectoryRecord record, ReadRecord(block->bytes(), location));
  if (record.name() == name) {
    chain.match = location;
    chain.target = TargetOf(record);
  }
  co_return base::Ok();
}

base::Task<base::Status> Directory::MatchGroup(std::string_view name, NameKey key,
                                               const LinkGroup* group, PinnedPieces& pieces,
                                               Chain& chain) {
  for (uint32_t i = 0; i < UsedLinks(*group) && chain.match.is_none(); ++i) {
    if (group->links[i].hash != key.link_hash) continue;
    // Kept only if it is the match: a bucket may hold any number of names with this hash.
    PinnedPieces candidate;
    const Location location = Location::Decode(group->links[i].location);
    CO_TRY_STATUS(co_await MatchRecord(name, location, candidate, chain));
    if (!chain.match.is_none()) pieces.Add(std::move(candidate));
  }
  co_return base::Ok();
}

// Looks for `name` along the chain of its bucket. The table piece and all link blocks met are
// pinned; so are the match's record block, and the only record of a bucket without link groups.
base::Task<base::Status> Directory::Walk(std::string_view name, NameKey key, WalkScope scope,
                                         PinnedPieces& pieces, Chain& chain) {
  CO_TRY(const BlockRef table, co_await Pin(HashSlotPiece(key.bucket), pieces));
  Location at = GetHashSlot(table->bytes(), key.bucket);
  chain.is_empty = at.is_none();
  if (at.kind == DirectoryBlockKind::kRecords) {
    const base::Status status = co_await MatchRecord(name, at, pieces, chain);
    co_return status;
  }
  CycleDetector detector;
  while (!at.is_none()) {
    if (at.kind != DirectoryBlockKind::kLinks || detector.Met(at)) {
      co_return Corrupt(
          fmt::format("walk directory bucket {}: {} at block {}, slot {}", key.bucket,
                      at.kind == DirectoryBlockKind::kLinks ? "a cycle" : "not a link group",
                      at.block, at.slot));
    }
    CO_TRY(const BlockRef block, co_await PinSlotBlock(at, pieces));
    CO_TRY(const LinkGroup group, ReadLinkGroup(block->bytes(), at, key.bucket));
    if (group.free_count > 0) chain.has_free_link = true;
    CO_TRY_STATUS(co_await MatchGroup(name, key, &group, pieces, chain));
    if (scope == WalkScope::kUntilMatch && !chain.match.is_none()) break;
    at = Location::Decode(group.next_group);
  }
  co_return base::Ok();
}

base::Task<base::Result<DirectoryTarget>> Directory::Find(std::string_view name) {
  CO_TRY_STATUS(ValidateName(name));
  PinnedPieces pieces;
  if (!header_checked_) {
    CO_TRY(const DirectoryHeader header, co_await PinHeader(pieces));
    static_cast<void>(header);
  }
  Chain chain;
  CO_TRY_STATUS(
      co_await Walk(name, KeyOfName(name, is_root_), WalkScope::kUntilMatch, pieces, chain));
  if (chain.match.is_none()) co_return base::Code::kNotFound;
  co_return chain.target;
}

base::Task<base::Result<DirectoryTarget>> Directory::Self() {
  PinnedPieces pieces;
  CO_TRY(const DirectoryHeader header, co_await PinHeader(pieces));
  CO_TRY(const DirectoryRecord record,
         DecodeRecord(base::BytesOf(header.dot), offsetof(DirectoryHeader, dot)));
  co_return TargetOf(record);
}

base::Task<base::Result<DirectoryTarget>> Directory::Parent() {
  PinnedPieces pieces;
  CO_TRY(const DirectoryHeader header, co_await PinHeader(pieces));
  CO_TRY(const DirectoryRecord record,
         DecodeRecord(base::BytesOf(header.dot_dot), offsetof(DirectoryHeader, dot_dot)));
  co_return TargetOf(record);
}

base::Task<base::Result<uint32_t>> Directory::EntryCount() {
  PinnedPieces pieces;
  CO_TRY(const DirectoryHeader header, co_await PinHeader(pieces));
  co_return header.entry_count - kDotEntries;
}

base::Task<base::Result<bool>> Directory::IsEmpty() {
  CO_TRY(const uint32_t count, co_await EntryCount());
  co_return count == 0;
}

// Hands out "." and ".." as far as the cursor asks for them; answers whether the sink wants more.
base::Task<base::Result<bool>> Directory::ListDots(uint64_t cursor, DirectoryListSink& sink) {
  if (cursor == 0) {
    CO_TRY(const DirectoryTarget self, co_await Self());
    const ListedEntry entry{".", self, kParentPlace};
    if (!sink.Add(entry)) co_return false;
  }
  if (cursor <= kParentPlace) {
    CO_TRY(const DirectoryTarget parent, co_await Parent());
    const ListedEntry entry{"..", parent, kParentPlace + 1};
    if (!sink.Add(entry)) co_return false;
  }
  co_return true;
}

base::Task<base::Result<bool>> Directory::ListBlock(uint32_t number, uint32_t first_slot,
                                                    DirectoryListSink& sink) {
  PinnedPieces pieces;
  CO_TRY(const BlockRef block,
         co_await PinSlotBlock({DirectoryBlockKind::kRecords, number, 0}, pieces));
  const auto header = base::LoadAs<DirectoryBlockHeader>(block->bytes());
  for (uint32_t slot = first_slot; slot < kRecordsPerBlock; ++slot) {
    if (header.is_free(slot)) continue;
    const Location location{DirectoryBlockKind::kRecords, number, slot};
    CO_TRY(const DirectoryRecord record, ReadRecord(block->bytes(), location));
    const ListedEntry entry{record.name(), TargetOf(record), PlaceInListing(location) + 1};
    if (!sink.Add(entry)) co_return false;
  }
  co_return true;
}

// The map that covers block `number`, which lies within the maps the header names.
base::Task<base::Result<BlockRef>> Directory::MapOf(const DirectoryHeader* header,
                                                    uint32_t number) {
  const uint32_t map_number = header->map_blocks[number / kBlocksPerMapBlock];
  if (map_number >= BlockCount()) {
    co_return Corrupt(fmt::format("read directory header: allocation map in block {} of {}",
                                  map_number, BlockCount()));
  }
  CO_TRY(const BlockRef map, co_await file_.Piece(kDirectoryHeaderPieces + map_number));
  CO_TRY(const DirectoryBlockHeader checked,
         DecodeBlockHeader(map->bytes(), DirectoryBlockKind::kMap));
  static_cast<void>(checked);
  co_return map;
}

base::Task<base::Status> Directory::List(uint64_t cursor, DirectoryListSink& sink) {
  PinnedPieces pieces;
  CO_TRY(const DirectoryHeader header, co_await PinHeader(pieces));
  CO_TRY(const bool wants_entries, co_await ListDots(cursor, sink));
  if (!wants_entries) co_return base::Ok();
  const uint64_t start = std::max(cursor, kFirstRecordPlace);
  const uint64_t end = std::min(BlockCount(), header.map_block_count * kBlocksPerMapBlock);
  auto first_slot = static_cast<uint32_t>(start % kRecordsPerBlock);
  BlockRef map;
  for (uint64_t i = start / kRecordsPerBlock; i < end; ++i, first_slot = 0) {
    const auto number = static_cast<uint32_t>(i);
    if (!map || number % kBlocksPerMapBlock == 0) {
      CO_TRY(map, co_await MapOf(&header, number));
    }
    const MapNibble nibble = GetMapNibble(map->bytes(), number % kBlocksPerMapBlock);
    if (nibble.kind != DirectoryBlockKind::kRecords) continue;
    CO_TRY(const bool wants_more, co_await ListBlock(number, first_slot, sink));
    if (!wants_more) break;
  }
  co_return base::Ok();
}

}  // namespace vmfs
