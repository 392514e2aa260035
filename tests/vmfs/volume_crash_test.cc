// Crash sweeps over a mounted volume: at points of a scenario's writes, with fates of what was not
// flushed, the next mount finds a whole volume and everything that was made durable. And the proof
// that the sweep would notice: each planted fault makes it fail.
//
// ROUNDS=n takes n times as many crash points and fates, SEED=s draws others. A failing case says
// how to run it alone: PREFIX=p CASE=c with the test's filter.

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <ostream>

#include "tests/support/crash_scenarios.h"

namespace vmfs {

void PrintTo(const CrashScenario& scenario, std::ostream* out) { *out << scenario.name; }

namespace {

constexpr uint64_t kPrefixesInFastSuite = 10;

std::optional<uint64_t> NumberFromEnvironment(const char* name) {
  const char* text = std::getenv(name);
  return text == nullptr ? std::nullopt : std::optional(std::strtoull(text, nullptr, 0));
}

base::CrashSweepOptions SweepOptions(size_t log_length) {
  base::CrashSweepOptions options;
  const uint64_t rounds = base::RoundsFromEnvironment(1);
  options.seed = base::SeedFromEnvironment(1);
  options.all_subsets_max = 1;
  options.samples = rounds;
  options.torn_samples = rounds;
  options.prefix_step = std::max<uint64_t>(1, log_length / (kPrefixesInFastSuite * rounds));
  options.first_prefix = options.seed % options.prefix_step;
  options.only_prefix = NumberFromEnvironment("PREFIX");
  options.only_case = NumberFromEnvironment("CASE");
  return options;
}

class VolumeCrash : public testing::TestWithParam<CrashScenario> {};

TEST_P(VolumeCrash, LeavesAWholeVolumeWithEverythingThatWasDurable) {
  CrashRecording recording(GetParam());
  ASSERT_EQ(recording.failure(), "");
  base::CrashSweepOptions options = SweepOptions(recording.log_length());
  options.prefix_step *= GetParam().cost;
  const base::CrashSweepResult result = recording.Sweep(options);
  EXPECT_TRUE(result.ok()) << result.failure << "\nreplay: SEED=" << options.seed
                           << " ROUNDS=" << base::RoundsFromEnvironment(1)
                           << " PREFIX=... CASE=... vmfs_crash_test --gtest_filter=*/"
                           << GetParam().name;
  RecordProperty("log", static_cast<int>(recording.log_length()));
  RecordProperty("cases", static_cast<int>(result.cases));
}

INSTANTIATE_TEST_SUITE_P(Scenarios, VolumeCrash,
                         testing::ValuesIn(CrashScenarios().begin(), CrashScenarios().end()),
                         [](const auto& tested) { return tested.param.name; });

// The mount that recovers is itself cut off; in the fast suite for a few scenarios.
class RecoveryCrash : public testing::TestWithParam<CrashScenario> {};

TEST_P(RecoveryCrash, LeavesAWholeVolumeAllTheSame) {
  CrashRecording recording(GetParam());
  ASSERT_EQ(recording.failure(), "");
  const uint64_t rounds = base::RoundsFromEnvironment(1);
  base::CrashSweepOptions options = SweepOptions(recording.log_length());
  options.prefix_step = std::max<uint64_t>(1, recording.log_length() / (2 * rounds));
  options.first_prefix = recording.log_length() / 2 % options.prefix_step + options.seed % 7;
  options.all_subsets_max = 0;
  options.torn_samples = 0;
  base::CrashSweepOptions again;
  again.prefix_step = 2 + rounds;
  again.all_subsets_max = 0;
  again.samples = 1;
  again.torn_samples = 0;
  const base::CrashSweepResult result = recording.SweepRecovery(options, again);
  EXPECT_TRUE(result.ok()) << result.failure;
  EXPECT_GT(recording.recovery_case_count(), result.cases);
}

const CrashScenario kRecovered[] = {
    CrashScenarioNamed("CreateFiles"),
    CrashScenarioNamed("UnlinkFiles"),
    CrashScenarioNamed("OrphansThatAreOpen"),
    CrashScenarioNamed("MapsThatChange"),
};

INSTANTIATE_TEST_SUITE_P(Scenarios, RecoveryCrash, testing::ValuesIn(kRecovered),
                         [](const auto& tested) { return tested.param.name; });

// Whether a full sweep over the scenario, run with these options, finds something wrong.
testing::AssertionResult Catches(const char* scenario, const MountOptions& options,
                                 bool ignore_checksums = false) {
  CrashRecording recording(CrashScenarioNamed(scenario), options);
  if (ignore_checksums) recording.set_ignore_journal_checksums();
  if (!recording.failure().empty()) return testing::AssertionFailure() << recording.failure();
  base::CrashSweepOptions sweep;
  sweep.all_subsets_max = 3;
  sweep.samples = 6;
  sweep.torn_samples = 3;
  const base::CrashSweepResult result = recording.Sweep(sweep);
  if (!result.ok()) return testing::AssertionSuccess() << result.failure;
  return testing::AssertionFailure() << "not noticed in " << result.cases << " cases";
}

TEST(PlantedFault, ACommitWithoutFlushingDataFirstIsCaught) {
  MountOptions options;
  options.journal_faults.skip_flush_before_ring = true;
  EXPECT_TRUE(Catches("WriteEveryMapKind", options));
}

TEST(PlantedFault, ACommitAnsweredWithoutAFlushIsCaught) {
  MountOptions options;
  options.journal_faults.skip_flush_after_ring = true;
  EXPECT_TRUE(Catches("CreateFiles", options));
}

TEST(PlantedFault, ATailThatMovesBeforeHomeIsFlushedIsCaught) {
  MountOptions options;
  options.journal_faults.skip_flush_after_home = true;
  EXPECT_TRUE(Catches("CreateFiles", options));
}

TEST(PlantedFault, HomeBlocksBeforeTheRingAreCaught) {
  MountOptions options;
  options.journal_faults.home_before_ring = true;
  EXPECT_TRUE(Catches("CreateFiles", options));
}

TEST(PlantedFault, FreedSpaceThatIsUsedAgainTooEarlyIsCaught) {
  MountOptions options;
  options.journal_faults.release_freed_at_commit = true;
  EXPECT_TRUE(Catches("ReuseOfDirectorySpace", options));
}

TEST(PlantedFault, AnFsyncThatDoesNotFlushOverwrittenDataIsCaught) {
  MountOptions options;
  options.journal_faults.skip_flush_of_data = true;
  EXPECT_TRUE(Catches("OverwriteAndSyncData", options));
}

TEST(PlantedFault, DataThatIsFlushedBehindItsCommitIsCaught) {
  MountOptions options;
  options.journal_faults.data_after_ring = true;
  EXPECT_TRUE(Catches("WriteEveryMapKind", options));
}

TEST(PlantedFault, FilesReplacedOneByOneAreCaught) {
  MountOptions options;
  options.journal_faults.replace_one_by_one = true;
  EXPECT_TRUE(Catches("ReplaceTogether", options));
}

TEST(PlantedFault, ReplacementsThatAreFlushedBehindTheirCommitAreCaught) {
  MountOptions options;
  options.journal_faults.data_after_ring = true;
  EXPECT_TRUE(Catches("ReplaceTogether", options));
}

TEST(PlantedFault, ATailThatMovesBeforeHomeIsWrittenIsCaught) {
  MountOptions options;
  options.journal_faults.tail_before_home = true;
  EXPECT_TRUE(Catches("CreateFiles", options));
}

TEST(PlantedFault, UnmappedSpaceThatIsGivenOutBeforeAFlushIsCaught) {
  MountOptions options;
  options.journal_faults.skip_flush_after_unmap = true;
  EXPECT_TRUE(Catches("AllocateWhatWasUnmapped", options));
}

TEST(PlantedFault, ATornTransactionThatIsBelievedIsCaught) {
  EXPECT_TRUE(Catches("CreateFiles", {}, /*ignore_checksums=*/true));
}

// The journal asks for the token of the lock that covers each image, and so notices by itself.
TEST(PlantedFaultDeathTest, LocksGivenBackBeforeTheirBlocksAreHomeStopTheVolume) {
  MountOptions options;
  options.lock_options.faults.release_without_barrier = true;
  options.lock_options.idle_locks_max = 4;
  options.lock_options.give_back_count = 4;
  EXPECT_DEATH((void)Catches("Directories", options), "check failed");
}

}  // namespace
}  // namespace vmfs
