// One damage by hand for each thing the checker promises to find.
#include <gtest/gtest.h>

#include "tests/support/fsck_volume.h"
#include "vmfs/format/heartbeat_slot.h"
#include "vmfs/format/inode.h"

namespace vmfs {
namespace {

using testing_support::FsckVolume;

class FsckDamage : public FsckVolume {
 protected:
  // A file in a fresh descriptor, marked used in its cluster; its name is missing on purpose.
  FdAddress AddInode(MapKind kind, uint64_t length, std::span<const Address> slots) {
    const FdAddress fd = FdAddress::Make(0, kSystemFdCount);
    const uint64_t address = Inode(fd);
    std::vector<std::byte> lock(4096);
    base::StoreAs(std::span<std::byte>(lock), 0, MakeFreeLock(LockType::kFd, address - 4096));
    files_.WriteVolume(address - 4096, lock);
    std::vector<std::byte> block(4096);
    InodeMetadata inode = MakeInode(fd, 1, InodeType::kFile);
    inode.SetMapKind(kind);
    inode.length_bytes = length;
    inode.link_count = 1;
    inode.parent_fd = kRootFd.raw();
    uint64_t used = 0;
    for (const Address slot : slots) used += slot.is_hole() ? 0 : 1;
    inode.SetBlockCount(used);
    base::StoreAs(std::span<std::byte>(block), 0, inode);
    for (uint32_t i = 0; i < slots.size(); ++i) {
      SetSlot(std::span<std::byte>(block).first<4096>(), i, slots[i]);
    }
    files_.WriteVolume(address, block);
    MarkItem(layout_.fds, 0, fd.item());
    return fd;
  }

  void MarkItem(const ResourceGeometry& geometry, uint64_t cluster, uint32_t item) {
    const uint64_t address = Cluster(geometry, cluster) + 4096;
    auto block = files_.ReadVolume(address, 4096);
    const auto span = std::span<std::byte>(block).first<4096>();
    MarkResource(span, geometry.bits_per_resource, item, false);
    if (geometry.kind == ResourceKind::kSmallBlock) AddAffinity(span, FdAddress(), 1);
    files_.WriteVolume(address, block);
  }

  Address FreeBlock(uint64_t index = 0) const {
    return Address::MakeFileBlock(layout_.used_block_count + index);
  }
};

TEST_F(FsckDamage, FreshVolumeIsClean) { EXPECT_TRUE(Check().findings.empty()); }

TEST_F(FsckDamage, NamesABrokenSuperblock) {
  Patch(kSuperblockOffset + 0xd9, uint32_t{1});
  ExpectOnly(FindingCode::kSuperblock, "sub-block size");
}

TEST_F(FsckDamage, NamesABrokenMark) {
  Patch(kSuperblockOffset + kMarkOffset + 0x10, uint32_t{1});
  ExpectOnly(FindingCode::kMark, "CRC");
}

TEST_F(FsckDamage, NamesBytesInTheReservedArea) {
  Patch(kSuperblockOffset + 0x3000, uint32_t{1});
  ExpectOnly(FindingCode::kReservedArea, "must be zero");
}

TEST_F(FsckDamage, AllowsBytesInTheMailboxes) {
  Patch(kMailboxOffset + 0x1000, uint32_t{1});
  EXPECT_TRUE(Check().findings.empty());
}

TEST_F(FsckDamage, NamesABrokenHeartbeat) {
  Patch(HeartbeatAddress(77), uint32_t{5});
  ExpectOnly(FindingCode::kHeartbeat, "unknown state 0x5");
}

TEST_F(FsckDamage, NamesAFreeHeartbeatWithAnOwner) {
  Edit<HeartbeatSlot>(HeartbeatAddress(3), [](auto& slot) { slot.owner.bytes[0] = 1; });
  ExpectOnly(FindingCode::kHeartbeat, "names an owner");
}

TEST_F(FsckDamage, SaysThatAVolumeIsInUse) {
  Edit<HeartbeatSlot>(HeartbeatAddress(3), [](auto& slot) {
    slot.set_state(HeartbeatState::kInUse);
    slot.owner.bytes[0] = 1;
    slot.generation = uint64_t{1};
  });
  ExpectOnly(FindingCode::kInUse, "heartbeat 3: in use by");
  EXPECT_TRUE(Check().is_dirty);
}

TEST_F(FsckDamage, NamesABrokenResourceHeader) {
  Patch(InFile(kSbcFd, 0x18), uint32_t{9});
  ExpectOnly(FindingCode::kSystemFile, "9 groups");
}

TEST_F(FsckDamage, NamesAResourceFileOfTheWrongLength) {
  Patch(Inode(kJbcFd) + 0x14, uint64_t{9} << 20);
  ExpectOnly(FindingCode::kSystemFile, "journal file: length");
}

TEST_F(FsckDamage, NamesABrokenClusterLock) {
  Patch(Cluster(layout_.fds, 1), uint32_t{0x10C00001});
  ExpectOnly(FindingCode::kLock, "type 0x10c00001, expected 0x10c00005");
}

TEST_F(FsckDamage, NamesALockWhoseHolderIsGone) {
  Edit<LockBlock>(Cluster(layout_.fds, 1), [](auto& lock) {
    lock.set_mode(LockMode::kExclusive);
    lock.owner.bytes[0] = 1;
    lock.heartbeat_address = HeartbeatAddress(3);
    lock.heartbeat_generation = uint64_t{1};
  });
  ExpectOnly(FindingCode::kStaleLock, "its holder is gone");
}

TEST_F(FsckDamage, NamesABrokenCluster) {
  Patch(Cluster(layout_.sub_blocks, 0) + 0x1018, uint64_t{7});
  ExpectAmong(FindingCode::kCluster, "says it is 7");
}

TEST_F(FsckDamage, NamesAWrongFreeCount) {
  Patch(Cluster(layout_.fds, 2) + 0x1022, uint16_t{255});
  ExpectOnly(FindingCode::kFreeCount, "fd cluster 2: 255 free, 256 by its bitmap");
}

TEST_F(FsckDamage, NamesCodesBehindTheLastItem) {
  Patch(Cluster(layout_.pb2, 0) + 0x1080 + 2, uint16_t{1});
  ExpectOnly(FindingCode::kBitmap, "behind the last item");
}

TEST_F(FsckDamage, NamesALargeBlockThatIsNotBrokenUp) {
  Patch(Cluster(layout_.large_blocks, 0) + 0x1080, uint8_t{1});
  ExpectOnly(FindingCode::kBitmap, "has code 1");
}

TEST_F(FsckDamage, NamesAffinityCountsThatDoNotAddUp) {
  Patch(Cluster(layout_.small_blocks, 0) + 0x1000 + kAffinityListOffset + 8 + 4, uint32_t{9});
  ExpectOnly(FindingCode::kAffinity, "add up to");
}

TEST_F(FsckDamage, NamesABlockThatBelongsToNothing) {
  MarkItem(layout_.small_blocks, 0, static_cast<uint32_t>(layout_.used_block_count + 3));
  ExpectOnly(FindingCode::kBlockLeaked, "1 from here on");
}

TEST_F(FsckDamage, NamesALeakedJournalBlock) {
  MarkItem(layout_.journal, 0, 2);
  ExpectOnly(FindingCode::kBlockLeaked, "journal block 0/2");
}

TEST_F(FsckDamage, NamesAFileWithoutAName) {
  AddInode(MapKind::kInline, 5, {});
  Patch(Cluster(layout_.fds, 0) + 0x1068, uint32_t{1});
  ExpectOnly(FindingCode::kOrphan, "fd 0x02400004: has no name");
}

TEST_F(FsckDamage, NamesABrokenDescriptor) {
  Patch(Inode(kVhFd) + 0x0c, uint32_t{9});
  ExpectAmong(FindingCode::kSystemFile, "unknown type 9");
}

TEST_F(FsckDamage, NamesADescriptorMarkedUsedThatIsNone) {
  MarkItem(layout_.fds, 1, 5);
  ExpectAmong(FindingCode::kInode, "signature 0x0");
}

TEST_F(FsckDamage, NamesABlockUsedTwice) {
  const Address slots[] = {Address::MakeFileBlock(layout_.file(kSddFd).runs[0].first)};
  AddInode(MapKind::kFileBlocks, 100, slots);
  ExpectAmong(FindingCode::kBlockUsedTwice, "belongs to another file as well");
}

TEST_F(FsckDamage, NamesABlockThatIsMarkedFree) {
  const Address slots[] = {FreeBlock()};
  AddInode(MapKind::kFileBlocks, 100, slots);
  ExpectAmong(FindingCode::kBlockNotMarked, "which is marked free");
}

TEST_F(FsckDamage, NamesABlockBehindTheEnd) {
  const Address slots[] = {Address::MakeFileBlock(256)};
  AddInode(MapKind::kFileBlocks, 100, slots);
  ExpectAmong(FindingCode::kBlockRange, "file block 256, which does not exist");
}

TEST_F(FsckDamage, NamesAHoleBeforeAUsedSlot) {
  const Address slots[] = {Address(), FreeBlock()};
  AddInode(MapKind::kFileBlocks, 100, slots);
  ExpectAmong(FindingCode::kMapRule, "slot 1 is used behind an empty one");
}

TEST_F(FsckDamage, NamesAnAddressOfTheWrongKind) {
  const Address slots[] = {Address::MakeSubBlock(0, 1)};
  AddInode(MapKind::kFileBlocks, 100, slots);
  ExpectAmong(FindingCode::kMapRule, "its map holds sub-block 0/1");
}

TEST_F(FsckDamage, NamesBitsThatOnlyEsxiSets) {
  const Address slots[] = {Address(FreeBlock().raw() | 0x80)};
  AddInode(MapKind::kFileBlocks, 100, slots);
  ExpectAmong(FindingCode::kMapRule, "its map holds file block");
}

TEST_F(FsckDamage, NamesUseOfTheReservedSubBlock) {
  const Address slots[] = {Address::MakeSubBlock(0, 0)};
  AddInode(MapKind::kSubBlocks, 100, slots);
  ExpectAmong(FindingCode::kBlockUsedTwice, "sub-block 0/0 is in use");
}

TEST_F(FsckDamage, NamesAWrongAffinityKey) {
  MarkItem(layout_.sub_blocks, 0, 1);
  const Address slots[] = {Address::MakeSubBlock(0, 1)};
  AddInode(MapKind::kSubBlocks, 100, slots);
  ExpectAmong(FindingCode::kAffinity, "uses sub-block 0/1, whose affinity key is fd 0x00000000");
}

TEST_F(FsckDamage, NamesAGenerationThatWasNeverHandedOut) {
  AddInode(MapKind::kInline, 5, {});
  ExpectAmong(FindingCode::kInode, "generation 1, its cluster has handed out only 0");
}

TEST_F(FsckDamage, NamesAWrongBlockCount) {
  Patch(Inode(kVhFd) + 0x24, uint64_t{6});
  ExpectOnly(FindingCode::kBlockCount, "says 6 blocks, its map has 7");
}

TEST_F(FsckDamage, NamesAWrongCountOfPointerBlocks) {
  Patch(Inode(kVhFd) + 0x5c, uint32_t{1});
  ExpectOnly(FindingCode::kBlockCount, "says 1 pointer blocks, its map has 0");
}

TEST_F(FsckDamage, NamesAWrongLinkCount) {
  Patch(Inode(kRootFd) + 0x08, uint32_t{4});
  ExpectOnly(FindingCode::kLinkCount, "fd 0x00000004: link count 4, expected 3");
}

TEST_F(FsckDamage, NamesAWrongParent) {
  Patch(Inode(kVhFd) + 0x70, kSddFd.raw());
  ExpectOnly(FindingCode::kParent, "\".vh.sf\" says its directory is fd 0x01c00004");
}

TEST_F(FsckDamage, NamesANameOfAnotherGeneration) {
  Patch(Inode(kVhFd) + 0x04, uint32_t{2});
  ExpectOnly(FindingCode::kDanglingEntry, "\".vh.sf\" is fd 0x01400004 of generation 1");
}

TEST_F(FsckDamage, NamesAWrongEntryCount) {
  Patch(InFile(kRootFd, 4), uint32_t{11});
  ExpectOnly(FindingCode::kDirectoryCount, "says 11 entries");
}

}  // namespace
}  // namespace vmfs
