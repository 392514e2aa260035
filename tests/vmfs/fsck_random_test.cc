// Random damage to a volume: nothing may crash, whatever lies on
// the disk. Seed and rounds from SEED and ROUNDS.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "fs/base/random.h"
#include "tests/support/fsck_volume.h"
#include "vmfs/dump.h"
#include "vmfs/info.h"

namespace vmfs {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 0) : otherwise;
}

class RandomDamage : public testing_support::FsckVolume {
 protected:
  // A place where mkfs wrote something.
  uint64_t Place(base::Random& random) {
    const uint64_t places[] = {
        kSuperblockOffset + random.Below(768),
        kHeartbeatOffset + random.Below(8) * 4096 + random.Below(256),
        InFile(kRootFd, random.Below(4096)),
        InFile(kRootFd, 65536 + random.Below(8192)),
        InFile(kFdcFd, random.Below(128)),
        InFile(kFbbFd, random.Below(2) * 4096 + random.Below(128)),
        Inode(FdAddress::Make(0, static_cast<uint32_t>(random.Below(kSystemFdCount)))) +
            random.Below(256),
        Inode(FdAddress::Make(0, static_cast<uint32_t>(random.Below(kSystemFdCount)))) + 0x600 +
            random.Below(128),
        Cluster(layout_.small_blocks, 0) + random.Below(8192),
        Cluster(layout_.fds, random.Below(8)) + 4096 + random.Below(256),
    };
    return places[random.Below(std::size(places))];
  }

  void LookAtEverything() {
    FsckOptions options;
    (void)base::RunSync(files_.executor(), CheckDevices(files_.devices(), options));
    (void)base::RunSync(files_.executor(), ReadVolumeInfo(files_.devices()));
    auto volume = base::RunSync(files_.executor(), OpenLvm(files_.devices()));
    if (!volume) return;
    auto raw = base::RunSync(files_.executor(), RawVolume::Open(**volume));
    if (!raw) return;
    (void)DumpSuperblock(**raw);
    (void)base::RunSync(files_.executor(), DumpHeartbeats(**raw));
    if (!base::RunSync(files_.executor(), (*raw)->LoadSystemFiles())) return;
    for (uint32_t item = 0; item < kSystemFdCount; ++item) {
      const FdAddress fd = FdAddress::Make(0, item);
      (void)base::RunSync(files_.executor(), DumpInode(**raw, fd));
    }
    (void)base::RunSync(files_.executor(), DumpDirectory(**raw, kRootFd));
    (void)base::RunSync(files_.executor(), DumpCluster(**raw, ResourceKind::kSmallBlock, 0));
  }
};

TEST_F(RandomDamage, CrashesNeitherTheCheckNorInfoNorDump) {
  const uint64_t seed = FromEnvironment("SEED", 1);
  const uint64_t rounds = FromEnvironment("ROUNDS", 150);
  for (uint64_t round = 0; round < rounds; ++round) {
    SCOPED_TRACE("SEED=" + std::to_string(seed + round) + " ROUNDS=1");
    base::Random random(seed + round);
    std::vector<std::pair<uint64_t, std::vector<std::byte>>> undo;
    for (int patch = 0; patch < 4; ++patch) {
      const uint64_t address = Place(random);
      undo.emplace_back(address / 4096 * 4096, files_.ReadVolume(address / 4096 * 4096, 4096));
      Patch(address, static_cast<uint8_t>(random.Below(256)));
    }
    LookAtEverything();
    for (auto block = undo.rbegin(); block != undo.rend(); ++block) {
      files_.WriteVolume(block->first, block->second);
    }
  }
  EXPECT_TRUE(Check().findings.empty());
}

}  // namespace
}  // namespace vmfs
