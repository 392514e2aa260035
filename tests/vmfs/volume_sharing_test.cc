// Operations in flight at the same time on one volume, and hosts that died at the same time: what
// they must not do to each other.

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "fs/base/log.h"
#include "fs/base/sync.h"
#include "tests/support/vmfs_volume.h"
#include "tests/support/volume_history.h"
#include "vmfs/format/heartbeat_slot.h"
#include "vmfs/format/lvm.h"

namespace vmfs {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kVolumeBytes = 1024 * kMiB;

// A mounted volume on a disk whose calls take their time and overtake each other.
class SharedVolume : public testing::Test {
 protected:
  SharedVolume() : volume_(executor_, MakeDisk()) {
    base::SetLogLevel(base::LogLevel::kOff);
    volume_.options().guard = &guard_;
    CHECK(volume_.MakeFileSystem().has_value());
    CHECK(volume_.Mount().has_value());
  }

  void TearDown() override {
    if (volume_.mounted()) {
      EXPECT_TRUE(volume_.Unmount().has_value());
    }
    EXPECT_EQ(volume_.CheckAfterCrash(), "");
  }

  std::unique_ptr<base::SimDisk> MakeDisk() {
    base::SimDisk::Options options;
    options.size_bytes = kVolumeBytes + kLvmDataOffset;
    options.logging = false;
    options.latency_us_min = 50;
    options.latency_us_max = 2000;
    return std::make_unique<base::SimDisk>(executor_, options);
  }

  VolumeClient client() { return VolumeClient(volume_.volume()); }

  std::unique_ptr<fss::File> Open(const char* path) {
    auto opened = base::RunSync(executor_, client().Open(path, fss::OpenMode::kWrite));
    CHECK(opened.has_value());
    return std::move(*opened);
  }

  template <typename T>
  T Run(base::Task<T> task) {
    return base::RunSync(executor_, std::move(task));
  }

  base::SimExecutor executor_{20};
  DeadGuard guard_;
  SimVolume volume_;
};

base::Task<void> WriteAt(fss::File* file, uint64_t offset_bytes, std::span<std::byte> bytes,
                         base::Status& outcome) {
  const base::IoVec piece{bytes.data(), bytes.size()};
  const base::IoRequest request{offset_bytes, std::span(&piece, 1)};
  const base::Result<uint64_t> written = co_await file->Write(request);
  if (!written) outcome = written.error();
}

// Two overlapping writes, the second begun `pause_us` behind the first.
base::Task<base::Status> WriteBoth(base::Executor& executor, fss::File* file,
                                   std::span<std::byte> whole_sector, std::span<std::byte> part,
                                   uint64_t part_offset, uint64_t pause_us) {
  base::Status outcome;
  base::TaskGroup group(executor);
  group.Add(WriteAt(file, 0, whole_sector, outcome));
  co_await executor.Sleep(pause_us);
  group.Add(WriteAt(file, part_offset, part, outcome));
  co_await group.Join();
  co_return outcome;
}

// A merge reads the sectors at its edges: what it writes back must not be older than what a write
// of whole sectors, under way at that moment, has put there.
TEST_F(SharedVolume, AWriteOfWholeSectorsIsNotUndoneByAMergeIntoOneOfThem) {
  ASSERT_TRUE(Run(client().Create("/f")));
  const std::unique_ptr<fss::File> file = Open("/f");
  base::Random random(3);
  std::string wrong;
  for (int round = 0; round < 200 && wrong.empty(); ++round) {
    std::vector<std::byte> old(4096, std::byte{'o'}), sectors(2048, std::byte{'s'}),
        part(100, std::byte{'p'});
    base::Status outcome;
    Run(WriteAt(file.get(), 0, old, outcome));
    ASSERT_TRUE(outcome);
    ASSERT_TRUE(Run(WriteBoth(executor_, file.get(), sectors, part, 700, random.Below(2000))));
    std::vector<std::byte> found(4096);
    ASSERT_EQ(*Run(client().Read("/f", 0, found)), found.size());
    for (size_t i = 0; i < found.size(); ++i) {
      const bool in_part = i >= 700 && i < 800;
      const std::byte expected = i < 2048 ? std::byte{'s'} : std::byte{'o'};
      if (found[i] == expected || (in_part && found[i] == std::byte{'p'})) continue;
      wrong = fmt::format("round {} byte {}", round, i);
    }
  }
  EXPECT_EQ(wrong, "");
  ASSERT_TRUE(Run(file->Close()));
}

base::Task<void> SyncOnce(VolumeClient client, base::Status& outcome) {
  const base::Status synced = co_await client.SyncAll();
  if (!synced) outcome = synced;
}

base::Task<base::Status> SyncTogether(base::Executor& executor, VolumeClient client, int count) {
  base::Status outcome;
  base::TaskGroup group(executor);
  for (int i = 0; i < count; ++i) group.Add(SyncOnce(client, outcome));
  co_await group.Join();
  co_return outcome;
}

TEST_F(SharedVolume, ManyWhoSyncAtOnceShareOneCommit) {
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(Run(client().Create(fmt::format("/f{}", round))));
    const uint64_t before = volume_.volume().figures().journal.commit_count;
    ASSERT_TRUE(Run(SyncTogether(executor_, client(), 8)));
    EXPECT_EQ(volume_.volume().figures().journal.commit_count, before + 1);
    ASSERT_TRUE(Run(SyncTogether(executor_, client(), 8)));
    EXPECT_EQ(volume_.volume().figures().journal.commit_count, before + 1);
  }
}

// Counts how often it gets its turn until told to stop.
base::Task<void> CountTurns(base::Executor& executor, bool& stop, uint64_t& turns) {
  while (!stop) {
    ++turns;
    co_await executor.Yield();
  }
}

base::Task<base::Result<uint64_t>> TurnsDuring(base::Executor& executor, fss::File* file,
                                               bool map) {
  bool stop = false;
  uint64_t turns = 0;
  std::vector<base::MapRun> runs;
  base::TaskGroup group(executor);
  group.Add(CountTurns(executor, stop, turns));
  base::Status status;
  if (map) {
    status = co_await file->MapStatus(0, file->size_bytes(), runs);
  } else {
    const base::Result<uint64_t> hole = co_await file->Seek(fss::SeekKind::kHole, 0);
    if (!hole) status = hole.error();
  }
  stop = true;
  co_await group.Join();
  CO_TRY_STATUS(status);
  co_return turns;
}

TEST_F(SharedVolume, AWalkOverALongMapLetsOthersHaveTheirTurn) {
  ASSERT_TRUE(Run(client().Create("/long")));
  ASSERT_TRUE(Run(client().Allocate("/long", fss::AllocateMode::kAllocate, 0, 700 * kMiB)));
  const std::unique_ptr<fss::File> file = Open("/long");
  for (const bool map : {false, true}) {
    ASSERT_TRUE(Run(TurnsDuring(executor_, file.get(), map)));  // the map is in memory now
    const base::Result<uint64_t> turns = Run(TurnsDuring(executor_, file.get(), map));
    ASSERT_TRUE(turns.has_value());
    EXPECT_GE(*turns, 3u) << (map ? "MapStatus" : "SEEK_HOLE");
  }
  ASSERT_TRUE(Run(file->Close()));
}

// A host that died with a journal block named in its slot but not yet taken; then another host
// took the block, and died with its journal full.
class DeadTogether : public SharedVolume, public testing::WithParamInterface<int> {
 protected:
  HeartbeatSlot SlotAt(uint32_t index) {
    std::array<std::byte, sizeof(HeartbeatSlot)> bytes;
    volume_.disk().Peek(kLvmDataOffset + HeartbeatAddress(index), bytes);
    return base::LoadAs<HeartbeatSlot>(bytes);
  }

  uint32_t UsedSlot() {
    for (uint32_t i = 0; i < kHeartbeatSlotCount; ++i) {
      if (SlotAt(i).state() != HeartbeatState::kFree) return i;
    }
    return 0;
  }

  void PutDeadSlot(uint32_t index, const HeartbeatSlot& like) {
    HeartbeatSlot slot = like;
    slot.own_address = HeartbeatAddress(index);
    slot.generation = 41;
    slot.owner = base::NewUuid(41);
    volume_.disk().Poke(kLvmDataOffset + slot.own_address, base::BytesOf(slot));
  }
};

TEST_P(DeadTogether, TheJournalOfOneIsNotWipedByTheReplayOfTheOther) {
  ASSERT_TRUE(Run(client().Create("/promised")));
  ASSERT_TRUE(Run(client().SyncAll()));
  const uint32_t used = UsedSlot();
  const HeartbeatSlot slot = SlotAt(used);
  ASSERT_NE(uint64_t{slot.journal_volume_address}, 0u);
  volume_.Crash();
  PutDeadSlot((used + kHeartbeatSlotCount + static_cast<uint32_t>(GetParam())) %
                  kHeartbeatSlotCount,
              slot);
  const base::Status mounted = volume_.Mount();
  ASSERT_TRUE(mounted) << mounted.error().message();
  Tree found;
  ASSERT_TRUE(Run(client().ReadTree("", found)));
  EXPECT_TRUE(found.contains("/promised"));
}

INSTANTIATE_TEST_SUITE_P(Slots, DeadTogether, testing::Values(-1, 1),
                         [](const auto& tested) {
                           return std::string(tested.param < 0 ? "Before" : "Behind");
                         });

}  // namespace
}  // namespace vmfs
