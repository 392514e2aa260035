// A VMFS-5 volume with random damage: mounting, listing and reading answer errors, and end.
#include <gtest/gtest.h>

#include <cstdlib>
#include <utility>

#include "tests/support/sample.h"
#include "tests/support/vmfs5_volume.h"
#include "vmfs/info.h"

namespace vmfs {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t fallback) {
  const char* value = std::getenv(name);
  return value != nullptr ? std::strtoull(value, nullptr, 10) : fallback;
}

// A device offset where ESXi wrote something that leads to other things.
uint64_t Place(base::Random& random) {
  const uint64_t volume_places[] = {
      kSuperblockOffset + random.Below(0x150),
      kHeartbeatOffset + random.Below(1 << 20),
      Vmfs5Volume::DescriptorAt(static_cast<uint32_t>(random.Below(16))) + random.Below(2048),
      Vmfs5Volume::DescriptorAt(static_cast<uint32_t>(random.Below(16))) + 512 + random.Below(0x70),
      Vmfs5Volume::DescriptorAt(static_cast<uint32_t>(random.Below(16))) + 1024 + random.Below(8),
      0x400000 + random.Below(0x20),            // the headers of the resource files
      0x600000 + random.Below(0x20),
      0x700000 + random.Below(0x20),
      0x800000 + random.Below(0x20),
      0x610000 + random.Below(2048),            // clusters of file blocks
      0x500000 + random.Below(1400),            // the root
      0x820000 + 0x80 * 0x2000 + random.Below(1120),  // "directory"
      0x720000 + random.Below(64),              // a pointer block
  };
  const uint64_t lvm_places[] = {
      kLvmHeaderOffset + random.Below(0x100),
      kLvmHeaderOffset + kLvm5VolumeTableOffset + random.Below(0xa0),
      kLvmHeaderOffset + kLvm5PeTableOffset + random.Below(0x28),
  };
  if (random.OneIn(16)) return lvm_places[random.Below(std::size(lvm_places))];
  return kLvmDataOffset + volume_places[random.Below(std::size(volume_places))];
}

// Small and large values are what breaks arithmetic.
uint8_t Value(base::Random& random) {
  constexpr uint8_t kNasty[] = {0x00, 0x01, 0x02, 0x03, 0x05, 0x7f, 0x80, 0xff};
  return random.OneIn(2) ? kNasty[random.Below(std::size(kNasty))]
                         : static_cast<uint8_t>(random.Below(256));
}

TEST(Vmfs5Damage, NeverDoesMoreThanAnswerErrors) {
  REQUIRE_SAMPLE("esxi-vmfs5.bin");
  const uint64_t seed = FromEnvironment("SEED", 1);
  const uint64_t rounds = FromEnvironment("ROUNDS", 200);
  Vmfs5Volume sample(seed);
  for (uint64_t round = 0; round < rounds; ++round) {
    SCOPED_TRACE("SEED=" + std::to_string(seed + round) + " ROUNDS=1");
    base::Random random(seed + round);
    std::vector<std::pair<uint64_t, std::vector<std::byte>>> undo;
    for (uint64_t patch = 0; patch < 1 + random.Below(4); ++patch) {
      const uint64_t place = Place(random);
      undo.emplace_back(place, sample.ReadDevice(place, 1));
      const std::byte value{Value(random)};
      sample.WriteDevice(place, std::span(&value, 1));
    }
    if (sample.Mount()) {
      (void)sample.ReadEverything();
      sample.Unmount();
    }
    (void)base::RunSync(sample.executor(), ReadVolumeInfo(sample.devices()));
    for (auto byte = undo.rbegin(); byte != undo.rend(); ++byte) {
      sample.WriteDevice(byte->first, byte->second);
    }
  }
  ASSERT_TRUE(sample.Mount());
  EXPECT_EQ(sample.ReadEverything().size(), 14u);
}

TEST(Vmfs5Damage, FailsWithTheDeviceAtEveryCall) {
  REQUIRE_SAMPLE("esxi-vmfs5.bin");
  Vmfs5Volume sample;
  for (uint64_t call = 1;; ++call) {
    sample.disk().FailNth(call, base::Code::kIo);
    const bool mounted = sample.Mount().has_value();
    if (mounted) {
      (void)sample.ReadEverything();
      sample.Unmount();
    }
    if (!sample.disk().failed()) break;
    ASSERT_LT(call, 1000u);
  }
}

}  // namespace
}  // namespace vmfs
