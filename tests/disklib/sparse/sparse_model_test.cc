// Random changes to a sparse file against a model of its grains: more tables than fit into memory,
// files opened again and again, and many writers side by side.
#include <map>

#include <fmt/format.h>

#include "tests/disklib/sparse/sparse_history.h"
#include "tests/disklib/sparse/support.h"
#include "tests/support/crash_sweep.h"

namespace disklib {
namespace {

using base::Status;
using base::Task;
using fds::GrainRun;
using fds::GrainState;

constexpr uint64_t kSizeBytes = uint64_t{12} << 30;  // 768 tables; 512 fit into memory

// What each grain holds: 0 nothing, 1 zeros, else the seed of its bytes.
class Model {
 public:
  explicit Model(uint64_t seed) : random_(seed), bench_(kSizeBytes, UINT64_MAX, seed) {
    bench_.Open();
  }

  ~Model() { bench_.Close(); }

  std::string Step() {
    const uint64_t count = 1 + random_.Below(random_.OneIn(8) ? 40 : 3);
    const uint64_t grain = DrawGrain(count);
    switch (random_.Below(16)) {
      case 0: return Change(grain, count, 1, Zero(grain, count));
      case 1: return Change(grain, count, 0, Release(grain, count));
      case 2: return Answer(Await(bench_.executor, bench_.extent->Sync()));
      case 3:
        if (!random_.OneIn(40)) return "";
        bench_.Reopen();
        return "";
      case 4:
      case 5:
      case 6:
      case 7: return Check(grain, count);
      default: return Write(grain, count);
    }
  }

  std::string CheckAll() {
    for (const auto& [grain, state] : grains_) {
      const std::string wrong = Check(grain, 1);
      if (!wrong.empty()) return wrong;
    }
    return "";
  }

  void Reopen() { bench_.Reopen(); }

 private:
  // Half of the changes meet grains that were changed before.
  uint64_t DrawGrain(uint64_t count) {
    const uint64_t grain_count = kSizeBytes / kGrain;
    uint64_t grain = random_.Below(grain_count);
    if (random_.OneIn(2)) {
      const auto found = grains_.lower_bound(grain);
      if (found != grains_.end()) grain = found->first;
    }
    return std::min(grain, grain_count - count);
  }

  std::string Answer(const Status& status) { return status ? "" : status.error().message(); }

  Status Zero(uint64_t grain, uint64_t count) {
    return Await(bench_.executor, bench_.extent->WriteZeroes(grain * kGrain, count * kGrain,
                                                             /*may_unmap=*/random_.OneIn(2)));
  }

  Status Release(uint64_t grain, uint64_t count) {
    return Await(bench_.executor, bench_.extent->Release(grain * kGrain, count * kGrain));
  }

  std::string Change(uint64_t grain, uint64_t count, uint64_t state, const Status& status) {
    for (uint64_t i = 0; i < count && status; ++i) grains_[grain + i] = state;
    return Answer(status);
  }

  std::string Write(uint64_t grain, uint64_t count) {
    const uint64_t seed = 2 + random_.Below(1 << 30);
    std::vector<std::byte> bytes;
    for (uint64_t i = 0; i < count; ++i) {
      const auto one = PatternOf(seed, kGrain);
      bytes.insert(bytes.end(), one.begin(), one.end());
    }
    return Change(grain, count, seed,
                  WriteAt(bench_.executor, *bench_.extent, grain * kGrain, bytes));
  }

  std::string Check(uint64_t grain, uint64_t count) {
    const auto bytes = ReadAt(bench_.executor, *bench_.extent, grain * kGrain, count * kGrain);
    for (uint64_t i = 0; i < count; ++i) {
      const auto found = grains_.find(grain + i);
      const uint64_t state = found == grains_.end() ? 0 : found->second;
      std::vector<std::byte> expected(kGrain);
      if (state > 1) expected = PatternOf(state, kGrain);
      const auto begin = bytes.begin() + static_cast<ptrdiff_t>(i * kGrain);
      if (!std::equal(expected.begin(), expected.end(), begin)) {
        return fmt::format("grain {} does not hold what state {} says", grain + i, state);
      }
      std::vector<GrainRun> runs;
      const Status mapped = Await(
          bench_.executor, bench_.extent->grain_map()->Lookup((grain + i) * kGrain, kGrain, runs));
      if (!mapped) return mapped.error().message();
      const bool is_hole = runs.at(0).state == GrainState::kUnallocated;
      if (runs.size() != 1 || is_hole != (state == 0)) {
        return fmt::format("grain {} has state {}", grain + i, static_cast<int>(runs[0].state));
      }
    }
    return "";
  }

  base::Random random_;
  SparseBench bench_;
  std::map<uint64_t, uint64_t> grains_;
};

TEST(SparseModel, HoldsWhatTheModelHolds) {
  const uint64_t seed = base::SeedFromEnvironment(1);
  const uint64_t rounds = base::RoundsFromEnvironment(4000);
  Model model(seed);
  for (uint64_t round = 0; round < rounds; ++round) {
    ASSERT_EQ(model.Step(), "") << "round " << round << "; replay: SEED=" << seed
                                << " disklib_sparse_test --gtest_filter=SparseModel.*";
  }
  ASSERT_EQ(model.CheckAll(), "") << "SEED=" << seed;
  model.Reopen();
  ASSERT_EQ(model.CheckAll(), "") << "SEED=" << seed;
}

// One of many writers, with grains of its own.
Task<void> ChangeAlone(SparseHistory& history, uint64_t number, uint64_t change_count) {
  base::Random random(history.executor().random().Next());
  for (uint64_t i = 0; i < change_count; ++i) {
    const uint64_t grain = random.Below(4) * 4096 + number * 32 + random.Below(24);
    const uint64_t count = 1 + random.Below(8);
    Task<Status> task = history.Put(grain, count);
    const uint64_t verb = random.Below(10);
    if (verb == 0) task = history.Zero(grain, count);
    if (verb == 1) task = history.Release(grain, count);
    if (verb == 2) task = history.Sync();
    const Status done = co_await task;
    EXPECT_TRUE(done) << done.error().message();
  }
}

TEST(SparseModel, HoldsWhatManyWritersWroteSideBySide) {
  const uint64_t first_seed = base::SeedFromEnvironment(1);
  for (uint64_t seed = first_seed; seed < first_seed + 6; ++seed) {
    SparseHistory::Options options;
    options.subject = {.format = FormatSeSparse, .open = OpenSeSparse};
    options.interleaves = true;
    options.seed = seed;
    SparseHistory history(options);
    {
      base::TaskGroup group(history.executor());
      for (uint64_t number = 0; number < 8; ++number) {
        group.Add(ChangeAlone(history, number, 60));
      }
      base::RunSync(history.executor(), group.Join());
    }
    EXPECT_EQ(history.failure(), "");
    EXPECT_EQ(history.CheckNow(), "") << "SEED=" << seed;
    ASSERT_TRUE(base::RunSync(history.executor(), history.Reopen()));
    EXPECT_EQ(history.CheckNow(), "") << "SEED=" << seed;
  }
}

}  // namespace
}  // namespace disklib
