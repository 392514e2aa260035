#include "tests/support/directory_verifier.h"

#include <set>

#include <fmt/format.h>

#include "fs/base/on_disk.h"
#include "vmfs/directory/name.h"
#include "vmfs/directory/slots.h"

namespace vmfs {
namespace {

class Verifier {
 public:
  Verifier(std::span<const std::byte> file, bool is_root) : file_(file), is_root_(is_root) {}

  DirectoryVerdict Run() {
    if (file_.size() < kDirectoryHeaderBytes + kMetadataBlockBytes ||
        file_.size() % kMetadataBlockBytes != 0) {
      Fault("{} bytes", file_.size());
      return std::move(verdict_);
    }
    ReadBlocks();
    for (uint32_t bucket = 0; bucket < kHashBucketCount; ++bucket) CheckBucket(bucket);
    for (const auto& [location, record] : records_) Fault("record {:#x} is in no bucket", location);
    for (const auto& [location, group] : groups_) Fault("group {:#x} is in no chain", location);
    CheckHeader();
    return std::move(verdict_);
  }

 private:
  template <typename... Arguments>
  void Fault(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    verdict_.faults.push_back(fmt::format(format, std::forward<Arguments>(arguments)...));
  }

  ConstMetadataSpan Piece(uint64_t index) const {
    return file_.subspan(index * kMetadataBlockBytes).first<kMetadataBlockBytes>();
  }

  void CheckHeader() {
    const auto header = DecodeDirectoryHeader(Piece(0));
    if (!header) return Fault("{}", header.error().message());
    const size_t expected = verdict_.entries.size() + 2;
    if (header->entry_count != expected || header->allocated_count != expected) {
      Fault("header counts {} and {} entries, there are {}", uint32_t{header->entry_count},
            uint32_t{header->allocated_count}, expected);
    }
    if (header->map_block_count != 1) Fault("{} maps", uint32_t{header->map_block_count});
  }

  void ReadBlocks() {
    const auto count =
        static_cast<uint32_t>(file_.size() / kMetadataBlockBytes) - kDirectoryHeaderPieces;
    const auto map = Piece(kDirectoryHeaderPieces);
    for (uint32_t number = 0; number < kBlocksPerMapBlock; ++number) {
      const MapNibble nibble = GetMapNibble(map, number);
      const MapNibble unused{.never_written = true};
      if (number == 0) {
        if (nibble != MapNibble{DirectoryBlockKind::kMap}) Fault("block 0 is not called a map");
      } else if (nibble.kind == DirectoryBlockKind::kRecords ||
                 nibble.kind == DirectoryBlockKind::kLinks) {
        if (number >= count) {
          Fault("block {} is in use behind the end", number);
        } else {
          ReadSlots(number, nibble);
        }
      } else if (nibble != unused) {
        Fault("block {} has nibble {:#x}", number, nibble.Encode());
      }
    }
  }

  void ReadSlots(uint32_t number, MapNibble nibble) {
    const auto block = Piece(kDirectoryHeaderPieces + number);
    const auto header = DecodeBlockHeader(block, nibble.kind);
    if (!header) return Fault("block {}: {}", number, header.error().message());
    if (nibble.never_written || nibble.has_free != (header->free_count > 0)) {
      Fault("block {}: nibble {:#x}, {} free", number, nibble.Encode(),
            uint16_t{header->free_count});
    }
    const bool is_records = nibble.kind == DirectoryBlockKind::kRecords;
    ++(is_records ? verdict_.record_block_count : verdict_.link_block_count);
    for (uint32_t slot = 0; slot < SlotCount(nibble.kind); ++slot) {
      const Location location{nibble.kind, number, slot};
      const auto bytes = block.subspan(SlotOffset(nibble.kind, slot), SlotBytes(nibble.kind));
      if (header->is_free(slot)) {
        if (!IsZero(bytes)) Fault("free slot {:#x} is not zero", location.Encode());
      } else if (is_records) {
        ReadRecord(bytes, location);
      } else {
        groups_.emplace(location.Encode(), base::LoadAs<LinkGroup>(bytes));
        ++verdict_.link_group_count;
      }
    }
  }

  void ReadRecord(std::span<const std::byte> bytes, Location location) {
    const auto record = DecodeRecord(bytes, RecordFileOffset(location.block, location.slot));
    if (!record) return Fault("{}", record.error().message());
    const std::string name(record->name());
    if (record->hash != KeyOfName(name, is_root_).record_hash) Fault("{}: wrong hash", name);
    const DirectoryTarget target{static_cast<InodeType>(uint32_t{record->type_value}),
                                 record->address(), record->generation};
    if (!verdict_.entries.emplace(name, target).second) Fault("{} stands twice", name);
    records_.emplace(location.Encode(), name);
  }

  void CheckBucket(uint32_t bucket) {
    Location at = GetHashSlot(Piece(HashSlotPiece(bucket)), bucket);
    if (at.kind == DirectoryBlockKind::kRecords) return TakeRecord(bucket, at, std::nullopt);
    uint32_t link_count = 0;
    const bool has_chain = !at.is_none();
    while (!at.is_none()) {
      const auto found = groups_.find(at.Encode());
      if (found == groups_.end()) {
        return Fault("bucket {}: no group at {:#x}, or met before", bucket, at.Encode());
      }
      const LinkGroup group = found->second;
      groups_.erase(found);
      CheckGroup(bucket, group);
      link_count += UsedLinks(group);
      at = Location::Decode(group.next_group);
    }
    if (has_chain && link_count < 2) Fault("bucket {}: a chain of {} links", bucket, link_count);
  }

  void CheckGroup(uint32_t bucket, const LinkGroup& group) {
    const auto decoded = DecodeLinkGroup(base::BytesOf(group), bucket);
    if (!decoded) return Fault("{}", decoded.error().message());
    if (UsedLinks(group) == 0) Fault("bucket {}: an empty group", bucket);
    if (group.next_free != UsedLinks(group)) Fault("bucket {}: next free is wrong", bucket);
    for (uint32_t i = 0; i < kLinksPerGroup; ++i) {
      const DirectoryLink& link = group.links[i];
      if (i < UsedLinks(group)) {
        TakeRecord(bucket, Location::Decode(link.location), uint16_t{link.hash});
      } else if (link.location != 0 || link.hash != 0) {
        Fault("bucket {}: unused link {} is not zero", bucket, i);
      }
    }
  }

  void TakeRecord(uint32_t bucket, Location location, std::optional<uint16_t> link_hash) {
    const auto found = records_.find(location.Encode());
    if (found == records_.end()) {
      return Fault("bucket {}: no record at {:#x}, or met before", bucket, location.Encode());
    }
    const NameKey key = KeyOfName(found->second, is_root_);
    if (key.bucket != bucket) Fault("{} stands in the wrong bucket", found->second);
    if (link_hash && *link_hash != key.link_hash) Fault("{}: wrong link hash", found->second);
    records_.erase(found);
  }

  const std::span<const std::byte> file_;
  const bool is_root_;
  DirectoryVerdict verdict_;
  std::map<uint32_t, std::string> records_;  // not yet met by location
  std::map<uint32_t, LinkGroup> groups_;
};

}  // namespace

std::string DirectoryVerdict::Text() const {
  std::string text;
  for (const std::string& fault : faults) text += fault + "\n";
  return text;
}

DirectoryVerdict VerifyDirectory(std::span<const std::byte> file, bool is_root) {
  return Verifier(file, is_root).Run();
}

}  // namespace vmfs
