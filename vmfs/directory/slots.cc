#include "vmfs/directory/slots.h"

#include <cstring>

#include "fs/base/check.h"
#include "fs/base/on_disk.h"

namespace vmfs {

uint32_t SlotCount(DirectoryBlockKind kind) {
  return kind == DirectoryBlockKind::kRecords ? kRecordsPerBlock : kLinkGroupsPerBlock;
}

uint32_t SlotOffset(DirectoryBlockKind kind, uint32_t slot) {
  return kind == DirectoryBlockKind::kRecords ? RecordOffsetInBlock(slot)
                                              : LinkGroupOffsetInBlock(slot);
}

uint32_t SlotBytes(DirectoryBlockKind kind) {
  return kind == DirectoryBlockKind::kRecords ? sizeof(DirectoryRecord) : sizeof(LinkGroup);
}

uint32_t TakeSlot(MetadataSpan block) {
  auto header = base::LoadAs<DirectoryBlockHeader>(block);
  const uint32_t slot = header.FirstFree();
  CHECK(slot < header.slot_count);
  header.Mark(slot, /*is_free_now=*/false);
  base::StoreAs(block, 0, header);
  return slot;
}

void ReleaseSlot(MetadataSpan block, DirectoryBlockKind kind, uint32_t slot) {
  auto header = base::LoadAs<DirectoryBlockHeader>(block);
  header.Mark(slot, /*is_free_now=*/true);
  base::StoreAs(block, 0, header);
  std::memset(&block[SlotOffset(kind, slot)], 0, SlotBytes(kind));
}

bool HasFreeSlot(ConstMetadataSpan block) {
  const auto header = base::LoadAs<DirectoryBlockHeader>(block);
  return header.FirstFree() < header.slot_count;
}

uint32_t FindBlock(ConstMetadataSpan map, DirectoryBlockKind kind, uint32_t begin, uint32_t end) {
  for (uint32_t number = begin; number < end; ++number) {
    const MapNibble nibble = GetMapNibble(map, number);
    if (nibble.kind != kind) continue;
    if (nibble.has_free || kind == DirectoryBlockKind::kNone) return number;
  }
  return end;
}

LinkGroup MakeLinkGroup(uint32_t bucket) {
  LinkGroup group{};
  group.bucket = static_cast<uint16_t>(bucket);
  group.link_count = kLinksPerGroup;
  group.free_count = kLinksPerGroup;
  return group;
}

void AppendLink(LinkGroup& group, Location record, uint16_t link_hash) {
  CHECK(group.free_count > 0);
  DirectoryLink& link = group.links[UsedLinks(group)];
  link.location = record.Encode();
  link.hash = link_hash;
  --group.free_count;
  group.next_free = static_cast<uint8_t>(UsedLinks(group));
}

uint32_t FindLink(const LinkGroup& group, Location record) {
  uint32_t position = 0;
  while (position < UsedLinks(group) && group.links[position].location != record.Encode()) {
    ++position;
  }
  return position;
}

void RemoveLink(LinkGroup& group, uint32_t position) {
  CHECK(position < UsedLinks(group));
  const uint32_t last = UsedLinks(group) - 1;
  group.links[position] = group.links[last];
  group.links[last] = {};
  ++group.free_count;
  group.next_free = static_cast<uint8_t>(last);
}

}  // namespace vmfs
