// A repair cut at any point, failed at any call, and with planted faults: the volume is the old one
// or the repaired one, and the next repair finishes.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "tests/support/crash_sweep.h"
#include "tests/support/repair_volume.h"
#include "vmfs/format/heartbeat_slot.h"
#include "vmfs/format/journal_block.h"
#include "vmfs/format/repair_record.h"
#include "vmfs/fsck/repair_log.h"
#include "vmfs/lvm_device.h"

namespace vmfs {
namespace {

using Blocks = std::map<uint64_t, std::vector<std::byte>>;

class FsckRepairCrash : public RepairVolumeTest {
 protected:
  FsckRepairCrash() : RepairVolumeTest(/*logging=*/true) {}

  // Something for every stage: descriptors, a directory, names, bitmaps, a block of two owners.
  void Damage() {
    Patch(Inode(FdOf("/inline")) + 0x0c, uint32_t{9});
    Patch(InFile(FdOf("/many"), 4), uint32_t{77});
    Patch(InFile(FdOf("/dir"), 0), uint32_t{77});
    Patch(Cluster(ResourceKind::kSubBlock, 0) + 0x22, uint16_t{1});
    Poke(Cluster(ResourceKind::kSmallBlock, 0) + 0x80, std::vector<std::byte>(64, std::byte{0xff}));
    const auto shared = Peek(Inode(FdOf("/file-blocks")) + 0x600, 8);
    const auto contents = Peek(InFile(FdOf("/file-blocks"), 0), 5000);
    Poke(Inode(FdOf("/large")) + 0x600, shared);
    TreeNode& large = expected_.at("/large");
    large.Zero(0, 300'000);
    large.Write(0, contents);
    Settle();
  }

  // No file block is left free, and more blocks change than have room behind the record.
  void FillAndDamage() {
    ASSERT_TRUE(volume_.Mount());
    VolumeClient client(volume_.volume());
    ASSERT_TRUE(base::RunSync(executor_, client.Create("/filler")));
    const std::vector<std::byte> byte(1, std::byte{0x42});
    for (uint64_t offset = 0;; offset += kFileBlockBytes) {
      const auto written = base::RunSync(executor_, client.Write("/filler", offset, byte));
      if (written) continue;
      ASSERT_EQ(written.error().code(), base::Code::kNoSpace) << written.error().message();
      break;
    }
    ASSERT_TRUE(base::RunSync(executor_, client.SyncAll()));
    ASSERT_TRUE(volume_.Unmount());
    expected_ = ReadBack();
    Settle();
    for (uint32_t slot = 100; slot < 400; ++slot) {
      Patch(HeartbeatAddress(slot), uint32_t{5});
    }
    Patch(Inode(FdOf("/inline")) + 0x0c, uint32_t{9});
    Settle();
  }

  // How many journal blocks hold something.
  size_t UsedJournals() {
    size_t count = 0;
    const ResourceGeometry& geometry = raw().geometry(ResourceKind::kJournal);
    for (uint32_t item = 0; item < geometry.ResourcesIn(0); ++item) {
      const auto address = raw().ItemAddress(ResourceKind::kJournal, {0, item});
      for (const uint64_t half : {uint64_t{0}, kFileBlockBytes}) {
        const auto block = Peek(*address + half, kMetadataBlockBytes);
        const JournalContent content = ClassifyJournal(block);
        const bool is_free = half == 0 ? content == JournalContent::kNeverUsed ||
                                             content == JournalContent::kEmpty
                                       : IsEmptyJournalSlot(block);
        count += is_free ? 0 : 1;
      }
    }
    return count;
  }

  void Record(const RepairFaults& faults = {}) {
    RepairOptions options;
    options.faults = faults;
    const auto report = TryRepair(options);
    ASSERT_TRUE(report) << report.error().message();
    ASSERT_TRUE(report->after.is_clean()) << Describe(*report);
    for (const base::SimDisk::LogEntry& entry : volume_.disk().log()) {
      const bool is_home = entry.change == base::SimDisk::Change::kWrite &&
                           entry.length_bytes == kMetadataBlockBytes;
      const uint64_t address = entry.offset_bytes - kLvmDataOffset;
      if (is_home && address != kRepairRecordOffset) after_[address] = Peek(address, 4096);
    }
    auto image = Image(executor_);
    for (const auto& [address, bytes] : after_) before_[address] = PeekAt(*image, address);
  }

  static std::vector<std::byte> PeekAt(base::SimDisk& disk, uint64_t address) {
    std::vector<std::byte> bytes(kMetadataBlockBytes);
    disk.Peek(kLvmDataOffset + address, bytes);
    return bytes;
  }

  // What the next repair does first, and what must be true then.
  std::string Finish(base::SimExecutor& executor, base::SimDisk& disk, bool ignore_checksums) {
    base::BlockDevice* const devices[] = {&disk};
    auto volume = base::RunSync(executor, OpenLvm(devices));
    if (!volume) return volume.error().message();
    auto pending =
        base::RunSync(executor, fsck::ReadPendingRepair(**volume, ignore_checksums));
    if (!pending) return "a record without its log: " + pending.error().message();
    if (pending->exists) {
      const base::Status finished =
          base::RunSync(executor, fsck::FinishRepair(**volume, *pending, {}));
      if (!finished) return finished.error().message();
    }
    size_t old_count = 0, new_count = 0;
    for (const auto& [address, bytes] : before_) {
      const std::vector<std::byte> now = PeekAt(disk, address);
      if (now == bytes) ++old_count;
      if (now == after_.at(address)) ++new_count;
    }
    if (old_count == before_.size() || new_count == after_.size()) return "";
    return fmt::format("{} blocks: {} are old, {} are new", before_.size(), old_count, new_count);
  }

  base::CrashSweepResult Sweep(bool ignore_checksums = false) {
    base::CrashSweepOptions options;
    options.seed = base::SeedFromEnvironment(1);
    options.samples = 6;
    options.torn_samples = 4;
    options.all_subsets_max = 5;
    return base::SweepCrashes(
        volume_.disk(), options,
        [&](base::SimExecutor& executor, base::SimDisk& disk, const base::CrashCase& crash) {
          std::string problem = Finish(executor, disk, ignore_checksums);
          if (problem.empty() && crash.number == 0) {
            problem = RepairAndCompare(executor, disk, expected_);
          }
          return problem;
        });
  }

  Blocks before_, after_;  // every block that the repair changes in place
};

TEST_F(FsckRepairCrash, LeavesTheOldVolumeOrTheRepairedOneWhereverItIsCut) {
  Damage();
  Record();
  ASSERT_GT(after_.size(), 5u);
  const base::CrashSweepResult result = Sweep();
  EXPECT_TRUE(result.ok()) << result.failure;
  std::printf("%lu cases\n", static_cast<unsigned long>(result.cases));
}

TEST_F(FsckRepairCrash, FindsRoomForALongLogOnAFullVolume) {
  FillAndDamage();
  const RepairReport report = Repair();
  EXPECT_EQ(report.outcome, RepairOutcome::kRepaired) << Describe(report);
  EXPECT_TRUE(report.after.is_clean()) << Describe(report);
  EXPECT_GT(report.counters.blocks_written, kRepairLogSlots);
  EXPECT_EQ(UsedJournals(), 0u);
  EXPECT_EQ(Compare(expected_), "");
}

TEST_F(FsckRepairCrash, LeavesAFullVolumeOldOrRepairedWhereverItIsCut) {
  FillAndDamage();
  Record();
  ASSERT_GT(after_.size(), kRepairLogSlots);
  base::CrashSweepOptions options;
  options.seed = base::SeedFromEnvironment(1);
  options.samples = 2;
  options.torn_samples = 1;
  options.all_subsets_max = 3;
  options.prefix_step = 7;
  uint64_t mounts = 0;
  const base::CrashSweepResult result = base::SweepCrashes(
      volume_.disk(), options,
      [&](base::SimExecutor& executor, base::SimDisk& disk, const base::CrashCase& crash) {
        // Mounts of a full volume take long; one in so many is enough.
        const bool mounts_now = crash.number == 0 && mounts++ % 16 == 0;
        return mounts_now ? RepairAndCompare(executor, disk, expected_)
                          : Finish(executor, disk, /*ignore_checksums=*/false);
      });
  EXPECT_TRUE(result.ok()) << result.failure;
  EXPECT_GT(mounts, 0u);
}

// The journal of a dead host is the only copy of what it did until the repair is written.
TEST_F(FsckRepairCrash, TakesNoJournalThatHoldsARing) {
  FillAndDamage();
  const ResourceGeometry& geometry = raw().geometry(ResourceKind::kJournal);
  for (uint32_t item = 0; item < geometry.ResourcesIn(0); ++item) {
    const auto address = raw().ItemAddress(ResourceKind::kJournal, {0, item});
    Poke(*address, std::as_bytes(std::span(kJournalMagic)));
  }
  RepairOptions options;
  const auto report = TryRepair(options);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code(), base::Code::kNoSpace) << report.error().message();
}

TEST_F(FsckRepairCrash, CatchesALogThatIsNotFlushedBeforeItsRecord) {
  Damage();
  RepairFaults faults;
  faults.skip_log_flush = true;
  Record(faults);
  EXPECT_NE(Sweep().failure.find("a record without its log"), std::string::npos);
  EXPECT_FALSE(Sweep(/*ignore_checksums=*/true).ok());
}

TEST_F(FsckRepairCrash, CatchesARecordThatIsClearedBeforeTheBlocksAreHome) {
  Damage();
  RepairFaults faults;
  faults.clear_record_early = true;
  Record(faults);
  EXPECT_NE(Sweep().failure.find("are old"), std::string::npos);
}

TEST_F(FsckRepairCrash, CatchesALogThatIsBelievedWithoutItsChecksums) {
  Damage();
  Record();
  // The last image on which everything is written but the homes.
  const auto& log = volume_.disk().log();
  const auto first_home = std::ranges::find_if(log, [&](const base::SimDisk::LogEntry& entry) {
    return entry.change == base::SimDisk::Change::kWrite &&
           after_.contains(entry.offset_bytes - kLvmDataOffset);
  });
  const auto prefix = static_cast<size_t>(first_home - log.begin());
  for (const bool ignore : {false, true}) {
    auto disk = ImageAt(executor_, prefix);
    std::vector<std::byte> wrong(16, std::byte{0x99});
    disk->Poke(kLvmDataOffset + kRepairLogOffset + kMetadataBlockBytes + 64, wrong);
    const std::string problem = Finish(executor_, *disk, ignore);
    EXPECT_NE(problem.find(ignore ? "are old" : "a record without its log"), std::string::npos)
        << problem;
    // The repair itself gives such a log up and begins again.
    if (!ignore) {
      EXPECT_EQ(RepairAndCompare(executor_, *disk, expected_), "");
    }
  }
}

TEST_F(FsckRepairCrash, CatchesACopyIntoABlockInUse) {
  Damage();
  RepairOptions options;
  options.faults.copy_to_used_blocks = true;
  const auto report = TryRepair(options);
  const bool is_right = report && report->outcome == RepairOutcome::kRepaired &&
                        report->after.is_clean() && Compare(expected_).empty();
  EXPECT_FALSE(is_right);
}

TEST_F(FsckRepairCrash, IsRefusedByAMountAndSeenByACheckUntilItIsFinished) {
  Damage();
  Record();
  const size_t entries = volume_.disk().log().size();
  // Without the two last steps: the homes may or may not be there, the record is.
  auto disk = ImageAt(executor_, entries - 3);
  SimVolume volume(executor_, *disk);
  const base::Status mounted = volume.Mount();
  ASSERT_FALSE(mounted);
  EXPECT_NE(mounted.error().message().find("a repair was interrupted; run strata fsck --repair"),
            std::string::npos)
      << mounted.error().message();
  const auto report = volume.Report();
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->CountOf(FindingCode::kRepairPending), 1u);
  EXPECT_EQ(report->error_count + report->warning_count, 1u) << Describe(*report);
  EXPECT_EQ(RepairAndCompare(executor_, *disk, expected_), "");
}

TEST_F(FsckRepairCrash, BringsHomeTheJournalOfADeadHost) {
  ASSERT_TRUE(volume_.Mount());
  VolumeClient client(volume_.volume());
  ASSERT_TRUE(base::RunSync(executor_, client.Create("/late")));
  ASSERT_TRUE(base::RunSync(executor_, client.SyncAll()));
  auto disk = ImageAt(executor_, volume_.disk().log().size());
  ASSERT_TRUE(volume_.Unmount());
  const TreeNode late = ReadBack().at("/late");
  SimVolume dead(executor_, *disk);
  const auto report = dead.Report();
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->CountOf(FindingCode::kJournalPending), 1u) << Describe(*report);
  EXPECT_EQ(report->CountOf(FindingCode::kInUse), 1u);
  Tree tree = expected_;
  tree["/late"] = late;
  EXPECT_EQ(RepairAndCompare(executor_, *disk, tree), "");
}

TEST_F(FsckRepairCrash, SurvivesTheFailureOfAnyCall) {
  Damage();
  uint64_t calls = 0;
  {
    base::SimExecutor executor(5);
    auto disk = Image(executor);
    const uint64_t before = disk->call_count();
    base::BlockDevice* const devices[] = {disk.get()};
    RepairOptions options;
    options.hosts_are_dead = true;
    ASSERT_TRUE(base::RunSync(executor, RepairDevices(executor, devices, options)));
    calls = disk->call_count() - before;
  }
  // Every call would take long; reads are many and alike.
  const uint64_t step = std::max<uint64_t>(1, calls / base::RoundsFromEnvironment(60));
  for (uint64_t n = 1; n < calls; n += step) {
    SCOPED_TRACE(fmt::format("call {} of {} fails", n, calls));
    base::SimExecutor executor(5);
    auto disk = Image(executor);
    disk->FailNth(n, base::Code::kDeviceLost);
    base::BlockDevice* const devices[] = {disk.get()};
    RepairOptions options;
    options.hosts_are_dead = true;
    const auto report = base::RunSync(executor, RepairDevices(executor, devices, options));
    if (!report) {
      EXPECT_EQ(report.error().code(), base::Code::kDeviceLost);
    }
    EXPECT_EQ(RepairAndCompare(executor, *disk, expected_), "")
        << (report ? Describe(*report) : report.error().message());
  }
}

}  // namespace
}  // namespace vmfs
