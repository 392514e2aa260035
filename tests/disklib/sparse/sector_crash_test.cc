// vmfsSparse and hosted sparse files cut off and failed at every call: what was flushed is there,
// nothing is mixed up, and the structure holds. Planted faults are noticed.
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "disklib/sparse/cowd_format.h"
#include "disklib/sparse/hosted_format.h"
#include "disklib/sparse/sector_files.h"
#include "fs/base/on_disk.h"
#include "tests/disklib/sparse/sparse_history.h"

namespace disklib {
namespace {

using base::Le32;
using base::SimExecutor;
using base::Status;
using base::Task;

std::vector<std::byte> BytesAt(SimExecutor& executor, Object& object, uint64_t sector,
                               size_t size_bytes) {
  std::vector<std::byte> bytes(size_bytes);
  CHECK(base::RunSync(executor, ReadRange(object, sector * kSectorBytes, bytes)).has_value());
  return bytes;
}

// Where one directory leads, without the decoders under test.
struct Places {
  uint64_t directory_sector;
  uint64_t table_count;
  uint64_t entries_per_table;
  uint64_t grain_sectors;
};

// No two things that a directory leads to overlap, and all lie inside the file.
std::string CheckPlaces(SimExecutor& executor, Object& object, const Places& places) {
  std::set<std::pair<uint64_t, uint64_t>> runs;  // first sector, end sector
  const uint64_t file_sectors = object.size_bytes() / kSectorBytes;
  const auto directory = BytesAt(executor, object, places.directory_sector, places.table_count * 4);
  for (uint64_t i = 0; i < places.table_count; ++i) {
    const uint64_t table = base::LoadAs<Le32>(directory, i * 4);
    if (table == 0) continue;
    if (!runs.emplace(table, table + places.entries_per_table / 128).second) {
      return fmt::format("table {} twice", i);
    }
    const auto entries = BytesAt(executor, object, table, places.entries_per_table * 4);
    for (uint64_t e = 0; e < places.entries_per_table; ++e) {
      const uint64_t grain = base::LoadAs<Le32>(entries, e * 4);
      if (grain == 0) continue;
      if (!runs.emplace(grain, grain + places.grain_sectors).second) {
        return fmt::format("sector {} twice", grain);
      }
    }
  }
  uint64_t end = places.directory_sector + DivideUp(places.table_count * 4, kSectorBytes);
  for (const auto& [first, run_end] : runs) {
    if (first < end) return fmt::format("sector {} belongs to two", first);
    end = run_end;
  }
  return end <= file_sectors ? "" : fmt::format("sector {} is behind the file", end);
}

std::string CheckVmfsSparse(SimExecutor& executor, Object& object) {
  const auto header = DecodeCowdHeader(BytesAt(executor, object, 0, kCowdHeaderBytes),
                                       object.size_bytes() / kSectorBytes);
  if (!header) return header.error().message();
  return CheckPlaces(executor, object,
                     {.directory_sector = header->directory_sector,
                      .table_count = header->directory_entry_count,
                      .entries_per_table = kCowdTableEntryCount,
                      .grain_sectors = header->grain_sectors});
}

std::string CheckHosted(SimExecutor& executor, Object& object) {
  const auto header = DecodeHostedHeader(BytesAt(executor, object, 0, kHostedHeaderBytes));
  if (!header) return header.error().message();
  for (const uint64_t sector :
       {uint64_t{header->redundant_directory_sector}, uint64_t{header->directory_sector}}) {
    std::string wrong = CheckPlaces(executor, object,
                                    {.directory_sector = sector,
                                     .table_count = header->table_count(),
                                     .entries_per_table = kHostedTableEntryCount,
                                     .grain_sectors = header->grain_sectors});
    if (!wrong.empty()) return fmt::format("directory at {}: {}", sector, wrong);
  }
  return "";
}

Task<Status> MakeVmfsSparse(Object& object, uint64_t size_bytes) {
  return FormatVmfsSparse(object, {.kind = SparseKind::kVmfsSparse, .size_bytes = size_bytes});
}

Task<Status> MakeHosted(Object& object, uint64_t size_bytes) {
  return FormatHostedSparse(
      object, {.kind = SparseKind::kHosted, .size_bytes = size_bytes, .grain_bytes = 4096});
}

const SparseSubject kSubjects[] = {{.format = MakeVmfsSparse,
                                    .open = OpenVmfsSparse,
                                    .kind = SparseKind::kVmfsSparse,
                                    .check = CheckVmfsSparse},
                                   {.format = MakeHosted,
                                    .open = OpenHostedSparse,
                                    .kind = SparseKind::kHosted,
                                    .check = CheckHosted}};

Task<Status> WriteHereAndThere(SparseHistory& history) {
  for (const uint64_t grain : {5, 4096, 6, 8200, 7, 5, 12000}) {
    CO_TRY_STATUS(co_await history.Put(grain, 1));
    if (grain % 2 == 0) CO_TRY_STATUS(co_await history.Sync());
  }
  co_return co_await history.Sync();
}

Task<Status> ZeroAndRelease(SparseHistory& history) {
  CO_TRY_STATUS(co_await history.Put(0, 8));
  CO_TRY_STATUS(co_await history.Sync());
  CO_TRY_STATUS(co_await history.Zero(1, 2));
  CO_TRY_STATUS(co_await history.Release(3, 3));
  CO_TRY_STATUS(co_await history.Put(20, 3));
  CO_TRY_STATUS(co_await history.Sync());
  CO_TRY_STATUS(co_await history.Put(30, 3));
  CO_TRY_STATUS(co_await history.Put(4090, 8));
  co_return co_await history.Sync();
}

Task<Status> OpenAgain(SparseHistory& history) {
  CO_TRY_STATUS(co_await history.Put(3, 4));
  CO_TRY_STATUS(co_await history.Reopen());
  CO_TRY_STATUS(co_await history.Put(4100, 2));
  CO_TRY_STATUS(co_await history.Reopen());
  CO_TRY_STATUS(co_await history.Put(9, 2));
  co_return co_await history.Sync();
}

using Scenario = Task<Status> (*)(SparseHistory& history);
constexpr Scenario kScenarios[] = {WriteHereAndThere, ZeroAndRelease, OpenAgain};

base::CrashSweepResult Sweep(const SparseSubject& subject, Scenario scenario, SparseFaults faults,
                             const base::CrashSweepOptions& options) {
  SparseHistory history({.subject = subject, .faults = faults, .seed = options.seed});
  const Status done = base::RunSync(history.executor(), scenario(history));
  EXPECT_TRUE(done) << done.error().message();
  EXPECT_EQ(history.failure(), "");
  EXPECT_TRUE(history.Close());
  return history.Sweep(options);
}

base::CrashSweepOptions SweepOptions() {
  base::CrashSweepOptions options;
  options.seed = base::SeedFromEnvironment(1);
  options.all_subsets_max = 4;
  options.samples = 8;
  options.torn_samples = 4;
  return options;
}

TEST(SectorCrash, LeavesEveryFlushedGrainAndNoStrangeBytes) {
  base::CrashSweepOptions options = SweepOptions();
  const uint64_t rounds = base::RoundsFromEnvironment(1);
  for (uint64_t round = 0; round < rounds; ++round, ++options.seed) {
    for (const SparseSubject& subject : kSubjects) {
      for (const Scenario scenario : kScenarios) {
        const auto result = Sweep(subject, scenario, {}, options);
        EXPECT_TRUE(result.ok()) << "SEED=" << options.seed << ": " << result.failure;
      }
    }
  }
}

TEST(SectorCrash, NoticesPlantedFaults) {
  const std::pair<const char*, SparseFaults> planted[] = {
      {"skip the barrier before entries", {.skip_barrier_before_entries = true}},
      {"skip the barrier after entries", {.skip_barrier_after_entries = true}},
      {"entries before the barrier", {.entries_before_barrier = true}},
      {"reuse before the barrier", {.reuse_before_barrier = true}},
  };
  for (const SparseSubject& subject : kSubjects) {
    for (const auto& [name, faults] : planted) {
      bool is_noticed = false;
      for (const Scenario scenario : kScenarios) {
        is_noticed = is_noticed || !Sweep(subject, scenario, faults, SweepOptions()).ok();
      }
      EXPECT_TRUE(is_noticed) << name << " was not noticed";
    }
  }
}

TEST(SectorCrash, SurvivesTheFailureOfEveryCall) {
  for (const SparseSubject& subject : kSubjects) {
    for (const Scenario scenario : kScenarios) {
      const auto round = [&](uint64_t call_number, bool* was_reached) {
        SparseHistory history({.subject = subject});
        history.set_allows_errors();
        history.files().live().FailAt(call_number);
        static_cast<void>(base::RunSync(history.executor(), scenario(history)));
        *was_reached = history.files().live().has_failed();
        history.files().live().StopFailing();
        return history.CheckAnyhow();
      };
      const auto result = fss::SweepFailures(round);
      EXPECT_TRUE(result.ok()) << result.failure;
    }
  }
}

}  // namespace
}  // namespace disklib
