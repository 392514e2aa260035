#include "vmfs/fsck/directory_bytes.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace vmfs::fsck {
namespace {

constexpr uint8_t kUsed = 1;
constexpr uint8_t kReached = 2;

// One directory in memory; the passes run in the order of the methods.
class Walk {
 public:
  Walk(std::span<const std::byte> bytes, DirectoryTraits traits, DirectorySink& sink)
      : bytes_(bytes), is_root_(traits.is_root), is_ours_(traits.is_ours), sink_(sink) {}

  void Run() {
    if (!LoadHeader()) return;
    LoadBlocks();
    if (is_ours_) CheckGaps();
    CheckRecords();
    CheckBuckets();
    CheckReached();
    CheckNames();
  }

 private:
  struct Block {
    DirectoryBlockKind kind = DirectoryBlockKind::kNone;
    DirectoryBlockHeader header;
    std::vector<uint8_t> slots;  // kUsed, kReached
  };

  template <typename... Args>
  void Error(FindingCode code, fmt::format_string<Args...> format, Args&&... args) {
    sink_.Problem(FindingSeverity::kError, code, fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void Warning(FindingCode code, fmt::format_string<Args...> format, Args&&... args) {
    sink_.Problem(FindingSeverity::kWarning, code,
                  fmt::format(format, std::forward<Args>(args)...));
  }
  ConstMetadataSpan Piece(uint64_t offset) const {
    return bytes_.subspan(offset).first<kMetadataBlockBytes>();
  }
  ConstMetadataSpan BlockBytes(uint32_t block) const { return Piece(DirectoryBlockOffset(block)); }
  DirectoryRecord RecordAt(uint32_t block, uint32_t slot) const {
    return base::LoadAs<DirectoryRecord>(BlockBytes(block), RecordOffsetInBlock(slot));
  }
  std::optional<uint32_t> SystemBucket(std::string_view name) const {
    return is_root_ ? SystemNameBucket(name) : std::nullopt;
  }
  uint32_t BucketOf(std::string_view name) const {
    return SystemBucket(name).value_or(HashBucket(HashName(name), is_root_));
  }
  // The used slot a location names; null, with a finding, when there is none.
  uint8_t* Find(Location location, DirectoryBlockKind kind, uint32_t bucket);

  bool LoadHeader();
  MapNibble NibbleOf(uint32_t block) const;
  void LoadBlocks();
  void LoadBlock(uint32_t block, MapNibble nibble);
  void CheckGaps();
  void CheckRecords();
  void CheckRecord(uint32_t block, uint32_t slot);
  void CheckBuckets();
  void ReachRecord(Location location, uint32_t bucket, std::optional<uint16_t> link_hash);
  void FollowGroups(Location location, uint32_t bucket);
  void CheckReached();
  void CheckNames();

  const std::span<const std::byte> bytes_;
  const bool is_root_;
  const bool is_ours_;
  DirectorySink& sink_;
  DirectoryHeader header_;
  std::vector<Block> blocks_;
  std::vector<std::string> names_;
};

bool Walk::LoadHeader() {
  if (bytes_.size() < kDirectoryHeaderBytes + kMetadataBlockBytes ||
      bytes_.size() % kMetadataBlockBytes != 0) {
    Error(FindingCode::kDirectory, "{} bytes are no directory", bytes_.size());
    return false;
  }
  const auto header = DecodeDirectoryHeader(bytes_);
  if (!header) {
    Error(FindingCode::kDirectory, "{}", header.error().message());
    return false;
  }
  header_ = *header;
  blocks_.resize((bytes_.size() - kDirectoryHeaderBytes) / kMetadataBlockBytes);
  sink_.OwnRecords(header_.dot, header_.dot_dot);
  return true;
}

// What the allocation map says of a block; blocks no map block covers count as never written.
MapNibble Walk::NibbleOf(uint32_t block) const {
  const uint32_t map_index = block / kBlocksPerMapBlock;
  const MapNibble never{DirectoryBlockKind::kNone, false, true};
  if (map_index >= header_.map_block_count) return never;
  const uint32_t map_block = header_.map_blocks[map_index];
  if (map_block >= blocks_.size()) return never;
  return GetMapNibble(BlockBytes(map_block), block % kBlocksPerMapBlock);
}

void Walk::LoadBlocks() {
  for (uint32_t i = 0; i < header_.map_block_count; ++i) {
    const uint32_t map_block = header_.map_blocks[i];
    if (map_block >= blocks_.size() || NibbleOf(map_block).kind != DirectoryBlockKind::kMap) {
      Error(FindingCode::kDirectoryMap, "map block {} is block {}, which is none", i, map_block);
    }
  }
  for (uint32_t block = 0; block < blocks_.size(); ++block) LoadBlock(block, NibbleOf(block));
  const uint64_t covered = uint64_t{header_.map_block_count} * kBlocksPerMapBlock;
  for (uint64_t block = blocks_.size(); block < covered; ++block) {
    const MapNibble nibble = NibbleOf(static_cast<uint32_t>(block));
    if (nibble.kind == DirectoryBlockKind::kNone) continue;
    Error(FindingCode::kDirectoryMap, "the map has a block {} behind the end", block);
    break;
  }
}

void Walk::LoadBlock(uint32_t block, MapNibble nibble) {
  if (nibble.kind == DirectoryBlockKind::kNone) return;
  const auto header = DecodeBlockHeader(BlockBytes(block), nibble.kind);
  if (!header) {
    Error(FindingCode::kDirectory, "block {}: {}", block, header.error().message());
    return;
  }
  Block& loaded = blocks_[block];
  loaded.kind = nibble.kind;
  loaded.header = *header;
  // What a map block says of slots means nothing, and may be more than its bitmap holds.
  if (nibble.kind != DirectoryBlockKind::kMap) loaded.slots.resize(header->slot_count);
  for (uint32_t slot = 0; slot < loaded.slots.size(); ++slot) {
    loaded.slots[slot] = header->is_free(slot) ? 0 : kUsed;
  }
  if (nibble.never_written || nibble.has_free != (header->free_count > 0)) {
    Error(FindingCode::kDirectoryMap,
          "block {}: the map's nibble is {:#x}, {} of its slots are free", block, nibble.Encode(),
          uint16_t{header->free_count});
  }
}

// One reader lists no record behind the first block that the map calls unused.
void Walk::CheckGaps() {
  bool is_behind_gap = false;
  uint32_t gap = 0;
  for (uint32_t block = 0; block < blocks_.size(); ++block) {
    const bool is_used = NibbleOf(block).kind != DirectoryBlockKind::kNone;
    if (is_used && is_behind_gap) {
      Error(FindingCode::kDirectoryMap, "block {} is used behind the unused block {}", block, gap);
      return;
    }
    if (!is_used && !is_behind_gap) gap = block;
    is_behind_gap = is_behind_gap || !is_used;
  }
}

void Walk::CheckRecords() {
  uint64_t count = 2;
  for (uint32_t block = 0; block < blocks_.size(); ++block) {
    if (blocks_[block].kind != DirectoryBlockKind::kRecords) continue;
    for (uint32_t slot = 0; slot < blocks_[block].slots.size(); ++slot) {
      const bool used = blocks_[block].slots[slot] != 0;
      count += used ? 1 : 0;
      if (used) {
        CheckRecord(block, slot);
      } else if (!IsZero(base::BytesOf(RecordAt(block, slot)))) {
        Warning(FindingCode::kDirectoryRecord, "block {} slot {}: free, but not zero", block, slot);
      }
    }
  }
  if (header_.entry_count != count || header_.allocated_count != count) {
    Error(FindingCode::kDirectoryCount, "says {} entries, {} allocated; there are {}",
          uint32_t{header_.entry_count}, uint32_t{header_.allocated_count}, count);
  }
}

void Walk::CheckRecord(uint32_t block, uint32_t slot) {
  const auto bytes = BlockBytes(block).subspan(RecordOffsetInBlock(slot));
  const auto record = DecodeRecord(bytes, RecordFileOffset(block, slot));
  if (!record) {
    Error(FindingCode::kDirectoryRecord, "{}", record.error().message());
    return;
  }
  const std::string_view name = record->name();
  names_.emplace_back(name);
  const bool is_bad_name = name.size() > kNameBytesMax || name == "." || name == ".." ||
                           name.find('/') != std::string_view::npos;
  if (is_bad_name) {
    Error(FindingCode::kDirectoryRecord, "block {} slot {}: the name \"{}\"", block, slot, name);
  }
  const uint32_t expected = SystemBucket(name) ? 0 : RecordHash(HashName(name));
  if (record->hash != expected) {
    Error(FindingCode::kDirectoryHash, "\"{}\": hash {:#x} in its record, expected {:#x}", name,
          uint32_t{record->hash}, expected);
  }
  sink_.Entry(*record);
}

uint8_t* Walk::Find(Location location, DirectoryBlockKind kind, uint32_t bucket) {
  const bool exists = location.kind == kind && location.block < blocks_.size() &&
                      blocks_[location.block].kind == kind &&
                      location.slot < blocks_[location.block].slots.size() &&
                      blocks_[location.block].slots[location.slot] != 0;
  if (exists) return &blocks_[location.block].slots[location.slot];
  Error(FindingCode::kDirectoryHash, "bucket {}: leads to block {} slot {}, where nothing is",
        bucket, location.block, location.slot);
  return nullptr;
}

void Walk::CheckBuckets() {
  for (uint32_t bucket = 0; bucket < kHashBucketCount; ++bucket) {
    const uint64_t piece = uint64_t{HashSlotPiece(bucket)} * kMetadataBlockBytes;
    const Location location = GetHashSlot(Piece(piece), bucket);
    if (location.is_none()) continue;
    if (location.kind == DirectoryBlockKind::kLinks) {
      FollowGroups(location, bucket);
    } else {
      ReachRecord(location, bucket, std::nullopt);
    }
  }
}

void Walk::ReachRecord(Location location, uint32_t bucket, std::optional<uint16_t> link_hash) {
  uint8_t* slot = Find(location, DirectoryBlockKind::kRecords, bucket);
  if (slot == nullptr) return;
  const DirectoryRecord record = RecordAt(location.block, location.slot);
  const std::string_view name = record.name();
  if (name.size() == record.name_bytes.size()) return;
  const bool is_right = BucketOf(name) == bucket &&
                        (!link_hash || *link_hash == LinkHash(HashName(name)));
  if (!is_right || (*slot & kReached) != 0) {
    Error(FindingCode::kDirectoryHash, "bucket {}: leads to \"{}\", which {}", bucket, name,
          is_right ? "was reached before" : "belongs to another hash");
  }
  *slot |= kReached;
}

void Walk::FollowGroups(Location location, uint32_t bucket) {
  while (!location.is_none()) {
    uint8_t* slot = Find(location, DirectoryBlockKind::kLinks, bucket);
    if (slot == nullptr) return;
    if ((*slot & kReached) != 0) {
      Error(FindingCode::kDirectoryHash, "bucket {}: link group {}/{} was reached before", bucket,
            location.block, location.slot);
      return;
    }
    *slot |= kReached;
    const auto bytes = BlockBytes(location.block).subspan(LinkGroupOffsetInBlock(location.slot));
    const auto group = DecodeLinkGroup(bytes, bucket);
    if (!group) {
      Error(FindingCode::kDirectoryHash, "{}", group.error().message());
      return;
    }
    for (uint32_t i = 0; i < kLinksPerGroup; ++i) {
      const DirectoryLink& link = group->links[i];
      const bool is_used = i < uint32_t{kLinksPerGroup} - group->free_count;
      if (is_used) {
        ReachRecord(Location::Decode(link.location), bucket, uint16_t{link.hash});
      } else if (link.location != 0) {
        Error(FindingCode::kDirectoryHash, "bucket {}: a free link that is not zero", bucket);
      }
    }
    location = Location::Decode(group->next_group);
  }
}

void Walk::CheckReached() {
  for (uint32_t block = 0; block < blocks_.size(); ++block) {
    for (uint32_t slot = 0; slot < blocks_[block].slots.size(); ++slot) {
      if (blocks_[block].slots[slot] != kUsed) continue;
      if (blocks_[block].kind == DirectoryBlockKind::kRecords) {
        Error(FindingCode::kDirectoryHash, "\"{}\" cannot be found by its hash",
              RecordAt(block, slot).name());
      } else {
        Warning(FindingCode::kDirectoryHash, "link group {}/{} belongs to no bucket", block, slot);
      }
    }
  }
}

void Walk::CheckNames() {
  std::ranges::sort(names_);
  for (auto at = std::ranges::adjacent_find(names_); at != names_.end();
       at = std::adjacent_find(at + 1, names_.end())) {
    Error(FindingCode::kDuplicateName, "the name \"{}\" stands there twice", *at);
  }
}

}  // namespace

void CheckDirectoryBytes(std::span<const std::byte> bytes, DirectoryTraits traits,
                         DirectorySink& sink) {
  Walk(bytes, traits, sink).Run();
}

}  // namespace vmfs::fsck
