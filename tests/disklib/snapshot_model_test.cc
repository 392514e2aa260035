// Random work on snapshots beside a model that keeps every content as bytes.
#include <cstdlib>

#include "tests/disklib/snapshot_support.h"

namespace disklib {
namespace {

constexpr uint64_t kModelDiskBytes = 512 * 1024 + 3 * 512;

// What the disk and each snapshot must hold.
class Model {
 public:
  Model(SnapshotStand& stand, uint64_t seed) : stand_(stand), random_(seed) {
    stand_.Create("vm.vmdk", kModelDiskBytes);
    now_.resize(kModelDiskBytes);
  }

  void Step() {
    switch (random_.Below(10)) {
      case 0:
      case 1: return Take();
      case 2: return Revert();
      case 3: return Delete();
      case 4: return random_.OneIn(6) ? DeleteAll() : Zero();
      case 5: return Zero();
      default: return Write();
    }
  }

  void Compare() {
    const SnapshotTree tree = stand_.Tree();
    ASSERT_EQ(tree.snapshots.size(), snapshots_.size());
    ASSERT_EQ(stand_.ContentOf(tree.disks.at(0).path), now_) << tree.disks[0].path;
    for (const SnapshotInfo& snapshot : tree.snapshots) {
      ASSERT_EQ(stand_.ContentOf(snapshot.disks.at(0).path), snapshots_.at(snapshot.name))
          << snapshot.name;
    }
    EXPECT_TRUE(tree.orphans.empty()) << tree.orphans.front();
  }

 private:
  uint64_t Sectors(uint64_t count_max) { return 512 * (1 + random_.Below(count_max)); }

  void Write() {
    const uint64_t length_bytes = Sectors(40);
    const uint64_t offset_bytes = 512 * random_.Below((kModelDiskBytes - length_bytes) / 512 + 1);
    const Content bytes = Pattern(random_.Next(), length_bytes);
    stand_.Write(stand_.Leaf(), offset_bytes, bytes);
    std::copy(bytes.begin(), bytes.end(), now_.begin() + static_cast<std::ptrdiff_t>(offset_bytes));
  }

  void Zero() {
    const uint64_t length_bytes = Sectors(200);
    const uint64_t offset_bytes = 512 * random_.Below((kModelDiskBytes - length_bytes) / 512 + 1);
    stand_.Zero(stand_.Leaf(), offset_bytes, length_bytes);
    std::fill_n(now_.begin() + static_cast<std::ptrdiff_t>(offset_bytes), length_bytes,
                std::byte{0});
  }

  void Take() {
    if (snapshots_.size() >= 12) return DeleteAll();
    const std::string name = "s" + std::to_string(next_++);
    stand_.Take(name);
    snapshots_[name] = now_;
  }

  std::string AnySnapshot() {
    auto at = snapshots_.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(random_.Below(snapshots_.size())));
    return at->first;
  }

  void Revert() {
    if (snapshots_.empty()) return;
    const std::string name = AnySnapshot();
    stand_.Revert(name);
    now_ = snapshots_[name];
  }

  void Delete() {
    if (snapshots_.empty()) return;
    const std::string name = AnySnapshot();
    const CommitOptions options{.reclaim = random_.OneIn(2)};
    const auto deleted =
        stand_.Run(DeleteSnapshot(stand_.lib(), "vm.vmdk", name, options, nullptr));
    if (deleted) {
      snapshots_.erase(name);
    } else {
      EXPECT_NE(deleted.error().message().find("several links stand on"), std::string::npos)
          << deleted.error().message();
    }
  }

  void DeleteAll() {
    const auto deleted = stand_.Run(DeleteAllSnapshots(stand_.lib(), "vm.vmdk", {}, nullptr));
    ASSERT_TRUE(deleted) << deleted.error().message();
    snapshots_.clear();
    EXPECT_EQ(stand_.Files().size() - stand_.Files().count("vm.vmsd"), 2u);
  }

  SnapshotStand& stand_;
  base::Random random_;
  Content now_;
  std::map<std::string, Content> snapshots_;
  uint64_t next_ = 0;
};

uint64_t NumberFrom(const char* name, uint64_t otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

TEST(SnapshotModel, KeepsEveryContentThroughRandomWork) {
  const uint64_t first_seed = NumberFrom("SEED", 1);
  const uint64_t rounds = NumberFrom("ROUNDS", 6);
  for (uint64_t seed = first_seed; seed < first_seed + rounds; ++seed) {
    SCOPED_TRACE("replay: SEED=" + std::to_string(seed) +
                 " ROUNDS=1 disklib_snapshot_test --gtest_filter='SnapshotModel.*'");
    SnapshotBench bench;
    bench.files.set_replaces_contents(seed % 2 == 0);
    Model model(bench.stand, seed);
    for (int step = 0; step < 60; ++step) {
      model.Step();
      model.Compare();
      if (testing::Test::HasFatalFailure() || testing::Test::HasNonfatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace disklib
