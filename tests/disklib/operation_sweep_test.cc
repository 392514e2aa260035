// Operations on disks in a host's folder, cut at every change and failed at every call: everything
// reads as before or as afterwards, and running them again ends them. What snapshots do has a sweep
// of its own.
#include "tests/disklib/operation_cases.h"
#include "tests/support/crash_files.h"

namespace disklib {
namespace {

class OperationSweep : public testing::TestWithParam<OperationCase> {};

base::CrashSweepOptions OptionsOf(uint64_t rounds, size_t log_length) {
  constexpr size_t kPrefixesInFastSuite = 40;
  base::CrashSweepOptions options;
  options.seed = base::SeedFromEnvironment(1);
  options.all_subsets_max = 2;
  options.samples = 2 * rounds;
  options.torn_samples = rounds;
  options.prefix_step = std::max<size_t>(1, log_length / (kPrefixesInFastSuite * rounds));
  return options;
}

base::CrashSweepResult SweepCuts(const OperationCase& test, bool ignores_syncs = false) {
  fss::CrashFiles files;
  base::SimExecutor executor(1, /*in_order=*/true);
  const World before = PrepareCase(executor, files, test);
  files.Settle();
  files.set_ignore_syncs(ignores_syncs);
  const base::Status done = RunCase(executor, files, test);
  EXPECT_TRUE(done) << done.error().message();
  const auto options = OptionsOf(base::RoundsFromEnvironment(1), files.log().size());
  return fss::SweepCrashFiles(
      files, options,
      [&](base::SimExecutor& after_crash, fss::MemoryFileSystem& left, const base::CrashCase&) {
        return JudgeCase(after_crash, left, test, before);
      });
}

TEST_P(OperationSweep, SurvivesEveryCut) {
  const base::CrashSweepResult result = SweepCuts(GetParam());
  EXPECT_TRUE(result.ok()) << result.failure;
  EXPECT_GT(result.cases, 2u);
}

TEST_P(OperationSweep, SurvivesOneFailureAtEveryCall) {
  const OperationCase& test = GetParam();
  const auto round = [&test](uint64_t call_number, bool* was_reached) {
    fss::MemoryFileSystem files;
    base::SimExecutor executor(1, /*in_order=*/true);
    const World before = PrepareCase(executor, files, test);
    files.FailAt(call_number);
    const base::Status done = RunCase(executor, files, test);
    *was_reached = files.has_failed();
    files.StopFailing();
    // An error that was answered may be one that does not matter; a success must be one.
    static_cast<void>(done);
    std::string wrong = JudgeCase(executor, files, test, before);
    if (wrong.empty() && files.lookups_held() != 0) wrong = "lookups were not given back";
    return wrong;
  };
  const uint64_t step = base::RoundsFromEnvironment(1) > 1 ? 1 : 5;
  const fss::FailureSweepResult result = fss::SweepFailures(round, step);
  EXPECT_TRUE(result.ok()) << result.failure;
  EXPECT_GT(result.rounds, 1u);
}

INSTANTIATE_TEST_SUITE_P(All, OperationSweep, testing::ValuesIn(OperationCases()),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(OperationSweepItself, NoticesSyncsThatDoNothing) {
  EXPECT_FALSE(SweepCuts(OperationCaseNamed("RebaseByCopy"), /*ignores_syncs=*/true).ok());
  EXPECT_FALSE(SweepCuts(OperationCaseNamed("Defragment"), /*ignores_syncs=*/true).ok());
}

}  // namespace
}  // namespace disklib
