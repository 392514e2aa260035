// Operations on disks of a VMFS volume, cut at points of the volume's writes with fates of what was
// not flushed: the next mount finds everything as before or as afterwards, the operation run again
// ends it, and both checkers have nothing to say.
//
// ROUNDS=n takes n times as many crash points and fates, SEED=s draws others.
#include "fs/base/log.h"
#include "tests/disklib/operation_cases.h"
#include "tests/support/crash_sweep.h"
#include "tests/support/vmfs_volume.h"

namespace disklib {
namespace {

constexpr uint64_t kVolumeBytes = uint64_t{256} << 20;
constexpr uint64_t kPrefixesInFastSuite = 6;

class DiskRecording {
 public:
  // Runs the case to its end; the log begins behind what it prepares.
  explicit DiskRecording(const OperationCase& test, const vmfs::JournalFaults& faults = {})
      : test_(test), volume_(executor_, kVolumeBytes, /*logging=*/true) {
    base::SetLogLevel(base::LogLevel::kOff);
    volume_.options().guard = &guard_;
    Note(volume_.MakeFileSystem());
    Note(volume_.Mount());
    before_ = PrepareCase(executor_, volume_.volume(), test_);
    Note(volume_.Unmount());
    volume_.disk().Settle();
    volume_.options().journal_faults = faults;
    Note(volume_.Mount());
    Note(RunCase(executor_, volume_.volume(), test_));
    Note(volume_.Unmount());
  }

  const std::string& failure() const { return failure_; }

  base::CrashSweepResult Sweep(uint64_t points, uint64_t samples) {
    base::CrashSweepOptions options;
    options.seed = base::SeedFromEnvironment(1);
    options.all_subsets_max = 1;
    options.samples = samples;
    options.torn_samples = 1;
    options.prefix_step = std::max<uint64_t>(1, volume_.disk().log().size() / points);
    options.first_prefix = options.seed % options.prefix_step;
    return base::SweepCrashes(
        volume_.disk(), options,
        [this](base::SimExecutor& executor, base::SimDisk& disk, const base::CrashCase&) {
          return Recover(executor, disk);
        });
  }

 private:
  void Note(const base::Status& status) {
    if (!status && failure_.empty()) failure_ = status.error().message();
  }

  std::string Recover(base::SimExecutor& executor, base::SimDisk& disk) {
    vmfs::SimVolume volume(executor, disk);
    volume.options().guard = &guard_;
    if (const auto mounted = volume.Mount(); !mounted) return mounted.error().message();
    std::string wrong = JudgeCase(executor, volume.volume(), test_, before_);
    const base::Status end = volume.Unmount();
    if (!wrong.empty()) return wrong;
    return end ? volume.CheckAfterCrash() : end.error().message();
  }

  const OperationCase& test_;
  base::SimExecutor executor_{7};
  vmfs::DeadGuard guard_;
  vmfs::SimVolume volume_;
  World before_;
  std::string failure_;
};

class VolumeSweep : public testing::TestWithParam<OperationCase> {};

TEST_P(VolumeSweep, LeavesDisksAsTheyWereOrAsTheyWillBe) {
  DiskRecording recording(GetParam());
  ASSERT_EQ(recording.failure(), "");
  const uint64_t rounds = base::RoundsFromEnvironment(1);
  const auto result = recording.Sweep(kPrefixesInFastSuite * rounds, rounds);
  EXPECT_TRUE(result.ok()) << result.failure << "\nreplay: SEED=" << base::SeedFromEnvironment(1)
                           << " ROUNDS=" << rounds << " disklib_volume_test --gtest_filter=*/"
                           << GetParam().name;
  EXPECT_GT(result.cases, 2u);
}

INSTANTIATE_TEST_SUITE_P(All, VolumeSweep, testing::ValuesIn(OperationCases()),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(VolumeSweepItself, NoticesDataThatIsFlushedBehindItsCommit) {
  vmfs::JournalFaults faults;
  faults.data_after_ring = true;
  DiskRecording recording(OperationCaseNamed("DeleteSnapshot"), faults);
  ASSERT_EQ(recording.failure(), "");
  EXPECT_FALSE(recording.Sweep(1000, 4).ok());
}

TEST(VolumeSweepItself, NoticesCommitsThatAreAnsweredWithoutAFlush) {
  vmfs::JournalFaults faults;
  faults.skip_flush_after_ring = true;
  DiskRecording recording(OperationCaseNamed("DeleteAllSnapshots"), faults);
  ASSERT_EQ(recording.failure(), "");
  EXPECT_FALSE(recording.Sweep(1000, 4).ok());
}

}  // namespace
}  // namespace disklib
