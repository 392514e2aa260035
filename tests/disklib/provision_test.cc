#include "disklib/provision.h"

#include "disklib/compare.h"
#include "tests/disklib/support.h"

namespace disklib {
namespace {

using base::Code;
using base::Result;
using base::Status;

std::string HashOf(Bench& bench, std::string_view path) {
  const auto hash = bench.Run(HashDisk(bench.lib, path, nullptr));
  EXPECT_TRUE(hash) << hash.error().message();
  return hash ? hash->sha256 : std::string();
}

// Eight units with data at one, written zeros at three and data again at five.
void MakeDisk(Bench& bench, std::string_view path, NewDisk disk, uint64_t unit_bytes = kMebi) {
  disk.size_bytes = 8 * unit_bytes;
  bench.Create(path, disk);
  const auto chain = bench.Open(path, true);
  std::vector<std::byte> data = Pattern(1, unit_bytes);
  std::vector<std::byte> zeros(unit_bytes);
  EXPECT_TRUE(WriteBytes(bench, *chain, unit_bytes, data));
  EXPECT_TRUE(WriteBytes(bench, *chain, 3 * unit_bytes, zeros));
  EXPECT_TRUE(WriteBytes(bench, *chain, 5 * unit_bytes, data));
  EXPECT_TRUE(bench.Run(chain->Close()));
}

TEST(InflateDisk, WritesZerosIntoEveryHoleAndKeepsTheContent) {
  Bench bench;
  MakeDisk(bench, "a.vmdk", {});
  const std::string hash = HashOf(bench, "a.vmdk");
  const std::string id = bench.Run(bench.lib.GetInfo("a.vmdk"))->content_id;
  const auto result = bench.Run(InflateDisk(bench.lib, "a.vmdk", nullptr));
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_LT(result->allocated_before_bytes, 8 * kMebi);
  EXPECT_GE(result->allocated_after_bytes, 8 * kMebi);
  const DiskInfo info = *bench.Run(bench.lib.GetInfo("a.vmdk"));
  EXPECT_FALSE(info.is_thin);
  EXPECT_EQ(info.content_id, id) << "the content is the same";
  EXPECT_EQ(HashOf(bench, "a.vmdk"), hash);
  const auto chain = bench.Open("a.vmdk", false);
  std::vector<base::MapRun> runs;
  ASSERT_TRUE(bench.Run(chain->MapStatus(0, 8 * kMebi, runs)));
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].state, base::MapState::kData);
  ASSERT_TRUE(bench.Run(chain->Close()));
}

TEST(InflateDisk, FillsEveryFileOfASplitDisk) {
  Bench bench;
  bench.Create("a.vmdk", {.size_bytes = kMebi, .layout = DiskLayout::kMonolithicFlat});
  ASSERT_TRUE(bench.Run(bench.backend.Create("b.raw")));
  ASSERT_TRUE(bench.Run(bench.backend.Resize("b.raw", 2 * kMebi)));
  std::string text = bench.Load("a.vmdk");
  text.insert(text.find("RW "), "RW 3072 FLAT \"b.raw\" 1024\n");
  bench.Store("a.vmdk", text);
  const auto result = bench.Run(InflateDisk(bench.lib, "a.vmdk", nullptr));
  ASSERT_TRUE(result) << result.error().message();
  const DiskInfo info = *bench.Run(bench.lib.GetInfo("a.vmdk"));
  EXPECT_EQ(info.extents.at(0).allocated_bytes, kMebi * 3 / 2) << "not what is before the extent";
  EXPECT_EQ(info.extents.at(1).allocated_bytes, kMebi);
}

TEST(EagerZeroDisk, TakesThickDisksOnly) {
  Bench bench;
  MakeDisk(bench, "thin.vmdk", {});
  MakeDisk(bench, "lazy.vmdk", {.provisioning = Provisioning::kZeroedThick});
  EXPECT_EQ(bench.Run(EagerZeroDisk(bench.lib, "thin.vmdk", nullptr)).error().code(),
            Code::kInvalidArgument);
  const std::string hash = HashOf(bench, "lazy.vmdk");
  ASSERT_TRUE(bench.Run(EagerZeroDisk(bench.lib, "lazy.vmdk", nullptr)));
  EXPECT_EQ(HashOf(bench, "lazy.vmdk"), hash);
  const auto chain = bench.Open("lazy.vmdk", false);
  std::vector<base::MapRun> runs;
  ASSERT_TRUE(bench.Run(chain->MapStatus(0, 8 * kMebi, runs)));
  EXPECT_EQ(runs.at(0).length_bytes, 8 * kMebi);
  EXPECT_EQ(runs.at(0).state, base::MapState::kData);
  ASSERT_TRUE(bench.Run(chain->Close()));
}

TEST(PunchDisk, GivesZerosBackAndKeepsTheContent) {
  for (const Provisioning provisioning :
       {Provisioning::kThin, Provisioning::kZeroedThick, Provisioning::kEagerZeroedThick}) {
    Bench bench;
    MakeDisk(bench, "a.vmdk", {.provisioning = provisioning});
    const std::string hash = HashOf(bench, "a.vmdk");
    const std::string id = bench.Run(bench.lib.GetInfo("a.vmdk"))->content_id;
    const auto result = bench.Run(PunchDisk(bench.lib, "a.vmdk", nullptr));
    ASSERT_TRUE(result) << result.error().message();
    const DiskInfo info = *bench.Run(bench.lib.GetInfo("a.vmdk"));
    EXPECT_EQ(info.extents.at(0).allocated_bytes, 2 * kMebi) << NameOf(provisioning);
    EXPECT_TRUE(info.is_thin);
    EXPECT_EQ(info.content_id, id);
    EXPECT_EQ(HashOf(bench, "a.vmdk"), hash);
  }
}

TEST(ZeroDisk, ErasesTheContentUnderANewId) {
  for (const Provisioning provisioning : {Provisioning::kThin, Provisioning::kZeroedThick}) {
    Bench bench;
    MakeDisk(bench, "a.vmdk", {.provisioning = provisioning});
    bench.Create("zeros.vmdk", {.size_bytes = 8 * kMebi});
    const std::string id = bench.Run(bench.lib.GetInfo("a.vmdk"))->content_id;
    const auto result = bench.Run(ZeroDisk(bench.lib, "a.vmdk", nullptr));
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_EQ(HashOf(bench, "a.vmdk"), HashOf(bench, "zeros.vmdk"));
    const DiskInfo info = *bench.Run(bench.lib.GetInfo("a.vmdk"));
    EXPECT_NE(info.content_id, id);
    const bool is_thin = provisioning == Provisioning::kThin;
    EXPECT_EQ(info.extents.at(0).allocated_bytes, is_thin ? 0 : 8 * kMebi);
  }
}

TEST(SpaceOperations, RefuseADiskInUse) {
  Bench bench;
  MakeDisk(bench, "a.vmdk", {});
  const auto chain = bench.Open("a.vmdk", false);
  for (const auto operation : {InflateDisk, PunchDisk, ZeroDisk}) {
    const auto refused = bench.Run(operation(bench.lib, "a.vmdk", nullptr));
    EXPECT_EQ(refused.error().code(), Code::kBusy);
    EXPECT_NE(refused.error().message().find("test"), std::string::npos);
  }
  ASSERT_TRUE(bench.Run(chain->Close()));
}

struct SweepCase {
  const char* name;
  Result<SpaceResult> (*run)(Bench& bench);
  bool keeps_content;
};

class SpaceSweep : public ::testing::TestWithParam<SweepCase> {};

// Cuts the operation at every call, in every way a crash can lose; then runs it again.
TEST_P(SpaceSweep, KeepsTheContentWhereverItIsCut) {
  using Crash = fss::MemoryFileSystem::Crash;
  for (const Crash crash :
       {Crash::kLosesNothing, Crash::kLosesUnsyncedData, Crash::kLosesAllUnsynced}) {
    bool was_cut = true;
    for (uint64_t call = 1; was_cut; ++call) {
      Bench bench;
      MakeDisk(bench, "a.vmdk", {}, 64 * 1024);
      ASSERT_TRUE(bench.Run(bench.files.SyncAll()));
      const std::string hash = HashOf(bench, "a.vmdk");
      const std::string id = bench.Run(bench.lib.GetInfo("a.vmdk"))->content_id;
      bench.files.CutAt(call);
      const auto first = GetParam().run(bench);
      was_cut = bench.files.has_failed();
      bench.files.Recover(crash);
      const std::string cut_hash = HashOf(bench, "a.vmdk");
      const bool has_old_id = bench.Run(bench.lib.GetInfo("a.vmdk"))->content_id == id;
      if (GetParam().keeps_content || has_old_id) {
        EXPECT_EQ(cut_hash, hash) << "call " << call;
      }
      const auto again = GetParam().run(bench);
      ASSERT_TRUE(again) << again.error().message() << " call " << call;
      if (GetParam().keeps_content) {
        EXPECT_EQ(HashOf(bench, "a.vmdk"), hash) << "call " << call;
      }
    }
  }
}

TEST_P(SpaceSweep, SurvivesOneFailureAtEveryCall) {
  bool has_failed = true;
  for (uint64_t call = 1; has_failed; ++call) {
    Bench bench;
    MakeDisk(bench, "a.vmdk", {}, 64 * 1024);
    const std::string hash = HashOf(bench, "a.vmdk");
    bench.files.FailAt(call);
    const auto first = GetParam().run(bench);
    has_failed = bench.files.has_failed();
    bench.files.StopFailing();
    if (GetParam().keeps_content) {
      EXPECT_EQ(HashOf(bench, "a.vmdk"), hash) << "call " << call;
    }
    EXPECT_TRUE(GetParam().run(bench)) << "call " << call;
    EXPECT_EQ(bench.files.lookups_held(), 0u) << "call " << call;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, SpaceSweep,
    ::testing::Values(
        SweepCase{"inflate",
                  [](Bench& bench) { return bench.Run(InflateDisk(bench.lib, "a.vmdk", nullptr)); },
                  true},
        SweepCase{"punch",
                  [](Bench& bench) { return bench.Run(PunchDisk(bench.lib, "a.vmdk", nullptr)); },
                  true},
        SweepCase{"zero",
                  [](Bench& bench) { return bench.Run(ZeroDisk(bench.lib, "a.vmdk", nullptr)); },
                  false}),
    [](const ::testing::TestParamInfo<SweepCase>& sweep) { return std::string(sweep.param.name); });

}  // namespace
}  // namespace disklib
