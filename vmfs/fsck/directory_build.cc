#include "vmfs/fsck/directory_build.h"

#include <algorithm>
#include <map>
#include <set>

#include "vmfs/directory/slots.h"

namespace vmfs::fsck {
namespace {

constexpr uint32_t kSlotMax = kRecordsPerBlock;

// The contents while they are put together.
class Builder {
 public:
  Builder(const BuiltDirectory& directory, uint64_t bytes_min) : directory_(directory) {
    const uint64_t least = kDirectoryHeaderBytes + kMetadataBlockBytes;
    bytes_.resize(std::max(least, bytes_min / kMetadataBlockBytes * kMetadataBlockBytes));
  }

  base::Result<std::vector<std::byte>> Run() {
    base::StoreAs(All(), 0, MakeDirectoryHeader(directory_.dot, directory_.dot_dot));
    EncodeFirstMapBlock(/*with_record_block=*/false, Block(0));
    KeepPlaces();
    TRY_STATUS(PlaceOthers());
    TRY_STATUS(LinkNames());
    FillGaps();
    WriteMap();
    auto header = base::LoadAs<DirectoryHeader>(bytes_);
    header.entry_count = static_cast<uint32_t>(directory_.names.size()) + 2;
    header.allocated_count = uint32_t{header.entry_count};
    base::StoreAs(All(), 0, header);
    return std::move(bytes_);
  }

 private:
  std::span<std::byte> All() { return bytes_; }
  MetadataSpan Block(uint32_t block) {
    return All().subspan(DirectoryBlockOffset(block)).first<kMetadataBlockBytes>();
  }
  uint32_t block_count() const {
    return static_cast<uint32_t>((bytes_.size() - kDirectoryHeaderBytes) / kMetadataBlockBytes);
  }

  void MakeBlock(uint32_t block, DirectoryBlockKind kind) {
    if (!kinds_.emplace(block, kind).second) return;
    EncodeEmptyBlock(kind, Block(block));
  }

  // The lowest block without a kind; the contents grow when there is none.
  base::Result<uint32_t> TakeBlock(DirectoryBlockKind kind) {
    uint32_t block = next_block_;
    while (kinds_.contains(block)) ++block;
    if (block >= kDirectoryBlocksMax) {
      return base::Error(base::Code::kNoSpace, "directory: more names than one map covers");
    }
    next_block_ = block + 1;
    if (block >= block_count()) bytes_.resize(DirectoryBlockOffset(block + 1));
    MakeBlock(block, kind);
    return block;
  }

  void Store(const BuiltName& name, Location place) {
    const uint64_t hash = HashName(name.name);
    const auto system = directory_.is_root ? SystemNameBucket(name.name) : std::nullopt;
    const uint32_t bucket = system.value_or(HashBucket(hash, directory_.is_root));
    base::StoreAs(Block(place.block), RecordOffsetInBlock(place.slot),
                  MakeRecord(static_cast<InodeType>(name.type), FdAddress(name.fd),
                             name.generation, system ? 0 : RecordHash(hash),
                             RecordFileOffset(place.block, place.slot), name.name));
    buckets_[bucket].push_back({place.Encode(), LinkHash(hash)});
  }

  // Records stay where they are, so that little is written.
  void KeepPlaces() {
    std::set<uint32_t> taken;
    for (const BuiltName& name : directory_.names) {
      const bool fits = name.place && name.place->block > 0 &&
                        name.place->block < std::min(block_count(), kDirectoryBlocksMax) &&
                        name.place->slot < kSlotMax && taken.insert(name.place->Encode()).second;
      if (!fits) {
        others_.push_back(&name);
        continue;
      }
      MakeBlock(name.place->block, DirectoryBlockKind::kRecords);
      auto header = base::LoadAs<DirectoryBlockHeader>(Block(name.place->block));
      header.Mark(name.place->slot, /*is_free_now=*/false);
      base::StoreAs(std::span<std::byte>(Block(name.place->block)), 0, header);
      Store(name, *name.place);
    }
  }

  base::Status PlaceOthers() {
    if (directory_.has_records && kinds_.empty()) {
      TRY(const uint32_t first, TakeBlock(DirectoryBlockKind::kRecords));
      (void)first;
    }
    auto candidate = kinds_.begin();
    for (const BuiltName* name : others_) {
      while (candidate != kinds_.end() && !HasFreeSlot(Block(candidate->first))) ++candidate;
      uint32_t block = 0;
      if (candidate != kinds_.end()) {
        block = candidate->first;
      } else {
        TRY(block, TakeBlock(DirectoryBlockKind::kRecords));
        candidate = kinds_.find(block);
      }
      const uint32_t slot = TakeSlot(Block(block));
      Store(*name, {DirectoryBlockKind::kRecords, block, slot});
    }
    return base::Ok();
  }

  void SetBucket(uint32_t bucket, Location location) {
    const uint64_t piece = uint64_t{HashSlotPiece(bucket)} * kMetadataBlockBytes;
    SetHashSlot(All().subspan(piece).first<kMetadataBlockBytes>(), bucket, location);
  }

  base::Status LinkNames() {
    for (const auto& [bucket, links] : buckets_) {
      if (links.size() == 1) {
        SetBucket(bucket, Location::Decode(links.front().location));
        continue;
      }
      // The chain is built from its end, so that each group knows the next.
      Location next;
      for (size_t end = links.size(); end > 0;) {
        const size_t begin = (end - 1) / kLinksPerGroup * kLinksPerGroup;
        LinkGroup group = MakeLinkGroup(bucket);
        for (size_t i = begin; i < end; ++i) {
          AppendLink(group, Location::Decode(links[i].location), links[i].hash);
        }
        group.next_group = next.Encode();
        TRY(next, StoreGroup(group));
        end = begin;
      }
      SetBucket(bucket, next);
    }
    return base::Ok();
  }

  base::Result<Location> StoreGroup(const LinkGroup& group) {
    if (link_block_ == 0 || !HasFreeSlot(Block(link_block_))) {
      TRY(link_block_, TakeBlock(DirectoryBlockKind::kLinks));
    }
    const uint32_t slot = TakeSlot(Block(link_block_));
    base::StoreAs(Block(link_block_), LinkGroupOffsetInBlock(slot), group);
    return Location{DirectoryBlockKind::kLinks, link_block_, slot};
  }

  // vmfs/FORMAT.md, "Rules for readers": no unused block before a used one.
  void FillGaps() {
    const uint32_t last = kinds_.empty() ? 0 : kinds_.rbegin()->first;
    for (uint32_t block = 1; block < last; ++block) {
      MakeBlock(block, DirectoryBlockKind::kRecords);
    }
  }

  void WriteMap() {
    for (const auto& [block, kind] : kinds_) {
      SetMapNibble(Block(0), block, {kind, HasFreeSlot(Block(block)), false});
    }
  }

  struct Link {
    uint32_t location;
    uint16_t hash;
  };

  const BuiltDirectory& directory_;
  std::vector<std::byte> bytes_;
  std::map<uint32_t, DirectoryBlockKind> kinds_;  // of blocks behind the map
  std::map<uint32_t, std::vector<Link>> buckets_;
  std::vector<const BuiltName*> others_;
  uint32_t next_block_ = 1;
  uint32_t link_block_ = 0;
};

}  // namespace

std::vector<FoundRecord> FindRecords(std::span<const std::byte> bytes) {
  std::vector<FoundRecord> found;
  if (bytes.size() < kDirectoryHeaderBytes) return found;
  const uint64_t blocks = (bytes.size() - kDirectoryHeaderBytes) / kMetadataBlockBytes;
  for (uint32_t block = 0; block < blocks; ++block) {
    const auto all = bytes.subspan(DirectoryBlockOffset(block)).first<kMetadataBlockBytes>();
    if (IsZero(all)) continue;
    const auto header = DecodeBlockHeader(all, DirectoryBlockKind::kRecords);
    for (uint32_t slot = 0; slot < kRecordsPerBlock; ++slot) {
      const auto piece = all.subspan(RecordOffsetInBlock(slot), sizeof(DirectoryRecord));
      if (IsZero(piece)) continue;
      FoundRecord record;
      record.place = {DirectoryBlockKind::kRecords, block, slot};
      record.record = base::LoadAs<DirectoryRecord>(piece);
      record.is_whole = DecodeRecord(piece, RecordFileOffset(block, slot)).has_value();
      record.is_marked = header && !header->is_free(slot);
      // What is no record block needs whole records to be taken for one.
      if (record.is_whole || header) found.push_back(record);
    }
  }
  return found;
}

base::Result<std::vector<std::byte>> BuildDirectory(const BuiltDirectory& directory,
                                                    uint64_t bytes_min) {
  return Builder(directory, bytes_min).Run();
}

}  // namespace vmfs::fsck
