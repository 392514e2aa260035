// Damaged volumes: whatever bytes the metadata holds, mounting, listing, reading and checking
// answer an error or bytes; they never crash and always end. And mkfs that is cut off.

#include <gtest/gtest.h>

#include <fmt/format.h>

#include "fs/base/log.h"
#include "tests/support/crash_sweep.h"
#include "tests/support/vmfs_volume.h"
#include "tests/support/volume_history.h"

namespace vmfs {
namespace {

constexpr uint64_t kVolumeBytes = uint64_t{256} << 20;
constexpr uint64_t kMiB = uint64_t{1} << 20;

class DamagedVolume : public testing::Test {
 protected:
  DamagedVolume() : original_(executor_, kVolumeBytes, /*logging=*/true) {
    base::SetLogLevel(base::LogLevel::kOff);
    CHECK(original_.MakeFileSystem().has_value());
    CHECK(original_.Mount().has_value());
    VolumeHistory history(executor_, original_);
    history.Create("/inline");
    history.Write("/inline", 0, 500);
    history.Create("/small");
    history.Write("/small", 0, 30'000);
    history.Create("/large");
    history.Write("/large", 0, 2 * kMiB);
    history.Create("/sparse");
    history.Write("/sparse", 9000 * kMiB, 600);
    history.MakeDirectory("/d");
    history.Create("/d/x");
    history.MakeSymlink("/d/link", "x");
    history.Unmount();
    CHECK(history.failure().empty());
    FindMetadata();
    original_.disk().Settle();
  }

  // Blocks that hold something, other than file data: those that decoders will read.
  void FindMetadata() {
    for (const base::SimDisk::LogEntry& entry : original_.disk().log()) {
      if (entry.change != base::SimDisk::Change::kWrite || entry.length_bytes > 300'000) continue;
      for (uint64_t at = 0; at < entry.length_bytes; at += 4096) {
        blocks_.push_back(entry.offset_bytes + at);
      }
    }
    CHECK(!blocks_.empty());
  }

  void Damage(base::SimDisk& disk, base::Random& random) const {
    const uint64_t count = 1 + random.Below(6);
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t block = blocks_[random.Below(blocks_.size())];
      // The fields of every structure stand at the begin of its block.
      const uint64_t offset = random.OneIn(3) ? random.Below(4096) : random.Below(160);
      std::vector<std::byte> bytes(1 + random.Below(8));
      for (std::byte& byte : bytes) {
        byte = random.OneIn(3) ? std::byte{0xff} : static_cast<std::byte>(random.Below(256));
      }
      disk.Poke(block + offset, bytes);
    }
  }

  base::SimExecutor executor_{13};
  DeadGuard guard_;
  SimVolume original_;
  std::vector<uint64_t> blocks_;
};

base::Task<void> UseAll(VolumeClient client, Tree& tree) {
  (void)co_await client.ReadTree("", tree);
  for (const char* path : {"/inline", "/small", "/large", "/sparse", "/d/x", "/d/link"}) {
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

TEST_F(DamagedVolume, IsReadWithoutACrash) {
  const uint64_t rounds = base::RoundsFromEnvironment(150);
  const uint64_t first = base::SeedFromEnvironment(1);
  for (uint64_t seed = first; seed < first + rounds; ++seed) {
    base::LogInfo("test", "damage: SEED={} ROUNDS=1", seed);
    base::Random random(seed);
    base::SimExecutor executor(seed);
    SimVolume volume(executor, original_.disk().CrashImage(executor, 0, {}));
    volume.options().guard = &guard_;
    volume.options().read_only = seed % 2 == 0;
    Damage(volume.disk(), random);
    (void)volume.Check();
    if (!volume.Mount()) continue;
    Tree tree;
    base::RunSync(executor, UseAll(VolumeClient(volume.volume()), tree));
    if (seed % 2 == 1) base::RunSync(executor, ModifyAll(VolumeClient(volume.volume())));
    (void)volume.Unmount();
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
