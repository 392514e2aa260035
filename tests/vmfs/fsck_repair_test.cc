// One damage for each thing the checker finds, repaired: clean, and every file as it was.
#include "vmfs/fsck/repair.h"

#include <algorithm>

#include <fmt/format.h>

#include "tests/support/repair_volume.h"
#include "vmfs/format/directory.h"
#include "vmfs/format/heartbeat_slot.h"
#include "vmfs/format/journal_block.h"

namespace vmfs {
namespace {

class FsckRepair : public RepairVolumeTest {};

TEST_F(FsckRepair, LeavesACleanVolumeAlone) {
  const uint64_t writes = volume_.disk().write_count();
  const RepairReport report = Repair();
  EXPECT_EQ(report.outcome, RepairOutcome::kNothingToDo) << Describe(report);
  EXPECT_EQ(volume_.disk().write_count(), writes);
}

TEST_F(FsckRepair, WritesNothingWhenItIsToldNotTo) {
  Patch(Inode(kVhFd) + 0x24, uint64_t{6});
  RepairOptions options;
  options.confirm = [](const RepairReport& plan) {
    EXPECT_FALSE(plan.actions.empty());
    return false;
  };
  const uint64_t writes = volume_.disk().write_count();
  const auto report = TryRepair(options);
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->outcome, RepairOutcome::kDeclined);
  EXPECT_EQ(volume_.disk().write_count(), writes);
}

TEST_F(FsckRepair, RestoresTheSuperblock) {
  Patch(kSuperblockOffset + 0xd9, uint32_t{1});
  Patch(kSuperblockOffset, uint32_t{1});
  Patch(kSuperblockOffset + 0x134, uint32_t{9});
  ExpectRepaired();
}

TEST_F(FsckRepair, RestoresTheLvmHeaders) {
  const std::vector<std::byte> wrong(8, std::byte{0x77});
  for (const uint64_t offset : {kLvmHeaderOffset, kLvmHeaderOffset + 0x7a,
                                kLvmHeaderOffset + kLvmVolumeTableOffset,
                                kLvmHeaderOffset + kLvmPeTableOffset}) {
    volume_.disk().Poke(offset, wrong);
  }
  ExpectRepaired();
}

TEST_F(FsckRepair, RestoresTheUuidOfTheSuperblock) {
  Patch(kSuperblockOffset + 0x09, uint64_t{1});
  ExpectRepaired();
}

TEST_F(FsckRepair, RestoresTheMark) {
  // A machine that nobody has would keep everybody from mounting.
  Patch(kSuperblockOffset + kMarkOffset + offsetof(StrataMark, machine), uint32_t{77});
  Patch(kSuperblockOffset + kMarkOffset + 0x10, uint32_t{1});
  ExpectRepaired();
  const auto mark = Peek(kSuperblockOffset + kMarkOffset, sizeof(StrataMark));
  EXPECT_EQ(base::LoadAs<StrataMark>(mark).machine, base::Uuid());
}

TEST_F(FsckRepair, ClearsReservedAreas) {
  Patch(kSuperblockOffset + 0x3000, uint32_t{1});
  Patch(kSuperblockOffset + 0x50000, uint32_t{1});
  Patch(kSuperblockOffset + 0xf00, uint32_t{1});
  ExpectRepaired();
}

TEST_F(FsckRepair, RestoresHeartbeats) {
  Patch(HeartbeatAddress(77), uint32_t{5});
  Edit<HeartbeatSlot>(HeartbeatAddress(3), [](auto& slot) { slot.owner.bytes[0] = 1; });
  ExpectRepaired();
}

TEST_F(FsckRepair, FreesHeartbeatsOfDeadHosts) {
  Edit<HeartbeatSlot>(HeartbeatAddress(3), [](auto& slot) {
    slot.set_state(HeartbeatState::kInUse);
    slot.owner.bytes[0] = 1;
    slot.generation = uint64_t{1};
  });
  ExpectRepaired();
  EXPECT_FALSE(Check().is_dirty);
}

// Whoever is asked may take an hour to answer, and another machine mounts meanwhile.
TEST_F(FsckRepair, WritesNothingWhenAHostComesWhileItAsks) {
  Patch(Inode(kVhFd) + 0x24, uint64_t{6});
  RepairOptions options;
  options.confirm = [this](const RepairReport&) {
    Edit<HeartbeatSlot>(HeartbeatAddress(3), [](auto& slot) {
      slot.set_state(HeartbeatState::kInUse);
      slot.generation = uint64_t{1};
    });
    return true;
  };
  base::BlockDevice* const devices[] = {&volume_.disk()};
  const uint64_t writes = volume_.disk().write_count();
  const auto report = base::RunSync(executor_, RepairDevices(executor_, devices, options));
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code(), base::Code::kBusy) << report.error().message();
  EXPECT_EQ(volume_.disk().write_count(), writes);
}

TEST_F(FsckRepair, EmptiesAJournalThatCannotBeReplayed) {
  const uint64_t journal = *raw().ItemAddress(ResourceKind::kJournal, {0, 0});
  Poke(journal, std::vector<std::byte>(4096, std::byte{0x5a}));
  Edit<HeartbeatSlot>(HeartbeatAddress(3), [&](auto& slot) {
    slot.set_state(HeartbeatState::kInUse);
    slot.owner.bytes[0] = 1;
    slot.generation = uint64_t{1};
    slot.journal_block = static_cast<uint32_t>(Address::MakeJournalBlock(0, 0).raw());
    slot.journal_volume_address = journal;
  });
  EXPECT_EQ(Check().CountOf(FindingCode::kJournal), 1u);
  ExpectRepaired();
  EXPECT_EQ(ClassifyJournal(Peek(journal, kJournalSectorBytes)), JournalContent::kEmpty);
}

TEST_F(FsckRepair, RestoresResourceHeaders) {
  for (const FdAddress fd : {kSbcFd, kFdcFd, kJbcFd, kPb2Fd, kFbbFd}) {
    Patch(InFile(fd, 0x18), uint32_t{9});
    Patch(InFile(fd, 0x20), uint32_t{9});
  }
  Patch(InFile(kFbbFd, 0x1004), uint32_t{9});
  ExpectRepaired();
}

TEST_F(FsckRepair, RestoresTheLengthOfResourceFiles) {
  Patch(Inode(kJbcFd) + 0x14, uint64_t{9} << 20);
  Patch(Inode(kSbcFd) + 0x14, uint64_t{1} << 50);
  ExpectRepaired();
}

TEST_F(FsckRepair, RestoresDescriptorsOfSystemFiles) {
  for (const FdAddress fd : {kFdcFd, kSbcFd, kPb2Fd, kVhFd, kSddFd, kRootFd}) {
    Poke(Inode(fd), std::vector<std::byte>(0x40, std::byte{0xee}));
    Patch(Inode(fd) + 0x600, uint64_t{0x1234567});
  }
  const RepairReport report = Repair();
  EXPECT_TRUE(report.after.is_clean()) << Describe(report);
  EXPECT_EQ(Compare(expected_), "") << Describe(report);
}

TEST_F(FsckRepair, RestoresLocks) {
  Patch(Cluster(ResourceKind::kFd, 1) - 4096, uint32_t{0x10C00001});
  Patch(Inode(FdOf("/inline")) - 4096 + 4, uint64_t{77});
  ExpectRepaired();
}

TEST_F(FsckRepair, RestoresClusterHeaders) {
  Patch(Cluster(ResourceKind::kSubBlock, 0) + 0x18, uint64_t{7});
  Patch(Cluster(ResourceKind::kSmallBlock, 0) + 0x10, uint32_t{7});
  Poke(Cluster(ResourceKind::kFd, 0), std::vector<std::byte>(4096, std::byte{0x5a}));
  Poke(Cluster(ResourceKind::kPb2, 0), std::vector<std::byte>(4096, std::byte{0x5a}));
  Patch(Cluster(ResourceKind::kLargeBlock, 0) + 0x80, uint8_t{1});
  ExpectRepaired();
}

TEST_F(FsckRepair, RestoresBitmapsCountsAndAffinity) {
  for (const ResourceKind kind : {ResourceKind::kFd, ResourceKind::kSubBlock, ResourceKind::kPb2,
                                  ResourceKind::kJournal, ResourceKind::kSmallBlock}) {
    const uint64_t cluster = Cluster(kind, 0);
    Patch(cluster + 0x22, uint16_t{1});
    Patch(cluster + 0x7c, uint32_t{2});
    Poke(cluster + 0x80, std::vector<std::byte>(64, std::byte{0xff}));
  }
  Patch(Cluster(ResourceKind::kSmallBlock, 0) + kAffinityListOffset + 8 + 4, uint32_t{9});
  Patch(Cluster(ResourceKind::kSubBlock, 0) + 0x8e0 + 4 * 3, uint32_t{9});
  ExpectRepaired();
}

TEST_F(FsckRepair, FreesWhatBelongsToNothing) {
  Poke(Cluster(ResourceKind::kFd, 1) + 0x80, std::vector<std::byte>(32, std::byte{0}));
  Poke(Cluster(ResourceKind::kSubBlock, 0) + 0x80, std::vector<std::byte>(32, std::byte{0}));
  Poke(Cluster(ResourceKind::kSmallBlock, 0) + 0x80, std::vector<std::byte>(128, std::byte{0}));
  ExpectRepaired();
}

TEST_F(FsckRepair, FindsAffinityOfTheWrongOwner) {
  // The counts still add up, but belong to another.
  const uint64_t list = Cluster(ResourceKind::kSmallBlock, 0) + kAffinityListOffset;
  Edit<AffinityEntry>(list + 8, [](auto& entry) { entry.block_count = entry.block_count + 1; });
  Edit<AffinityEntry>(list + 16, [](auto& entry) { entry.block_count = entry.block_count - 1; });
  EXPECT_EQ(Check().CountOf(FindingCode::kAffinity), 1u);
  ExpectRepaired();
}

TEST_F(FsckRepair, RestoresFieldsOfDescriptors) {
  Patch(Inode(FdOf("/inline")) + 0x0c, uint32_t{9});
  Patch(Inode(FdOf("/small")) + 0x64, uint32_t{9});
  Patch(Inode(FdOf("/large")) + 0x44, uint32_t{3});
  Patch(Inode(FdOf("/small too")) + 0x44, uint32_t{3});
  Patch(Inode(FdOf("/file-blocks")) + 0x44, uint32_t{2});
  Patch(Inode(FdOf("/sparse")) + 0x44, uint32_t{0x10D0});
  Patch(Inode(FdOf("/double")) + 0x44, uint32_t{3});
  Patch(Inode(FdOf("/dir")) + 0x00, uint32_t{9});
  Patch(Inode(FdOf("/many")) + 0x1c, uint64_t{9});
  Patch(Inode(FdOf("/link")) + 0x44, uint32_t{77});
  ExpectRepaired();
}

TEST_F(FsckRepair, RestoresCountsOfDescriptors) {
  Patch(Inode(FdOf("/sparse")) + 0x24, uint64_t{6});
  Patch(Inode(FdOf("/double")) + 0x5c, uint32_t{6});
  Patch(Inode(FdOf("/dir")) + 0x08, uint32_t{7});
  Patch(Inode(FdOf("/small")) + 0x08, uint32_t{7});
  Patch(Inode(FdOf("/small")) + 0x70, FdOf("/dir").raw());
  ExpectRepaired();
}

TEST_F(FsckRepair, MakesImpossibleAddressesHoles) {
  const uint64_t slot = Inode(FdOf("/file-blocks")) + 0x600 + 8;
  Patch(slot, Address::MakeFileBlock(1'000'000).raw());
  const TreeNode original = expected_.at("/file-blocks");
  expected_.at("/file-blocks").Zero(uint64_t{1} << 20, uint64_t{1} << 20);
  const RepairReport report = Repair();
  EXPECT_TRUE(report.after.is_clean()) << Describe(report);
  EXPECT_EQ(report.counters.holes, 1u);
  // What stood there is not lost: the block that nothing leads to is a file of its own.
  Tree found = ReadBack();
  const auto rescued = found.upper_bound("/lost+found/");
  ASSERT_TRUE(rescued != found.end() && rescued->first.starts_with("/lost+found/#"));
  std::vector<std::byte> kept(5000), written(5000);
  rescued->second.bytes.Read(0, kept);
  original.bytes.Read(uint64_t{1} << 20, written);
  EXPECT_EQ(kept, written);
  found.erase(rescued->first);
  found.erase("/lost+found");
  EXPECT_EQ(DescribeDifference(expected_, found), "") << Describe(report);
}

TEST_F(FsckRepair, CopiesBlocksOfTwoOwners) {
  // Two slots of one file lead into blocks of others.
  const auto stolen_file = Peek(Inode(FdOf("/file-blocks")) + 0x600, 8);
  const auto stolen_small = Peek(Inode(FdOf("/small")) + 0x600, 8);
  const auto data_file = Peek(InFile(FdOf("/file-blocks"), 0), 5000);
  Poke(Inode(FdOf("/file-blocks")) + 0x600 + 16, stolen_file);
  Poke(Inode(FdOf("/small too")) + 0x600, stolen_small);
  Tree damaged = expected_;
  damaged.at("/file-blocks").Zero(uint64_t{2} << 20, uint64_t{1} << 20);
  damaged.at("/file-blocks").Write(uint64_t{2} << 20, data_file);
  std::vector<std::byte> small(60'001);
  expected_.at("/small").bytes.Read(0, std::span(small).first(60'000));
  damaged.at("/small too").Write(0, small);
  const RepairReport report = Repair();
  EXPECT_TRUE(report.after.is_clean()) << Describe(report);
  EXPECT_EQ(report.counters.copies, 2u);
  EXPECT_EQ(Compare(damaged), "") << Describe(report);
}

TEST_F(FsckRepair, RebuildsDirectories) {
  const FdAddress many = FdOf("/many");
  Poke(InFile(many, 0), std::vector<std::byte>(65536, std::byte{0x77}));
  Poke(InFile(FdOf("/dir"), 0x5f8), std::vector<std::byte>(2000, std::byte{0x11}));
  Poke(InFile(FdOf("/dir/sub"), 65536), std::vector<std::byte>(4096, std::byte{0x33}));
  Patch(InFile(kRootFd, 4), uint32_t{77});
  ExpectRepaired();
}

// Readers that stop at the first unused block list what stands behind it.
TEST_F(FsckRepair, LeavesNoUnusedBlockInARebuiltDirectory) {
  const FdAddress many = FdOf("/many");
  const uint64_t second = DirectoryBlockOffset(2);
  Poke(InFile(many, second), std::vector<std::byte>(kMetadataBlockBytes));
  const RepairReport report = Repair();
  EXPECT_TRUE(report.after.is_clean()) << Describe(report);
  EXPECT_EQ(report.counters.lost_and_found, kRecordsPerBlock);
  std::vector<std::byte> map = Peek(InFile(many, DirectoryBlockOffset(0)), kMetadataBlockBytes);
  SetMapNibble(std::span(map).first<kMetadataBlockBytes>(), 2,
               {DirectoryBlockKind::kNone, false, true});
  Poke(InFile(many, DirectoryBlockOffset(0)), map);
  EXPECT_EQ(Check().CountOf(FindingCode::kDirectoryMap), 1u) << Describe(Check());
  EXPECT_TRUE(Repair().after.is_clean());
}

TEST_F(FsckRepair, RestoresNames) {
  Patch(RecordOf("", "inline") + 0x08, uint32_t{99});
  Patch(RecordOf("", "small") + 0x00, uint32_t{2});
  Patch(RecordOf("", "link") + 0x0c, uint32_t{2});
  Patch(RecordOf("/dir", "sub") + 0x10, uint64_t{2});
  ExpectRepaired();
}

TEST_F(FsckRepair, RemovesDanglingNames) {
  const uint64_t record = RecordOf("/many", "file 7");
  Patch(record + 4, FdAddress::Make(3, 3).raw());
  const RepairReport report = Repair();
  EXPECT_TRUE(report.after.is_clean()) << Describe(report);
  EXPECT_EQ(report.counters.names_removed, 1u);
  EXPECT_EQ(report.counters.lost_and_found, 1u);
  const std::string lost = fmt::format("/lost+found/#{:08x}", FdOf("/many/file 7").raw());
  expected_["/lost+found"].type = fss::FileType::kDirectory;
  expected_[lost] = expected_.at("/many/file 7");
  expected_.erase("/many/file 7");
  EXPECT_EQ(Compare(expected_), "") << Describe(report);
}

// "dir" is found in "dir/sub/deep" alone, and nowhere from the root.
TEST_F(FsckRepair, BreaksACircleOfDirectoriesThatTheRootDoesNotReach) {
  const TreeNode leaf = expected_.at("/dir/sub/deep/leaf");
  const uint64_t record = RecordOf("/dir/sub/deep", "leaf");
  Patch(record, static_cast<uint32_t>(InodeType::kDirectory));
  Patch(record + 4, FdOf("/dir").raw());
  Patch(record + 8, uint32_t{LoadInode(FdOf("/dir")).generation});
  Patch(Inode(FdOf("/dir")) + 0x70, FdOf("/dir/sub/deep").raw());
  Poke(RecordOf("", "dir"), std::vector<std::byte>(sizeof(DirectoryRecord)));
  EXPECT_GE(Check().CountOf(FindingCode::kOrphan), 1u);
  const RepairReport report = Repair();
  EXPECT_TRUE(report.after.is_clean()) << Describe(report);
  const Tree found = ReadBack();
  const std::string lost = fmt::format("/lost+found/#{:08x}", FdOf("/dir/sub/deep/leaf").raw());
  ASSERT_TRUE(found.contains(lost)) << Describe(report);
  std::vector<std::byte> kept(9000), written(9000);
  found.at(lost).bytes.Read(0, kept);
  leaf.bytes.Read(0, written);
  EXPECT_EQ(kept, written);
  EXPECT_TRUE(std::ranges::any_of(found, [](const auto& entry) {
    return entry.first.ends_with("/sub/deep");
  })) << Describe(report);
}

}  // namespace
}  // namespace vmfs
