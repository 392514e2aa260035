// The checker and journals: a valid one is seen as replayed, anything else is named.
#include <gtest/gtest.h>

#include "tests/support/fsck_volume.h"
#include "vmfs/format/heartbeat_slot.h"
#include "vmfs/format/inode.h"
#include "vmfs/format/journal_block.h"

namespace vmfs {
namespace {

using testing_support::Describe;
using testing_support::FsckVolume;

class FsckJournal : public FsckVolume {
 protected:
  // A dead host: heartbeat 5 in use, journal block 0/0 its own, `.vh.sf`'s lock held.
  FsckJournal() {
    address_ = InFile(kJbcFd, layout_.journal.ItemOffset(0, 0));
    owner_.bytes[0] = 1;
    round_ = {report_.uuid, address_, 1};
    Edit<HeartbeatSlot>(HeartbeatAddress(5), [&](auto& slot) {
      slot.set_state(HeartbeatState::kInUse);
      slot.owner = owner_;
      slot.generation = uint64_t{1};
      slot.journal_block = static_cast<uint32_t>(Address::MakeJournalBlock(0, 0).raw());
      slot.journal_volume_address = address_;
    });
    const uint64_t cluster = Cluster(layout_.journal, 0) + 4096;
    auto block = files_.ReadVolume(cluster, 4096);
    MarkResource(std::span<std::byte>(block).first<4096>(), 1, 0, false);
    files_.WriteVolume(cluster, block);
    HoldLock(LockMode::kExclusive, 1);
    WriteHeader();
  }

  void WriteHeader() {
    JournalHeader header;
    header.volume_uuid = round_.volume_uuid;
    header.owner = owner_;
    header.own_address = address_;
    header.heartbeat_address = HeartbeatAddress(5);
    header.heartbeat_generation = uint64_t{1};
    header.tail_sequence = uint64_t{10};
    header.tail_slot = 510u;
    std::vector<std::byte> block(4096);
    EncodeJournalHeader(header, block);
    files_.WriteVolume(address_, block);
  }
  uint64_t LockAddress() const { return Inode(kVhFd) - 4096; }
  void HoldLock(LockMode mode, uint64_t generation) {
    Edit<LockBlock>(LockAddress(), [&](auto& lock) {
      lock.set_mode(mode);
      lock.owner = mode == LockMode::kFree ? base::Uuid{} : owner_;
      lock.heartbeat_address = HeartbeatAddress(5);
      lock.heartbeat_generation = generation;
    });
  }
  // One transaction at slot 510, so that its image wraps to slot 1 behind a filler at 511.
  void WriteTransaction(const std::vector<std::byte>& image, uint64_t home) {
    TransactionDescriptor transaction;
    transaction.sequence = 10;
    const auto second = files_.ReadVolume(Inode(kRootFd), 4096);
    transaction.entries.push_back(
        {home, LockAddress(), 1, ImageCrc(round_, 10, 511, home, image)});
    transaction.entries.push_back({Inode(kRootFd), LockAddress(), 1,
                                   ImageCrc(round_, 10, 1, Inode(kRootFd), second)});
    std::vector<std::byte> slot(4096);
    EncodeTransaction(transaction, round_, 510, std::span<std::byte>(slot).first<4096>());
    files_.WriteVolume(JournalSlotAddress(address_, 510), slot);
    files_.WriteVolume(JournalSlotAddress(address_, 511), image);
    files_.WriteVolume(JournalSlotAddress(address_, 1), second);
  }
  // The image repairs a link count that is wrong at home.
  void WriteRepair() {
    const auto image = files_.ReadVolume(Inode(kVhFd), 4096);
    Patch(Inode(kVhFd) + 0x08, uint32_t{9});
    WriteTransaction(image, Inode(kVhFd));
  }

  uint64_t address_ = 0;
  base::Uuid owner_;
  JournalRound round_;
};

TEST_F(FsckJournal, SeesTheStateBehindTheReplay) {
  WriteRepair();
  const FsckReport report = Check();
  EXPECT_TRUE(report.is_clean()) << Describe(report);
  EXPECT_TRUE(report.is_dirty);
  EXPECT_EQ(report.counters.journal_images_replayed, 2u);
  EXPECT_EQ(report.CountOf(FindingCode::kJournalPending), 1u);
}

TEST_F(FsckJournal, DoesNotReplayImagesWhoseLockWasGivenBack) {
  WriteRepair();
  HoldLock(LockMode::kFree, 1);
  ExpectAmong(FindingCode::kLinkCount, "link count 9");
  HoldLock(LockMode::kExclusive, 3);
  ExpectAmong(FindingCode::kLinkCount, "link count 9");
}

TEST_F(FsckJournal, StopsAtATornTransaction) {
  WriteRepair();
  Patch(JournalSlotAddress(address_, 1) + 100, uint8_t{0xff});
  ExpectAmong(FindingCode::kLinkCount, "link count 9");
  ExpectAmong(FindingCode::kJournalPending, "holds 0 transactions");
}

TEST_F(FsckJournal, NamesAnImageForNowhere) {
  WriteTransaction(std::vector<std::byte>(4096), uint64_t{1} << 50);
  ExpectAmong(FindingCode::kJournal, "image for volume address");
}

TEST_F(FsckJournal, NamesAHeaderItCannotUse) {
  Patch(address_ + 0x20, uint8_t{0xff});
  ExpectAmong(FindingCode::kJournal, "header CRC");
}

TEST_F(FsckJournal, NamesAForeignJournal) {
  files_.WriteVolume(address_, std::vector<std::byte>(4096, std::byte{7}));
  ExpectAmong(FindingCode::kJournal, "cannot replay");
}

TEST_F(FsckJournal, NamesAJournalBlockThatIsNotMarkedUsed) {
  Edit<HeartbeatSlot>(HeartbeatAddress(5), [](auto& slot) {
    slot.journal_block = static_cast<uint32_t>(Address::MakeJournalBlock(9, 0).raw());
  });
  ExpectAmong(FindingCode::kHeartbeat, "its journal is journal block 9/0");
}

}  // namespace
}  // namespace vmfs
