// Repairs that are cut, and damage of any kind: a repair that was cut converges when it is run
// again and loses nothing; no damage makes the checker crash or hang.
#include <cstdlib>

#include <gtest/gtest.h>

#include "tests/disklib/check_support.h"
#include "tests/disklib/sparse_images.h"
#include "tests/support/crash_files.h"

namespace disklib {
namespace {

constexpr std::string_view kDisk = "disk.vmdk";
constexpr std::string_view kExtent = "disk-data.vmdk";

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

// A damaged disk whose repair keeps every byte that is read.
struct Scenario {
  std::string_view what;
  bool is_hosted;
  Invariant fix;
  void (*make)(std::string& file);
};

constexpr Scenario kScenarios[] = {
    {"freeSector and marks", false, Invariant::kV3,
     [](std::string& f) {
       Store32(f, CowdImage::kFreeSectorAt, 42);
       f[8] |= 4;
       f[1648] = 1;
     }},
    {"a grain of two entries", false, Invariant::kV3,
     [](std::string& f) { Store32(f, CowdImage::kTables[0] + 28, 37); }},
    {"entries behind the end", false, Invariant::kV3,
     [](std::string& f) { Store32(f, CowdImage::kTables[1] + 16, 40); }},
    {"a table of the other copy", true, Invariant::kH4,
     [](std::string& f) { Store32(f, HostedImage::DirectoryAt(f, true), 0x7fffffff); }},
    {"a grain of two entries", true, Invariant::kH4,
     [](std::string& f) {
       const uint32_t first = Load32(f, HostedImage::EntryAt(f, 0, false));
       for (const bool copy : {true, false}) Store32(f, HostedImage::EntryAt(f, 5, copy), first);
     }},
    {"an unclean file with copies that differ", true, Invariant::kH5,
     [](std::string& f) {
       f[72] = 1;
       Store32(f, HostedImage::EntryAt(f, 5, true), 0);
     }},
};

std::string ReadDisk(const Scenario& scenario, const std::string& file) {
  return scenario.is_hosted ? HostedImage::Read(file) : CowdImage::Read(file);
}

// Repairs what is there, twice; answers what is wrong then.
std::string RepairAndCompare(base::SimExecutor& executor, fss::FileSystem& files,
                             const Scenario& scenario, const std::string& content) {
  FileBackend backend(files);
  OpenDisks open_disks;
  Lib lib(executor, backend, open_disks);
  DiskRepairOptions options;
  options.fix = {scenario.fix};
  const auto repaired = base::RunSync(executor, RepairDisk(lib, kDisk, options, nullptr));
  if (!repaired) return repaired.error().message();
  if (!repaired->after.is_consistent()) return TextOf(repaired->after);
  const auto file = base::RunSync(executor, ReadObject(backend, kExtent, 1 << 30));
  if (!file) return file.error().message();
  return ReadDisk(scenario, *file) == content ? "" : "the disk reads otherwise";
}

void SweepRepair(const Scenario& scenario) {
  base::SimExecutor executor{1, /*in_order=*/true};
  fss::CrashFiles files;
  FileBackend backend(files);
  std::string file = scenario.is_hosted ? HostedImage::Make() : CowdImage::Make();
  scenario.make(file);
  const std::string descriptor =
      scenario.is_hosted
          ? SingleDescriptor("monolithicSparse", "SPARSE", kExtent, HostedImage::kSectors)
          : SingleDescriptor("vmfsSparse", "VMFSSPARSE", kExtent, CowdImage::kSectors);
  ASSERT_TRUE(base::RunSync(executor, backend.ReplaceContents(kExtent, file)));
  ASSERT_TRUE(base::RunSync(executor, backend.ReplaceContents(kDisk, descriptor)));
  files.Settle();
  const std::string content = ReadDisk(scenario, file);
  ASSERT_EQ(RepairAndCompare(executor, files, scenario, content), "") << scenario.what;
  base::CrashSweepOptions options;
  options.seed = FromEnvironment("SEED", 1);
  const auto result = fss::SweepCrashFiles(
      files, options,
      [&](base::SimExecutor& after, fss::MemoryFileSystem& left, const base::CrashCase&) {
        return RepairAndCompare(after, left, scenario, content);
      });
  EXPECT_TRUE(result.ok()) << scenario.what << ": " << result.failure;
  EXPECT_GT(result.cases, 1u);
}

TEST(CheckCrash, ARepairThatWasCutConvergesAndLosesNothing) {
  for (const Scenario& scenario : kScenarios) SweepRepair(scenario);
}

// Every repair there is.
std::set<Invariant> AllRepairs() {
  std::set<Invariant> all;
  for (const InvariantInfo& row : Invariants()) {
    if (row.repair != RepairClass::kNone) all.insert(row.id);
  }
  return all;
}

// Changes some bytes, mostly where headers and tables are.
void DamageAtRandom(base::Random& random, std::string& file) {
  const uint64_t count = 1 + random.Below(6);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t near_bytes = std::min<uint64_t>(file.size(), 24'576);
    const uint64_t reach = random.Below(3) == 0 ? file.size() : near_bytes;
    const uint64_t at = random.Below(reach);
    switch (random.Below(4)) {
      case 0: file[at] = static_cast<char>(random.Next()); break;
      case 1: file[at] = static_cast<char>(file[at] ^ (1 << random.Below(8))); break;
      case 2:
        if (at + 4 <= file.size()) Store32(file, at, static_cast<uint32_t>(random.Below(200)));
        break;
      default:
        if (at + 8 <= file.size()) Store64(file, at, ~uint64_t{0});
        break;
    }
  }
  if (random.Below(8) == 0) file.resize(random.Below(file.size()));
}

TEST(CheckCrash, NoDamageMakesTheCheckerCrashOrARepairMakeItWorse) {
  const uint64_t seed = FromEnvironment("SEED", 1);
  const uint64_t rounds = FromEnvironment("ROUNDS", 300);
  for (uint64_t round = 0; round < rounds; ++round) {
    SCOPED_TRACE(fmt::format("replay: SEED={} ROUNDS=1", seed + round));
    base::Random random(seed + round);
    CheckBench bench;
    const bool is_hosted = random.Below(4) == 0;
    std::string file = is_hosted ? HostedImage::Make() : CowdImage::Make();
    std::string descriptor =
        is_hosted ? SingleDescriptor("monolithicSparse", "SPARSE", kExtent, HostedImage::kSectors)
                  : SingleDescriptor("vmfsSparse", "VMFSSPARSE", kExtent, CowdImage::kSectors);
    DamageAtRandom(random, file);
    if (random.Below(3) == 0) DamageAtRandom(random, descriptor);
    bench.Store(kExtent, file);
    bench.Store(kDisk, descriptor);
    const auto checked = bench.Run(CheckDisk(bench.lib, kDisk, {.window_units = 4'096}, nullptr));
    if (!checked) continue;  // no descriptor any more
    DiskRepairOptions options;
    options.fix = AllRepairs();
    const auto repaired = bench.Run(RepairDisk(bench.lib, kDisk, options, nullptr));
    if (!repaired) continue;
    EXPECT_LE(repaired->after.error_count, checked->error_count)
        << TextOf(*checked) << "became\n" << TextOf(repaired->after);
  }
}

}  // namespace
}  // namespace disklib
