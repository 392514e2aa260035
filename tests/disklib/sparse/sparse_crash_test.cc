// seSparse files cut off and failed at every call: what was flushed is there, nothing is mixed up,
// and the structure holds. Every planted fault is noticed.
#include <map>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "disklib/sparse/se_file.h"
#include "fs/base/on_disk.h"
#include "tests/disklib/sparse/sparse_history.h"

namespace disklib {
namespace {

using base::Le64;
using base::SimExecutor;
using base::Status;
using base::Task;

constexpr uint64_t kMebi = uint64_t{1} << 20;

std::vector<std::byte> BytesAt(SimExecutor& executor, Object& object, uint64_t sector,
                               size_t size_bytes) {
  std::vector<std::byte> bytes(size_bytes);
  CHECK(base::RunSync(executor, ReadRange(object, sector * kSectorBytes, bytes)).has_value());
  return bytes;
}

// Every reference of the file: grains to the table that has them. Read here without the decoders
// under test; "" when no two entries share a grain.
std::string CollectGrains(SimExecutor& executor, Object& object, const SeHeader& header,
                          uint64_t free_table, std::map<uint64_t, uint64_t>& owners) {
  const auto directory = BytesAt(executor, object, header.directory.first_sector, 4096);
  for (size_t i = 0; i < 512; ++i) {
    const uint64_t entry = base::LoadAs<Le64>(directory, i * 8);
    if (entry == 0) continue;
    const uint64_t table = entry & 0xffffffff;
    if (table >= free_table) return fmt::format("X4: table {} of {}", table, free_table);
    const auto entries =
        BytesAt(executor, object, header.tables.first_sector + table * 64, 32 * 1024);
    for (size_t e = 0; e < 4096; ++e) {
      const uint64_t word = base::LoadAs<Le64>(entries, e * 8);
      if (word >> 60 != 3) continue;
      const uint64_t grain = (word >> 48 & 0xfff) | (word & 0xffffffffffff) << 12;
      if (!owners.emplace(grain, table).second) return fmt::format("X6: grain {} twice", grain);
    }
  }
  return "";
}

// X4, X6, X7 and X8 of what a cut may leave: leaks are allowed, nothing else.
std::string CheckStructure(SimExecutor& executor, Object& object) {
  const auto header = DecodeSeHeader(BytesAt(executor, object, 0, 512));
  if (!header) return header.error().message();
  const auto changing =
      DecodeSeVolatileHeader(BytesAt(executor, object, header->volatile_header.first_sector, 512));
  if (!changing) return changing.error().message();
  std::map<uint64_t, uint64_t> owners;
  const std::string wrong = CollectGrains(executor, object, *header, changing->free_table, owners);
  if (!wrong.empty()) return wrong;
  if (owners.empty()) return "";
  const uint64_t grain_end = owners.rbegin()->first + 1;
  const auto bits = BytesAt(executor, object, header->bitmap.first_sector, grain_end / 8 + 1);
  const auto back = BytesAt(executor, object, header->back_map.first_sector, grain_end * 8);
  for (const auto& [grain, table] : owners) {
    if ((bits[grain / 8] >> (grain % 8) & std::byte{1}) == std::byte{0}) {
      return fmt::format("X7: grain {} is referred to and free in the bitmap", grain);
    }
    const uint64_t owner = base::LoadAs<Le64>(back, grain * 8);
    if (owner != table) return fmt::format("X8: grain {} of {}, not {}", grain, owner, table);
  }
  return "";
}

const SparseSubject kSeSubject = {.format = FormatSeSparse,
                                  .open = OpenSeSparse,
                                  .kind = SparseKind::kSeSparse,
                                  .check = CheckStructure};

SparseHistory::Options OptionsFor(SparseFaults faults = {}) {
  return {.subject = kSeSubject, .faults = faults};
}

struct Scenario {
  const char* name;
  Task<Status> (*run)(SparseHistory& history);
  bool interleaves = false;
};

Task<Status> WriteHereAndThere(SparseHistory& history) {
  for (const uint64_t grain : {5, 4096, 6, 8200, 7, 5, 12000}) {
    CO_TRY_STATUS(co_await history.Put(grain, 1));
    if (grain % 2 == 0) CO_TRY_STATUS(co_await history.Sync());
  }
  co_return co_await history.Sync();
}

Task<Status> WriteInOrder(SparseHistory& history) {
  CO_TRY_STATUS(co_await history.Put(4090, 12));
  CO_TRY_STATUS(co_await history.Put(100, 4));
  CO_TRY_STATUS(co_await history.Sync());
  CO_TRY_STATUS(co_await history.Put(4092, 3));
  CO_TRY_STATUS(co_await history.Put(98, 8));
  CO_TRY_STATUS(co_await history.Sync());
  CO_TRY_STATUS(co_await history.Put(102, 1));
  co_return base::Ok();
}

Task<Status> ZeroAndRelease(SparseHistory& history) {
  CO_TRY_STATUS(co_await history.Put(0, 8));
  CO_TRY_STATUS(co_await history.Sync());
  CO_TRY_STATUS(co_await history.Zero(1, 3));
  CO_TRY_STATUS(co_await history.Put(20, 3));
  CO_TRY_STATUS(co_await history.Sync());
  CO_TRY_STATUS(co_await history.Put(30, 2));
  CO_TRY_STATUS(co_await history.Release(5, 2));
  CO_TRY_STATUS(co_await history.Put(40, 2));
  CO_TRY_STATUS(co_await history.Sync());
  CO_TRY_STATUS(co_await history.Put(2, 1));
  CO_TRY_STATUS(co_await history.Zero(4096, 2));
  CO_TRY_STATUS(co_await history.Put(50, 2));
  co_return co_await history.Sync();
}

Task<Status> OpenAgain(SparseHistory& history) {
  CO_TRY_STATUS(co_await history.Put(3, 4));
  CO_TRY_STATUS(co_await history.Reopen());
  CO_TRY_STATUS(co_await history.Zero(4, 1));
  CO_TRY_STATUS(co_await history.Put(4100, 2));
  CO_TRY_STATUS(co_await history.Reopen());
  CO_TRY_STATUS(co_await history.Put(9, 2));
  co_return co_await history.Sync();
}

// One of several writers; each has grains of its own.
Task<void> WriteAlone(SparseHistory& history, uint64_t number) {
  for (uint64_t i = 0; i < 6; ++i) {
    const uint64_t grain = number * 64 + i * (i % 2 == 0 ? 2 : 1400);
    static_cast<void>(co_await history.Put(grain, 1 + i % 2));
    if (i == 2) static_cast<void>(co_await history.Sync());
    if (i == 3) static_cast<void>(co_await history.Zero(number * 64, 1));
    if (i == 4) static_cast<void>(co_await history.Release(number * 64 + 4, 1));
  }
  static_cast<void>(co_await history.Sync());
}

Task<Status> WriteSideBySide(SparseHistory& history) {
  base::TaskGroup group(history.executor());
  for (uint64_t number = 0; number < 4; ++number) group.Add(WriteAlone(history, number));
  co_await group.Join();
  co_return base::Ok();
}

constexpr Scenario kScenarios[] = {
    {"here and there", WriteHereAndThere},   {"in order", WriteInOrder},
    {"zero and release", ZeroAndRelease},    {"open again", OpenAgain},
    {"side by side", WriteSideBySide, true},
};

base::CrashSweepResult SweepScenario(const Scenario& scenario, SparseFaults faults,
                                     base::CrashSweepOptions options) {
  SparseHistory::Options history_options = OptionsFor(faults);
  history_options.interleaves = scenario.interleaves;
  history_options.seed = options.seed;
  SparseHistory history(history_options);
  const Status done = base::RunSync(history.executor(), scenario.run(history));
  EXPECT_TRUE(done) << scenario.name << ": " << done.error().message();
  EXPECT_EQ(history.failure(), "") << scenario.name;
  EXPECT_TRUE(history.Close());
  base::CrashSweepResult result = history.Sweep(options);
  if (!result.ok()) result.failure = fmt::format("{}: {}", scenario.name, result.failure);
  return result;
}

TEST(SparseCrash, LeavesEveryFlushedGrainAndNoStrangeBytes) {
  const uint64_t rounds = base::RoundsFromEnvironment(1);
  base::CrashSweepOptions options;
  options.seed = base::SeedFromEnvironment(1);
  options.all_subsets_max = 5;
  options.samples = 12;
  options.torn_samples = 6;
  uint64_t cases = 0;
  for (uint64_t round = 0; round < rounds; ++round, ++options.seed) {
    for (const Scenario& scenario : kScenarios) {
      const auto result = SweepScenario(scenario, {}, options);
      EXPECT_TRUE(result.ok()) << result.failure;
      cases += result.cases;
    }
  }
  RecordProperty("cases", std::to_string(cases));
}

struct Planted {
  const char* name;
  SparseFaults faults;
  const char* scenario;
  const char* noticed_as;
};

TEST(SparseCrash, NoticesEveryPlantedFault) {
  const Planted planted[] = {
      {"skip the barrier before entries",
       {.skip_barrier_before_entries = true},
       "here and there",
       "X4"},
      {"skip the barrier after entries",
       {.skip_barrier_after_entries = true},
       "here and there",
       "grain 5: is not there"},
      {"entries before the barrier", {.entries_before_barrier = true}, "here and there", "X4"},
      {"skip allocation metadata", {.skip_allocation_metadata = true}, "here and there", "X4"},
      {"reuse before the barrier", {.reuse_before_barrier = true}, "zero and release", "foreign"},
      {"entries as of later", {.entries_as_of_later = true}, "side by side", "X7"},
  };
  for (const Planted& plant : planted) {
    std::string found;
    for (const Scenario& scenario : kScenarios) {
      if (std::string_view(scenario.name) != plant.scenario) continue;
      for (uint64_t seed = 1; seed <= 5 && found.empty(); ++seed) {
        base::CrashSweepOptions options;
        options.seed = seed;
        options.all_subsets_max = 6;
        found = SweepScenario(scenario, plant.faults, options).failure;
      }
    }
    EXPECT_NE(found.find(plant.noticed_as), std::string::npos)
        << plant.name << " was not noticed: " << found;
  }
}

TEST(SparseCrash, SurvivesTheFailureOfEveryCall) {
  for (const Scenario& scenario : kScenarios) {
    const auto round = [&](uint64_t call_number, bool* was_reached) {
      SparseHistory::Options options = OptionsFor();
      options.interleaves = scenario.interleaves;
      SparseHistory history(options);
      history.set_allows_errors();
      history.files().live().FailAt(call_number);
      static_cast<void>(base::RunSync(history.executor(), scenario.run(history)));
      *was_reached = history.files().live().has_failed();
      history.files().live().StopFailing();
      return history.CheckAnyhow();
    };
    const auto result = fss::SweepFailures(round);
    EXPECT_TRUE(result.ok()) << scenario.name << ": " << result.failure;
  }
}

}  // namespace
}  // namespace disklib
