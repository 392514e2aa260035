// Edits of directory blocks in memory: taking and giving back slots, finding blocks in the
// allocation map, adding and removing links of a group.
//
// Pure functions on 4 KiB spans and values of vmfs/format/directory.h; nothing here reads or
// suspends. They are called on blocks that were decoded before, so a contradiction is our own fault
// and CHECKed. Thread rule: plain values. Place in the stack: under `Directory`.
#pragma once

#include <cstdint>

#include "vmfs/format/directory.h"

namespace vmfs {

// The most blocks one of our directories may have: one allocation map, block 0, and 8,063 more. A
// second map would be legal, but no independent reader was seen to follow it.
inline constexpr uint32_t kDirectoryBlocksMax = kBlocksPerMapBlock;

// Slots of a block and where one starts in it; `kind` is kRecords or kLinks.
uint32_t SlotCount(DirectoryBlockKind kind);
uint32_t SlotOffset(DirectoryBlockKind kind, uint32_t slot);
uint32_t SlotBytes(DirectoryBlockKind kind);

// Takes the lowest free slot of a block that has one, and answers it.
uint32_t TakeSlot(MetadataSpan block);

// Gives a used slot back and zeroes it: one reader lists what stands in free slots.
void ReleaseSlot(MetadataSpan block, DirectoryBlockKind kind, uint32_t slot);

// Whether slots of the block are free.
bool HasFreeSlot(ConstMetadataSpan block);

// The lowest block in [begin, end) that `map` calls one of `kind` (with free slots, unless kind is
// kNone), or `end`. `end` is at most 8,064.
uint32_t FindBlock(ConstMetadataSpan map, DirectoryBlockKind kind, uint32_t begin, uint32_t end);

// A link group of `bucket` with no links.
LinkGroup MakeLinkGroup(uint32_t bucket);

inline uint32_t UsedLinks(const LinkGroup& group) {
  return static_cast<uint32_t>(group.link_count) - group.free_count;
}

// Adds a link behind the last used one; the group must have a free one.
void AppendLink(LinkGroup& group, Location record, uint16_t link_hash);

// The position of the link to `record`, or UsedLinks() if there is none.
uint32_t FindLink(const LinkGroup& group, Location record);

// Removes a used link; the last used one takes its place, so that they stay packed.
void RemoveLink(LinkGroup& group, uint32_t position);

}  // namespace vmfs
