// Random damage to known structures, repaired: clean, and whatever was not hit is as it was.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <fmt/format.h>

#include "fs/base/random.h"
#include "tests/support/crash_sweep.h"
#include "tests/support/repair_volume.h"
#include "vmfs/format/directory.h"
#include "vmfs/format/heartbeat_slot.h"

namespace vmfs {
namespace {

class FsckRepairRandom : public RepairVolumeTest {
 protected:
  FsckRepairRandom() : RepairVolumeTest(/*logging=*/true) {
    for (const auto& [path, node] : expected_) paths_.push_back(path);
    Settle();
  }

  // What a round damaged: paths that may have changed, with everything below them.
  struct Damage {
    std::vector<std::string> hit;
    std::string text;
  };

  bool IsHit(const Damage& damage, const std::string& path) const {
    for (const std::string& hit : damage.hit) {
      if (path == hit || path.starts_with(hit + "/")) return true;
    }
    return false;
  }

  const std::string& AnyPath(base::Random& random) { return paths_[random.Below(paths_.size())]; }

  // An address in a structure that carries enough redundancy to lose nothing.
  uint64_t SafePlace(base::Random& random) {
    const auto system = FdAddress::Make(0, static_cast<uint32_t>(random.Below(kSystemFdCount)));
    constexpr ResourceKind kKinds[] = {ResourceKind::kFd, ResourceKind::kSubBlock,
                                       ResourceKind::kPb2, ResourceKind::kJournal,
                                       ResourceKind::kSmallBlock, ResourceKind::kLargeBlock};
    const ResourceKind kind = kKinds[random.Below(std::size(kKinds))];
    switch (random.Below(8)) {
      case 0: return kSuperblockOffset + 0xd1 + random.Below(0x1c);
      case 1: return kSuperblockOffset + kMarkOffset + random.Below(256);
      case 2: return HeartbeatAddress(static_cast<uint32_t>(random.Below(9))) + random.Below(256);
      case 3: return Inode(system) + random.Below(0x70);
      case 4: return Inode(system) + 0x600 + random.Below(64);
      case 5: return Cluster(kind, 0) + random.Below(4096);
      case 6: return Cluster(kind, 0) - 4096 + random.Below(0x44);
      default: return InFile(system, random.Below(system == kRootFd ? 65536 : 0x60));
    }
  }

  void PatchBytes(base::Random& random, base::SimDisk& disk, uint64_t address, Damage& damage) {
    std::vector<std::byte> bytes(1 + random.Below(8));
    const uint64_t block_end = (address / 4096 + 1) * 4096;
    bytes.resize(std::min<uint64_t>(bytes.size(), block_end - address));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.Below(256));
    disk.Poke(kLvmDataOffset + address, bytes);
    damage.text += fmt::format("{} bytes at volume address {:#x}\n", bytes.size(), address);
  }

  void DamageOnce(base::Random& random, base::SimDisk& disk, Damage& damage) {
    const std::string path = AnyPath(random);
    const FdAddress fd = FdOf(path);
    switch (random.Below(6)) {
      case 0:
        damage.hit.push_back(path);
        PatchBytes(random, disk, Inode(fd) + random.Below(0x90), damage);
        break;
      case 1:
        damage.hit.push_back(path);
        PatchBytes(random, disk, Inode(fd) + 0x600 + random.Below(64), damage);
        break;
      case 2: {
        const std::string parent(ParentOf(path));
        damage.hit.push_back(path);
        const std::string name(NameOfPath(path));
        PatchBytes(random, disk, RecordOf(parent, name) + random.Below(0x40), damage);
        break;
      }
      default: PatchBytes(random, disk, SafePlace(random), damage); break;
    }
  }

  // What is there of the expected tree but what was hit, besides lost+found.
  std::string CompareRest(const Damage& damage, const Tree& found) {
    Tree wanted, there;
    for (const auto& [path, node] : expected_) {
      if (IsHit(damage, path)) continue;
      wanted[path] = node;
      if (const auto same = found.find(path); same != found.end()) there[path] = same->second;
    }
    return DescribeDifference(wanted, there);
  }

  void RunRound(uint64_t seed) {
    base::Random random(seed);
    base::SimExecutor executor(seed);
    auto disk = Image(executor);
    Damage damage;
    for (uint64_t count = 1 + random.Below(4); count > 0; --count) {
      DamageOnce(random, *disk, damage);
    }
    base::BlockDevice* const devices[] = {disk.get()};
    RepairOptions options;
    options.hosts_are_dead = true;
    const auto report = base::RunSync(executor, RepairDevices(executor, devices, options));
    ASSERT_TRUE(report) << damage.text << report.error().message();
    EXPECT_TRUE(report->after.is_clean()) << damage.text << Describe(*report);
    if (!report->after.is_clean()) return;
    SimVolume volume(executor, *disk);
    EXPECT_EQ(volume.CheckAfterCrash(), "") << damage.text << Describe(*report);
    const base::Status mounted = volume.Mount();
    ASSERT_TRUE(mounted) << damage.text << mounted.error().message() << Describe(*report);
    Tree found;
    VolumeClient client(volume.volume());
    const base::Status read = base::RunSync(executor, client.ReadTree("", found));
    EXPECT_TRUE(read) << damage.text << read.error().message() << Describe(*report);
    EXPECT_TRUE(volume.Unmount());
    if (read) {
      EXPECT_EQ(CompareRest(damage, found), "") << damage.text << Describe(*report);
    }
  }

  std::vector<std::string> paths_;
};

TEST_F(FsckRepairRandom, KeepsWhateverIsNotHit) {
  const uint64_t seed = base::SeedFromEnvironment(1);
  const uint64_t rounds = base::RoundsFromEnvironment(40);
  for (uint64_t round = 0; round < rounds; ++round) {
    SCOPED_TRACE(fmt::format("SEED={} ROUNDS=1 build/release/vmfs_repair_test "
                             "--gtest_filter=FsckRepairRandom.*",
                             seed + round));
    RunRound(seed + round);
    if (HasFailure()) break;
  }
}

}  // namespace
}  // namespace vmfs
