// Damaged volumes: whatever bytes the metadata holds, mounting, listing, reading and checking
// answer an error or bytes; they never crash and always end. And mkfs that is cut off.

#include <array>
#include <csignal>
#include <cstring>

#include <sys/resource.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "fs/base/log.h"
#include "tests/support/crash_sweep.h"
#include "tests/support/template_volume.h"
#include "tests/support/vmfs_volume.h"
#include "tests/support/volume_damage.h"
#include "tests/support/volume_history.h"
#include "vmfs/fsck/repair.h"
#include "vmfs/info.h"

namespace vmfs {
namespace {

constexpr uint64_t kVolumeBytes = uint64_t{256} << 20;
// What a round may take: beyond it the volume has led the program in circles.
constexpr uint64_t kDeviceCallsMax = 500'000;
constexpr unsigned kRoundSecondsMax = 120;
// Address space of the whole program: counts read from a damaged volume must not be believed.
constexpr uint64_t kAddressSpaceBytes = uint64_t{4} << 30;

char g_round[160];

// Names the round that does not end or crashes.
extern "C" void SayRound(int signal_number) {
  (void)!write(STDERR_FILENO, g_round, strlen(g_round));
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

void LimitAddressSpace() {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  rlimit limit{};
  CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
  limit.rlim_cur = kAddressSpaceBytes;
  CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
#endif
}

class DamagedVolume : public testing::Test {
 protected:
  DamagedVolume() {
    base::SetLogLevel(base::LogLevel::kOff);
    LimitAddressSpace();
    for (const int number : {SIGALRM, SIGABRT, SIGSEGV, SIGBUS, SIGFPE}) signal(number, SayRound);
  }

  ~DamagedVolume() override {
    alarm(0);
    for (const int number : {SIGALRM, SIGABRT, SIGSEGV, SIGBUS, SIGFPE}) signal(number, SIG_DFL);
  }

  // Checks, mounts, lists and reads, and changes every other one.
  void UseDamaged(uint64_t seed);
  // Repairs; what is clean then is used like any other volume.
  void RepairDamaged(uint64_t seed);

  DeadGuard guard_;
  uint64_t refused_count_ = 0;   // no volume of ours can be seen in it
  uint64_t mended_count_ = 0;    // not clean before, clean behind the repair
  uint64_t leftover_count_ = 0;  // something could not be repaired without a loss
};

base::Task<void> ReadAll(VolumeClient client, Tree& tree) {
  (void)co_await client.ReadTree("", tree);
  for (const char* path : TemplateVolume::Paths()) {
    std::vector<std::byte> bytes(10'000);
    (void)co_await client.Read(path, 100, bytes);
  }
}

// Modifications of what cannot be believed: refused, or done; the rest of the volume is unharmed.
base::Task<void> ModifyAll(VolumeClient client) {
  const std::vector<std::byte> bytes = SeededBytes(1, 5000);
  for (const char* path : {"/inline", "/small", "/large", "/sparse", "/d/x"}) {
    (void)co_await client.Write(path, 1000, bytes);
    (void)co_await client.Truncate(path, 100);
    (void)co_await client.Unlink(path);
  }
  (void)co_await client.Create("/d/new");
  (void)co_await client.MakeDirectory("/e");
  (void)co_await client.Rename("/d", "/e/d");
  (void)co_await client.SyncAll();
}

void DamagedVolume::UseDamaged(uint64_t seed) {
  base::SimExecutor executor(seed);
  SimVolume volume(executor, TemplateVolume::Get().Copy(executor));
  volume.options().guard = &guard_;
  volume.options().read_only = seed % 2 == 0;
  const std::string damage =
      VolumeDamage(TemplateVolume::Get(), volume.disk(), seed).Apply();
  SCOPED_TRACE(damage);
  (void)volume.Report();
  const std::array<base::BlockDevice*, 1> devices{&volume.disk()};
  const auto info =
      base::RunSync(executor, ReadVolumeInfo(std::span<base::BlockDevice* const>(devices)));
  EXPECT_TRUE(!info || !ToText(*info).empty());
  if (volume.Mount()) {
    Tree tree;
    base::RunSync(executor, ReadAll(VolumeClient(volume.volume()), tree));
    if (seed % 2 == 1) base::RunSync(executor, ModifyAll(VolumeClient(volume.volume())));
    (void)volume.Unmount();
  }
  EXPECT_LT(volume.disk().call_count(), kDeviceCallsMax);
}

void DamagedVolume::RepairDamaged(uint64_t seed) {
  base::SimExecutor executor(seed);
  SimVolume volume(executor, TemplateVolume::Get().Copy(executor));
  volume.options().guard = &guard_;
  SCOPED_TRACE(VolumeDamage(TemplateVolume::Get(), volume.disk(), seed).Apply());
  const std::array<base::BlockDevice*, 1> devices{&volume.disk()};
  RepairOptions options;
  options.hosts_are_dead = true;
  const auto report = base::RunSync(
      executor, RepairDevices(executor, std::span<base::BlockDevice* const>(devices), options));
  EXPECT_LT(volume.disk().call_count(), kDeviceCallsMax);
  if (!report) {
    EXPECT_FALSE(report.error().message().empty());
    ++refused_count_;
    return;
  }
  if (!report->after.is_clean()) {
    ++leftover_count_;
    return;
  }
  mended_count_ += report->outcome == RepairOutcome::kRepaired ? 1 : 0;
  EXPECT_EQ(volume.CheckAfterCrash(), "") << "behind the repair";
  const base::Status mounted = volume.Mount();
  ASSERT_TRUE(mounted) << mounted.error().message();
  Tree tree;
  base::RunSync(executor, ReadAll(VolumeClient(volume.volume()), tree));
  base::RunSync(executor, ModifyAll(VolumeClient(volume.volume())));
  const base::Status unmounted = volume.Unmount();
  EXPECT_TRUE(unmounted) << unmounted.error().message();
  EXPECT_EQ(volume.CheckAfterCrash(), "") << "behind the use of a repaired volume";
}

void SetRound(const std::string& replay) {
  g_round[replay.copy(g_round, sizeof(g_round) - 1)] = 0;
  alarm(kRoundSecondsMax);
}

TEST_F(DamagedVolume, IsRepairedWithoutACrash) {
  const uint64_t rounds = base::RoundsFromEnvironment(200);
  const uint64_t first = base::SeedFromEnvironment(1);
  TemplateVolume::Get();
  for (uint64_t seed = first; seed < first + rounds; ++seed) {
    const std::string replay = fmt::format(
        "SEED={} ROUNDS=1 vmfs_crash_test --gtest_filter=DamagedVolume.IsRepaired*\n", seed);
    SCOPED_TRACE(replay);
    SetRound(replay);
    RepairDamaged(seed);
  }
  fmt::print("{} of {} repaired, {} with a rest, {} refused\n", mended_count_, rounds,
             leftover_count_, refused_count_);
}

TEST_F(DamagedVolume, IsReadWithoutACrash) {
  const uint64_t rounds = base::RoundsFromEnvironment(200);
  const uint64_t first = base::SeedFromEnvironment(1);
  TemplateVolume::Get();
  for (uint64_t seed = first; seed < first + rounds; ++seed) {
    const std::string replay = fmt::format(
        "SEED={} ROUNDS=1 vmfs_crash_test --gtest_filter=DamagedVolume.IsRead*\n", seed);
    SCOPED_TRACE(replay);
    SetRound(replay);
    UseDamaged(seed);
  }
}

// A volume whose mkfs was cut off is not there, or whole.
TEST(CutOffMkfs, LeavesNoHalfVolume) {
  base::SetLogLevel(base::LogLevel::kOff);
  base::SimExecutor executor(1);
  DeadGuard guard;
  SimVolume made(executor, kVolumeBytes, /*logging=*/true);
  ASSERT_TRUE(made.MakeFileSystem().has_value());
  base::CrashSweepOptions options;
  options.all_subsets_max = 3;
  options.samples = 4;
  options.torn_samples = 2;
  uint64_t whole_count = 0;
  const auto result = base::SweepCrashes(
      made.disk(), options,
      [&](base::SimExecutor& after, base::SimDisk& disk, const base::CrashCase&) -> std::string {
        SimVolume volume(after, disk);
        volume.options().guard = &guard;
        if (!volume.Mount()) return {};
        ++whole_count;
        const base::Status unmounted = volume.Unmount();
        if (!unmounted) return unmounted.error().message();
        return volume.CheckAfterCrash();
      });
  EXPECT_TRUE(result.ok()) << result.failure;
  EXPECT_GT(whole_count, 0U);
}

}  // namespace
}  // namespace vmfs
